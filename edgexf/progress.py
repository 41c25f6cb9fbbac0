"""How work that takes long reports its progress: three kinds of functions, which the work calls.

    Stages     takes the name of each stage, and in a stage of counted steps also those that are done and their number
    Progress   takes a number of steps (None if unknown) and a title, and opens a bar; its context yields a function
               that takes the number of steps that were just done
    Steps      takes the number of steps that are done and the number of all steps, for work that counts its steps

`edgexf.cli.console` shows all of them on a terminal, and nothing in a pipe.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from edgexf.errors import UsageError


class Stages(Protocol):
    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None: ...


Progress = Callable[[int | None, str], AbstractContextManager[Callable[[int], None]]]
Steps = Callable[[int, int], None]


def check_steps(steps: object) -> None:
    """Raises UsageError for what is given as `Steps` and can't be called."""
    if steps is not None and not callable(steps):
        raise UsageError(
            f"progress must be a function of the steps done and of all steps, got {type(steps).__name__}; leave it out for none."
        )


def no_stages(stage: str, done: int = 0, total: int = 0) -> None:
    """Stages that nobody watches."""
    del stage, done, total


def no_steps(done: int, total: int) -> None:
    """Steps that nobody watches."""
    del done, total


def unseen(_: int | None, __: str) -> AbstractContextManager[Callable[[int], None]]:
    """Progress that nobody watches."""
    return nullcontext(lambda _: None)
