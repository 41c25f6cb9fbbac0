"""`edgexf compare`: says what is faster and what is slower between latency reports, or between bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgexf.cli.options import check_output, check_page, read_report, write_text
from edgexf.cli.session import Opening, session_options
from edgexf.errors import UsageError

if TYPE_CHECKING:
    from edgexf.report.latency.report import LatencyReport

INTERRUPTED = 130  # as a shell tells it
OUTPUT = click.Path(dir_okay=False, path_type=Path)
LENGTHS = "128,512"


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--force", is_flag=True, help="Compare also what was measured on different devices or by other protocols."
)
@click.option("--lengths", help="Of bundles: lengths to measure, separated by commas; by default 128 and 512.")
@click.option("--processes", type=int, default=20, show_default=True, help="Of bundles: fresh processes of each.")
@click.option("--json", "json_file", type=OUTPUT, help="Write the comparisons as JSON.")
@click.option("--junit", "junit_file", type=OUTPUT, help="Write them as JUnit's XML; what is slower is a failure.")
@click.option("--html", type=OUTPUT, help="Write a self-contained page of all reports over each other.")
@session_options("dtype", "providers", "profile", "threads")
def compare(
    old: Path, new: tuple[Path, ...], force: bool, lengths: str | None, processes: int, json_file: Path | None,
    junit_file: Path | None, html: Path | None, opening: Opening,
) -> None:  # fmt: skip
    """Compare the latency reports OLD and NEW, or measure the bundles OLD and NEW in turns.

    Exit code 1 where a configuration is slower. Ctrl-C compares what was measured, says so, and exits with code 130.
    """
    from edgexf.cli.console import show_records, show_table
    from edgexf.report.latency import changes

    check_output(json_file, junit_file, html)
    check_page(html)
    reports = (
        measured([old, *new], lengths, processes, opening)
        if old.is_dir()
        else [read_report(path) for path in (old, *new)]
    )
    interrupted = old.is_dir() and any(report.partial for report in reports)
    if interrupted and not all(report.rows for report in reports):
        raise KeyboardInterrupt  # there is nothing to compare
    found = [changes.compare(reports[0], other, force) for other in reports[1:]]
    for one in found:
        show_records([{"old": one.old, "new": one.new, **({"but": "; ".join(one.forced)} if one.forced else {})}])
        show_table(changes.HEADER, [row.cells() for row in one.rows])
    if json_file is not None:
        write_text(json_file, "[" + ", ".join(one.to_json() for one in found) + "]\n")
    if junit_file is not None:
        write_text(junit_file, changes.junit(found) + "\n")
    if html is not None:
        from edgexf.report.html.latency.page import latency_page

        write_text(html, latency_page(reports, found))
    if interrupted:
        raise SystemExit(INTERRUPTED)
    if any(one.slower for one in found):
        raise SystemExit(1)


def measured(paths: list[Path], lengths: str | None, processes: int, opening: Opening) -> list[LatencyReport]:
    from edgexf.cli.console import progress
    from edgexf_runtimes.measure.cases import parse_lengths
    from edgexf_runtimes.measure.latency.bench import measure_all
    from edgexf_runtimes.measure.latency.plan import Plan

    files = [path for path in paths if not path.is_dir()]
    if files:
        raise UsageError(
            f"what is compared must be reports alone, or bundles alone, got bundles and {files[0]}; measure it."
        )
    given = dict(opening.arguments)
    dtypes = [name.strip() for name in given.pop("dtype", "auto").split(",")]
    plan = Plan(
        parse_lengths(lengths or LENGTHS), dtypes=dtypes, processes=processes, queries=20 * processes, stages=False
    )
    return measure_all(paths, plan, progress, **given)
