"""The verdict on a quantized dtype in the words of a user."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgexf.report.quantization import FORCED, KEPT, REFUSED, ErrorRow, ExplainRow, Outcome, Speed
from edgexf.report.verdicts import HEADER, cells, sentences, speed_text

OUTCOME = Outcome(
    mode="int8", dtype="q8", verdict=KEPT, reasons=(), tolerance=0.2, unsigned=False, bytes=400_000, fp32_bytes=1_000_000,
    errors=(ErrorRow(16, 1, 0.01, 0.02),), agreement=1.0, cases=1, data="random values", metric=None, fp32_metric=None,
    drop=None, max_drop=None, speed=(Speed(64, 41, 0.5, 0.49, 0.51, 1.0),),
    explain=(ExplainRow("attnlrp", 3, 0.99, 0.9, True),), layers=(), curve=(), evaluations=0, settings={}, machine={},
)  # fmt: skip


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ((0.5,), "2.00x faster"),
        ((0.97,), "no faster here"),  # 1.03x is within what two runs of one graph differ by
        ((1.03,), "no faster here"),
        ((2.0,), "2.00x slower here"),
        ((0.5, 2.0), "no faster here"),
        ((), "not timed"),
    ],
)
def test_a_small_gain_is_none(ratios: tuple[float, ...], words: str) -> None:
    assert speed_text([Speed(64, 41, ratio, ratio, ratio, 1.0) for ratio in ratios]) == words


def test_a_verdict_says_what_it_was_judged_by() -> None:
    kept, judged = sentences(OUTCOME)
    assert kept == "int8 is kept: 0.40x the size, 2.00x faster, answers 100.0% as fp32's"
    assert judged == "int8 was judged by 1 input: random values"
    row = dict(zip(HEADER, cells(OUTCOME), strict=True))
    assert (row["size"], row["speed"], row["verdict"]) == ("0.40x (0.40 MB)", "2.00x@64", "kept")
    labelled = replace(OUTCOME, metric=0.9, fp32_metric=0.95)
    assert "accuracy 95.0% -> 90.0%" in sentences(labelled)[0]


def test_a_refusal_says_why() -> None:
    refused = replace(
        OUTCOME, verdict=REFUSED, reasons=("is no smaller than fp32", "is slower: it has 0.50x fp32's speed")
    )
    assert sentences(refused)[0] == "int8 is refused: is no smaller than fp32; is slower: it has 0.50x fp32's speed"
    assert sentences(replace(refused, verdict=FORCED))[0].startswith("int8 is kept by --force: ")


def test_graphs_that_explain_otherwise_are_named() -> None:
    other = replace(OUTCOME, explain=(*OUTCOME.explain, ExplainRow("gradient", 3, 0.1, 0.1, False)))
    assert sentences(other)[1] == "int8 explains otherwise by gradient, so these graphs are left out"
