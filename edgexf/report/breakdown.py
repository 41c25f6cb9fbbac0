"""Where the time of a graph goes, as plain values: by node, by operator, by provider, and against the device's limit.

In: what `edgexf_runtimes.measure.operators` measured, or its JSON. Out: a `Breakdown` of one graph at one length, and a table
of several lengths. Law: ``Breakdown.from_dict(breakdown.to_dict()) == breakdown``.

The times come from a profiled session. It is slower than the one whose latency the report gives, so a breakdown says how
much; where that is over 20 %, its shares are indicative only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from edgexf.checks import require
from edgexf.report.facts import Fact
from edgexf.report.reading import check_keys, listed, number, of_kind

BETWEEN = "between kernels"
MOST_SLOWDOWN = 1.2  # profiled over unprofiled time, for shares that may be relied upon
INDICATIVE = f"* the profiler slows it by more than {MOST_SLOWDOWN - 1:.0%}, so its shares are indicative only"
ROUNDING = 1.01  # the profiler counts whole microseconds
SHOWN = 0.01  # the share of a run from which an operator has a row of its own
GIGA = 1e9


@dataclass(frozen=True)
class Node:
    """A node of the graph as ONNX Runtime runs it, after its optimizers.

    Attributes:
        name, operator: as the profiler says them. A fused node has a name that the graph's file does not hold.
        provider: where it ran, as a short name.
        calls: how often it ran in one run of the graph; over 1 for a node inside a loop.
        ms: the time of all these calls, without the nodes inside it, in milliseconds.
    """

    name: str
    operator: str
    provider: str
    calls: int
    ms: float

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        check_keys(cls, values)
        name, operator, provider = (of_kind(values, key, str) for key in ("name", "operator", "provider"))
        ms = number(values["ms"])
        require(0 <= ms < float("inf"), "the time of a node must be at least 0", ms)
        return cls(name, operator, provider, of_kind(values, "calls", int), ms)


@dataclass(frozen=True)
class Share:
    """A part of the profiled run.

    Attributes:
        name: of an operator, a provider or another group of nodes; `BETWEEN` for the rest of the run.
        nodes: how many nodes; 0 for the rest.
        ms: their time in milliseconds.
        of_run: this time over the profiled run.
        of_kernels: this time over that of all nodes; None for the rest.
    """

    name: str
    nodes: int
    ms: float
    of_run: float
    of_kernels: float | None


@dataclass(frozen=True)
class Breakdown:
    """Where the time of a graph goes at one length.

    Attributes:
        graph, dtype, length, batch: as in `edgexf.report.latency.Configuration`.
        runs: how many profiled runs the times are averages of.
        run_ms: the profiled run inside ONNX Runtime, in milliseconds: the nodes, and what lies between them.
        profiled_ms, plain_ms: the median query with the profiler and without it, in the same process, in milliseconds.
        nodes: the nodes, in the order in which they ran.
        operations: the additions and multiplications of the matrix products that the graph needs, by their kind of number
            (``float32``, ``int8``).
        uncounted: operators with products that nobody could count.
    """

    graph: str
    dtype: str
    length: int
    batch: int
    runs: int
    run_ms: float
    profiled_ms: float
    plain_ms: float
    nodes: tuple[Node, ...]
    operations: Mapping[str, int]
    uncounted: tuple[str, ...]

    @property
    def place(self) -> tuple[str, str, int, int]:
        """What it is of, to find its row in a report."""
        return self.graph, self.dtype, self.length, self.batch

    @property
    def kernels_ms(self) -> float:
        """The time of all nodes, in milliseconds."""
        return sum(node.ms for node in self.nodes)

    @property
    def slowdown(self) -> float:
        """The profiled query over the one without the profiler."""
        return self.profiled_ms / self.plain_ms

    @property
    def indicative(self) -> bool:
        """Whether the profiler slows the graph so much that its shares are a hint only."""
        return self.slowdown > MOST_SLOWDOWN

    def by(self, group: Callable[[Node], str]) -> list[Share]:
        """The time by group, the longest first, with the time between the nodes last. They sum to the profiled run."""
        ms, nodes, kernels = Counter[str](), Counter[str](), self.kernels_ms
        for node in self.nodes:
            ms[group(node)] += node.ms  # type: ignore[assignment]  # a Counter adds floats too
            nodes[group(node)] += 1
        found = [Share(name, nodes[name], time, time / self.run_ms, time / kernels) for name, time in ms.most_common()]
        between = self.run_ms - kernels
        return [*found, Share(BETWEEN, 0, between, between / self.run_ms, None)]

    @property
    def operators(self) -> list[Share]:
        return self.by(lambda node: node.operator)

    @property
    def providers(self) -> list[Share]:
        return self.by(lambda node: node.provider)

    def floor_ms(self, rates: Mapping[str, Fact]) -> Fact:
        """The least time that the products of this graph take on this device, in milliseconds, or the reason why nobody
        knows.

        `rates` are the additions and multiplications a second of large products, in 1e9, by kind of number.
        """
        if self.uncounted:
            return Fact(None, f"the products of {', '.join(self.uncounted)} are not counted")
        lacking = [rates.get(kind, Fact(None, f"no product of {kind} was measured")) for kind in self.operations]
        for rate in lacking:
            if rate.value is None:
                return rate
        return Fact(1e3 * sum(count / GIGA / rates[kind].value for kind, count in self.operations.items()))

    def to_dict(self) -> dict[str, Any]:
        found = asdict(self)
        summary = {"slowdown": self.slowdown, "indicative": self.indicative}
        shares = {name: [asdict(one) for one in getattr(self, name)] for name in ("operators", "providers")}
        return {
            **found,
            "nodes": [asdict(node) for node in self.nodes],
            "uncounted": list(self.uncounted),
            "summary": {**summary, **shares},
        }

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        check_keys(cls, values, {"summary"})
        run, profiled, plain = times = [number(values[name]) for name in ("run_ms", "profiled_ms", "plain_ms")]
        require(all(0 < time < float("inf") for time in times), "times must be above 0", times)
        counts = {name: of_kind(values, name, int) for name in ("length", "batch", "runs")}
        nodes = tuple(map(Node.from_dict, listed(values["nodes"], None)))
        require(bool(nodes), "a breakdown must have nodes", "none")
        operations = of_kind(values, "operations", dict)
        counted = all(type(count) is int and count >= 0 for count in operations.values())
        require(counted, "operations must be whole numbers of at least 0", operations)
        found = cls(
            graph=of_kind(values, "graph", str),
            dtype=of_kind(values, "dtype", str),
            **counts,
            run_ms=run,
            profiled_ms=profiled,
            plain_ms=plain,
            nodes=nodes,
            operations=operations,
            uncounted=tuple(listed(values["uncounted"], None, str)),
        )
        within = 0 < found.kernels_ms <= ROUNDING * found.run_ms
        require(within, "nodes must take a part of their run", (found.kernels_ms, found.run_ms))
        return found


def breakdown_table(
    breakdowns: Sequence[Breakdown], medians: Sequence[float], rates: Mapping[str, Fact]
) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table of one graph: a column for each of `breakdowns`.

    `medians` are the milliseconds of the unprofiled queries in the report's rows. A star marks indicative shares. Operators
    below 1 % of each run share a row.
    """
    header = ["operator", *(f"{one.length:,}" + (f" x {one.batch}" if one.batch > 1 else "") for one in breakdowns)]
    found = [{share.name: share for share in one.operators} for one in breakdowns]
    names = dict.fromkeys(name for shares in found for name in shares)
    large = [
        name
        for name in names
        if name == BETWEEN or any(name in shares and shares[name].of_run >= SHOWN for shares in found)
    ]
    large.sort(key=lambda name: (name == BETWEEN, -max(shares[name].ms for shares in found if name in shares)))
    small = [name for name in names if name not in large]

    def cells(some: Sequence[str]) -> list[str]:
        taken = [[shares[name] for name in some if name in shares] for shares in found]
        return [
            f"{sum(one.ms for one in row):.3f} ({sum(one.of_run for one in row):.0%})" if row else "-" for row in taken
        ]

    rows = [[name, *cells([name])] for name in large]
    rest = [[f"{len(small)} more", *cells(small)]] if small else []
    floors = [one.floor_ms(rates) for one in breakdowns]
    return header, [
        *rows[:-1],
        *rest,
        rows[-1],
        *by_provider(breakdowns),
        ["profiled run", *(f"{one.run_ms:.3f}" for one in breakdowns)],
        ["slowdown by profiling", *(f"{one.slowdown:.2f}" + ("*" if one.indicative else "") for one in breakdowns)],
        ["10^9 operations", *(f"{sum(one.operations.values()) / GIGA:.3f}" for one in breakdowns)],
        ["floor ms", *("-" if floor.value is None else f"{floor.value:.3f}" for floor in floors)],
        [
            "median / floor",
            *(
                f"{median / floor.value:.2f}" if floor.value else "-"
                for median, floor in zip(medians, floors, strict=True)
            ),
        ],
    ]


def by_provider(breakdowns: Sequence[Breakdown]) -> list[list[str]]:
    """A row for each provider, where there are several: the time of its nodes, the share of the run, and their number."""
    found = [{share.name: share for share in one.providers if share.nodes} for one in breakdowns]
    names = dict.fromkeys(name for shares in found for name in shares)
    if len(names) < 2:
        return []

    def cell(share: Share | None) -> str:
        return "-" if share is None else f"{share.ms:.3f} ({share.of_run:.0%}), {share.nodes:,} nodes"

    return [[f"on {name}", *(cell(shares.get(name)) for shares in found)] for name in names]
