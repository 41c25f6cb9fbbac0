"""How long work shows how far it is: bars on a terminal, and lines where a bar can't be drawn.

In: stages and steps, as `edgexf.progress` describes them. Out: text on standard error.

    terminal                     a spinner, the stage, a bar over its steps, the time
    notebook, pipe or log file   nothing, or on request a line for each stage and each quarter of its steps
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from edgexf.progress import Stages, no_stages
from edgexf.report.characters import visible

QUARTERS = 4  # a line tells each of them


@contextmanager
def stages(lines: bool = False) -> Iterator[Stages]:
    """Yields a function that shows the stage of long work and its steps on a terminal.

    Elsewhere it shows nothing, or with `lines` a line of text for each stage.
    """
    console = Console(stderr=True, soft_wrap=True)
    if not console.is_terminal:
        yield Lines() if lines else no_stages
        return
    with shown_bar(console, "starting", None) as (bar, task):

        def show_stage(stage: str, done: int = 0, total: int = 0) -> None:
            if bar.tasks[0].description != stage:
                bar.reset(task, description=stage)
            bar.update(task, completed=done, total=total or None)

        yield show_stage


class Lines:
    """Writes a line for each new stage, and for each quarter of a stage's steps."""

    def __init__(self) -> None:
        self.stage, self.quarter = "", 0

    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None:
        quarter = QUARTERS * done // total if total else 0
        if stage != self.stage or quarter > self.quarter:
            share = f" {done}/{total}" if quarter else ""
            sys.stderr.write(f"edgexf: {stage}{share}\n")
            sys.stderr.flush()
        self.stage, self.quarter = stage, quarter


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


@contextmanager
def shown_bar(console: Console, what: str, total: int | None) -> Iterator[tuple[Progress, TaskID]]:
    """A bar with the time that has passed and, where the end is known, the time that is left."""
    shared = sys.stdout.isatty()  # lines for a terminal go above the bar, lines for a file go to the file
    with Progress(*columns(), console=console, transient=True, redirect_stdout=shared) as bar:
        yield bar, bar.add_task(visible(what), total=total)


def columns() -> list[ProgressColumn]:
    return [
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        Share(),
        TimeElapsedColumn(),
        Left(),
    ]


class Share(ProgressColumn):
    """The steps that are done, of all; empty without a known end."""

    def render(self, task: Task) -> Text:
        return Text(f"{int(task.completed)}/{int(task.total)}" if task.total else "")


class Left(ProgressColumn):
    """The time that is left; empty until it can be told."""

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        return Text(f"about {duration(left)} left" if left is not None and not task.finished else "")
