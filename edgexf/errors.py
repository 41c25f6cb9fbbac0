"""Errors that a user can meet. Each is one sentence: the rule, what was expected, what was got, the remedy.

A subclass says who must act, so that the command line can choose its exit code
(`exit_code`): 1 for a result that was refused, 2 for a call that was wrong.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class EdgexfError(Exception):
    """Base of every error that edgexf raises on purpose; a result was refused."""

    exit_code = 1


class UsageError(EdgexfError):
    """The call itself is wrong: an unknown variant, an option out of range, a folder that is not empty."""

    exit_code = 2


class InputError(EdgexfError):
    """An input can't be read, or breaks the model's limits: a missing file, a directory, an array too long."""


class BundleError(EdgexfError):
    """A bundle on disk can't be trusted: a changed byte, an unlisted file, an unknown schema version."""


class ExportError(EdgexfError):
    """A model can't be turned into a graph, or its weights don't fit its specification."""


class VerificationError(EdgexfError):
    """The graph differs from the model by more than the tolerance, so no bundle is written.

    `grid` is the whole result, as a manifest would hold it.
    """

    def __init__(self, sentence: str, grid: dict[str, Any]) -> None:
        super().__init__(sentence)
        self.grid = grid


class RefusedError(EdgexfError):
    """A quantized graph is slower or worse than asked; nothing was written. `outcomes` are what was measured of each."""

    def __init__(self, sentence: str, outcomes: tuple[Any, ...]) -> None:
        super().__init__(sentence)
        self.outcomes = outcomes


class MissingExtraError(UsageError):
    """An optional part of edgexf is not installed; the sentence names the extra that brings it."""


def said_by(error: Exception) -> str:
    """The first line of what an exception was raised from."""
    root: BaseException = error
    while root.__cause__ is not None:  # the outer ones only say at which step it happened
        root = root.__cause__
    first_line = (str(root).strip().splitlines() or [""])[0].rstrip(".")
    return f"{type(root).__name__}: {first_line}"


@contextmanager
def in_a_sentence(rule: str, remedy: str) -> Iterator[None]:
    """ExportError for what other people's code raises inside: dozens of unrelated types; the cause stays attached."""
    try:
        yield
    except EdgexfError:
        raise
    except Exception as error:
        raise ExportError(f"{rule}, got {said_by(error)}; {remedy}.") from error
