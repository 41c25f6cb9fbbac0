"""Providers by their short names: what a caller may name, and what the table says about each."""

from __future__ import annotations

from typing import Any

import pytest

from edgexf.dtypes import DEVICES
from edgexf.errors import UsageError
from edgexf_runtimes.device.asked import TABLE, asked, short


@pytest.mark.parametrize("provider", TABLE, ids=lambda one: one.name)
def test_each_provider_has_its_own_names_and_a_device_that_prefers_dtypes(provider: Any) -> None:
    for name in (provider.name, provider.ort, *provider.also):
        assert asked(name)[0].provider is provider
    assert short(provider.ort) == provider.name
    assert provider.device in ("", *DEVICES)
    assert provider.package


@pytest.mark.parametrize(
    ("given", "names", "options"),
    [
        ("cuda", ["cuda"], [{}]),
        (("cuda", {"device_id": 1}), ["cuda"], [{"device_id": "1"}]),
        (["dml", "cpu"], ["directml", "cpu"], [{}, {}]),
        ((("tensorrt", {"trt_fp16_enable": True}), "cuda"), ["tensorrt", "cuda"], [{"trt_fp16_enable": "True"}, {}]),
        (("cpu",), ["cpu"], [{}]),
    ],
)
def test_a_provider_is_named_alone_or_with_options_or_with_others(
    given: Any, names: list[str], options: list[dict[str, str]]
) -> None:
    found = asked(given)
    assert [one.provider.name for one in found] == names
    assert [one.options for one in found] == options


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (None, "got None"),
        (5, "got 5"),
        ((), r"got \(\)"),
        ({"cuda": {}}, "got {'cuda'"),
        ("npu", "among cpu, cuda, tensorrt, .*got 'npu'"),
        ([None], "got None"),
        ([("cuda", 1)], r"got \('cuda', 1\)"),
        (("cuda", {1: 2}), "by name, got {1: 2} for cuda"),
        (("cuda", {"device_id": [1]}), "texts and numbers"),
        (("cuda", {"device_id": 10**5000}), "texts and numbers"),
        (("cuda", {"\ud800": "1"}), "texts and numbers"),
        (("cuda", {"name": "\ud800"}), "texts and numbers"),
        (["cuda", "CUDAExecutionProvider"], "each one once, got cuda, cuda"),
    ],
)
def test_anything_else_is_a_sentence(given: Any, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        asked(given)
