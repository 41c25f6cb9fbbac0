"""One row of `speed.py`: contestants in turns, and whether the row counts.

In: the contestants of a model at a length, as functions. Out: `Row`, with the medians of their times, and why it is INVALID.

    1 thread    processor time of this process, which no neighbour takes from
    2 threads   wall time

Where every contestant takes less than `SHORT`, each runs twice in its turn, and the second run counts. The first run fills the
caches, and lets the threads of the contestant before stop: PyTorch's spin for milliseconds after a run.

A row counts only if other processes took under 3 % of the processors meanwhile, time that a hypervisor took among it, and if
the eager model's median in the first half of the rounds is within 5 % of that in the second half.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from benchmarks.contest.models import Product
from onnx import TensorProto, helper, numpy_helper

from edgexf_runtimes.device.profiles import Settings
from edgexf_runtimes.device.session_options import session_options

MOST_FOREIGN, MOST_DRIFT = 0.03, 0.05
SHORT = 0.1  # seconds
LEAST, MOST = 6, 60  # rounds, unless more are asked for
SECONDS = 3.0  # about how long a contestant runs in all
EAGER, FLOOR, EXPLAIN_FLOOR = "eager", "floor", "floor of explain"
Run = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """Seconds by contestant, in the median.

    Attributes:
        key: what was measured: model, layers, length, batch and threads.
        seconds: the median of each contestant.
        ratios: the median over rounds of eager / contestant.
        rounds: how often each contestant ran.
        invalid: why the row does not count; empty if it does.
        notes: contestant -> why it is absent, or what is to be known of it.
    """

    key: Mapping[str, Any]
    seconds: dict[str, float]
    ratios: dict[str, float]
    rounds: int
    invalid: str = ""
    notes: dict[str, str] = field(default_factory=dict)


def session(model: str | bytes, threads: int) -> ort.InferenceSession:
    """A session with the threads of edgexf's usual profile, for files of any maker. It keeps its memory and packs its weights."""
    options = session_options(Settings(threads=threads, log_level="error"))
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def of_graph(model: str | bytes, given: Mapping[str, Any], threads: int, outputs: list[str] | None = None) -> Run:
    opened = session(model, threads)
    kept = {value.name: given[value.name] for value in opened.get_inputs()}
    return lambda: opened.run(outputs, kept)


class Floor:
    """The time of products alone: each shape runs once a round, and counts as often as the model needs it.

    The time that a call of ONNX Runtime takes for a product of two numbers does not count.

    Attributes:
        explain: the same of the last round for products forward and in reverse: a linear layer has one more product, by its
            input alone, and attention's two products have four more.
    """

    def __init__(self, products: list[Product], threads: int) -> None:
        self.runs = [(one.count, 2 if one.batch == 1 else 3, product_run(one, threads)) for one in products]
        self.call = product_run(Product(1, 1, 1, 1, 1), threads)
        self.least = math.inf
        self.explain = math.inf

    def seconds(self, clock: Callable[[], float]) -> float:
        total, both = 0.0, 0.0
        start = clock()
        self.call()
        self.least = min(self.least, clock() - start)
        for count, times, run in self.runs:
            start = clock()
            run()
            taken = count * (clock() - start - self.least)
            total, both = total + taken, both + times * taken
        self.explain = both
        return total


def product_run(product: Product, threads: int) -> Run:
    """A single MatMul. The right operand of a linear layer is a constant, as weights are."""
    chance = np.random.default_rng(0)
    left = chance.standard_normal((product.batch, product.rows, product.inner)).astype(np.float32)
    right = chance.standard_normal((product.batch, product.inner, product.columns)).astype(np.float32)
    weight = product.batch == 1
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    kinds = {"x": left} if weight else {"x": left, "w": right}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in kinds.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(right[0], "w")] if weight else []
    graph = helper.make_graph([node], "product", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return of_graph(model.SerializeToString(), kinds, threads)


def busy() -> tuple[float, float]:
    """Seconds that all processors worked or were taken away since the start of the machine, and those of this process."""
    ticks = os.sysconf("SC_CLK_TCK")
    # user nice system idle iowait irq softirq steal
    user, nice, system, _, _, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / ticks, time.process_time()


def in_turn(names: Sequence[str], turn: int, taken: Callable[[str], float]) -> dict[str, float]:
    """A round, which another contestant begins each time."""
    first = turn % len(names)
    return {name: taken(name) for name in (*names[first:], *names[:first])}


def measured(
    key: Mapping[str, Any],
    contestants: Mapping[str, Run | Floor],
    threads: int,
    notes: Mapping[str, str],
    least: int = LEAST,
) -> Row:
    """Runs all contestants in turns, for at least so many rounds. The eager model is one of them. `notes` go into the row."""
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter

    def once(contestant: Run | Floor) -> float:
        if isinstance(contestant, Floor):
            return contestant.seconds(clock)
        start = clock()
        contestant()
        return clock() - start

    warm = [[once(contestant) for _ in range(2)] for contestant in contestants.values()]
    rounds = max(least, int(min(MOST, SECONDS // max(*map(max, warm), 1e-3))))
    short = max(map(min, warm)) < SHORT
    explained: list[float] = []

    def in_its_turn(name: str) -> float:
        contestant = contestants[name]
        if short:
            once(contestant)
        taken = once(contestant)
        if isinstance(contestant, Floor):
            explained.append(contestant.explain)
        return taken

    (before, own_before), start = busy(), time.perf_counter()
    times = [in_turn(list(contestants), turn, in_its_turn) for turn in range(rounds)]
    elapsed, (after, own_after) = time.perf_counter() - start, busy()
    by_name = {name: [one[name] for one in times] for name in contestants}
    foreign = max(0.0, (after - before) - (own_after - own_before)) / (elapsed * (os.cpu_count() or 1))
    halves = by_name[EAGER][: rounds // 2], by_name[EAGER][rounds // 2 :]
    first, second = map(statistics.median, halves)
    drift = abs(first / second - 1)
    reasons = []
    if foreign > MOST_FOREIGN:
        reasons.append(f"other processes took {foreign:.0%} of the processors")
    if drift > MOST_DRIFT:
        reasons.append(f"the eager model's halves differ by {drift:.0%}")
    medians = {name: statistics.median(values) for name, values in by_name.items()}
    if explained:
        medians[EXPLAIN_FLOOR] = statistics.median(explained)
    ratios = {
        name: statistics.median(eager / value for eager, value in zip(by_name[EAGER], values, strict=True))
        for name, values in by_name.items()
    }
    return Row(dict(key), medians, ratios, rounds, "; ".join(reasons), dict(notes))
