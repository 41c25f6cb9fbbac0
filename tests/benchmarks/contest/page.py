"""The Markdown of `speed.py`. In: rows of any machines, and the plots of machines. Out: a section for each machine.

A column that no row of a machine has is left out of its table, and a line names it.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.contest.growth import SHORTEST, growths
from benchmarks.contest.records import Record, machines, of_machine
from benchmarks.contest.rows import EAGER, EXPLAIN_FLOOR, FLOOR

from edgexf.bundle.graphs import ORT_CPU
from edgexf.report.markdown import markdown_table

RATIOS = ("graph", ORT_CPU, "int8", "compile", "library", "openvino", "dense", "explain")
SHARES = {"of floor": ("graph", FLOOR), "explain of floor": ("explain", EXPLAIN_FLOOR)}
KEYS = ("model", "layers", "length", "batch", "threads")
HEAD = """# Speed

`python tests/benchmarks/speed.py` makes this page, and its docstring says what the columns are. 1 thread: processor time; 2
threads: wall time; medians. Ratios above 1: the contestant is faster than eager PyTorch. A row that says INVALID does not count.
"""


def page(records: list[Record], plots: Mapping[str, str]) -> str:
    """The whole page. `plots` names a picture for some machines."""
    parts = [HEAD]
    for number, machine in enumerate(machines(records), 1):
        picture = f"![Time over length]({plots[machine]})\n" if machine in plots else ""
        parts += [f"## Machine {number}\n", f"{machine}\n", picture, section(of_machine(records, machine))]
    return "\n".join(filter(None, parts))


def section(records: list[Record]) -> str:
    """Table, missing columns, notes and growth of one machine."""
    return "\n".join(filter(None, (table(records), lacking(records), notes(records), growth(records))))


def measured_ratios(records: list[Record]) -> list[str]:
    return [name for name in RATIOS if any(name in record["ratios"] for record in records)]


def table(records: list[Record]) -> str:
    """One line for each row: times of eager, ratios, and times of the floor."""
    ratios = measured_ratios(records)
    shares = {name: pair for name, pair in SHARES.items() if pair[0] in ratios}
    header = (*KEYS, "eager ms", *(f"eager / {name}" for name in ratios), *shares, "valid")
    lines = [
        (
            *(str(record["key"][part]) for part in KEYS),
            f"{1e3 * record['seconds'][EAGER]:.1f}",
            *(f"{record['ratios'][name]:.2f}" if name in record["ratios"] else "-" for name in ratios),
            *(share(record["seconds"], *pair) for pair in shares.values()),
            record["invalid"] and f"INVALID: {record['invalid']}",
        )
        for record in records
    ]
    return markdown_table(header, lines)


def line(record: Record) -> str:
    """A row in one line, told while others still run."""
    key, seconds = record["key"], record["seconds"]
    where = f"{key['model']}, {key['layers']} layers, {key['batch']}x{key['length']}, threads {key['threads']}"
    ratios = ", ".join(f"/ {name} {record['ratios'][name]:.2f}" for name in measured_ratios([record]))
    invalid = f" INVALID: {record['invalid']}" if record["invalid"] else ""
    return f"{where}: eager {1e3 * seconds[EAGER]:.1f} ms, {ratios}{invalid}"


def share(seconds: Mapping[str, float], name: str, floor: str) -> str:
    """The time of a contestant in times of its floor."""
    return f"{seconds[name] / seconds[floor]:.2f}" if name in seconds else "-"


def lacking(records: list[Record]) -> str:
    """The columns that nobody measured on this machine."""
    missing = [name for name in RATIOS if name not in measured_ratios(records)]
    return f"Not measured on this machine: {', '.join(missing)}.\n" if missing else ""


def notes(records: list[Record]) -> str:
    """Why a cell says "-", each reason once with the shapes that it holds for."""
    shapes: dict[tuple[str, str, int, str], dict[str, None]] = {}
    for record in records:
        key = record["key"]
        for name, why in record["notes"].items():
            shape = f"{key['batch']}x{key['length']}"
            shapes.setdefault((name, key["model"], key["layers"], why), {})[shape] = None
    lines = [
        f"- {name}, {model} of {layers} layers at {', '.join(where)}: {why}"
        for (name, model, layers, why), where in shapes.items()
    ]
    return "\n".join(["### Notes\n", *lines, ""]) if lines else ""


def growth(records: list[Record]) -> str:
    """The exponents of the efficient families."""
    rows = [
        (one.model, str(one.layers), f"{one.first:,}", f"{one.last:,}", f"{one.exponent:.2f}")
        for one in growths(records)
    ]
    text = (
        f"### Growth\n\nTime of `graph` grows as length to this power, from the shortest of at least {SHORTEST:,} tokens to the "
        "longest; valid rows, batch 1, 1 thread. 1 is linear.\n"
    )
    return f"{text}\n{markdown_table(('model', 'layers', 'from', 'to', 'exponent'), rows)}" if rows else ""
