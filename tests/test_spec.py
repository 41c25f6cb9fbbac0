"""Specifications: they survive a round trip and refuse unknown content."""

from __future__ import annotations

import json
from typing import Any

import pytest
from small import NAMES, small_spec

from edgexf.errors import UsageError
from edgexf.spec import EncoderSpec, HashedAttentionSpec, WindowedAttentionSpec, attention_from_dict


@pytest.mark.parametrize("name", NAMES)
def test_a_specification_survives_json(name: str) -> None:
    spec = small_spec(name)
    assert EncoderSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize("change", [{"depth": 3}, {"width": None}])
def test_unknown_and_missing_keys_are_named(change: dict[str, Any]) -> None:
    values = small_spec("linformer").to_dict() | change
    values = {key: value for key, value in values.items() if value is not None}
    with pytest.raises(UsageError, match=r"depth|width"):
        EncoderSpec.from_dict(values)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"width": 15}, "heads"),
        ({"heads": 0}, "heads"),
        ({"context": 4}, "odd"),
        ({"labels": ["a", "a"]}, "labels"),
        ({"layers": True}, "layers"),
    ],
)
def test_a_size_that_cannot_be_is_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        EncoderSpec.from_dict(small_spec("transformer").to_dict() | change)


def test_an_attention_refuses_what_it_cannot_be() -> None:
    with pytest.raises(UsageError, match="even"):
        HashedAttentionSpec(buckets=3)
    with pytest.raises(UsageError, match="window"):
        WindowedAttentionSpec(window=0)
    with pytest.raises(UsageError, match="dilated"):
        attention_from_dict({"kind": "dilated"})
    with pytest.raises(UsageError, match="rank"):
        attention_from_dict({"kind": "windowed", "rank": 3})
