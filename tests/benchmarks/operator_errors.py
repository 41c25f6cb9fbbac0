"""Runs every operator of tests/operators on hard values, and writes how far its graph is from PyTorch.

    python tests/benchmarks/operator_errors.py

Errors are relative to float64, entry by entry; "row" marks those relative to the largest entry of a row. An entry may err by
1e-5, by twice what PyTorch errs at this entry, or be within 1e-5 of PyTorch's answer. Writes
results/operators.md, and exits with 1 if a row that isn't listed there as different exceeds that.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from operators import listed, rows
from operators.measure import Errors, Row, in_graph, measured

from edgexf.errors import ExportError
from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.device import describe

RESULTS = Path(__file__).parent / "results" / "operators.md"


def said(row: Row) -> str:
    """How the export of an operator is refused."""
    try:
        in_graph(row)
    except ExportError as error:
        return str(error)
    return "NOT REFUSED"


def refused() -> list[tuple[str, str]]:
    """The operators that are refused, and the way out that the error names."""
    found = [(name, said(Row(does, (torch.eye(4),), free=False))) for name, does in listed.REFUSED.items()]
    found += [
        (f"{name} of a length", said(Row(does, (torch.ones(6, 3),)))) for name, does in listed.FIXES_A_SIZE.items()
    ]
    return [(f"`{name}`", text.rpartition("; ")[2] or text) for name, text in found]


def shown(error: float) -> str:
    return "0" if error == 0 else f"{error:.1e}"


def worst_first(errors: dict[str, Errors], table: dict[str, Row]) -> str:
    """The table of rows, the largest errors first."""
    ordered = sorted(errors.items(), key=lambda item: (-item[1].graph, item[0]))
    cells = [
        (f"`{name}`", shown(found.graph), shown(found.torch), "row" if table[name].scale else "entry")
        for name, found in ordered
    ]
    return markdown_table(("operator", "graph", "PyTorch float32", "relative to"), cells)


def main() -> None:
    warnings.simplefilter("ignore")  # torch deprecates some of these operators
    table = rows.table()
    errors = {name: measured(row) for name, row in table.items()}
    different = listed.APART | listed.BY_KERNEL
    bad = [name for name, found in errors.items() if not found.exact and name not in different]
    apart = [(f"`{name}`", shown(errors[name].graph), why) for name, why in different.items()]
    exact = {name: found for name, found in errors.items() if name not in different}
    whole = sum(found.graph == 0 for found in exact.values())
    RESULTS.write_text(
        f"# Operators\n\n`python tests/benchmarks/operator_errors.py`, {describe()['processor']}: the worst error of {len(exact)} rows, each an operator on "
        "hard values (ties, exact multiples, zeros of both signs, 1e-8 to 1e4, offsets, infinities, ends of integer types, "
        f"hidden rows), {len(bad)} of them beyond both 1e-5 and twice "
        f"PyTorch's own error at the same entry. Where the error is large, PyTorch's answer is the same to 1e-5. {whole} rows have no error at "
        f"all, and stand last.\n\n{worst_first(exact, table)}\n"
        f"## Listed as different\n\n{markdown_table(('operator', 'graph', 'why'), apart)}\n"
        "## Unspecified: PyTorch's choice among equals\n\n"
        f"{markdown_table(('operator', 'what PyTorch takes'), [(f'`{a}`', b) for a, b in listed.UNSPECIFIED.items()])}\n"
        f"## Refused in one sentence\n\n{markdown_table(('operator', 'what to do instead'), refused())}"
    )
    print(f"{len(errors)} rows, {len(bad)} beyond: {bad}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
