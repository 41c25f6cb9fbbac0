"""What commands show to a person: tables on standard output, progress on standard error.

A terminal shows a bar or a spinner, and colours. A pipe gets none of them, and its tables are plain text.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from edgexf.cli.streams import plain

TEXT_WIDTH = 100  # columns of running text; longer lines are hard to read
PIPE_WIDTH = 160  # columns of a table in a pipe, which has no width


def output(to_stderr: bool = False) -> Console:
    console = Console(highlight=False, stderr=to_stderr)
    return console if console.is_terminal else Console(highlight=False, stderr=to_stderr, width=PIPE_WIDTH)


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]], to_stderr: bool = False) -> None:
    """Prints a table. Columns of numbers are right-aligned, except the first column."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, title in enumerate(header):
        numeric = index > 0 and all(row[index][:1].isdigit() or row[index] == "-" for row in rows)
        table.add_column(Text(title), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    output(to_stderr).print(table)


def show_records(records: Iterable[Mapping[str, str]]) -> None:
    """Prints each record as lines of name and value, which narrow terminals wrap. Empty lines separate records."""
    for place, record in enumerate(records):
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in record.items():
            table.add_row(Text(plain(name)), Text(plain(value)))
        if place:
            output().print()
        output().print(table)


def show(view: RenderableType) -> None:
    output().print(view)


def width() -> int:
    """The width, in columns, for text that needs a layout before it is shown."""
    return min(output().width, TEXT_WIDTH)


@contextmanager
def stages() -> Iterator[Callable[[str], None]]:
    """Yields a function that shows the stage of long work: beside a spinner on a terminal, nothing in a pipe."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("starting") as status:
        yield lambda stage: status.update(stage)


@contextmanager
def progress(total: int | None, what: str) -> Iterator[Callable[[int], None]]:
    """Shows a bar over `total` steps on a terminal, nothing in a pipe. Yields a function that advances the bar.

    A single step needs no bar. A `total` of None shows a bar without an end.
    """
    console = Console(stderr=True, soft_wrap=True)
    if not console.is_terminal or (total is not None and total < 2):
        yield lambda _: None
        return
    with shown_bar(console, what, total) as (bar, task):
        yield lambda steps: bar.advance(task, steps)


@contextmanager
def told_progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Shows a bar for work that reports the steps that are done and their total. Yields None in a pipe."""
    console = Console(stderr=True, soft_wrap=True)
    if not console.is_terminal:
        yield None
        return
    with shown_bar(console, what, None) as (bar, task):
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def shown_bar(console: Console, what: str, total: int | None) -> Iterator[tuple[Progress, TaskID]]:
    shared = sys.stdout.isatty()  # lines for a terminal go above the bar, lines for a file go to the file
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=shared) as bar:
        yield bar, bar.add_task(what, total=total)
