"""A latency report as plain values, with its JSON, Markdown and CSV.

In: what `edgexf bench` measured, or the JSON text of an earlier report. Out: a `LatencyReport`. Law:
``LatencyReport.from_json(report.to_json()) == report``.

The report keeps every sample, in the order of measurement. Everything else that it says is computed from these samples when
it is asked: so a reader can't meet a summary that belongs to other samples, and a later version may say more about an old
report. JSON holds the summaries too, for readers that are not edgexf; `from_json` does not read them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self, TypeVar

from edgexf.checks import require
from edgexf.errors import InputError
from edgexf.report.characters import visible
from edgexf.report.latency.measured.breakdown import GIGA, Breakdown
from edgexf.report.latency.measured.facts import Fact, facts_of
from edgexf.report.latency.measured.inputs import Inputs
from edgexf.report.latency.measured.loadgen import Driven
from edgexf.report.latency.measured.quality import Quality
from edgexf.report.latency.measured.rates import Rate
from edgexf.report.latency.measured.rows import Configuration, Measured, Started, finite
from edgexf.report.latency.measured.stages import Stages
from edgexf.report.markdown import markdown_table
from edgexf.report.reading import MOST, check_keys, listed, of_kind

# Of a latency report; `edgexf.report.explanation` has the version of an explanation. Version 2 held no samples, one dtype
# and no facts about the device while it was measured.
REPORT_SCHEMA = 3
Part = TypeVar("Part", Breakdown, Stages)
NEEDED_PROTOCOL = frozenset({"queries", "seconds"})  # what the verdict compares with
FACTS = ("device", "before", "after", "products")  # of a report
# Keys that reports of this version lack which an earlier edgexf wrote.
LATER: Mapping[str, Any] = {"inputs": None, "stages": [], "stopped": ""}


@dataclass(frozen=True)
class LatencyReport:
    """What `edgexf bench` measured.

    Attributes:
        model: the name of the bundle.
        digest: the digest of the bundle's manifest, which lists the hash of every file.
        files: the bytes of each file of the bundle.
        graph_files: the files that a graph reads, by ``graph dtype``.
        options: every option of the session of a graph and of its providers, by ``graph dtype``, then by name.
        date: when the measurement ended, in UTC by ISO 8601.
        partial: whether it ended early.
        protocol: how it was measured: seconds, queries, warm-up, seed, in their units.
        device: facts that stay.
        before, after: facts that change, at the beginning and at the end.
        rows: the samples, by configuration.
        starts: fresh processes.
        rates: samples a second, of the scenarios ``server`` and ``offline``.
        quality: how far the answers of each dtype may be relied upon.
        products: 10^9 operations a second of plain products of matrices, by kind of number, from the rounds of the rows; empty
            where nobody asked for breakdowns.
        breakdowns: where the time of a graph goes; empty likewise.
        loadgen: what MLPerf's LoadGen says; empty where nobody asked for it.
        inputs: what was measured; None in a report of an edgexf that did not tell it.
        stopped: the error that ended a partial measurement; empty for an interrupt.
        stages: where the time of a whole answer goes, from a text to labels; empty where nobody measured it.
    """

    model: str
    digest: str
    files: Mapping[str, int]
    graph_files: Mapping[str, tuple[str, ...]]
    options: Mapping[str, Mapping[str, str]]
    date: str
    partial: bool
    protocol: Mapping[str, float]
    device: Mapping[str, Fact]
    before: Mapping[str, Fact]
    after: Mapping[str, Fact]
    rows: tuple[Measured, ...]
    starts: tuple[Started, ...]
    rates: tuple[Rate, ...] = ()
    quality: tuple[Quality, ...] = ()
    products: Mapping[str, Fact] = field(default_factory=dict)
    breakdowns: tuple[Breakdown, ...] = ()
    loadgen: tuple[Driven, ...] = ()
    inputs: Inputs | None = None
    stages: tuple[Stages, ...] = ()
    stopped: str = ""

    @property
    def ended_early(self) -> str:
        """Why the measurement is partial; empty for a whole one."""
        if not self.partial:
            return ""
        return f"the measurement ended early: {self.stopped}" if self.stopped else "the measurement was interrupted"

    def to_dict(self) -> dict[str, Any]:
        facts = {name: {key: fact.to_dict() for key, fact in getattr(self, name).items()} for name in FACTS}
        return {
            "schema_version": REPORT_SCHEMA,
            "model": self.model,
            "digest": self.digest,
            "files": dict(self.files),
            "graph_files": {name: list(files) for name, files in self.graph_files.items()},
            "options": {name: dict(some) for name, some in self.options.items()},
            "date": self.date,
            "partial": self.partial,
            "protocol": dict(self.protocol),
            **facts,
            "rows": [row.to_dict() for row in self.rows],
            "starts": [asdict(one) for one in self.starts],
            "breakdowns": [one.to_dict() for one in self.breakdowns],
            "rates": [rate.to_dict() for rate in self.rates],
            "quality": [one.to_dict() for one in self.quality],
            "loadgen": [one.to_dict() for one in self.loadgen],
            "inputs": None if self.inputs is None else self.inputs.to_dict(),
            "stages": [one.to_dict() for one in self.stages],
            "stopped": self.stopped,
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The inverse of `to_json`. InputError for any other text, and for another schema version."""
        try:
            values = json.loads(text, parse_constant=no_number)
            require(isinstance(values, dict), "a report must be an object", type(values).__name__)
            version = values.pop("schema_version", None)
            if type(version) is int and version > REPORT_SCHEMA:
                raise InputError(
                    f"a latency report must have schema version {REPORT_SCHEMA} for this edgexf, got {version}; read it with the edgexf that wrote it."
                )
            require(version == REPORT_SCHEMA, f"schema_version must be {REPORT_SCHEMA}", version)
            return cls.from_dict(values)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise InputError(
                f"a latency report must be what `edgexf bench --json` wrote, got something else ({error}); measure again."
            ) from error

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        values = {**LATER, **values}
        check_keys(cls, values)
        files, protocol = (of_kind(values, name, dict) for name in ("files", "protocol"))
        for name, size in files.items():
            of_kind(files, name, int)
            require(0 <= size <= MOST, f"a file must have 0 to {MOST} bytes", size)
        graph_files = {
            name: tuple(listed(some, None, str)) for name, some in of_kind(values, "graph_files", dict).items()
        }
        require(
            all(set(some) <= set(files) for some in graph_files.values()), "files of graphs must be among the files", ""
        )
        require(set(protocol) >= NEEDED_PROTOCOL, f"a protocol must have {sorted(NEEDED_PROTOCOL)}", sorted(protocol))
        rows = tuple(map(Measured.from_dict, listed(values["rows"], None)))
        require(len({row.of for row in rows}) == len(rows), "each configuration must have one row", len(rows))
        lacking = sorted({f"{row.of.graph} {row.of.dtype}" for row in rows} - set(graph_files))
        require(not lacking, "graph_files must name the files of every graph", lacking)
        moments = {name: facts_of(values[name], Fact.of_number) for name in ("before", "after")}
        partial, stopped = of_kind(values, "partial", bool), of_kind(values, "stopped", str)
        require(partial or not stopped, "a report that stopped must be partial", stopped)
        return cls(
            model=of_kind(values, "model", str),
            digest=of_kind(values, "digest", str),
            files=files,
            graph_files=graph_files,
            options={str(name): texts(some) for name, some in of_kind(values, "options", dict).items()},
            date=of_kind(values, "date", str),
            partial=partial,
            stopped=stopped,
            protocol={name: finite(value) for name, value in protocol.items()},
            rows=rows,
            starts=tuple(map(Started.from_dict, listed(values["starts"], None))),
            rates=tuple(map(Rate.from_dict, listed(values["rates"], None))),
            quality=tuple(map(Quality.from_dict, listed(values["quality"], None))),
            device=facts_of(values["device"], of_json),
            products=facts_of(values["products"], above_0),
            breakdowns=of_rows(tuple(map(Breakdown.from_dict, listed(values["breakdowns"], None))), rows),
            loadgen=tuple(map(Driven.from_dict, listed(values["loadgen"], None))),
            inputs=None if values["inputs"] is None else Inputs.from_dict(values["inputs"]),
            stages=of_rows(tuple(map(Stages.from_dict, listed(values["stages"], None))), rows),
            **moments,
        )

    def about(self) -> dict[str, str]:
        """What was measured, where and when: names and values as text."""
        several = {
            name: ", ".join(dict.fromkeys(str(getattr(row.of, name)) for row in self.rows))
            for name in ("dtype", "providers", "profile", "threads")
        }
        partial = {"partial": self.ended_early} if self.partial else {}
        inputs = {} if self.inputs is None else {"inputs": self.inputs.text()}
        device = {name: fact.text() for name, fact in self.device.items()}
        return {"model": self.model, "bundle": self.digest, **several, **inputs, **device, "date": self.date, **partial}

    def to_markdown(self) -> str:
        """A list of what was measured, and its tables."""
        from edgexf.report.latency.tables import tables

        facts = "".join(f"- {visible(f'{name}: {value}')}\n" for name, value in self.about().items())
        titled = (
            (f"{visible(title)}\n\n" if title else "") + markdown_table(shown(header), [*map(shown, rows)])
            for title, header, rows in tables(self)
        )
        return "\n".join([facts, *titled])

    def to_html(self, *others: LatencyReport, budgets: Sequence[str] = (), force: bool = False) -> str:
        """One self-contained HTML page; see `edgexf.report.html.latency.page`. Of other reports it shows what changed since this
        one; with `force`, reports of several devices are a matrix.

        Raises MissingExtraError without the extra ``report``, and UsageError for what `budget` and `matrix` refuse.
        """
        from edgexf.report.html.latency.page import latency_page
        from edgexf.report.latency.budget import outcomes, parse_budget
        from edgexf.report.latency.matrix import compared

        reports = [self, *others]
        return latency_page(reports, compared(reports, force), outcomes(self, [parse_budget(text) for text in budgets]))

    def to_csv(self) -> str:
        """The raw samples: a line for each, with its configuration."""
        names = [item.name for item in fields(Configuration)]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*names, "sample", "ms"])
        for row in self.rows:
            known = shown([str(getattr(row.of, name)) for name in names])
            writer.writerows([*known, place, repr(time)] for place, time in enumerate(row.ms))
        return text.getvalue()


