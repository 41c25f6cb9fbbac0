"""Reads files from outside: at most so many bytes, and not longer than a pipe may keep the program waiting.

In: a path, the most bytes to read, and the seconds to wait. Out: the bytes, or an InputError.

Opening a named pipe waits for its writer, and reading a terminal for its user, both without an end. Therefore such a
path is opened without waiting, and each read waits until there is something to read.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from math import inf
from pathlib import Path

from edgexf.checks import is_seconds
from edgexf.errors import InputError, UsageError, quoted
from edgexf_runtimes.calls.call import ASK_EVERY, go_on

STDIN = "-"
INPUT_TIMEOUT = 30.0  # seconds
CHUNK = 1 << 20
LISTING_BYTES = 1 << 28  # of a file of labelled data


def check_timeout(seconds: float) -> float:
    """Raises UsageError for a time that is no number above 0."""
    if not is_seconds(seconds):
        raise UsageError(f"input_timeout must be seconds above 0, got {quoted(seconds)}; choose another.")
    return float(seconds)


def read_file(path: Path, size: int, timeout: float = INPUT_TIMEOUT) -> bytes:
    """Reads at most `size` bytes of a file, or of standard input for ``-``, which a person may type.

    So standard input may take its time, within that of the current call.
    """
    if str(path) == STDIN:
        return read_stdin(size)
    try:
        if hasattr(os, "O_NONBLOCK") and not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            return read_waiting(path, size, timeout)
        with path.open("rb") as file:
            return file.read(size)
    except IsADirectoryError as error:
        raise InputError(f"an input must be a file, got {path}, which is a folder; name the files in it.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"an input must be a readable file, got {path} ({reason}); check the path and its permissions."
        ) from error


def read_stdin(size: int) -> bytes:
    """Reads at most `size` bytes of standard input. Raises TimedOut or Cancelled if the current call may wait no longer."""
    if sys.stdin is None:
        raise InputError("an input of - must be an open standard input, got a closed one; name a file.")
    try:
        handle = sys.stdin.fileno()
    except OSError:  # a stream of a program's own
        return sys.stdin.buffer.read(size)
    return sys.stdin.buffer.read(size) if not hasattr(select, "poll") else read_handle(handle, size, inf, STDIN)


def read_waiting(path: Path, size: int, timeout: float) -> bytes:
    """Reads a pipe or a device, at most `size` bytes. InputError if nothing comes for `timeout` seconds.

    Raises TimedOut or Cancelled if the current call may wait no longer.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_NOCTTY", 0))
    try:
        return read_handle(handle, size, timeout, path)
    finally:
        os.close(handle)


def read_handle(handle: int, size: int, timeout: float, name: object) -> bytes:
    """Reads a handle as `read_waiting` does. `name` names it in an error."""
    found, poll = bytearray(), select.poll()
    poll.register(handle, select.POLLIN)
    last = time.monotonic()
    while len(found) < size:
        go_on()
        left = last + timeout - time.monotonic()
        ready = left > 0 and poll.poll(min(left, ASK_EVERY) * 1e3)
        if not ready and left > 0:
            continue
        if not ready:
            raise InputError(
                f"an input must begin and go on within {timeout:g} s, got nothing from {name}; start what writes it, or wait longer with --input-timeout."
            )
        part = os.read(handle, min(size - len(found), CHUNK))
        if not part:
            break
        found += part
        last = time.monotonic()
    return bytes(found)


def check_regular(path: Path, rule: str) -> None:
    """Raises InputError, which begins with the rule, for a pipe or a device: it can't be read again. A path without a
    file is left to the reader.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{rule}, got {path}, which is a pipe or a device; save it to a file.")


def read_listing(path: Path, timeout: float = INPUT_TIMEOUT) -> str:
    """The text of a file of labelled data. InputError for more than `LISTING_BYTES`, and for text that is not UTF-8."""
    rule = "labelled data must be a readable file of JSON lines"
    data = read_file(path, LISTING_BYTES + 1, timeout)
    if len(data) > LISTING_BYTES:
        raise InputError(
            f"labelled data must have at most {LISTING_BYTES >> 20} MiB, got more in {path}; take a sample of it, and name large inputs as files."
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{rule}, got {path} ({error}); check it.") from error
