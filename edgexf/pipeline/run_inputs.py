"""The inputs of `edgexf run`, and their answers, some at a time.

In: texts, files and folders, or a file of records; and the options of a task. Out: for each input its answer, or the error
that concerns it alone, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf.errors import AnswerError, EdgexfError, InputError, TimedOut, UsageError

if TYPE_CHECKING:
    from edgexf_runtimes import Session
    from edgexf_runtimes.decoding import Prepared
    from edgexf_runtimes.tasks.task import Task

AT_ONCE = 256  # inputs read before batching by length: bounds the memory, and answers appear early
LISTS = ("targets",)  # options that hold words with commas between them
Given = Any  # a text, a path, a `Raw`, or the InputError of a record


def task_from(session: Session, options: Mapping[str, Any]) -> Task:
    """The task that the options of a command line ask for. UsageError for an option that the bundle's task does not take."""
    given = {name: value for name, value in options.items() if value is not None}
    split = {name: [word.strip() for word in given[name].split(",")] for name in LISTS if name in given}
    return session.task(**{**given, **split})


def inputs_of(
    texts: Sequence[str], paths: Sequence[Path], jsonl: Path | None, csv: Path | None, text_field: str | None, pair_field: str | None
) -> Iterator[Given]:  # fmt: skip
    """All inputs: texts, then files and those in folders, then records. UsageError for none, and for fields without records."""
    from edgexf_runtimes.inputs.records import Fields, csv_rows, files_in, is_folder, json_lines

    if not texts and not paths and jsonl is None and csv is None:
        raise UsageError(
            "a run needs an input, got none; name files or a folder, - for standard input, --text, --jsonl or --csv."
        )
    if paths.count(Path("-")) > 1:
        raise UsageError("standard input can be read once, got - twice or more; name it once.")
    if (text_field or pair_field) and jsonl is None and csv is None:
        raise UsageError("a field is one of --jsonl or --csv, got neither; name the file, or leave the field out.")
    fields = Fields(text_field or "text", pair_field)

    def inside(path: Path) -> Iterable[Given]:
        return files_in(path) if is_folder(path) else [path]

    sources: list[Callable[[], Iterable[Given]]] = [partial(inside, path) for path in paths]
    sources += [partial(json_lines, jsonl, fields)] if jsonl is not None else []
    sources += [partial(csv_rows, csv, fields)] if csv is not None else []

    def each() -> Iterator[Given]:
        yield from texts
        for source in sources:
            try:
                yield from source()
            except InputError as error:  # of the file or the folder, which has no further inputs
                yield error

    return each()


def answered(
    session: Session, task: Task, inputs: Iterator[Given], truncate: bool, stride: int | None, at_once: int = AT_ONCE
) -> Iterator[tuple[list[Any], list[EdgexfError]]]:
    """For each `at_once` inputs the answers to those that can be read, and the errors of the others.

    Raises UsageError for a call that is wrong for all, and TimedOut.
    """
    while part := list(islice(inputs, at_once)):
        questions: list[Sequence[Prepared]] = []
        errors: list[EdgexfError] = []
        for given in part:
            try:
                questions += prepared(session, task, given, truncate, stride)
            except (UsageError, TimedOut):
                raise
            except EdgexfError as error:
                errors.append(error)
        yield together(session, task, questions, errors), errors


def together(session: Session, task: Task, questions: list[Sequence[Prepared]], errors: list[EdgexfError]) -> list[Any]:
    """The answers to questions that run together. Where one of them can't be answered, each is asked alone, and `errors` gets
    the error in its place.
    """
    try:
        return session.answers(task, questions)
    except (InputError, AnswerError):
        pass  # of one of them: which, the next runs tell
    answers: list[Any] = []
    for question in questions:
        try:
            answers += session.answers(task, [question])
        except (InputError, AnswerError) as error:
            errors.append(error)
    return answers


def prepared(
    session: Session, task: Task, given: Given, truncate: bool, stride: int | None
) -> list[Sequence[Prepared]]:
    """The questions of one input. Raises the error that stands in its place."""
    if isinstance(given, EdgexfError):
        raise given
    asked = task.asked(session, session.read(given))
    return [[session.prepare(source, truncate, stride, task) for source in sources] for sources in asked.questions]
