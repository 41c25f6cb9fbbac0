"""Options that several commands share, and how commands write files.

In: a command. Out: the command with the options. `edgexf.pipeline.explain_input` computes what the options of
`edgexf explain` ask for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgexf.dtypes import CALIBRATIONS, NAMES
from edgexf.errors import InputError, UsageError

if TYPE_CHECKING:
    from edgexf.report.latency.report import LatencyReport

Command = Callable[..., Any]
MOST_BYTES = 256 << 20  # of a latency report
MAX_LENGTH = "max-length"
SIZES = {
    "layers": "Encoder layers.", "width": "Hidden width.", "heads": "Attention heads.", "feedforward": "Feed-forward width.",
    "context": "Tokens the n-gram context sees.", MAX_LENGTH: "Longest input in tokens.", "vocabulary": "Token ids.",
    "window": "longformer: tokens to each side.", "rank": "linformer: slots.", "buckets": "reformer: hash buckets.",
    "rounds": "reformer: hash rounds.", "chunk": "reformer: tokens a chunk.",
}  # fmt: skip

bundle_argument = click.argument("bundle", type=click.Path(path_type=Path))
threads_option = click.option(
    "--threads", type=int, help="Threads to use; by default as tuned, or what this process may use."
)
dtype_option = click.option(
    "--dtype",
    default="auto",
    show_default=True,
    help=f"Of the graphs: {', '.join(NAMES)}, or as tuned, or what suits this device.",
)
input_timeout_option = click.option(
    "--input-timeout",
    type=float,
    default=30.0,
    show_default=True,
    help="Seconds that a pipe or a device may give nothing, when it is read as an input.",
)
truncate_option = click.option("--truncate", is_flag=True, help="Read only the beginning of a text that is too long.")


class LazyHelp(click.Option):
    """An option whose help needs imports: a function makes the text when `--help` shows it."""

    def __init__(self, *arguments: Any, text: Callable[[], str], **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.text = text

    def get_help_record(self, context: click.Context) -> tuple[str, str] | None:
        self.help = self.text()
        return super().get_help_record(context)


def compiled_methods() -> str:
    """The names of the methods that an export can compile."""
    from edgexf_exporters.explain.methods import METHODS

    return ", ".join(METHODS)


def method_help() -> str:
    from edgexf_runtimes.explain.methods import METHODS

    return f"Explanation method; by default the bundle's first. Compiled at export: {compiled_methods()}. For any bundle: {', '.join(method.name for method in METHODS)}. May be repeated; each stands for all of them."


def all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Makes one decorator of several options, which `--help` lists in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


target_options = all_of(
    click.option(
        "--target", "targets", multiple=True, help="Label to explain; by default the predicted one. May be repeated."
    ),
    click.option(
        "--position",
        help="Of models that answer at each token: the token whose answer to explain, by its number or a part of the text.",
    ),
    click.option("--against", help="Label to contrast every target with: why this one, and not that one?"),
)

record_options = all_of(
    click.option(
        "--jsonl", type=click.Path(path_type=Path), help="A file with a JSON object on each line: each is an input."
    ),
    click.option("--csv", type=click.Path(path_type=Path), help="A CSV file with a header: each row is an input."),
    click.option("--text-field", help="Of --jsonl and --csv: the field of the text; `text` by default."),
    click.option(
        "--pair-field", help="Of --jsonl and --csv: the field of the second text of a pair, or of the context."
    ),
)

task_options = all_of(
    click.option("--top-k", type=int, help="How many labels, answers or words to list."),
    click.option("--question", help="Of question answering: what is asked of each input, which is its context."),
    click.option("--max-answer-len", type=int, help="Of question answering: the most tokens of an answer."),
    click.option(
        "--handle-impossible-answer", is_flag=True, default=None, help="Of question answering: there may be no answer."
    ),
    click.option(
        "--aggregation-strategy",
        help="Of token classification: none, simple, first, average or max; see the runtime's README.",
    ),
    click.option("--targets", help="Of fill-mask: the words that compete, with commas between them."),
    click.option("--candidate-labels", help="Zero-shot classification: labels with commas between them."),
    click.option("--hypothesis-template", help="Of zero-shot classification: a text with {} for the label."),
    click.option(
        "--multi-label", is_flag=True, default=None, help="Of zero-shot classification: several labels may fit."
    ),
)

method_options = all_of(
    click.option(
        "--method",
        "methods",
        multiple=True,
        cls=LazyHelp,
        text=method_help,
    ),
    click.option("--seed", type=int, help="Of methods that draw at random: the seed."),
    click.option("--budget", type=int, help="Of methods that run the model often: the forward passes they may take."),
    click.option("--span", type=int, help="Of occlusion: tokens left out together."),
    click.option("--time-limit", type=float, help="Of methods that run the model often: seconds they may take."),
    click.option("--baseline", help="What stands in for a token that is left out: a token's text, or its id."),
)


quantize_options = all_of(
    click.option(
        "--calibration",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Inputs to calibrate on: JSON lines, a text on each line, or a file on each line.",
    ),
    click.option(
        "--calibration-method",
        default=CALIBRATIONS[0],
        show_default=True,
        help=f"Of int8-static: {', '.join(CALIBRATIONS)}.",
    ),
    click.option(
        "--evaluate",
        type=click.Path(dir_okay=False, path_type=Path),
        help="JSON lines of input and label to measure on; without labels agreement with fp32 is measured.",
    ),
    click.option(
        "--max-drop",
        type=float,
        help="What accuracy or agreement may lose; 0.005 with --evaluate. Weights that break it are not quantized.",
    ),
    click.option(
        "--lengths", default="128,512,4096", show_default=True, help="At which to time, separated by commas; see bench."
    ),
    click.option("--force", is_flag=True, help="Write it also where it is slower or worse than asked."),
    click.option("--overwrite", is_flag=True, help="Make anew what an earlier call wrote."),
)

report_options = all_of(
    click.option(
        "--json",
        "json_file",
        type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
        help="Write the report as JSON; - prints it.",
    ),
    click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the report as Markdown."),
    click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a self-contained page."),
)


def size_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds an option for each size of a reference model with custom weights. `--max-length` also bounds other models."""
    for name, text in reversed(SIZES.items()):
        also = ", or with --model or --module" if name == MAX_LENGTH else ""
        command = click.option(f"--{name}", type=int, help=f"{text} With --variant and --weights{also}.")(command)
    return command


