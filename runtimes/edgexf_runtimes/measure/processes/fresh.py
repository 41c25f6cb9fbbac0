"""Programs in fresh processes of this Python.

In: a program of one line, and its arguments as text. Out: what it tells by `tell`, a value of JSON at a time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Generator
from typing import IO, Any

from edgexf.errors import EdgexfError

ANSWER = "edgexf answers: "  # before each value: libraries write to standard output too


def tell(values: Any) -> None:
    """Tells the parent a value of JSON."""
    print(ANSWER + json.dumps(values), flush=True)  # noqa: T201 (the parent reads it)


def answers_of(program: str, *arguments: str) -> Generator[Any, None, None]:
    """Runs a program, and yields each value when it tells it. The program sees no module of the current folder.

    The process ends when the iterator is closed. Raises EdgexfError if it fails, and if it can't start.
    """
    command = [sys.executable, "-P", "-c", program, *arguments]
    with tempfile.TemporaryFile() as errors:
        with started(command, errors) as process:
            try:
                for line in process.stdout or ():
                    if line.startswith(ANSWER) and line.endswith("\n"):  # a process that dies may leave half a line
                        yield json.loads(line.removeprefix(ANSWER))
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            errors.seek(0)
            raise failed(process.returncode, errors.read().decode("utf-8", errors="replace"))


def started(command: list[str], errors: IO[bytes]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8", errors="replace")  # noqa: S603 (all arguments are ours)
    except OSError as error:  # such as no memory for another process
        raise EdgexfError(
            f"a fresh process must start, got {error.strerror}; free memory, or allow more processes."
        ) from error


def failed(code: int, errors: str) -> EdgexfError:
    last = (errors.strip().splitlines() or ["nothing on standard error"])[-1]
    return EdgexfError(
        f"a fresh process must load the bundle and run it, got exit code {code}: {last[-300:]}; try a shorter length, or free memory."
    )


def answer_of(program: str, *arguments: str) -> Any:
    """The only value that a program tells. Raises EdgexfError if it fails, or tells nothing."""
    found = list(answers_of(program, *arguments))
    if not found:
        raise failed(0, "it told nothing")
    return found[-1]


def with_providers(opening: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `edgexf.load` as they were before JSON made lists of the pairs of a provider and its options."""
    if "providers" not in opening:
        return opening
    return {**opening, "providers": [tuple(one) if isinstance(one, list) else one for one in opening["providers"]]}
