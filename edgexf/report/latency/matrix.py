"""Reports of several devices as one matrix: the time of each model on each device in each dtype.

In: reports. Out: a `Matrix` with a table and JSON, or, for reports of one device, what `edgexf.report.latency.changes` tells.

A row is a model, a graph and a length, with the batch and the scenario where they are unusual. A column is a device and a dtype.
The matrix gives no verdict: a device that is slower than another one is no regression of a bundle.

A caller asks for the matrix with `force`. Two alternatives were weighed:

- Several devices become a matrix unasked. Then a job of continuous integration whose machine was replaced would pass without
  a verdict, and nobody would notice. A report does not tell which of both cases it is.
- A word of its own, ``--matrix``. It would say the same as ``--force``: "I know that these are different devices." Two words
  for that would need a rule for each of their combinations.

Devices alone decide. Reports of one device are compared in pairs also where their models have different names, because two
checkpoints of one training have different names too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from edgexf.errors import UsageError
from edgexf.report.latency.changes import Changes, compare, of_protocols
from edgexf.report.latency.devices import device_names, device_of
from edgexf.report.latency.measured.rows import SINGLE, Configuration, Measured
from edgexf.report.latency.measured.statistics import CONFIDENCE, change
from edgexf.report.latency.report import LatencyReport
from edgexf.report.latency.validity import verdict

CORNER = "model, graph, length"
FASTEST, ALIKE = "*", "~"
NOTE = (
    f"p50 in ms; x, its ratio to p50 in the first column; in brackets, the interval of {CONFIDENCE:.0%} of p50, of one "
    f"process for that process alone. {FASTEST} is the fastest of its row; {ALIKE} is not told from it at {CONFIDENCE:.0%}."
)


@dataclass(frozen=True)
class Column:
    """A device and a dtype.

    Attributes:
        device: its name, see `edgexf.report.latency.devices`.
        dtype, providers, profile, threads: as in `edgexf.report.latency.measured.rows.Configuration`.
    """

    device: str
    dtype: str
    providers: str
    profile: str
    threads: int

    @property
    def name(self) -> str:
        usual = {"providers": "cpu", "profile": "balanced"}
        return " ".join([self.device, self.dtype, *unusual(self, usual)])


@dataclass(frozen=True)
class Cell:
    """A configuration on a device.

    Attributes:
        p50_ms: the median of its samples, in milliseconds.
        low_ms, high_ms: the interval of 99 % of the median; None where there are too few samples or processes.
        processes: how many processes measured it.
        ratio: its median over that in the first column; None where the first column has none.
        mark: `FASTEST` for the lowest median of its row, `ALIKE` for what is not told from it, or nothing.
    """

    p50_ms: float
    low_ms: float | None
    high_ms: float | None
    processes: int
    ratio: float | None
    mark: str

    def text(self) -> str:
        ratio = "" if self.ratio is None else f" x{self.ratio:.2f}"
        interval = (
            "" if self.low_ms is None else f" ({self.low_ms:.2f}-{self.high_ms:.2f})"
        )  # no space: a line breaks before it
        return f"{self.p50_ms:.2f}{self.mark}{ratio}{interval}"


@dataclass(frozen=True)
class Row:
    """A model, a graph and a length on each device.

    Attributes:
        model: its name, with the digest where a device has several bundles of this name.
        graph, length, batch, scenario, clients: as in `edgexf.report.latency.measured.rows.Configuration`.
        cells: in the order of the columns; None where it was not measured.
    """

    model: str
    graph: str
    length: int
    batch: int
    scenario: str
    clients: int
    cells: tuple[Cell | None, ...]

    @property
    def name(self) -> str:
        usual = {"batch": 1, "scenario": SINGLE, "clients": 1}
        return " ".join([self.model, self.graph, f"{self.length:,}", *unusual(self, usual)])


@dataclass(frozen=True)
class Matrix:
    """Reports of several devices.

    Attributes:
        devices: the name of each device, in the order of the reports.
        labels: a name for each report.
        columns, rows: what is measured where.
        notes: how the reports differ in more than the device; empty without.
        invalid: which reports may not be relied upon, and why.
    """

    devices: tuple[str, ...]
    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()

    @property
    def header(self) -> tuple[str, ...]:
        """Of a table: a device and a dtype for each column, with what is unusual, and the threads where these tell columns apart."""
        counts = Counter(column.name for column in self.columns)
        return (
            CORNER,
            *(one.name if counts[one.name] == 1 else f"{one.name} threads {one.threads}" for one in self.columns),
        )

    def cells(self) -> list[tuple[str, ...]]:
        """The rows of a table, as text."""
        return [(row.name, *("-" if cell is None else cell.text() for cell in row.cells)) for row in self.rows]

    def to_json(self) -> str:
        return json.dumps(asdict(self), allow_nan=False)


def unusual(of: Column | Row, usual: Mapping[str, object]) -> list[str]:
    """The name and the value of each attribute that is not as usual."""
    return [f"{key} {getattr(of, key)}" for key, value in usual.items() if getattr(of, key) != value]


def compared(
    reports: Sequence[LatencyReport], force: bool = False, confidence: float = CONFIDENCE
) -> list[Changes] | Matrix:  # fmt: skip
    """Reports of several devices as a matrix, where `force` asks for it; else what changed from the first to each other.

    Raises UsageError for several devices or protocols without `force`, and for what `compare` and `matrix` refuse.
    """
    if force and len(set(map(device_of, reports))) > 1:
        return matrix(reports)
    return [compare(reports[0], other, force, confidence) for other in reports[1:]]


def matrix(reports: Sequence[LatencyReport]) -> Matrix:
    """Raises UsageError for two measurements of one configuration on one device."""
    names = device_names(reports)
    models = model_names(reports, names)
    found: dict[tuple[str, Configuration], dict[Column, Measured]] = {}
    for report, device, model in zip(reports, names, models, strict=True):
        for one in report.rows:
            of = one.of
            place = found.setdefault((model, replace(of, dtype="", tokens=1, providers="", profile="", threads=1)), {})
            column = Column(device, of.dtype, of.providers, of.profile, of.threads)
            if column in place:
                raise UsageError(
                    f"a matrix must have one measurement of a bundle on a device, got two of {model} {of.name} on {device}; leave one out."
                )
            place[column] = one
    order = list(dict.fromkeys(column for measured in found.values() for column in measured))
    columns = sorted(order, key=lambda column: (names.index(column.device), order.index(column)))
    graphs, kinds = list(dict.fromkeys(of.graph for _, of in found)), list(dict.fromkeys(models))

    def place_of(item: tuple[tuple[str, Configuration], object]) -> tuple[object, ...]:
        (model, of), _ = item
        return (
            kinds.index(model),
            graphs.index(of.graph),
            of.batch,
            of.scenario != SINGLE,
            of.scenario,
            of.clients,
            of.length,
        )

    several = sorted(found.items(), key=place_of)
    rows = tuple(
        Row(model, of.graph, of.length, of.batch, of.scenario, of.clients, cells_of(columns, measured))
        for (model, of), measured in several
    )
    labels = labels_of(reports, names)
    return Matrix(
        tuple(dict.fromkeys(names)), tuple(labels), tuple(columns), rows, tuple(notes_of(reports, labels)),
        tuple(invalid_of(reports, labels)),
    )  # fmt: skip


def cells_of(columns: Sequence[Column], measured: Mapping[Column, Measured]) -> tuple[Cell | None, ...]:
    first = measured.get(columns[0])
    fastest = min(measured.values(), key=lambda one: one.summary.median)
    return tuple(None if column not in measured else cell_of(measured[column], first, fastest) for column in columns)


def cell_of(measured: Measured, first: Measured | None, fastest: Measured) -> Cell:
    p50, median = measured.summary.percentile(0.5), measured.summary.median
    ratio = None if first is None else median / first.summary.median
    mark = FASTEST if measured is fastest else ALIKE if is_alike(fastest, measured) else ""
    return Cell(median, p50.low, p50.high, len(measured.processes), ratio, mark)


def is_alike(fastest: Measured, other: Measured) -> bool:
    """Whether the interval of their ratio holds 1. Too few processes have no interval, and so no mark."""
    low = change(fastest.medians, other.medians).low
    return low is not None and low <= 1


def model_names(reports: Sequence[LatencyReport], devices: Sequence[str]) -> list[str]:
    """The model of each report, with the digest of its bundle where a device has several bundles of this name."""
    found: dict[tuple[str, str], set[str]] = {}
    for report, device in zip(reports, devices, strict=True):
        found.setdefault((report.model, device), set()).add(report.digest)
    several = {model for (model, _), digests in found.items() if len(digests) > 1}
    return [f"{one.model} ({one.digest[:12]})" if one.model in several else one.model for one in reports]


def labels_of(reports: Sequence[LatencyReport], devices: Sequence[str]) -> list[str]:
    """A name for each report: its device, and where several are of one device, the model; numbers where that is not enough."""
    found = [name if devices.count(name) == 1 else f"{report.model}, {name}" for report, name in zip(reports, devices, strict=True)]  # fmt: skip
    counts = Counter(found)
    return [name if counts[name] == 1 else f"{name} ({found[:place].count(name) + 1})" for place, name in enumerate(found)]  # fmt: skip


def notes_of(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Iterator[str]:
    """How the reports differ in more than the device."""
    for report, label in zip(reports, labels, strict=True):
        differences = of_protocols(reports[0], report)
        if differences:
            yield f"{labels[0]} and {label} were measured by different protocols: {'; '.join(differences)}"
    for model in dict.fromkeys(report.model for report in reports):
        digests = dict.fromkeys(report.digest[:12] for report in reports if report.model == model)
        if len(digests) > 1:
            yield f"the bundles of {model} are not the same: {', '.join(digests)}"


def invalid_of(reports: Sequence[LatencyReport], labels: Sequence[str]) -> Iterator[str]:
    for report, label in zip(reports, labels, strict=True):
        found = verdict(report)
        if not found.valid:
            more = f", and {len(found.reasons) - 1} more reasons" if len(found.reasons) > 1 else ""
            yield f"{label}: {found.text()}, {found.reasons[0]}{more}"
