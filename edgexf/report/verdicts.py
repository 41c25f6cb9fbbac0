"""The result of quantizing in the words of a user: what is kept or refused, why, and what it was judged by.

In: `Outcome`s. Out: a short table, and a sentence or two for each mode. The whole measurement stands in
`edgexf.report.quantization`.

Every ratio compares with fp32 and has one direction: ``0.44x the size`` is smaller, ``1.60x faster`` takes less time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgexf.report.quantization import FORCED, KEPT, PASSED_OVER, REFUSED, Outcome, Speed, by_length

GAIN = 1.05  # a smaller gain in speed is none: two runs of one graph differ by as much
HEADER = ("mode", "size", "speed", "answers", "explanations", "verdict")
WORDS = {KEPT: "kept", FORCED: "kept by --force", REFUSED: "refused", PASSED_OVER: "not needed"}


def cells(outcome: Outcome) -> tuple[str, ...]:
    """The cells of a table row, in the order of `HEADER`."""
    return (
        outcome.mode,
        f"{outcome.size_ratio:.2f}x ({outcome.bytes / 1e6:.2f} MB)",
        by_length(outcome.speed),
        answers_text(outcome),
        explanations_text(outcome),
        WORDS[outcome.verdict],
    )


def sentences(outcome: Outcome) -> list[str]:
    """The verdict with its reasons, and what it was judged by."""
    verdict = f"{outcome.mode} is {WORDS[outcome.verdict]}: "
    why = "; ".join(outcome.reasons)
    if outcome.verdict == KEPT:
        answers = ("" if outcome.metric is not None else "answers ") + answers_text(outcome)
        why = f"{outcome.size_ratio:.2f}x the size, {speed_text(outcome.speed)}, {answers}"
    count = f"{outcome.cases:,} {'input' if outcome.cases == 1 else 'inputs'}"
    judged = f"{outcome.mode} was judged by {count}: {outcome.data}"
    bad = [row.method for row in outcome.explain if not row.good]
    left_out = [f"{outcome.mode} explains otherwise by {', '.join(bad)}, so these graphs are left out"] if bad else []
    return [verdict + why, *(left_out if outcome.verdict == KEPT else []), judged]


def speed_text(speed: Sequence[Speed]) -> str:
    """The mean speed over lengths in words."""
    if not speed:
        return "not timed"
    times = math.exp(sum(math.log(row.ratio) for row in speed) / len(speed))
    if times <= 1 / GAIN:
        return f"{1 / times:.2f}x faster"
    return "no faster here" if times < GAIN else f"{times:.2f}x slower here"


def answers_text(outcome: Outcome) -> str:
    """The accuracy before and after if inputs are labelled, else the share of answers that are those of fp32."""
    if outcome.metric is not None and outcome.fp32_metric is not None:
        return f"accuracy {outcome.fp32_metric:.1%} -> {outcome.metric:.1%}"
    return f"{outcome.agreement:.1%} as fp32's"


def explanations_text(outcome: Outcome) -> str:
    """Whether the explanations by the bundle's first method are those of fp32."""
    if not outcome.explain:
        return "none"
    first = outcome.explain[0]
    return "not compared" if first.cases == 0 else "as fp32's" if first.good else "others than fp32's"
