"""Speed that decides: each graph beside eager PyTorch, other ways to run the model, and the floor of its products.

    python tests/benchmarks/speed.py --prepare FOLDER           exports everything once (hours; a second call goes on)
    python tests/benchmarks/speed.py --quick --prepare FOLDER   exports the bundles of the reference models (minutes)
    python tests/benchmarks/speed.py --bundles FOLDER           all rows; a second call goes on where the first one stopped
    python tests/benchmarks/speed.py --quick --bundles FOLDER   the four reference models at three lengths (minutes)

Each row runs all contestants in turns, with one thread by processor time and with two threads by wall time. `contest.rows` says
when a row counts. In: a folder of `--prepare`. Out: tables; the full run, and with `--write` also the quick one, writes
``results/speed.jsonl``, and of all rows in it ``speed.md`` and a plot for each machine. `contest/__init__` says how it is made.

    graph, int8, explain  edgexf's predict graph, the same in int8, and the explain graph, by ONNX Runtime
    ort-cpu               the predict graph with operators of ONNX Runtime's own, where a model has full attention in slices
    compile               torch.compile of the eager model; in the full run, or with --compile
    library               the graph that transformers' own exporter writes, by ONNX Runtime
    openvino              edgexf's predict graph by OpenVINO
    dense                 edgexf's graph of BERT, of the same sizes
    floor                 the products that the model can't do without, by ONNX Runtime, on the same shapes in the same rounds
    of floor              graph / floor, and explain graph / floor of its forward and reverse products

What is not installed, was not exported, fails, or answers otherwise than the eager model says "-". `--quick --models NAMES`
takes these models instead of the reference models.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.contest import records
from benchmarks.contest.cases import Case, Choice
from benchmarks.contest.contestants import COMPILE, contest
from benchmarks.contest.page import line, page
from benchmarks.contest.plot import plot
from benchmarks.contest.prepared import folder_of, prepare
from benchmarks.contest.rows import EAGER, FLOOR, LEAST, measured

from edgexf_runtimes.device.device import machine

RESULTS = Path(__file__).parent / "results"
THREADS = (1, 2)
LEFT_OUT = "left out by --without"


def key_of(case: Case, threads: int) -> dict[str, Any]:
    return {
        "model": case.model.name,
        "layers": case.layers,
        "length": case.length,
        "batch": case.batch,
        "threads": threads,
        "machine": machine(),
    }


def run(
    bundles: Path,
    choice: Choice,
    output: Path | None,
    compiles: bool,
    minutes: float | None,
    without: Sequence[str] = (),
    least: int = LEAST,
) -> list[records.Record]:
    """Measures rows, and keeps each in `output` at once; all rows of `output` and the new ones.

    The full run leaves out the rows that `output` holds, but for those that don't count, those `without` a contestant, and those
    without torch.compile where it is asked for. A quick one measures them again. No row starts after `minutes`.
    """
    found, told = records.read(output), set[str]()
    end = math.inf if minutes is None else time.monotonic() + 60 * minutes
    whole = [one for one in found if not one["invalid"] and LEFT_OUT not in one["notes"].values()]
    done = [record for record in whole if COMPILE in tried(record) or not compiles]
    known = [] if choice.quick else [record["key"] for record in done]
    for case in choice.cases():
        for threads in THREADS:
            key = key_of(case, threads)
            if key in known or not folder_of(bundles, case.model, case.layers).is_dir():
                continue
            if time.monotonic() >= end:
                click.echo(f"stopped after {minutes:g} minutes, before {key['model']} at {key['length']}", err=True)
                return found
            record = measure(bundles, case, threads, compiles, told, without, least)
            found = records.added(found, record)
            if output is not None:
                records.write(output, found)
    return found


def tried(record: records.Record) -> set[str]:
    """The contestants of a row, also those that are absent with a reason."""
    return {*record["seconds"], *record["notes"]}


def measure(
    bundles: Path, case: Case, threads: int, compiles: bool, told: set[str], without: Sequence[str], least: int
) -> records.Record:
    """One row of at least so many rounds, which is told on stderr with those of its notes that are not in `told` yet."""
    entered = contest(bundles, case, threads, compiles)
    for name in {*without} & {*entered.found} - {EAGER, FLOOR}:
        del entered.found[name]
        entered.notes[name] = LEFT_OUT
    record = asdict(measured(key_of(case, threads), entered.found, threads, entered.notes, least))
    click.echo(line(record), err=True)
    for note in (f"{name}: {why}" for name, why in entered.notes.items()):
        if note not in told:
            told.add(note)
            click.echo(note, err=True)
    return record


def publish(output: Path, found: list[records.Record]) -> None:
    """Writes the page and the plots of all machines in `found`."""
    plots = {}
    for number, name in enumerate(records.machines(found), 1):
        file = "speed.svg" if number == 1 else f"speed-{number}.svg"
        if plot(records.of_machine(found, name), output / file):
            plots[name] = file
    (output / "speed.md").write_text(page(found, plots), encoding="utf-8")


def names_of(_: click.Context, __: click.Parameter, value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


def numbers_of(_: click.Context, __: click.Parameter, value: str) -> list[int]:
    try:
        return [int(number) for number in value.split(",") if number.strip()]
    except ValueError:
        raise click.BadParameter(f"expected whole numbers such as 4,12; got {value}") from None


FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option("--prepare", "prepared", type=FOLDER, help="Export bundles and the library's graphs into this folder.")
@click.option(
    "--max-length",
    type=click.IntRange(min=1),
    help="With --prepare: verify new bundles of families up to this length; their grid is shorter.",
)
@click.option("--bundles", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A folder of --prepare.")
@click.option("--quick", is_flag=True, help="Three lengths, the reference models if --models names no others.")
@click.option(
    "--write", is_flag=True, help="Also a quick run writes results; its rows replace older ones of this machine."
)
@click.option("--models", default="", callback=names_of, help="Only these, such as hf-bert,hf-bigbird.")
@click.option("--layers", default="", callback=numbers_of, help="Only models of so many layers, such as 4.")
@click.option(
    "--without", default="", help="Contestants to leave out, such as compile,library: a long row then is shorter."
)
@click.option("--lengths", default="", callback=numbers_of, help="Only these lengths, such as 512,4096.")
@click.option(
    "--compile/--no-compile", "compiles", default=None, help="Run torch.compile too; by default in a full run."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0), help="Start no new row after so many minutes; the next full run goes on."
)
@click.option(
    "--rounds",
    type=click.IntRange(LEAST),
    default=LEAST,
    show_default=True,
    help="At least so many rounds a row: more for an eager model whose time wanders.",
)
@click.option("--output", type=FOLDER, default=RESULTS, show_default=True)
def main(
    prepared: Path | None,
    max_length: int | None,
    bundles: Path | None,
    quick: bool,
    write: bool,
    models: list[str],
    layers: list[int],
    lengths: list[int],
    without: str,
    compiles: bool | None,
    minutes: float | None,
    rounds: int,
    output: Path,
) -> None:
    """Prepare bundles, or measure them and print Markdown."""
    if prepared is None and bundles is None:
        raise click.UsageError("give --prepare FOLDER, or --bundles FOLDER of an earlier --prepare")
    if max_length is not None and prepared is None:
        raise click.UsageError("--max-length belongs to --prepare FOLDER")
    try:
        choice = Choice(quick, models, layers, lengths)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if prepared is not None:
        prepare(prepared, choice, max_length)
    if bundles is not None:
        written = write or not quick
        lines = output / "speed.jsonl" if written else None
        compiled = not quick if compiles is None else compiles
        found = run(bundles, choice, lines, compiled, minutes, without.split(","), rounds)
        click.echo(page(found, {}))
        if written:
            publish(output, found)


if __name__ == "__main__":
    main()
