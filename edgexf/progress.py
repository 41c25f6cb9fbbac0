"""How long work tells a person where it stands: three kinds of progress, each a function that the work calls.

    Stages     told the name of each stage, of work whose length nobody knows
    Progress   opens a bar over a number of steps, None where it is not known, by its title; the context's value is called
               with the steps done
    Steps      told how many steps were done, and of how many, by work that counts by itself

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
