"""`edgexf tune`: find the fastest way to run a bundle on this device, and remember it beside the bundle.

In: the folder of a bundle and options. Out: a table of what was tried, or JSON, on standard output.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgexf.cli.options import LazyHelp, bundle_argument, given_beside
from edgexf.cli.session import Opening, session_options, shown_log
from edgexf.cli.streams import say
from edgexf.errors import UsageError

if TYPE_CHECKING:
    from edgexf.pipeline.tune_bundle import Tuning
    from edgexf.report.quantization import Speed
    from edgexf_runtimes.measure.tuning import Row


def profile_help() -> str:
    from edgexf_runtimes.device.profiles import PROFILES
    from edgexf_runtimes.measure.tuning import TRIED_PROFILES

    return f"The only profile, of {', '.join(PROFILES)}; by default {' and '.join(TRIED_PROFILES)} are tried."


@click.command()
@bundle_argument
@click.option(
    "--lengths", default="128,512,4096", show_default=True, help="At which to time, separated by commas; see bench."
)
@click.option("--threads", type=int, help="The only number of threads; by default several are tried.")
@click.option("--profile", cls=LazyHelp, text=profile_help)
@session_options("dtype", "providers")
@click.option(
    "--cache",
    metavar="FOLDER",
    help="Folder for what was found; by default that of EDGEXF_CACHE, or beside the bundle.",
)
@click.option(
    "--forget", "forgets", is_flag=True, help="Remove what was remembered for this bundle, and measure nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def tune(
    bundle: Path,
    lengths: str,
    threads: int | None,
    profile: str | None,
    cache: str | None,
    forgets: bool,
    as_json: bool,
    opening: Opening,
) -> None:
    """Find the fastest graphs and settings that agree with the model on this device, and remember them for `load`.

    The time is that of predictions, one input at a time. Nothing is written into the bundle.
    """
    from edgexf.cli.console import progress
    from edgexf.pipeline.tune_bundle import tune
    from edgexf_runtimes.measure.cases import parse_lengths

    if forgets:
        forget(bundle, cache, as_json)
        return
    with shown_log():
        found = tune(
            bundle,
            lengths=parse_lengths(lengths),
            threads=threads,
            profile=profile,
            cache=cache,
            progress=progress,
            **opening.arguments,
        )
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1))
    else:
        show(found)


def forget(bundle: Path, cache: str | None, as_json: bool) -> None:
    """Removes what was remembered, and says which files are gone. UsageError for options of a measurement beside it."""
    given = given_beside("bundle", "forgets", "cache", "as_json")
    if given:
        raise UsageError(f"--forget must stand without what a measurement takes, got {', '.join(given)}; leave it out.")
    from edgexf.pipeline.tune_bundle import forget

    gone = forget(bundle, cache)
    if as_json:
        click.echo(json.dumps({"removed": [str(path) for path in gone]}, indent=1))
    else:
        say("\n".join(f"removed {short(path)}" for path in gone) or f"nothing was remembered for {bundle}")


def show(found: Tuning) -> None:
    from edgexf.cli.console import show_table
    from edgexf_runtimes.measure.tuning import LEFT_OUT

    lengths = sorted({one.length for row in found.rows for one in row.speeds})
    header = ("tried", *(f"ms at {length:,}" for length in lengths), "verdict")
    show_table(header, [cells(row, lengths) for row in found.rows])
    lines = [f"{row.way} is left out: {row.reason}" for row in found.rows if row.verdict == LEFT_OUT]
    if lengths:
        lines.append(
            "times: the best way so far -> this one, in turns, of predictions one at a time; above 1x is faster"
        )
    say("\n".join([*lines, f"fastest: {found.chosen}; remembered in {short(found.file)}"]))


def short(path: Path) -> Path:
    """The path of a file, without the current folder if it lies there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def cells(row: Row, lengths: Sequence[int]) -> tuple[str, ...]:
    """The cells of a table row: the way, its times by length, and the verdict with the speed and its 95 % interval."""
    at: dict[int, Speed] = {one.length: one for one in row.speeds}
    times = [milliseconds(at[length]) if length in at else "-" for length in lengths]
    if not row.speeds:
        return (str(row.way), *times, row.verdict)
    middle, low, high = row.overall
    return (str(row.way), *times, f"{row.verdict}: {1 / middle:.2f}x ({1 / high:.2f} to {1 / low:.2f})")


def milliseconds(one: Speed) -> str:
    return f"{one.fp32_ms:.3g} -> {one.fp32_ms * one.ratio:.3g}"
