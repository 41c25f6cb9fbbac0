"""`edgexf run`: answers files or a text.

In: a bundle, and texts, files, folders, or files of records. Out: a JSON line for each input, with the answer of the
bundle's task. A bundle that reads neither text nor bytes takes files of arrays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgexf.cli.options import bundle_argument, record_options, task_options, truncate_option
from edgexf.cli.session import Opening, opened, session_options
from edgexf.cli.streams import say_error
from edgexf.errors import InputError, UsageError

if TYPE_CHECKING:
    from edgexf_runtimes import Session


@click.command()
@bundle_argument
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option("--text", "texts", multiple=True, help="Text to classify instead of, or before, files; may be repeated.")
@record_options
@truncate_option
@click.option("--stride", type=int, help="Read a text that is too long in windows that share so many tokens.")
@task_options
@click.option(
    "--output-arrays",
    type=click.Path(path_type=Path),
    help="Of a model of arrays: a folder for its outputs, an .npz each.",
)
@session_options()
def run(
    bundle: Path, inputs: tuple[str, ...], texts: tuple[str, ...], jsonl: Path | None, csv: Path | None, text_field: str | None, pair_field: str | None, truncate: bool, stride: int | None, output_arrays: Path | None, opening: Opening, **options: Any
) -> None:  # fmt: skip
    """Answer files (- is standard input), folders, or records; a JSON line each, in the order given.

    The answer is that of the bundle's task: a label, entities, the answer to a --question, the words for a mask token. A
    model of images reads pictures.

    The key `ms` is the time of the input. Inputs of similar length run together: then `ms` is an equal share of their
    time, and the key `batch` says how many they are.

    A model that takes arrays reads them from .npz files, by the names of its inputs, and answers with its outputs.
    """
    from edgexf.pipeline.run_inputs import answered, inputs_of, task_from
    from edgexf_runtimes.inputs.records import is_folder

    given = inputs_of(texts, list(map(Path, inputs)), jsonl, csv, text_field, pair_field)
    total = None if jsonl or csv or any(map(is_folder, map(Path, inputs))) else len(texts) + len(inputs)
    failed = False
    with opened(bundle, opening) as session, advancing(total) as advance:
        from edgexf.pipeline.answer_arrays import check_array_call, takes_arrays

        if takes_arrays(session, [*texts, *map(Path, inputs)]):
            options = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
            check_array_call(
                session, **{"--text": texts, "--jsonl": jsonl, "--csv": csv, "--truncate": truncate, "--stride": stride, **options}
            )  # fmt: skip
            return run_arrays(session, list(map(Path, inputs)), output_arrays, advance)
        if output_arrays is not None:
            raise UsageError(f"--output-arrays is for models of arrays, got {session.manifest.name}; leave it out.")
        for answers, errors in answered(session, task_from(session, options), given, truncate, stride):
            failed |= bool(errors)
            for error in errors:
                say_error(error)
            for answer in answers:
                click.echo(json.dumps(answer.to_line(), allow_nan=False))
            advance(len(answers) + len(errors))
    if failed:
        raise click.exceptions.Exit(1)
    return None


def advancing(total: int | None) -> AbstractContextManager[Callable[[int], None]]:
    """A bar over the inputs. A single one needs none, and so does not wait for the imports of a bar."""
    if total is not None and total < 2:
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
