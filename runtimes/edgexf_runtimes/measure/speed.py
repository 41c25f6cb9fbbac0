"""Compares the speed of two graphs on this device. Both run the same input in turns, so other load slows both of them.

In: two sessions, and lengths. Out: a `Speed` for each length: the median of time / reference's time over pairs of runs,
with the 95 % interval of that median from the order of the pairs (binomial; Conover 1999, section 3.2).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf.bundle.manifest import Manifest
from edgexf.report.quantization import Speed
from edgexf_runtimes.inputs.made import longest
from edgexf_runtimes.measure.cases import random_inputs
from edgexf_runtimes.session import Session

PAIRS = 41
FEWEST = 7  # pairs: with fewer, the median has no 95 % interval
SECONDS = 20.0  # for each length
WARM_UP = 2
Arrays = Mapping[str, npt.NDArray[Any]]


def lengths(manifest: Manifest, wanted: Sequence[int]) -> list[int]:
    """The lengths in `wanted`, each moved into the limits of the model, ascending and without repeats."""
    most, least = longest(manifest), manifest.limits.min_length
    return sorted({max(min(length, most), least) for length in wanted})


def paired_timing(reference: Session, other: Session, length: int, rest: float = 0.0, runs: int = 1) -> Speed:
    """Times both sessions in turns. In each turn a session rests for so many seconds, and the last of its `runs` counts."""
    inputs = random_inputs(reference, length)
    times: list[tuple[float, float]] = []
    for _ in range(WARM_UP):
        reference.run(inputs), other.run(inputs)
    began = time.perf_counter()
    while len(times) < FEWEST or (len(times) < PAIRS and time.perf_counter() - began < SECONDS):
        times.append((seconds_of(reference, inputs, rest, runs), seconds_of(other, inputs, rest, runs)))
    pairs = np.array(times)
    ratios = np.sort(pairs[:, 1] / pairs[:, 0])
    reach = 0.98 * math.sqrt(len(ratios))
    low, high = max(math.floor(len(ratios) / 2 - reach), 0), min(math.ceil(len(ratios) / 2 + reach), len(ratios) - 1)
    return Speed(
        length,
        len(ratios),
        float(np.median(ratios)),
        float(ratios[low]),
        float(ratios[high]),
        float(np.median(pairs[:, 0])) * 1e3,
    )


def seconds_of(session: Session, inputs: Arrays, rest: float, runs: int) -> float:
    """The time of the last of `runs` in a row, which begin after a rest."""
    if rest:
        time.sleep(rest)
    for _ in range(runs - 1):
        session.run(inputs)
    start = time.perf_counter()
    session.run(inputs)
    return time.perf_counter() - start


def overall(ratios: Sequence[Speed]) -> tuple[float, float]:
    """The geometric means over lengths: of the medians, and of the lower ends of their intervals."""
    return geometric_mean([ratio.ratio for ratio in ratios]), geometric_mean([ratio.low for ratio in ratios])


def geometric_mean(ratios: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(ratios))))
