"""The group of all commands, which turns errors into sentences and exit codes.

In: the arguments of the command line. Out: results on standard output, progress and errors on standard error, and an
exit code: 1 for a refused result, 2 for wrong usage. A command imports what it needs inside its function, so `--help`
is quick and no command but `export` loads torch.
"""

from __future__ import annotations

import io
import signal
import sys
from types import FrameType
from typing import Any

import click

from edgexf import __version__
from edgexf.cli import bench, explain, export, info, quantize, run
from edgexf.errors import EdgexfError


class Refusal(click.ClickException):
    """An EdgexfError in the form that click shows: one sentence, and the exit code of its class."""

    def __init__(self, error: EdgexfError) -> None:
        super().__init__(str(error))
        self.error = error

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        return self.error.exit_code


class Commands(click.Group):
    """Turns every EdgexfError into a sentence. Any other exception is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EdgexfError as error:
            raise Refusal(error) from error


def stop(*_: int | FrameType | None) -> None:
    """Ends the program like an error on SIGTERM, so that no half-written file stays."""
    raise SystemExit(128 + signal.SIGTERM)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgexf")
def main() -> None:
    """Efficient transformers as verified, self-explaining ONNX bundles."""
    signal.signal(signal.SIGTERM, stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal can't show must not stop a run


for command in (
    info.variants,
    export.export,
    quantize.quantize,
    info.verify,
    run.run,
    explain.explain,
    bench.bench,
    info.doctor,
):
    main.add_command(command)
