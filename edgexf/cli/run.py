"""`edgexf run`: answers files or a text.

In: a bundle, and files or a text. Out: a JSON line for each input. A bundle that reads neither text nor bytes takes
files of arrays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgexf.cli.options import bundle_argument, truncate_option
from edgexf.cli.session import Opening, opened, session_options
from edgexf.cli.streams import say_error
from edgexf.errors import EdgexfError, InputError, TimedOut, UsageError

if TYPE_CHECKING:
    from edgexf.report.prediction import Features, Prediction
    from edgexf_runtimes import Session

AT_ONCE = 256  # inputs read before batching by length: bounds the memory, and answers appear early


@click.command()
@bundle_argument
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option("--text", "texts", multiple=True, help="Text to classify instead of, or before, files; may be repeated.")
@truncate_option
@click.option("--stride", type=int, help="Read a text that is too long in windows that share so many tokens.")
@click.option(
    "--output-arrays",
    type=click.Path(path_type=Path),
    help="Of a model of arrays: a folder for its outputs, an .npz each.",
)
@session_options()
def run(
    bundle: Path, inputs: tuple[str, ...], texts: tuple[str, ...], truncate: bool, stride: int | None, output_arrays: Path | None, opening: Opening
) -> None:  # fmt: skip
    """Classify files (- is standard input); a JSON line each, in the order given. A model of images reads pictures.

    The key `ms` is the time of the input. Inputs of similar length run together: then `ms` is an equal share of their
    time, and the key `batch` says how many they are.

    A model that takes arrays reads them from .npz files, by the names of its inputs, and answers with its outputs.
    """
    sources: list[str | Path] = [*texts, *map(Path, inputs)]
    check_sources(sources)
    failed = False
    with opened(bundle, opening) as session, advancing(len(sources)) as advance:
        from edgexf.pipeline.answer_arrays import check_array_call, takes_arrays

        if takes_arrays(session, sources):
            check_array_call(session, **{"--text": texts, "--truncate": truncate, "--stride": stride})
            return run_arrays(session, list(map(Path, inputs)), output_arrays, advance)
        if output_arrays is not None:
            raise UsageError(f"--output-arrays is for models of arrays, got {session.manifest.name}; leave it out.")
        for start in range(0, len(sources), AT_ONCE):
            part = sources[start : start + AT_ONCE]
            predictions, errors = predict_readable(session, part, truncate, stride)
            failed |= bool(errors)
            for error in errors:
                say_error(error)
            for prediction in predictions:
                click.echo(json.dumps(prediction.to_line(), allow_nan=False))
            advance(len(part))
    if failed:
        raise click.exceptions.Exit(1)
    return None


def advancing(total: int) -> AbstractContextManager[Callable[[int], None]]:
    """A bar over the inputs. A single one needs none, and so does not wait for the imports of a bar."""
    if total < 2:
        return nullcontext(lambda _: None)
    from edgexf.cli.console import progress

    return progress(total, "inputs")


def run_arrays(session: Session, paths: Sequence[Path], folder: Path | None, advance: Callable[[int], None]) -> None:
    """Answers files of arrays, a JSON line each. With a folder, the outputs go there."""
    from edgexf.pipeline.answer_arrays import answer, output_files

    failed = False
    for path, file in zip(paths, output_files(paths, folder), strict=True):
        try:
            found = answer(session, path)
        except InputError as error:
            failed = True
            say_error(error)
        else:
            if file is not None:
                found.save(file)
            click.echo(json.dumps(found.to_line(file), allow_nan=False))
        advance(1)
    if failed:
        raise click.exceptions.Exit(1)


def check_sources(sources: Sequence[str | Path]) -> None:
    """UsageError for no input, and for standard input that is named twice: it can be read once."""
    if not sources:
        raise UsageError("a run needs an input, got none; name files, - for standard input, or --text.")
    if sources.count(Path("-")) > 1:
        raise UsageError("standard input can be read once, got - twice or more; name it once.")


def predict_readable(
    session: Session, sources: Sequence[str | Path], truncate: bool, stride: int | None
) -> tuple[Sequence[Prediction | Features], list[EdgexfError]]:
    """Answers for the readable inputs, and the errors of the others. UsageError for a call that is wrong for all, and
    TimedOut.
    """
    prepared, errors = [], []
    for source in sources:
        try:
            prepared.append(session.prepare(source, truncate, stride))
        except (UsageError, TimedOut):
            raise
        except EdgexfError as error:
            errors.append(error)
    return session.predict_prepared(prepared), errors
