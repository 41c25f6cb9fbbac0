"""`edgexf run`: answers files or a text.

In: a bundle, and files or a text. Out: a JSON line for each input.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgexf.cli.options import bundle_argument, dtype_option, threads_option, truncate_option
from edgexf.errors import EdgexfError, UsageError

if TYPE_CHECKING:
    from edgexf.report.prediction import Features, Prediction
    from edgexf_runtimes import Session

AT_ONCE = 256  # inputs read before batching by length: bounds the memory, and answers appear early


@click.command()
@bundle_argument
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option("--text", help="Text to classify instead of, or before, files.")
@truncate_option
@click.option("--stride", type=int, help="Read a text that is too long in windows that share so many tokens.")
@dtype_option
@threads_option
def run(
    bundle: Path, inputs: tuple[str, ...], text: str | None, truncate: bool, stride: int | None, dtype: str, threads: int | None
) -> None:  # fmt: skip
    """Classify files (- is standard input); a JSON line each, in the order given."""
    from edgexf.cli.console import progress
    from edgexf_runtimes import load

    sources: list[str | Path] = ([text] if text is not None else []) + [Path(name) for name in inputs]
    if not sources:
        raise UsageError("a run needs an input, got none; name files, - for standard input, or --text.")
    failed = False
    with load(bundle, dtype=dtype, threads=threads) as session, progress(len(sources), "inputs") as advance:
        for start in range(0, len(sources), AT_ONCE):
            part = sources[start : start + AT_ONCE]
            predictions, errors = predict_readable(session, part, truncate, stride)
            failed |= bool(errors)
            for error in errors:
                click.echo(f"Error: {error}", err=True)
            for prediction in predictions:
                click.echo(prediction.to_json())
            advance(len(part))
    if failed:
        raise click.exceptions.Exit(1)


def predict_readable(
    session: Session, sources: Sequence[str | Path], truncate: bool, stride: int | None
) -> tuple[Sequence[Prediction | Features], list[EdgexfError]]:
    """Answers for the readable inputs, and the errors of the others. UsageError for a call that is wrong for all."""
    prepared, errors = [], []
    for source in sources:
        try:
            prepared.append(session.prepare(source, truncate, stride))
        except UsageError:
            raise
        except EdgexfError as error:
            errors.append(error)
    return session.predict_prepared(prepared), errors