def given_beside(*names: str) -> list[str]:
    """What the caller of the present command gave on the command line beside the parameters of these names, as it is written there."""
    context = click.get_current_context()
    return [
        max(one.opts, key=len) for one in context.command.params
        if one.name not in names and context.get_parameter_source(str(one.name)) is ParameterSource.COMMANDLINE
    ]  # fmt: skip


def check_output(*paths: Path | None) -> None:
    """UsageError for an output file that can't be written, before the long work whose report it gets."""
    for path in paths:
        if path is None or str(path) == "-":
            continue
        there = path if path.exists() else path.parent
        if not there.exists() or not os.access(there, os.W_OK):
            raise UsageError(f"an output file must be in a folder that can be written, got {path}; choose another.")


def write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"an output file must be in a folder that can be written, got {path} ({error.strerror}); choose another."
        ) from error


def read_report(path: Path) -> LatencyReport:
    """Reads a latency report. Raises UsageError for a file that is none."""
    from edgexf.report.latency.report import LatencyReport
    from edgexf_runtimes.inputs.files import read_file

    try:
        data = read_file(path, MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise InputError(f"a report must have at most {MOST_BYTES >> 20} MiB, got more; measure fewer samples.")
        return LatencyReport.from_json(data)
    except InputError as error:
        raise UsageError(f"{path}: {error}") from error


def check_page(html: Path | None) -> None:
    """Raises MissingExtraError where the page of a latency report can't be drawn, before the long work that it shows."""
    if html is not None:
        from edgexf.report.html.latency.page import check_packages

        check_packages()
