"""The head of the page of latency reports: its title, the verdicts, and what was measured.

In: reports, what several of them say together, and budgets. Out: a title, `Said`s and `Card`s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from edgexf.report.characters import visible
from edgexf.report.html.latency.charts import counted
from edgexf.report.latency.budget import Outcome
from edgexf.report.latency.changes import Changes
from edgexf.report.latency.matrix import Matrix
from edgexf.report.latency.measured.rows import Measured
from edgexf.report.latency.report import LatencyReport
from edgexf.report.latency.validity import verdict

MOST_KINDS = 8  # of configurations in the summary


@dataclass(frozen=True)
class Said:
    """A verdict in the head of the page. `good` is None where nothing is judged."""

    word: str
    good: bool | None
    sentence: str
    reasons: Sequence[str] = ()


@dataclass(frozen=True)
class Card:
    title: str
    facts: Iterable[tuple[str, str]]


def titles_of(reports: Sequence[LatencyReport], found: Sequence[Changes] | Matrix) -> tuple[str, str]:
    """What kind of page it is, and of what."""
    if isinstance(found, Matrix):
        models = ", ".join(dict.fromkeys(report.model for report in reports))
        return "Latency reports of several devices", visible(f"{models} on {len(found.devices)} devices")
    if len(reports) == 1:
        return "Latency report", visible(reports[0].model)
    return "Latency reports over each other", visible(f"{reports[0].model} to {reports[-1].model}")


def labels_of(reports: Sequence[LatencyReport], found: Sequence[Changes] | Matrix) -> list[str]:
    """A name for each report where there are several."""
    if isinstance(found, Matrix):
        return list(found.labels)
    if len(reports) == 1:
        return [""]
    return ["old", *("new" if len(reports) == 2 else f"new {place}" for place in range(1, len(reports)))]


def verdicts_of(
    reports: Sequence[LatencyReport], labels: Sequence[str], found: Sequence[Changes] | Matrix, kept: Sequence[Outcome]
) -> list[Said]:
    """What several reports say together, whether each is valid, and whether it keeps to its budgets."""
    first = [said_of_matrix(found)] if isinstance(found, Matrix) else [*map(said_of_change, found)]
    return [*first, *map(said_of, reports, labels), *said_of_budgets(kept)]


def said_of(report: LatencyReport, label: str) -> Said:
    found = verdict(report)
    count = sum(len(row.ms) for row in report.rows)
    sentence = f"{counted(len(report.rows), 'configuration', 'configurations')}, {counted(count, 'sample', 'samples')}"
    if report.rows:
        sentence += f", {processes_of(report.rows)} each"
    return Said(found.text(), found.valid, f"{label}: {sentence}" if label else sentence, found.reasons)


def processes_of(rows: Sequence[Measured]) -> str:
    """How many processes measured a row, such as ``2 to 7 processes``: a measurement that ended early has fewer than were planned."""
    counts = [len(row.processes) for row in rows]
    least, most = min(counts), max(counts)
    return f"{least:,} to {most:,} processes" if least < most else counted(most, "process", "processes")


def said_of_budgets(kept: Sequence[Outcome]) -> list[Said]:
    if not kept:
        return []
    broken = sum(not outcome.kept for outcome in kept)
    word = "BUDGETS KEPT" if not broken else "BUDGETS NOT KEPT"
    return [
        Said(
            word,
            not broken,
            f"{len(kept) - broken} of {len(kept)}",
            [one.sentence() for one in sorted(kept, key=lambda one: one.kept)],
        )
    ]


def said_of_change(changes: Changes) -> Said:
    verdicts = [row.change.verdict for row in changes.rows]
    counts = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
    word = "SLOWER" if changes.slower else "FASTER" if "faster" in verdicts else "NO DIFFERENCE"
    word = word if word != "NO DIFFERENCE" or "can't tell" not in verdicts else "CAN'T TELL"
    word = word if changes.slower or not changes.lacking else "INCOMPLETE"
    reasons = (*changes.unpaired, *changes.forced)
    good = None if word == "CAN'T TELL" else not changes.failed
    return Said(word, good, f"{changes.old} to {changes.new}: {counts}", reasons)


def said_of_matrix(found: Matrix) -> Said:
    sentence = f"{', '.join(found.devices)}; no verdict is given between devices"
    return Said("MATRIX", None, sentence, found.notes)


def cards_of(report: LatencyReport, label: str) -> list[Card]:
    about = replace(report, device={}).about()
    protocol = {name.replace("_", " "): f"{value:,g}" for name, value in report.protocol.items()}
    size = {"files": f"{len(report.files):,}, {sum(report.files.values()) / 1e6:,.1f} MB"}
    device = {name: report.device[name].text() for name in ("processor", "system") if name in report.device}
    if label:
        return [Card(label[:1].upper() + label[1:], {**about, **size, **device, **protocol}.items())]
    return [
        summary_card(report),
        Card("What was measured", {**about, **size}.items()),
        Card("Where and how", {**device, **protocol}.items()),
    ]


def summary_card(report: LatencyReport) -> Card:
    """The figures that a reader looks for first."""
    return Card("Summary", list(summary(report)) or [("latency", "none was measured")])


def summary(report: LatencyReport) -> Iterator[tuple[str, str]]:
    """The medians at the shortest and the longest input of each kind of configuration, and the range of what a device must have."""
    kinds: dict[str, list[Measured]] = {}
    for row in report.rows:
        kinds.setdefault(row.of.kind, []).append(row)
    for kind, rows in list(kinds.items())[:MOST_KINDS]:
        ends = sorted(rows, key=lambda row: row.of.length)[:: max(len(rows) - 1, 1)]
        yield kind, ", ".join(f"{figures(row.summary.median)} ms at {row.of.length:,}" for row in ends)
    if len(kinds) > MOST_KINDS:
        yield "further", f"{len(kinds) - MOST_KINDS} more, in the table"
    starts: dict[tuple[str, str, int], list[float]] = {}
    for one in report.starts:
        starts.setdefault((one.graph, one.dtype, one.length), []).append(one.answer_ms)
    peaks = [row.peak_mib.value for row in report.rows if row.peak_mib.value is not None]
    for name, unit, values in (("cold start", "ms", [*map(median, starts.values())]), ("peak of memory", "MiB", peaks)):
        if values:
            yield name, f"{span(min(values), max(values))} {unit}"


def figures(ms: float) -> str:
    return f"{ms:.3g}" if ms < 1000 else f"{ms:,.0f}"


def span(low: float, high: float) -> str:
    one, other = f"{low:,.0f}", f"{high:,.0f}"
    return one if one == other else f"{one} to {other}"
