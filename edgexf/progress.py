"""How long work tells a person where it stands.

In: a number of steps, None where it is not known, and a title. Out: a context whose value is called with the steps done.
`edgexf.cli.console.progress` shows a bar on a terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Progress = Callable[[int | None, str], AbstractContextManager[Callable[[int], None]]]


def unseen(_: int | None, __: str) -> AbstractContextManager[Callable[[int], None]]:
    """Progress that nobody watches."""
    return nullcontext(lambda _: None)
