"""`optimum-cli export edgexf --model MODEL OUT`: `edgexf export` for people who export with optimum.

In: the arguments of optimum's command line. Out: a bundle in the folder OUT, with the messages and the exit codes of
`edgexf export`, which does the work.

The folders `optimum/commands/register` are optimum's namespace for commands of other packages. None of them holds an
``__init__.py``: with one, Python would find these folders in place of optimum's own. optimum-cli imports this file at
each start, so it imports no torch.

The options are those of `edgexf export`, made from its list, so that a new option appears here too. Two alternatives
were weighed. A second list would drift apart from the first. One option that hands on a whole command line to edgexf
would hide all options from `--help`.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from typing import Any

import click
from optimum.commands.base import BaseOptimumCLICommand, CommandInfo
from optimum.commands.export.base import ExportCommand

from edgexf.cli.app import run_alone
from edgexf.cli.export import export
from edgexf.cli.options import MAX_LENGTH, SIZES

# Options of `edgexf export` for models that do not come from a checkpoint. The folder to write is OUT here.
ELSEWHERE = {"variant", "module", "weights", "output"} | {size for size in SIZES if size != MAX_LENGTH}
PROGRAM = "optimum-cli export edgexf"


def options() -> Iterator[click.Option]:
    """Yields the options of `edgexf export` that concern a checkpoint."""
    for parameter in export.params:
        if isinstance(parameter, click.Option) and parameter.name not in ELSEWHERE:
            yield parameter


def add_option(parser: ArgumentParser, option: click.Option) -> None:
    """Adds an option to optimum's parser. Values stay text, since `edgexf export` reads and checks them."""
    kind: dict[str, Any] = {"action": "append"} if option.multiple else {}
    if option.is_flag:
        kind = {"action": "store_true"}
    elif option.show_default:
        kind = {"help": f"{option.help or ''} [default: {option.default}]".strip()}
    told = {"help": option.help, "dest": option.name, "required": option.name == "model", **kind}
    parser.add_argument(*option.opts, **{**told, "help": str(told["help"]).replace("%", "%%")})


def arguments(given: Namespace) -> Iterator[str]:
    """Yields the command line of `edgexf export` that says the same as the arguments that optimum has read."""
    for option in options():
        value, name = getattr(given, str(option.name)), option.opts[0]
        if option.is_flag:
            yield from [name] if value else []
        else:
            for one in each(value):
                yield f"{name}={one}"
    yield f"--output={given.output}"


def each(value: str | list[str] | None) -> Iterable[str]:
    """The values of an option that may be given once, several times or not at all."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


class EdgexfExportCommand(BaseOptimumCLICommand):
    """The command as optimum-cli registers it below ``export``."""

    COMMAND = CommandInfo(
        name="edgexf", help="Export a model as a verified, self-explaining ONNX bundle that runs without PyTorch."
    )

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Adds the arguments of the command to its parser."""
        parser.add_argument("output", metavar="OUT", help="The folder to write.")
        for option in options():
            add_option(parser, option)

    def run(self) -> None:
        """Exports, and ends the process with the exit code of `edgexf export`."""
        run_alone(export, list(arguments(self.args)), PROGRAM)


REGISTER_COMMANDS = [(EdgexfExportCommand, ExportCommand)]
