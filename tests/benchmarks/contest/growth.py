"""How time grows with length. In: rows of a machine. Out: an exponent for each efficient family.

1 is linear and 2 quadratic: the slope of the graph's time over the length on logarithmic axes, between two lengths.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from benchmarks.contest.models import MODELS
from benchmarks.contest.records import Record

SHORTEST = 1024  # below, what does not grow with length counts too


class Growth(NamedTuple):
    """`time ~ length ** exponent` between two lengths."""

    model: str
    layers: int
    first: int
    last: int
    exponent: float


def growths(records: list[Record]) -> list[Growth]:
    """One for each efficient model and number of layers with two valid rows from `SHORTEST` tokens on, batch 1 and 1 thread."""
    times: dict[tuple[str, int], dict[int, float]] = {}
    for record in filter(counts, records):
        key = record["key"]
        times.setdefault((key["model"], key["layers"]), {})[key["length"]] = record["seconds"]["graph"]
    return [slope(*group, seconds) for group, seconds in times.items() if len(seconds) > 1]


def slope(model: str, layers: int, seconds: dict[int, float]) -> Growth:
    first, last = min(seconds), max(seconds)
    exponent = math.log(seconds[last] / seconds[first]) / math.log(last / first)
    return Growth(model, layers, first, last, exponent)


def counts(record: Record) -> bool:
    """Whether a row is one of those that a growth is made of."""
    key = record["key"]
    efficient = key["threads"] == key["batch"] == 1 and not MODELS[key["model"]].full
    return bool(efficient and key["length"] >= SHORTEST and "graph" in record["seconds"] and not record["invalid"])
