"""Rates and quality in a latency report: their JSON, their tables, and what is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.quality import EAGER, FP32_HERE, QUALITY_HEADER, Explained, Quality
from edgexf.report.latency.measured.rates import RATES_HEADER, Rate, Trial
from edgexf_runtimes.measure.evaluation import mean_and_worst

TRIALS = (Trial(100.0, 40.0, True), Trial(200.0, 60.0, False), Trial(150.0, 51.0, False))
SERVER = Rate("predict", "fp32", 512, 2, "server", 4, Fact(200.0), 50.0, 0.99, TRIALS)
OFFLINE = Rate("predict", "q8", 512, 1, "offline", 1, Fact(12_345.6))
OF_FILE = Quality("q8", FP32_HERE, "inputs.jsonl", 6, 0.01, 0.02, 0.99, 0.5, 0.6, (Explained("attnlrp", 6, 0.99, 0.9),))
OF_GOLDEN = Quality("fp32", EAGER, "golden inputs", 26, 1e-7, 1e-6)


@pytest.mark.parametrize(
    "rate", [SERVER, OFFLINE, replace(SERVER, samples_per_second=Fact(None, "too slow"), trials=())]
)
def test_a_rate_is_read_as_it_was_written(rate: Rate) -> None:
    assert Rate.from_dict(json.loads(json.dumps(rate.to_dict()))) == rate


@pytest.mark.parametrize("quality", [OF_FILE, OF_GOLDEN])
def test_quality_is_read_as_it_was_written(quality: Quality) -> None:
    assert Quality.from_dict(json.loads(json.dumps(quality.to_dict()))) == quality


def test_the_mean_of_equal_errors_is_no_larger_than_they_are() -> None:
    errors = [0.1] * 3
    assert np.mean(errors) > max(errors)
    assert mean_and_worst(errors) == (0.1, 0.1)
    written = replace(OF_FILE, error=float(np.mean(errors)), worst=0.1)  # as an earlier edgexf made it
    assert Quality.from_dict(json.loads(json.dumps(written.to_dict()))) == written


def test_a_row_says_what_held_and_what_did_not() -> None:
    assert SERVER.failed == 300  # 150 queries of two samples
    cells = dict(zip(RATES_HEADER, SERVER.cells(), strict=True))
    assert cells["rate of"] == "server predict fp32 512 batch 2"
    assert (cells["samples/s"], cells["bound"], cells["trials"]) == ("200", "p99 <= 50 ms", "3")
    assert OFFLINE.cells()[2:] == ("12,346", "-", "-", "-")
    assert replace(SERVER, samples_per_second=Fact(None, "too slow")).cells()[2] == "too slow"


def test_a_row_of_quality_says_what_is_known() -> None:
    cells = dict(zip(QUALITY_HEADER, OF_FILE.cells(), strict=True))
    assert (cells["same answers"], cells["right"]) == ("99.00%", "50.00% (reference 60.00%)")
    assert cells["explanations"] == "attnlrp 0.990"
    assert OF_GOLDEN.cells()[-3:] == ("-", "-", "-")


@pytest.mark.parametrize(
    ("made", "change"),
    [
        (SERVER, lambda values: values.update(workers=0)),
        (SERVER, lambda values: values.update(share=None)),
        (SERVER, lambda values: values.update(samples_per_second=3)),
        (SERVER, lambda values: values["trials"][0].update(rate=0)),
        (SERVER, lambda values: values["trials"][0].update(held=1)),
        (SERVER, lambda values: values.update(further=1)),
        (OF_FILE, lambda values: values.update(cases=0)),
        (OF_FILE, lambda values: values.update(worst=0.001)),
        (OF_FILE, lambda values: values.update(accuracy=1.5)),
        (OF_FILE, lambda values: values.update(agreement="1")),
        (OF_FILE, lambda values: values["explanations"][0].update(correlation=-2)),
    ],
)
def test_what_is_no_rate_or_quality_is_refused(
    made: Rate | Quality, change: Callable[[dict[str, Any]], object]
) -> None:
    values = json.loads(json.dumps(made.to_dict()))
    change(values)
    with pytest.raises(ValueError, match=r"must|takes|holds"):
        type(made).from_dict(values)
