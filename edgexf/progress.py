"""How work that takes long reports its progress: three kinds of functions, which the work calls.

    Stages     takes the name of each stage, for work whose length is unknown
    Progress   takes a number of steps (None if unknown) and a title, and opens a bar; its context yields a function
               that takes the number of steps that were just done
    Steps      takes the number of steps that are done and the number of all steps, for work that counts its steps

`edgexf.cli.console` shows all of them on a terminal, and nothing in a pipe. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Stages = Callable[[str], None]
Progress = Callable[[int | None, str], AbstractContextManager[Callable[[int], None]]]
Steps = Callable[[int, int], None]


def no_stages(_: str) -> None:
    """Stages that nobody watches."""


def unseen(_: int | None, __: str) -> AbstractContextManager[Callable[[int], None]]:
    """Progress that nobody watches."""
    return nullcontext(lambda _: None)
