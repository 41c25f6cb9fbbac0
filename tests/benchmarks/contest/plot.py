"""Time over length, a small picture for each model. In: rows of one machine. Out: an SVG that is the same for the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contest.records import Record
from benchmarks.contest.rows import EAGER, FLOOR

LINES = {EAGER: ("#777777", "s"), "graph": ("#1f6feb", "o"), "int8": ("#d1660a", "^"), FLOOR: ("#1a7f37", "v")}
COLUMNS, SIDE = 4, 2.8  # pictures in a line, and inches of each


def panels(records: list[Record]) -> dict[str, list[Record]]:
    """Rows by model with its fewest layers: one thread, batch 1, in the order of lengths."""
    found: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: (record["key"]["layers"], record["key"]["length"])):
        key = record["key"]
        kept = found.setdefault(key["model"], [])
        if key["threads"] == key["batch"] == 1 and (not kept or kept[0]["key"]["layers"] == key["layers"]):
            kept.append(record)
    order = dict.fromkeys(record["key"]["model"] for record in records)
    return {model: found[model] for model in order if found[model]}


def plot(records: list[Record], path: Path) -> bool:
    """Writes the pictures; False where there is nothing to show. Markers of rows that don't count are hollow."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    shown = panels(records)
    if not shown:
        return False
    lines = -(-len(shown) // COLUMNS)
    with mpl.rc_context({"svg.hashsalt": "speed", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = pyplot.subplots(
            lines, COLUMNS, figsize=(COLUMNS * SIDE, lines * SIDE + 0.4), squeeze=False, layout="constrained"
        )
        for axis, (model, rows) in zip(axes.flat, shown.items(), strict=False):
            panel(axis, f"{model}, {rows[0]['key']['layers']} layers", rows)
        for axis in list(axes.flat)[len(shown) :]:
            axis.set_axis_off()
        handles = {
            label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles, loc="outside upper center", ncols=len(LINES), frameon=False)
        figure.savefig(path, metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    return True


def panel(axis: Any, title: str, rows: list[Record]) -> None:
    """Milliseconds over tokens of one model, both axes logarithmic."""
    for name, (colour, marker) in LINES.items():
        points = [
            (row["key"]["length"], 1e3 * row["seconds"][name], not row["invalid"])
            for row in rows
            if name in row["seconds"]
        ]
        if points:
            axis.plot(
                [length for length, _, _ in points],
                [time for _, time, _ in points],
                color=colour,
                label=name,
                linewidth=1.2,
            )
            for length, time, valid in points:
                axis.plot(
                    length,
                    time,
                    marker=marker,
                    color=colour,
                    markersize=4.5,
                    markerfacecolor=colour if valid else "white",
                )
    lengths = [row["key"]["length"] for row in rows]
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(lengths, [f"{length:,}" for length in lengths], rotation=40)
    axis.tick_params(axis="x", which="minor", bottom=False)
    axis.set_title(title, fontsize=9)
    axis.set_xlabel("tokens")
    axis.set_ylabel("ms")
    axis.grid(alpha=0.3, linewidth=0.5)
