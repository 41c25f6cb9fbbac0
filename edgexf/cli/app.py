"""The group of all commands, which turns errors into sentences and exit codes.

In: the arguments of the command line. Out: results on standard output, progress and errors on standard error, and an
exit code: 1 for a refused result, 2 for wrong usage, 130 for Ctrl-C. A command imports what it needs inside its
function, so `--help` is quick and no command but `export` loads torch.
"""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from types import FrameType
from typing import Any

import click

from edgexf import __version__
from edgexf.cli.streams import OutputError, guarded_streams, one_line, plain, plain_warnings
from edgexf.errors import EdgexfError

INTERRUPTED = 128 + signal.SIGINT
# The file of each command. A command is imported when it is called, since the options of others need imports too.
FILES = {
    "variants": "info",
    "export": "export",
    "quantize": "quantize",
    "verify": "info",
    "run": "run",
    "explain": "explain",
    "bench": "bench",
    "compare": "compare",
    "ort": "ort",
    "tune": "tune",
    "doctor": "info",
}


class Refusal(click.ClickException):
    """An EdgexfError in the form that click shows: one sentence, and the exit code of its class."""

    def __init__(self, error: EdgexfError) -> None:
        super().__init__(one_line(str(error)))
        self.error = error

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        return self.error.exit_code


class Commands(click.Group):
    """Imports the command that is called, and turns every EdgexfError into a sentence. Any other exception is a bug and
    keeps its traceback.
    """

    def list_commands(self, _: click.Context) -> list[str]:
        return sorted(FILES)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in FILES:
            return None
        command: click.Command = getattr(import_module(f"edgexf.cli.{FILES[name]}"), name)
        return command

    def main(  # type: ignore[override]  # click declares an overload for each mode
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *, standalone_mode: bool = True, **extra: Any
    ) -> Any:  # fmt: skip
        """Runs a command. In standalone mode it ends the process with an exit code."""
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **extra)
        sys.exit(code_of(partial(super().main, args, prog_name, standalone_mode=False, **extra)))


def run_alone(command: click.Command, args: Sequence[str], prog_name: str) -> None:
    """Runs one command without the group, as the program `prog_name`, and ends the process with an exit code."""
    signal.signal(signal.SIGTERM, stop)
    sys.exit(code_of(partial(command.main, args, prog_name, standalone_mode=False)))


def code_of(run: Callable[[], Any]) -> int:
    """Runs a command and shows its error. Returns the exit code of the process."""
    with guarded_streams(), plain_warnings():
        try:
            code: int = run() or 0
            click.echo(nl=False)  # flushes
            return code
        except click.Abort:  # click's name for Ctrl-C
            return INTERRUPTED
        except click.ClickException as error:
            return shown(error)
        except EdgexfError as error:
            return shown(Refusal(error))


def shown(error: click.ClickException) -> int:
    """Shows an error, with names in place of characters that could control the terminal. Returns the exit code."""
    text = io.StringIO()
    error.show(text)
    with suppress(OutputError):  # the exit code still tells
        click.echo(plain(text.getvalue()), nl=False, err=True)
    return error.exit_code


def stop(*_: int | FrameType | None) -> None:
    """Ends the program like an error on SIGTERM, so that no half-written file stays."""
    raise SystemExit(128 + signal.SIGTERM)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgexf")
def main() -> None:
    """Efficient transformers as verified, self-explaining ONNX bundles."""
    signal.signal(signal.SIGTERM, stop)
