"""`edgexf bench`: measures the latency, the load time and the memory of a bundle at several lengths."""

from __future__ import annotations

from pathlib import Path

import click

from edgexf.cli.options import (
    LazyHelp,
    bundle_argument,
    check_output,
    compiled_methods,
    write_text,
)
from edgexf.cli.session import Opening, session_options


@click.command()
@bundle_argument
@click.option(
    "--lengths",
    help="Bytes a run (tokens, special ones included, for a model that takes tokens), separated by commas; by default 128 to 4096, as far as the model takes them.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    help="Write the report as JSON; - prints it.",
)
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown.")
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
    bundle: Path, lengths: str | None, json_file: Path | None, markdown: Path | None, methods: tuple[str, ...], opening: Opening
) -> None:  # fmt: skip
    """Measure latency, load time and memory over lengths."""
    from edgexf.cli.console import progress, show_records, show_table
    from edgexf.report.latency import LATENCY_HEADER, latency_cells
    from edgexf_runtimes.measure.bench import measure
    from edgexf_runtimes.measure.cases import parse_lengths

    check_output(json_file, markdown)
    wanted = None if lengths is None else parse_lengths(lengths)
    report = measure(bundle, wanted, progress, methods, **opening.arguments)
    if markdown is not None:
        write_text(markdown, report.to_markdown())
    if json_file is not None and str(json_file) != "-":
        write_text(json_file, report.to_json() + "\n")
    if str(json_file) == "-":
        click.echo(report.to_json())
    else:
        show_records([report.about()])
        show_table(LATENCY_HEADER, [latency_cells(row) for row in report.rows])
