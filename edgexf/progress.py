"""How work that takes long reports its progress: three kinds of functions, which the work calls.

    Stages     takes the name of each stage, and in a stage of counted steps also those that are done and their number
    Progress   takes a number of steps (None if unknown) and a title, and opens a bar; its context yields a function
               that takes the number of steps that were just done
    Steps      takes the number of steps that are done and the number of all steps, for work that counts its steps

`edgexf.cli.console` shows all of them on a terminal, and nothing in a pipe. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Stages(Protocol):
    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None: ...


Progress = Callable[[int | None, str], AbstractContextManager[Callable[[int], None]]]
Steps = Callable[[int, int], None]


def no_stages(stage: str, done: int = 0, total: int = 0) -> None:
    """Stages that nobody watches."""
    del stage, done, total


def no_steps(done: int, total: int) -> None:
    """Steps that nobody watches."""
    del done, total


def unseen(_: int | None, __: str) -> AbstractContextManager[Callable[[int], None]]:
    """Progress that nobody watches."""
    return nullcontext(lambda _: None)
