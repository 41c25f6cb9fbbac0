"""`edgexf compare`: says what is faster and what is slower between latency reports, or between bundles, and shows several devices
side by side.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgexf.cli.options import check_output, check_page, given_beside, read_report, write_text
from edgexf.cli.session import Opening, session_options
from edgexf.cli.streams import say
from edgexf.errors import EdgexfError, UsageError

if TYPE_CHECKING:
    from edgexf.report.latency.changes import Changes
    from edgexf.report.latency.matrix import Matrix
    from edgexf.report.latency.report import LatencyReport

INTERRUPTED = 130  # as a shell tells it
OUTPUT = click.Path(dir_okay=False, path_type=Path)
LENGTHS = "128,512"
VIEWS = ("old", "new", "force", "json_file", "junit_file", "html")  # what a comparison without a measurement takes


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--force",
    is_flag=True,
    help="Show reports of several devices as a matrix, without a verdict, and compare also what was measured by other protocols.",
)
@click.option("--lengths", help="Of bundles: lengths to measure, separated by commas; by default 128 and 512.")
@click.option("--processes", type=int, default=20, show_default=True, help="Of bundles: fresh processes of each.")
@click.option(
    "--most-processes",
    type=int,
    help="Of bundles: where a comparison can't tell, measure on up to so many; by default three times --processes.",
)
@click.option("--json", "json_file", type=OUTPUT, help="Write the comparisons as JSON.")
@click.option(
    "--junit",
    "junit_file",
    type=OUTPUT,
    help="Write them as JUnit's XML; what is slower, and what NEW lacks, is a failure.",
)
@click.option("--html", type=OUTPUT, help="Write a self-contained page of all reports over each other.")
@session_options("dtype", "providers", "profile", "threads")
def compare(
    old: Path, new: tuple[Path, ...], force: bool, lengths: str | None, processes: int, most_processes: int | None,
    json_file: Path | None, junit_file: Path | None, html: Path | None, opening: Opening,
) -> None:  # fmt: skip
    """Compare the latency reports OLD and NEW, or measure the bundles OLD and NEW in turns.

    Exit code 1 where a configuration is slower or not measured any more, and after an error in the middle. Ctrl-C compares
    what was measured, says so, and exits with code 130. Reports of several devices are refused; with --force they are a
    matrix of model, device and dtype. Bundles have a second look where the first can't tell, so their intervals are of 99.5 %.
    """
    from edgexf.report.latency.changes import OF_TWO_LOOKS
    from edgexf.report.latency.matrix import Matrix, compared
    from edgexf.report.latency.measured.statistics import CONFIDENCE

    check_output(json_file, junit_file, html)
    check_page(html)
    if old.is_dir():
        reports, confidence = measured([old, *new], lengths, processes, most_processes, opening), OF_TWO_LOOKS
    else:
        reports, confidence = read([old, *new]), CONFIDENCE
    interrupted = old.is_dir() and any(report.partial for report in reports)
    stopped = next((report.stopped for report in reports if report.stopped), "") if interrupted else ""
    if interrupted and not all(report.rows for report in reports):  # there is nothing to compare
        raise EdgexfError(stopped) if stopped else KeyboardInterrupt
    found = compared(reports, force, confidence)
    text = show_matrix(found, junit_file) if isinstance(found, Matrix) else show_changes(found, junit_file)
    if json_file is not None:
        write_text(json_file, text + "\n")
    if html is not None:
        from edgexf.report.html.latency.page import latency_page

        write_text(html, latency_page(reports, found))
    if stopped:
        raise EdgexfError(stopped)
    if interrupted:
        raise SystemExit(INTERRUPTED)
    if not isinstance(found, Matrix) and any(one.failed for one in found):
        raise SystemExit(1)


def read(paths: list[Path]) -> list[LatencyReport]:
    """Reads reports. Raises UsageError for options of a measurement beside them, which would do nothing."""
    given = given_beside(*VIEWS)
    if given:
        raise UsageError(
            f"reports must be compared without what a measurement takes, got {', '.join(given)}; leave it out, or name folders of bundles."
        )
    return [read_report(path) for path in paths]


def show_changes(found: list[Changes], junit_file: Path | None) -> str:
    """Prints what changed, writes JUnit's file, and returns the JSON."""
    from edgexf.cli.console import show_records, show_table
    from edgexf.report.latency.changes import junit

    for one in found:
        show_records([{"old": one.old, "new": one.new, **({"but": "; ".join(one.forced)} if one.forced else {})}])
        show_table(one.header, [row.cells() for row in one.rows])
        for sentence in one.unpaired:
            say(sentence)
    if junit_file is not None:
        write_text(junit_file, junit(found) + "\n")
    return "[" + ", ".join(one.to_json() for one in found) + "]"


def show_matrix(found: Matrix, junit_file: Path | None) -> str:
    """Prints a matrix, and returns its JSON. Raises UsageError for JUnit's file, because a matrix has no verdict."""
    from edgexf.cli.console import show_table
    from edgexf.report.latency.matrix import NOTE

    if junit_file is not None:
        raise UsageError(
            f"--junit must be given reports of one device, because it tells what became slower, got {len(found.devices)} devices; leave it out."
        )
    show_table(found.header, found.cells())
    say("\n".join([NOTE, *(f"- {note}" for note in (*found.notes, *found.invalid))]))
    return found.to_json()


def measured(
    paths: list[Path], lengths: str | None, processes: int, most: int | None, opening: Opening
) -> list[LatencyReport]:
    """Measures bundles in turns, and further where a comparison can't tell."""
    from edgexf.cli.console import progress
    from edgexf.report.latency.changes import further
    from edgexf_runtimes.measure.cases import parse_lengths
    from edgexf_runtimes.measure.latency.bench import measure_all
    from edgexf_runtimes.measure.latency.plan import MOST, Plan

    files = [path for path in paths if not path.is_dir()]
    if files:
        raise UsageError(
            f"what is compared must be reports alone, or bundles alone, got bundles and {files[0]}; measure it."
        )
    if not 1 <= processes <= MOST["processes"]:
        raise UsageError(f"--processes must be 1 to {MOST['processes']:,}, got {processes:,}; choose another.")
    if most is not None and most < processes:
        raise UsageError(f"--most-processes must be at least --processes, got {most} and {processes}; choose more.")
    if most is not None and most > MOST["processes"]:
        raise UsageError(f"--most-processes must be at most {MOST['processes']:,}, got {most:,}; choose fewer.")
    given = dict(opening.arguments)
    dtypes = [name.strip() for name in given.pop("dtype", "auto").split(",")]
    plan = Plan(
        parse_lengths(lengths or LENGTHS), dtypes=dtypes, processes=processes, queries=20 * processes, stages=False
    )
    most = min(3 * processes, MOST["processes"]) if most is None else most
    return measure_all(paths, plan, progress, further=partial(further, most=most), **given)
