"""What commands show to a person: tables on standard output, progress on standard error.

A terminal shows a bar or a spinner, and colours. A pipe gets none of them, and its tables are plain text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from edgexf.cli.streams import plain, say
from edgexf.progress import Steps
from edgexf.report.terminal.bars import duration, shown_bar, stages

__all__ = ["output", "progress", "show", "show_records", "show_table", "stages", "told_progress", "width"]

TEXT_WIDTH = 100  # columns of running text; longer lines are hard to read
LONG = 10.0  # seconds from which on a cost is announced
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
def told_progress(what: str) -> Iterator[Steps]:
    """Shows a bar for work that reports the steps that are done and their total, and announces its cost.

    A pipe gets the announcement only.
    """
    console = Console(stderr=True, soft_wrap=True)
    cost = Cost(what)
    if not console.is_terminal:
        yield lambda done, total: cost.announce(done, total, partial(say, to_stderr=True))
        return
    with shown_bar(console, what, None) as (bar, task):

        def show_steps(done: int, total: int) -> None:
            cost.announce(done, total, bar.console.print)
            bar.update(task, completed=done, total=total)

        yield show_steps


@dataclass
class Cost:
    """What long work will cost: announced once, after its second steps, and only if it is long.

    The first steps also open and warm up the model, so they say nothing about the others.

    Attributes:
        what: the name of the work.
        first: the steps and the time at the first call, in the seconds of `time.monotonic`; None before it.
        known: whether the cost was judged.
    """

    what: str
    first: tuple[int, float] | None = None
    known: bool = False

    def announce(self, done: int, total: int, tell: Callable[[str], object]) -> None:
        now = time.monotonic()
        if self.first is None or self.known:
            self.first = self.first or (done, now)
            return
        self.known = True
        seconds = (now - self.first[1]) / max(done - self.first[0], 1) * total
        if seconds >= LONG:
            tell(
                f"{plain(self.what)} runs the model {total:,} times, about {duration(seconds)} in all; --budget and --time-limit make it shorter"
            )
