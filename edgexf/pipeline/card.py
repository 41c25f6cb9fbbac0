"""What a bundle says to people: its README.md, and the contract grid as a table.

In: a source and the result of the grid, or the grid from a manifest. Out: Markdown, or the header and cells of a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgexf.bundle.signature import NARROWED, SAMPLED, Signature
from edgexf.pipeline.describe_bundle import said
from edgexf.pipeline.usage import usage
from edgexf.report.markdown import markdown_table

if TYPE_CHECKING:
    from edgexf.bundle.manifest import Manifest, Tensor
    from edgexf_exporters.source import Source
    from edgexf_exporters.verify.compare import GridResult


def card(source: Source, result: GridResult, manifest: Manifest) -> str:
    """The README.md of a bundle: the model's card if it has one, how to run it, and the grid."""
    head = source.card or f"# {source.name}\n\nExported by edgexf.\n"
    table = markdown_table(*grid_table(result.to_dict()))
    defined = any(row.against == "definition" for row in result.rows)
    asked = " Where the model's library has no answer, rows are compared with its definition." if defined else ""
    asked += "".join(f" Note: {note}." for note in (result.undefined, result.ties) if note)
    inputs = limits_in_words(manifest)
    head += "\n## Inputs\n\n" + "".join(f"- {line}\n" for line in inputs) if inputs else ""
    return (
        f"{head}\n{usage(manifest)}\n## Agreement with the eager model\n\nWorst relative difference {result.worst:.1e}, tolerance {result.tolerance:g}, "
        f"{result.grid} grid.{asked}\n\n{table}"
    )


def grid_table(grid: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The header and cells of a manifest's grid.

    The columns ``globals`` (global tokens) and ``against`` (whose answer a row is compared with) are left out if every
    row holds the usual value.
    """
    plain = {"globals": "", "against": "model"}
    chosen = tuple(name for name, usual in plain.items() if any(row[name] != usual for row in grid["rows"]))
    measured = ("outputs", "relevance", "residual")
    cells = [
        (
            f"{row['length']:,}",
            str(row["batch"]),
            *(row[name] for name in ("mask", *chosen)),
            *(difference_text(row[name]) for name in measured),
        )
        for row in grid["rows"]
    ]
    return ("length", "batch", "mask", *chosen, *measured), cells


def difference_text(difference: float | None) -> str:
    """A relative difference, or a dash if nothing was compared."""
    return "-" if difference is None else f"{difference:.1e}"


def takes(manifest: Manifest, signature: Signature) -> str:
    """The inputs and outputs of a custom module's graph, and the sizes that its axes may have, as text."""

    def listed(tensors: Sequence[Tensor]) -> str:
        return ", ".join(f"{one.name} {one.dtype} [{', '.join(map(str, one.shape))}]" for one in tensors)

    axes = ", ".join(
        f"{axis.name} {axis.least:,} to {axis.most:,}{f' in steps of {axis.step}' if axis.step > 1 else ''}"
        for axis in signature.axes
    )
    graph = manifest.variants[0]
    more = "".join(f"\n{line}" for line in limits_in_words(manifest))
    return f"takes {listed(graph.inputs)}\ngives {listed(graph.outputs)}\naxes: {axes}{more}"


def limits_in_words(manifest: Manifest) -> list[str]:
    """What else a graph does not let vary, and what the values of a custom module must keep to, a line each."""
    signature = manifest.signature or Signature((), {}, "")
    ranges = [
        f"{name}: values from {one.least} to {one.axis}{f' - {one.short}' if one.short else ''}"
        for name, one in signature.within.items()
    ]
    kept = [f"{name}={value}" for name, value in signature.frozen.items()]
    return [
        *ranges,
        *([f"fixed: {', '.join(signature.fixed)}"] if signature.fixed else []),
        *(f"narrowed: {one}" for one in said(manifest, NARROWED)),
        *(f"sampled: {one}" for one in said(manifest, SAMPLED)),
        *([f"kept as given: {', '.join(kept)}"] if kept else []),
    ]
