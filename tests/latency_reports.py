"""Latency reports made by hand, for tests of what is shown of them."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from explanations import Page

from edgexf.report.latency.measured.breakdown import Breakdown, Node
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.loadgen import Driven
from edgexf.report.latency.measured.rows import Configuration, Measured, Started
from edgexf.report.latency.measured.stages import STAGES as ANSWER
from edgexf.report.latency.measured.stages import WHOLE, Stages
from edgexf.report.latency.report import LatencyReport

UNKNOWN = Fact(None, "not here")
STAGES = {"process": 20.0, "import": 100.0, "verify": 12.0, "create": 40.0, "first": 30.0, "second": 9.0}
RESIDENT = {"import": 40.0, "verify": 41.0, "create": 60.0, "first": 72.0}


def measured(
    median: float = 10.0, each: int = 20, processes: int = 5, seed: int = 0, peak: Fact | None = None, **of: Any
) -> Measured:
    """Samples of processes that differ by 0.5 %."""
    generator = np.random.default_rng(seed)
    of = {"graph": "predict", "dtype": "fp32", "length": 512, **of}
    ms = median * np.exp(generator.normal(0, 0.005, (processes, 1)) + generator.gamma(1.5, 0.01, (processes, each)))
    configuration = Configuration(**{"tokens": of["length"] + 1, **of})
    return Measured(configuration, tuple(map(float, ms.reshape(-1))), (each,) * processes, 2.0, 3, UNKNOWN, peak or Fact(64.0))  # fmt: skip


def rows(factor: float = 1.0, seed: int = 0) -> list[Measured]:
    """An answer and an explanation in two dtypes at two lengths."""
    return [
        measured(times * speed * factor * length / 50, seed=seed, graph=graph, dtype=dtype, length=length)
        for graph, times in (("predict", 1.0), ("attnlrp", 2.5))
        for dtype, speed in (("fp32", 1.0), ("q8", 0.5))
        for length in (128, 512)
    ]


def breakdown(graph: str = "predict", dtype: str = "fp32", length: int = 512, operator: str = "MatMul") -> Breakdown:
    """8 ms of nodes in a run of 10 ms, and 10^9 operations."""
    nodes = (Node("a", operator, "cpu", 1, 5.0), Node("b", "Softmax", "cpu", 1, 3.0))
    return Breakdown(graph, dtype, length, 1, 11, 10.0, 12.0, 11.0, nodes, {"float32": 10**9}, ())


def stages(
    graph: str = "predict", dtype: str = "fp32", length: int = 512, lacking: str = "", stages: Sequence[str] = ANSWER
) -> Stages:
    """Two processes of 3 samples. With a reason in `lacking` there is no tokenization; without `stages` nothing but it."""
    ms = {
        name: Fact((1.0, 1.1, 1.2, 1.1, 1.2, 1.3)) if name in (*stages, WHOLE) else Fact(None, lacking or "no")
        for name in (*ANSWER, WHOLE)
    }
    if lacking:
        ms["tokenization"] = Fact(None, lacking)
    return Stages(graph, dtype, length, (3, 3), ms)


def latency_report(some: Sequence[Measured] | None = None, **changed: Any) -> LatencyReport:
    some = tuple(rows() if some is None else some)
    found = LatencyReport(
        model="linformer",
        digest="0" * 64,
        files={"onnx/model.onnx": 1_000, "onnx/model.onnx_data": 3_000_000},
        options={},
        graph_files={f"{row.of.graph} {row.of.dtype}": ("onnx/model.onnx",) for row in some},
        date="2026-01-01T00:00:00+00:00",
        partial=False,
        protocol={"queries": 44.0, "seconds": 1.0, "processes": 5.0},
        device={"processor": Fact("a processor"), "governor": UNKNOWN},
        before={"mhz": Fact(3000.0), "celsius": Fact(None, "no sensor")},
        after={"mhz": Fact(2990.0), "celsius": Fact(None, "no sensor"), "others": Fact(0.02)},
        rows=some,
        starts=tuple(Started(graph, "fp32", 512, STAGES, RESIDENT) for graph in ("predict", "attnlrp") for _ in "ab"),
    )
    return replace(found, **changed)


def full_report() -> LatencyReport:
    """Every part of a report that the page shows only where it is there."""
    of = Configuration("predict", "fp32", 512, 513)
    return latency_report(
        breakdowns=(breakdown(), breakdown("attnlrp")),
        stages=(stages(), stages("attnlrp", lacking="there is no text")),
        loadgen=(Driven(of, 64, {"50": 12.0}, 80.0, False, ("Only 64.",), "6"),),
        options={"predict fp32": {"intra_op_num_threads": "2"}, "attnlrp fp32": {"session.disable_prepacking": "1"}},
    )


def files_of(html: str) -> dict[str, bytes]:
    """The files that a page holds behind links, by name."""
    links = [attributes for attributes, _ in Page(html).all("a") if "download" in attributes]
    return {one["download"]: b64decode(one["href"].partition(";base64,")[2]) for one in links}
