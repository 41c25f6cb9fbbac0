"""The charts of layers: which rows they have, in which order, how much of each is attention, and where nodes ran."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from explanations import Page
from latency_reports import breakdown, latency_report

from edgexf.report.html.latency.layers import draw_layers, layer_charts, layer_shares, order_of, placement_rows, rows_of
from edgexf.report.latency.measured.breakdown import UNKNOWN, WHOLE, Breakdown, Node


def of(modules: Sequence[tuple[str | None, float]], graph: str = "predict", length: int = 512, **changed: object) -> Breakdown:  # fmt: skip
    """Nodes in a profiled run of 10 ms, each with its module and its milliseconds."""
    nodes = tuple(Node(f"n{place}", "MatMul", "cpu", 1, ms, module) for place, (module, ms) in enumerate(modules))
    values = {"batch": 1, "runs": 3, "run_ms": 10.0, "profiled_ms": 10.5, "plain_ms": 10.0, **changed}
    return Breakdown(graph, "fp32", length, nodes=nodes, operations={}, uncounted=(), **values)  # type: ignore[arg-type]


ANSWER = of([
    ("", 0.2), ("layers.0.attention", 0.3), ("tokens", 0.4), ("layers.0.feed", 1.0), ("layers.0.attention.key", 2.0),
    ("layers.0", 0.2), (None, 0.5), ("layers.1.attention", 1.5), ("layers.1.feed", 0.5), ("head.logits", 0.3), ("", 0.1),
])  # fmt: skip
LAYERS = ["tokens", "layers.0", "layers.1", "head.logits", WHOLE, UNKNOWN]


def test_layers_stand_in_the_order_of_the_model_whatever_runs_early() -> None:
    assert order_of([ANSWER]) == LAYERS


def test_an_explanation_has_the_order_of_the_answer() -> None:
    back = of([("head.logits", 0.1), *((node.module, 0.1) for node in ANSWER.nodes), ("layers.1", 0.1), ("layers.0", 0.1), ("reverse", 0.1)], "attnlrp")  # fmt: skip
    assert order_of([back, ANSWER]) == [*LAYERS[:-2], "reverse", *LAYERS[-2:]]
    assert [name for name in order_of([back]) if name.startswith("layers")] == ["layers.0", "layers.1"]


def test_small_layers_and_those_without_room_share_the_last_row(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = {"a": (0.5, 0.0), "b": (50.0, 0.0), "c": (0.9, 0.0), "d": (20.0, 0.0)}
    assert rows_of(["a", "b", "c", "d", "elsewhere"], [shares]) == [("b", ["b"]), ("d", ["d"]), ("2 more", ["a", "c"])]
    assert rows_of(["a", "b"], [{"a": (0.5, 0.0)}, {"a": (1.0, 0.0), "b": (9.0, 0.0)}]) == [("a", ["a"]), ("b", ["b"])]
    monkeypatch.setattr("edgexf.report.html.latency.layers.MOST_ROWS", 1)
    assert rows_of(["a", "b", "c", "d"], [shares]) == [("b", ["b"]), ("3 more", ["a", "c", "d"])]


def test_bars_are_shares_of_the_run_with_the_part_of_attention() -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    draw_layers(rows_of(order_of([ANSWER]), [layer_shares(ANSWER)]), {"512": layer_shares(ANSWER)}, figure)
    widths = [bar.get_width() for bar in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert widths[::2] == pytest.approx([4, 35, 20, 3, 3, 5])
    assert widths[1::2] == pytest.approx([0, 23, 15, 0, 0, 0])
    names = [text.get_text() for text in figure.axes[0].texts]
    assert names == LAYERS


def test_a_chart_says_the_share_of_attention_and_what_is_indicative() -> None:
    slow = of([("layers.0.attention", 5.0)], length=64, profiled_ms=20.0)
    (chart,) = layer_charts([latency_report(breakdowns=(slow, ANSWER))], [""])
    assert chart.title == "Time by layer: predict fp32"
    assert [entry.name for entry in chart.legend] == ["64 *", "512"]
    assert "modules called attention, 50% of the run at 64 *, 38% of the run at 512." in chart.note
    assert "* the profiler slows it by more than 20%" in chart.note
    assert "Nodes of no known module: onnxruntime made them" in chart.note
    (plain,) = layer_charts([latency_report(breakdowns=(of([("a.b", 1.0)]),))], [""])
    assert plain.note == "No module is called attention."


def test_each_graph_that_tells_its_modules_has_a_chart() -> None:
    report = latency_report(breakdowns=(ANSWER, breakdown("attnlrp"), of([("a.b", 1.0)], "gradient")))
    assert [chart.title for chart in layer_charts([report], [""])] == ["Time by layer: predict fp32", "Time by layer: gradient fp32"]  # fmt: skip
    assert [chart.title for chart in layer_charts([report, report], ["old", "new"])][2] == "Time by layer: new: predict fp32"  # fmt: skip
    assert "Time by layer: predict fp32" in {attributes["aria-label"] for attributes, _ in Page(latency_report(breakdowns=(ANSWER,)).to_html()).all("svg")}  # fmt: skip


def test_of_many_lengths_some_are_drawn_and_the_chart_says_so() -> None:
    some = tuple(of([("a.b", 1.0)], length=length) for length in (8, 16, 32, 64, 128))
    (chart,) = layer_charts([latency_report(breakdowns=some)], [""])
    assert [entry.name for entry in chart.legend] == ["8", "32", "128"]
    assert "3 of 5 lengths are drawn; the table has all." in chart.note


def test_the_page_says_where_nodes_ran() -> None:
    nodes = (Node("a", "MatMul", "cuda", 1, 3.0), Node("b", "MatMul", "cuda", 1, 3.0), Node("c", "Loop", "cpu", 1, 2.0))
    both = of([], run_ms=10.0)
    both = Breakdown(**{**vars(both), "nodes": nodes})
    header, rows = placement_rows([latency_report(breakdowns=(both,))], [""])
    assert (header, rows) == (
        ["configuration", "cuda", "cpu"],
        [["predict fp32 512", "2 nodes (67%), 75% of the time", "1 node (33%), 25% of the time"]],
    )
    text = Page(latency_report(breakdowns=(both,)).to_html()).text("main")
    assert "2 nodes (67%), 75% of the time" in text
    assert "Every node ran on cpu." in Page(latency_report(breakdowns=(ANSWER,)).to_html()).text("main")
