"""Where the time of a graph goes, as plain values: by node, by operator, by provider, and against the device's limit.

In: what `edgexf_runtimes.measure.latency.operators` measured, or its JSON. Out: a `Breakdown` of one graph at one length, and a table
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
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.rows import is_time
from edgexf.report.reading import check_keys, listed, number, of_kind

BETWEEN = "between kernels"
MOST_SLOWDOWN = 1.2  # profiled over unprofiled time, for shares that may be relied upon
INDICATIVE = f"* the profiler slows it by more than {MOST_SLOWDOWN - 1:.0%}, so its shares are indicative only"
ROUNDING = 1.01  # the profiler counts whole microseconds
UNKNOWN = "nodes of no known module"
WHOLE = "the model itself"
ATTENTION = ("attention", "attn")  # in the name of a module
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
        module: the path of the module of the user's model that it comes from, empty for the model itself; None where nobody
            knows, as of a fused node.
    """

    name: str
    operator: str
    provider: str
    calls: int
    ms: float
    module: str | None = None

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        check_keys(cls, values)
        name, operator, provider = (of_kind(values, key, str) for key in ("name", "operator", "provider"))
        ms = number(values["ms"])
        require(0 <= ms < float("inf"), "the time of a node must be at least 0", ms)
        module = values["module"]
        require(module is None or isinstance(module, str), "a module must be a path or null", module)
        return cls(name, operator, provider, of_kind(values, "calls", int), ms, module)


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
        graph, dtype, length, batch: as in `edgexf.report.latency.measured.rows.Configuration`.
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

    @property
    def layers(self) -> list[Share]:
        """The time by layer of the user's model; empty where the bundle does not tell the modules of this graph."""
        known = any(node.module is not None for node in self.nodes)
        return self.by(lambda node: layer_of(node.module))[:-1] if known else []

    @property
    def attention(self) -> Share | None:
        """The nodes of modules that are called attention, with all inside them; None where none is called so."""
        shares = self.by(lambda node: "attention" if is_attention(node.module) else "")
        return next((share for share in shares if share.name == "attention"), None)

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
        shares = {name: [asdict(one) for one in getattr(self, name)] for name in ("operators", "providers", "layers")}
        attention = None if self.attention is None else asdict(self.attention)
        return {
            **found,
            "nodes": [asdict(node) for node in self.nodes],
            "uncounted": list(self.uncounted),
            "summary": {**summary, **shares, "attention": attention},
        }

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        check_keys(cls, values, {"summary"})
        run, profiled, plain = times = [number(values[name]) for name in ("run_ms", "profiled_ms", "plain_ms")]
        require(all(map(is_time, times)), "times must be above 0, from a nanosecond to a year", times)
        counts = {name: of_kind(values, name, int) for name in ("length", "batch", "runs")}
        nodes = tuple(map(Node.from_dict, listed(values["nodes"], None)))
        require(bool(nodes), "a breakdown must have nodes", "none")
        operations = of_kind(values, "operations", dict)
        counted = all(type(count) is int and 0 <= count < 2**63 for count in operations.values())
        require(counted, "operations must be whole numbers of at least 0, in 63 bits", operations)
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


def is_attention(module: str | None) -> bool:
    return module is not None and any(word in part.lower() for part in module.split(".") for word in ATTENTION)


def layer_of(module: str | None) -> str:
    """The layer of the user's model that a module belongs to: its path up to the first number, or its first two parts."""
    if module is None:
        return UNKNOWN
    parts = module.split(".")
    number = next((place for place, part in enumerate(parts) if part.isdigit()), 1)
    return ".".join(parts[: number + 1]) or WHOLE


def breakdown_table(
    breakdowns: Sequence[Breakdown], medians: Sequence[float | None], rates: Mapping[str, Fact]
) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table of one graph: a column for each of `breakdowns`.

    `medians` are the milliseconds of the unprofiled queries in the report's rows of the scenario single, None where another
    scenario was measured: its queries wait for each other, which no floor counts. A star marks indicative shares.
    """
    header = ["operator", *(f"{one.length:,}" + (f" x {one.batch}" if one.batch > 1 else "") for one in breakdowns)]
    floors = [one.floor_ms(rates) for one in breakdowns]
    attention = [one.attention for one in breakdowns]
    return header, [
        *share_rows([one.operators for one in breakdowns], ""),
        *([["in attention", *map(cell, attention)]] if any(attention) else []),
        *share_rows([one.layers for one in breakdowns], "in "),
        *provider_rows(breakdowns),
        ["profiled run", *(f"{one.run_ms:.3f}" for one in breakdowns)],
        ["slowdown by profiling", *(f"{one.slowdown:.2f}" + ("*" if one.indicative else "") for one in breakdowns)],
        ["10^9 operations", *(f"{sum(one.operations.values()) / GIGA:.3g}" for one in breakdowns)],
        ["floor ms", *("-" if floor.value is None else f"{floor.value:.3g}" for floor in floors)],
        [
            "median / floor" + (" (single only)" if None in medians else ""),
            *(
                f"{ms / floor.value:.2f}" if ms and floor.value else "-"
                for ms, floor in zip(medians, floors, strict=True)
            ),
        ],
    ]


def cell(share: Share | None) -> str:
    return "-" if share is None else f"{share.ms:.3f} ({share.of_run:.0%})"


def share_rows(found: Sequence[Sequence[Share]], prefix: str) -> list[list[str]]:
    """A row for each group of nodes of several breakdowns, the longest first, and the time between the nodes last.

    Groups that take less than 1 % of each run share a row.
    """
    named = [{share.name: share for share in shares if share.nodes} for shares in found]
    most = {name: max(shares[name].of_run for shares in named if name in shares) for shares in named for name in shares}
    small = {name for name, share in most.items() if share < SHOWN}
    large = sorted(most.keys() - small, key=lambda name: (-most[name], name))
    rows = [[prefix + name, *(cell(shares.get(name)) for shares in named)] for name in large]
    if small:
        rest = [merged([shares[name] for name in small if name in shares]) for shares in named]
        rows.append([f"{prefix}{len(small)} more", *map(cell, rest)])
    between = [next((share for share in shares if share.name == BETWEEN), None) for shares in found]
    return [*rows, [BETWEEN, *map(cell, between)]] if any(between) else rows


def merged(shares: Sequence[Share]) -> Share | None:
    """Several groups as one without a name."""
    if not shares:
        return None
    return Share(
        "", sum(one.nodes for one in shares), sum(one.ms for one in shares), sum(one.of_run for one in shares), None
    )


def provider_rows(breakdowns: Sequence[Breakdown]) -> list[list[str]]:
    """A row for each provider, where there are several: the time of its nodes, the share of the run, and their number."""
    found = [{share.name: share for share in one.providers if share.nodes} for one in breakdowns]
    names = dict.fromkeys(name for shares in found for name in shares)
    if len(names) < 2:
        return []
    return [
        [f"on {name}", *(f"{cell(one)}, {one.nodes:,} nodes" if (one := shares.get(name)) else "-" for shares in found)]
        for name in names
    ]
