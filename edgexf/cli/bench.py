"""`edgexf bench`: measures the latency, the cold start and the memory of a bundle, and keeps them to budgets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgexf.cli.options import (
    LazyHelp,
    check_output,
    check_page,
    compiled_methods,
    given_beside,
    read_report,
    write_text,
)
from edgexf.cli.session import Opening, session_options
from edgexf.cli.streams import say
from edgexf.errors import EdgexfError, InputError, UsageError
from edgexf.names import PREDICT

if TYPE_CHECKING:
    from edgexf.report.latency.budget import Budget, Outcome
    from edgexf.report.latency.report import LatencyReport

INTERRUPTED = 130  # as a shell tells it
OUTPUT = click.Path(dir_okay=False, path_type=Path)
VIEWS = ("source", "budgets", "json_file", "csv_file", "markdown", "html")  # options that need no measurement


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option(
    "--from", "source", type=click.Path(path_type=Path), help="Measure nothing: show this report, which --json wrote."
)
@click.option(
    "--lengths",
    help="Bytes a run (tokens, special ones included, for a model that takes tokens), separated by commas; by default 128 to 4096, as far as the model takes them.",
)
@click.option("--batches", default="1", show_default=True, help="Rows a run, separated by commas.")
@click.option(
    "--scenario",
    type=click.Choice(["single", "multi", "server", "offline"]),
    default="single",
    show_default=True,
    help="How queries come: one after another, from several clients, at random times (which finds the highest rate that keeps to --bound), or all at once in batches.",
)
@click.option("--bound", help="What the percentile of the times of the scenario server may be at most, such as 50ms.")
@click.option("--percentile", type=float, default=99.0, show_default=True, help="That percentile.")
@click.option(
    "--evaluate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON lines of inputs, each with a label or none, as `edgexf quantize` takes them: how far each dtype agrees with fp32 here. By default, the golden inputs' error.",
)
@click.option(
    "--input",
    "given",
    type=click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True),
    help="A file as `edgexf run` takes it (- is standard input): measure its content, cut or repeated to each length, in place of random tokens.",
)
@click.option("--clients", type=int, default=2, show_default=True, help="Clients of the scenario multi.")
@click.option("--queries", type=int, default=44, show_default=True, help="At least so many queries a row.")
@click.option("--seconds", type=float, default=1.0, show_default=True, help="And at least so many seconds a row.")
@click.option(
    "--most-seconds",
    type=float,
    default=30.0,
    show_default=True,
    help="But no more than so many seconds a row, and as many for the stages of its answers.",
)
@click.option(
    "--processes", type=int, default=7, show_default=True, help="Fresh processes that share the queries of a row."
)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    help="What a figure may be at most: p95<=20ms@512, attnlrp.p50<=60ms@512, memory<=200MiB@4096, size<=10MB, cold<=1s. May be repeated; exit code 1 where one is not kept.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    help="Write the report as JSON; - prints it.",
)
@click.option(
    "--operators",
    is_flag=True,
    help="Also profile each graph and length: the time of each operator, and the least time that this device needs.",
)
@click.option(
    "--loadgen",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also let MLPerf's LoadGen ask the queries, and write its logs to this folder (extra loadgen).",
)
@click.option("--csv", "csv_file", type=OUTPUT, help="Write every sample as CSV.")
@click.option("--markdown", type=OUTPUT, help="Write the table as Markdown.")
@click.option("--html", type=OUTPUT, help="Write a self-contained page with charts.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    cls=LazyHelp,
    text=lambda: (
        f"Explanation method of the bundle to measure beside its answers: {compiled_methods()}. May be repeated."
    ),
)
@session_options("dtype", "providers", "profile", "threads", "verify", "cache")
def bench(
    bundle: Path | None, source: Path | None, lengths: str | None, batches: str, scenario: str, bound: str | None,
    percentile: float, evaluate: Path | None, given: Path | None, clients: int, queries: int, seconds: float, most_seconds: float,
    processes: int, operators: bool, budgets: tuple[str, ...], json_file: Path | None, csv_file: Path | None,
    markdown: Path | None, html: Path | None, loadgen: Path | None, methods: tuple[str, ...], opening: Opening,
) -> None:  # fmt: skip
    """Measure latency, cold start and memory over lengths.

    Ctrl-C keeps what was measured, marks it partial, and exits with code 130. An error in the middle keeps it too, and exits
    with code 1.
    """
    from edgexf.cli.console import progress
    from edgexf.report.latency.budget import milliseconds, parse_budget
    from edgexf_runtimes.measure.cases import parse_lengths
    from edgexf_runtimes.measure.latency.bench import measure
    from edgexf_runtimes.measure.latency.plan import Plan

    check_output(json_file, csv_file, markdown, html)
    check_page(html)
    wanted = [parse_budget(text) for text in budgets]
    if source is not None or bundle is None:
        write(read_report(source_of(source)), wanted, json_file, csv_file, markdown, html)
        return
    arguments = dict(opening.arguments)
    dtypes = [name.strip() for name in arguments.pop("dtype", "auto").split(",")]
    plan = Plan(
        lengths=parse_lengths(lengths) if lengths is not None else lengths_of(wanted),
        batches=parse_lengths(batches, "batches"),
        methods=[*methods, *(budget.graph for budget in wanted if budget.graph != PREDICT)],
        dtypes=dtypes,
        scenario=scenario,
        clients=clients,
        bound_ms=None if bound is None else milliseconds(bound),
        percentile=percentile,
        queries=queries,
        seconds=seconds,
        most_seconds=most_seconds,
        processes=processes,
        operators=operators,
    )
    try:
        report = measure(bundle, plan, progress, evaluate, given, loadgen, wanted, **arguments)
    except InputError as error:  # of the files of --input and --evaluate, which are wrong usage of a measurement
        raise UsageError(str(error)) from error
    write(report, [] if report.partial else wanted, json_file, csv_file, markdown, html)
    if report.stopped:
        raise EdgexfError(report.stopped)
    if report.partial:
        raise SystemExit(INTERRUPTED)


def source_of(source: Path | None) -> Path:
    """The report to show. Raises UsageError without one, and for a bundle or options of a measurement beside it."""
    if source is None:
        raise UsageError(
            "bench must be given a bundle to measure, or --from with a report, got neither; name one of them."
        )
    given = given_beside(*VIEWS)
    if given:
        raise UsageError(f"--from must stand without what a measurement takes, got {', '.join(given)}; leave it out.")
    return source


def write(
    report: LatencyReport, wanted: list[Budget], json_file: Path | None, csv_file: Path | None, markdown: Path | None,
    html: Path | None,
) -> None:  # fmt: skip
    """Writes the files of a report, shows it, and keeps it to its budgets. Nothing is written where a budget is of what was
    not measured.
    """
    from edgexf.report.latency.budget import outcomes

    found = outcomes(report, wanted)
    for path, make in ((json_file, report.to_json), (csv_file, report.to_csv), (markdown, report.to_markdown)):
        if path is not None and str(path) != "-":
            write_text(path, make().rstrip("\n") + "\n")
    if html is not None:
        write_text(html, report.to_html(budgets=[budget.text for budget in wanted]))
    if str(json_file) == "-":
        click.echo(report.to_json())
    else:
        show(report)
    check(found)


def lengths_of(budgets: list[Budget]) -> list[int] | None:
    """The lengths to measure where none was asked for: those of the budgets, or the default."""
    return sorted({budget.length for budget in budgets if budget.length is not None}) or None


def check(found: list[Outcome]) -> None:
    """Says on standard error which budgets are kept, and exits with code 1 if one is not."""
    for outcome in found:
        click.echo(outcome.sentence(), err=True)
    if not all(outcome.kept for outcome in found):
        raise SystemExit(1)


def show(report: LatencyReport) -> None:
    from edgexf.cli.console import show_records, show_table
    from edgexf.report.latency.tables import tables
    from edgexf.report.latency.validity import verdict

    show_records([report.about()])
    for title, header, rows in tables(report):
        if title:
            say(f"\n{title}")
        show_table(header, rows)
    found = verdict(report)
    say("\n".join([found.text(), *(f"- {reason}" for reason in found.reasons)]))
