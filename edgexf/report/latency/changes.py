"""What changed between latency reports: each configuration of an old one beside the same configuration of new ones.

In: reports of one device and one protocol. Out: `Changes`, with a table, JSON, and JUnit's XML for continuous integration.

The unit is the process: see `edgexf.report.latency.measured.statistics.change`. Who may measure further takes a second look
where the first can't tell (`further`), and gives each look half of the error that is allowed. The first look chooses the size of the
second, so no inequality bounds both together: tests/report/latency/measured/test_statistics.py counts them. Reports of different devices or protocols
are refused, because their ratio says nothing about the bundle; `force` compares them all the same. Of several devices,
`edgexf.report.latency.matrix` shows the times beside each other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from edgexf.errors import UsageError
from edgexf.report.characters import visible
from edgexf.report.latency.devices import of_devices
from edgexf.report.latency.measured.rows import Configuration, Measured
from edgexf.report.latency.measured.statistics import CONFIDENCE, MARGIN, Change, change
from edgexf.report.latency.report import LatencyReport

OF_TWO_LOOKS = 1 - (1 - CONFIDENCE) / 2
ROOM = 1.25  # times the processes that a comparison needs, since their number is an estimate
LACKING, ADDED = "the new report lacks", "only the new report has"


@dataclass(frozen=True)
class Compared:
    """A configuration in an old and in a new report.

    Attributes:
        of: the configuration.
        old_ms, new_ms: the median of the medians of processes, in milliseconds.
        processes: of the old and of the new report.
        change: the verdict.
    """

    of: Configuration
    old_ms: float
    new_ms: float
    processes: tuple[int, int]
    change: Change

    def cells(self) -> tuple[str, ...]:
        low, high = self.change.low, self.change.high
        interval = "-" if low is None or high is None else f"{low:.3f} to {high:.3f}"
        counts = f"{self.processes[0]}, {self.processes[1]}"
        return (
            self.of.name, f"{self.old_ms:.2f}", f"{self.new_ms:.2f}", f"{self.change.ratio:.3f}", interval, counts,
            self.change.text(),
        )  # fmt: skip


@dataclass(frozen=True)
class Changes:
    """Two reports beside each other.

    Attributes:
        old, new: the names of the bundles with their digests.
        rows: the configurations that both reports have.
        lacking: those of the old report that the new one lacks, in the order of the old one.
        added: those that only the new report has, in its order.
        forced: how the reports differ that were compared all the same, and which of them were interrupted; empty without.
        confidence: of the intervals.
    """

    old: str
    new: str
    rows: tuple[Compared, ...]
    lacking: tuple[Configuration, ...] = ()
    added: tuple[Configuration, ...] = ()
    forced: tuple[str, ...] = ()
    confidence: float = CONFIDENCE

    @property
    def header(self) -> tuple[str, ...]:
        """Of a table of the rows."""
        interval = f"interval of {100 * self.confidence:g} %"
        return ("configuration", "old p50 ms", "new p50 ms", "ratio", interval, "processes", "verdict")

    @property
    def slower(self) -> bool:
        return any(row.change.verdict == "slower" for row in self.rows)

    @property
    def failed(self) -> bool:
        """Whether a configuration is slower, or vanished: nobody knows whether what vanished is slower."""
        return self.slower or bool(self.lacking)

    @property
    def unpaired(self) -> tuple[str, ...]:
        """A sentence on what the new report lacks, and one on what only the new report has; none where there is nothing."""
        told = ((LACKING, self.lacking), (ADDED, self.added))
        return tuple(f"{said} {', '.join(map(self.told, some))}" for said, some in told if some)

    def told(self, of: Configuration) -> str:
        """The name of a configuration, with what the name leaves out where another one has the same name."""
        every = [*(row.of for row in self.rows), *self.lacking, *self.added]
        alike = sum(one.name == of.name for one in every) > 1
        return f"{of.name} ({of.tokens:,} tokens, threads {of.threads})" if alike else of.name

    def to_json(self) -> str:
        return json.dumps(asdict(self), allow_nan=False)

    def to_junit(self) -> Element:
        """A test suite with a test for each configuration, which fails where the new bundle is slower, or was not measured.

        Names from outside have names in place of characters that XML can't hold (XML 1.0, 2.2).
        """
        failed = sum(row.change.verdict == "slower" for row in self.rows) + len(self.lacking)
        count = len(self.rows) + len(self.lacking) + len(self.added)
        suite = Element("testsuite", name=visible(f"{self.old} to {self.new}"), tests=str(count), failures=str(failed))
        for row in self.rows:
            case = SubElement(
                suite, "testcase", classname="edgexf.compare", name=visible(row.of.name), time=f"{row.new_ms / 1e3:.6f}"
            )
            sentence = ", ".join(
                f"{title} {cell}" for title, cell in zip(self.header[1:], row.cells()[1:], strict=True)
            )
            if row.change.verdict == "slower":
                SubElement(case, "failure", message=sentence)
            else:
                SubElement(case, "system-out").text = sentence
        for of in self.lacking:
            case = SubElement(suite, "testcase", classname="edgexf.compare", name=visible(self.told(of)))
            SubElement(case, "failure", message=visible(f"{LACKING} {self.told(of)}"))
        for of in self.added:
            case = SubElement(suite, "testcase", classname="edgexf.compare", name=visible(self.told(of)))
            SubElement(case, "system-out").text = visible(f"{ADDED} {self.told(of)}")
        return suite


def junit(several: Sequence[Changes]) -> str:
    """All comparisons as one file for continuous integration."""
    root = Element("testsuites")
    root.extend(changes.to_junit() for changes in several)
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True)


def further(reports: Sequence[Sequence[Measured]], most: int) -> int:
    """How many more processes of each bundle a second look takes: as many as the comparisons need that can't tell.

    `reports` are the rows of each report, the old one first. Comparisons that need more than `most` processes in all are
    left as they are. 0 where there is nothing to gain.
    """
    old, *others = ({row.of: row.medians for row in rows} for rows in reports)
    needed = [
        (len(old[of]), found.needs)
        for new in others
        for of in old.keys() & new.keys()
        if (found := change(old[of], new[of], OF_TWO_LOOKS)).needs is not None and found.needs <= most
    ]
    return max((min(ceil(ROOM * needs), most) - have for have, needs in needed), default=0)


def compare(
    old: LatencyReport, new: LatencyReport, force: bool = False, confidence: float = CONFIDENCE
) -> Changes:  # fmt: skip
    """Compares the configurations that both reports have, and tells those that only one has.

    Raises UsageError for reports without a common configuration, and for different devices and protocols without `force`.
    """
    differences = (*of_devices(old, new), *of_protocols(old, new))
    if differences and not force:
        raise UsageError(
            f"reports must be of one device and protocol to be compared, got different ones ({'; '.join(differences)}); measure both here, or give --force, which shows several devices as a matrix."
        )
    others = {row.of: row for row in new.rows}
    pairs = [(row, others[row.of]) for row in old.rows if row.of in others]
    if not pairs:
        raise UsageError(
            f"reports must have a configuration in common, got {listed(old)} and {listed(new)}; measure the same lengths, dtypes and methods."
        )
    rows = (
        Compared(
            one.of, middle(one.medians), middle(other.medians), (len(one.medians), len(other.medians)),
            change(one.medians, other.medians, confidence, MARGIN),
        )
        for one, other in pairs
    )  # fmt: skip
    interrupted = (f"{name} was interrupted" for name, report in (("old", old), ("new", new)) if report.partial)
    known = {row.of for row in old.rows}
    lacking = tuple(row.of for row in old.rows if row.of not in others)
    added = tuple(row.of for row in new.rows if row.of not in known)
    return Changes(named(old), named(new), tuple(rows), lacking, added, (*differences, *interrupted), confidence)


def middle(times: Sequence[float]) -> float:
    ordered = sorted(times)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def named(report: LatencyReport) -> str:
    return f"{report.model} ({report.digest[:12]})"


def listed(report: LatencyReport) -> str:
    return ", ".join(row.of.name for row in report.rows) or "none"


def of_protocols(old: LatencyReport, new: LatencyReport) -> tuple[str, ...]:
    """The number of processes may differ: more of them make an interval narrower, and no ratio larger. Reports that do not tell
    their inputs are taken as alike.
    """
    keys = sorted((old.protocol.keys() | new.protocol.keys()) - {"processes"})
    found: list[tuple[str, Any, Any]] = [(key, old.protocol.get(key), new.protocol.get(key)) for key in keys]
    if old.inputs is not None and new.inputs is not None:
        found.append(("inputs", old.inputs.text(), new.inputs.text()))
    return tuple(f"{key} {one} and {other}" for key, one, other in found if one != other)
