"""Where the time goes in the user's model: a chart of its layers for each graph, and the providers that ran the nodes.

In: the breakdowns of reports. Out: `Chart`s, and rows of a table.

A layer is a row, and a length is a bar in it. One bar with a part for each layer was the alternative, as the chart of operators
has: a model of 12 layers has more parts than there are colours that can be told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from edgexf.names import PREDICT
from edgexf.report.characters import visible
from edgexf.report.html.latency.bars import HEAD, named, without_heights
from edgexf.report.html.latency.charts import Chart, Entry, both, counted, left_out
from edgexf.report.html.latency.plots import SERIES
from edgexf.report.latency.measured.breakdown import (
    INDICATIVE,
    SHOWN,
    UNKNOWN,
    WHOLE,
    Breakdown,
    Share,
    is_attention,
    layer_of,
)
from edgexf.report.latency.report import LatencyReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CHARTS, MOST_ROWS, MOST_LENGTHS = 8, 24, 4
NAME, BAR = 22, 11  # CSS pixels of the name of a layer, and of a bar
NOTHING = (0.0, 0.0)
FAINT = 0.35  # opacity of what is not attention
Shares = Mapping[str, tuple[float, float]]  # by layer: its share of the run, and that of its attention, in per cent


def layer_charts(reports: Sequence[LatencyReport], labels: Sequence[str]) -> list[Chart]:
    """A chart for each graph and dtype whose bundle tells the modules of its nodes."""
    found: dict[str, tuple[list[str], list[Breakdown]]] = {}
    for report, label in zip(reports, labels, strict=True):
        known = [one for one in report.breakdowns if one.layers]
        order = order_of(known)
        for one in known:
            name = f"{label}: {one.graph} {one.dtype}" if label else f"{one.graph} {one.dtype}"
            found.setdefault(name, (order, []))[1].append(one)
    shown = list(found.items())[:MOST_CHARTS]
    more = left_out(len(found), MOST_CHARTS, "graphs")
    return [layer_chart(visible(name), *some, f"layers-{place}", more) for place, (name, some) in enumerate(shown)]


def layer_chart(name: str, order: Sequence[str], breakdowns: Sequence[Breakdown], key: str, more: str) -> Chart:
    some = breakdowns[:: -(-len(breakdowns) // MOST_LENGTHS)]
    bars = {told(one): layer_shares(one) for one in some}
    rows = rows_of(order, list(bars.values()))
    legend = [Entry("■", place, length) for place, length in enumerate(bars)]
    height = HEAD + len(rows) * (NAME + BAR * len(bars))
    thinned = f" {len(some)} of {len(breakdowns)} lengths are drawn; the table has all." if len(some) < len(breakdowns) else ""  # fmt: skip
    note = f"{attention_note(some)}{thinned}{more}"
    return both(f"Time by layer: {name}", partial(draw_layers, rows, bars), key, legend, note, height)


def told(one: Breakdown) -> str:
    """The length of a breakdown, with its batch where it is unusual, and a star where its shares are indicative only."""
    return f"{one.length:,}" + (f" x {one.batch}" if one.batch > 1 else "") + (" *" if one.indicative else "")


def attention_note(some: Sequence[Breakdown]) -> str:
    """What attention takes of each run, and what the marks say."""
    parts = [f"{one.attention.of_run:.0%} of the run at {told(one)}" for one in some if one.attention is not None]
    said = f"Full colour: modules called attention, {', '.join(parts)}." if parts else "No module is called attention."  # fmt: skip
    unknown = f" {UNKNOWN.capitalize()}: onnxruntime made them of several, or they belong to the explanation itself." if any(one.name == UNKNOWN for breakdown in some for one in breakdown.layers) else ""  # fmt: skip
    star = f" {INDICATIVE[0].upper()}{INDICATIVE[1:]}." if any(one.indicative for one in some) else ""
    return said + unknown + star


def layer_shares(breakdown: Breakdown) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for node in breakdown.nodes:
        whole, attention = found.get(layer_of(node.module), NOTHING)
        share = 100 * node.ms / breakdown.run_ms
        found[layer_of(node.module)] = whole + share, attention + share * is_attention(node.module)
    return found


def order_of(breakdowns: Sequence[Breakdown]) -> list[str]:
    """The layers of a model in their order; last what is no layer.

    In the graph of the answer, a layer stands where its last node runs: ONNX Runtime runs some nodes early, because they need no
    other layer. An explanation goes through the layers forward and then backward, so the order of the answer holds for it too;
    without an answer, the first quarter of the nodes of a layer says where it stands.
    """
    found: dict[str, None] = {}
    for one in sorted(breakdowns, key=lambda one: one.graph != PREDICT):
        places: dict[str, list[int]] = {}
        for place, node in enumerate(one.nodes):
            places.setdefault(layer_of(node.module), []).append(place)
        at = {name: some[-1 if one.graph == PREDICT else len(some) // 4] for name, some in places.items()}
        found |= dict.fromkeys(sorted(at, key=at.__getitem__))
    return sorted(found, key=lambda name: (name == UNKNOWN, name == WHOLE))


def rows_of(order: Sequence[str], bars: Sequence[Shares]) -> list[tuple[str, list[str]]]:
    """The name of each row, with the layers in it: the small ones, and those that there is no room for, share the last row."""
    most = {name: max(shares.get(name, NOTHING)[0] for shares in bars) for name in order if any(name in shares for shares in bars)}  # fmt: skip
    largest = sorted(most, key=lambda name: -most[name])[:MOST_ROWS]
    large = {name for name in largest if most[name] >= 100 * SHOWN}
    rows, rest = [(name, [name]) for name in most if name in large], [name for name in most if name not in large]
    return [*rows, (f"{len(rest)} more", rest)] if rest else rows


def draw_layers(rows: Sequence[tuple[str, list[str]]], bars: Mapping[str, Shares], figure: Figure) -> None:
    axes = figure.add_subplot()
    slot = NAME + BAR * len(bars)
    solid = not any(attention for shares in bars.values() for _, attention in shares.values())
    for place, (name, layers) in enumerate(rows):
        named(axes, place, visible(name), 8 / slot)
        for number, shares in enumerate(bars.values()):
            whole, attention = (sum(shares.get(layer, NOTHING)[part] for layer in layers) for part in (0, 1))
            at, colour = place + (BAR * number - 2) / slot, SERIES[number % len(SERIES)]
            axes.barh(at, whole, 0.8 * BAR / slot, facecolor=colour if solid else (colour, FAINT), edgecolor=colour, linewidth=0.8)  # fmt: skip
            axes.barh(at, attention, 0.8 * BAR / slot, facecolor=colour, linewidth=0)
    without_heights(axes, len(rows))
    axes.set_xlim(0, None)
    axes.set_xlabel("% of the run")


def placement_rows(reports: Sequence[LatencyReport], labels: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table of the providers that ran each graph: their share of its nodes and of the nodes' time."""
    every = [(f"{label}: " if label else "", one) for report, label in zip(reports, labels, strict=True) for one in report.breakdowns]  # fmt: skip
    names = list(dict.fromkeys(share.name for _, one in every for share in ran(one)))
    rows = []
    for label, one in every:
        found = {share.name: share for share in ran(one)}
        cells = [placed(found.get(name), len(one.nodes)) for name in names]
        rows.append([f"{label}{one.graph} {one.dtype} {told(one)}", *cells])
    return ["configuration", *names], rows


def ran(one: Breakdown) -> Iterator[Share]:
    return (share for share in one.providers if share.nodes)


def placed(share: Share | None, nodes: int) -> str:
    if share is None:
        return "-"
    return f"{counted(share.nodes, 'node', 'nodes')} ({share.nodes / nodes:.0%}), {share.of_kernels or 0.0:.0%} of the time"