def shown(cells: Iterable[str]) -> list[str]:
    """Cells that UTF-8 can write: names come from outside, and a file's name may hold bytes that are no characters."""
    return [*map(visible, cells)]


def of_rows(found: tuple[Part, ...], rows: Sequence[Measured]) -> tuple[Part, ...]:
    """Breakdowns or stages of what the rows measured. ValueError for those of anything else."""
    known = {row.of.place for row in rows}
    require(all(one.place in known for one in found), "a breakdown, and stages, must be of a row", "another")
    return found


def texts(values: Any) -> dict[str, str]:
    require(isinstance(values, dict), "options must be an object", type(values).__name__)
    return {str(name): of_kind(values, name, str) for name in values}


def above_0(values: Any) -> Fact:
    """A rate of products, from one operation a second to far beyond any device: a floor stays a finite number."""
    fact = Fact.of_number(values)
    kept = fact.value is None or 1 / GIGA <= fact.value <= GIGA
    require(kept, f"a rate of products must be {1 / GIGA:g} to {GIGA:g}", fact.value)
    return fact


def of_json(values: Any) -> Fact:
    """A fact of any value that JSON can write. Python's reader takes 1e999 for infinity, which it can't."""
    fact = Fact.from_dict(values)
    json.dumps(fact.value, allow_nan=False)
    return fact


def no_number(text: str) -> float:
    """NaN and Infinity are no JSON, though Python's reader takes them."""
    raise ValueError(f"{text} is no number of JSON")
