"""Standard output and standard error: text that controls no terminal, and a sentence when they can't be written.

In: text from outside, and the streams of the process. Out: plain text, and the same streams. A write that fails, such as
on a full disk, raises OutputError instead of the operating system's error. A closed pipe keeps its BrokenPipeError, at
which click ends the program quietly.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import click

from edgexf.errors import EdgexfError

NAMES = {"stdout": "standard output", "stderr": "standard error"}


def plain(text: str) -> str:
    """Text from outside, with names in place of characters that could control the terminal. Line breaks stay."""
    from edgexf.report.characters import visible

    return "\n".join(map(visible, text.split("\n")))


def say(text: str, to_stderr: bool = False) -> None:
    """Prints text that may hold names from outside, such as that of a file; see `plain`."""
    click.echo(plain(text), err=to_stderr)


def say_error(error: Exception) -> None:
    """Prints an error that does not end the command, as one line on standard error."""
    click.echo(f"Error: {one_line(str(error))}", err=True)


def one_line(text: str) -> str:
    """Text from outside on one line: a line break gets a name too."""
    from edgexf.report.characters import visible

    return visible(text)


class OutputError(EdgexfError):
    """Results can't be written to a stream of the process."""


class Guarded:
    """A text stream whose failed writes raise OutputError. All else is that of the `stream`."""

    def __init__(self, stream: Any, name: str) -> None:
        self._stream, self._name, self._failed = stream, name, ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> Any:
        return self._guarded(self._stream.write, text)

    def flush(self) -> None:
        self._guarded(self._stream.flush)

    def _guarded(self, act: Callable[..., Any], *values: str) -> Any:
        """Calls a function of the stream. After a failure all calls fail, since click tries a stream before its use."""
        try:
            if not self._failed:
                return act(*values)
        except BrokenPipeError:
            self._discard()
            raise
        except OSError as error:
            self._failed = error.strerror or type(error).__name__
            self._discard()
        raise OutputError(
            f"{NAMES[self._name]} must take what is written, got {self._failed}; make room, or send it elsewhere."
        )

    def _discard(self) -> None:
        """Sends what is left in the buffer nowhere. Python would write it again at its end, and fail again."""
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Shows each UserWarning in the block as one line, without the place in the code that Python adds."""

    def show_warning(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
    ) -> None:  # fmt: skip
        if category is UserWarning:
            click.echo(f"Warning: {one_line(str(message))}", err=True)
        else:
            usual(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        usual = warnings.showwarning
        warnings.showwarning = show_warning
        yield


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Guards both streams in the block. They show a character that the terminal can't show by its number."""
    before = {name: getattr(sys, name) for name in NAMES}
    for name, stream in before.items():
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        if stream is not None:  # a process may start without
            setattr(sys, name, Guarded(stream, name))
    try:
        yield
    finally:
        for name, stream in before.items():
            setattr(sys, name, stream)
