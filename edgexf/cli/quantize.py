"""`edgexf quantize` and `edgexf export --quantize`: quantize a bundle, and show the measurements.

In: the folder of a bundle, a mode and options. Out: a table on standard output, and reports in files. A refused mode
has a table too, which is shown before the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgexf.cli.options import (
    bundle_argument,
    check_output,
    input_timeout_option,
    quantize_options,
    report_options,
    threads_option,
    write_text,
)
from edgexf.cli.streams import say, say_error
from edgexf.dtypes import MODES
from edgexf.errors import InputError, RefusedError, UsageError

if TYPE_CHECKING:
    from edgexf.report.quantization import Outcome


@click.command()
@bundle_argument
@click.option("--mode", required=True, help=f"{', '.join(MODES)}, or auto for the smallest that is good enough.")
@quantize_options
@report_options
@click.option("--details", is_flag=True, help="Show every measurement, as the reports do.")
@input_timeout_option
@threads_option
def quantize(
    bundle: Path,
    mode: str,
    json_file: Path | None,
    markdown: Path | None,
    html: Path | None,
    details: bool,
    **options: Any,
) -> None:
    """Make a bundle smaller and faster, measured against fp32 on this machine; or refuse, with the reason."""
    run_quantize(bundle, mode, options, json_file, markdown, html, details)


def check_mode(mode: str) -> None:
    """Raises UsageError for a mode that `edgexf export` can't apply."""
    from edgexf.extras import require_onnxruntime, require_packages
    from edgexf.pipeline.quantize_bundle import Request, chosen_modes

    Request(mode)
    require_packages("quantize", "onnx", "onnx_ir")
    require_onnxruntime()
    from edgexf.passes.quantize.modes import modes

    known = modes()
    if mode in known and known[mode].needs_calibration:
        raise UsageError(
            f"--quantize takes modes that need no data, got {mode}; export first, then `edgexf quantize BUNDLE --mode {mode} --calibration FILE`."
        )
    chosen_modes(Request(mode))


def run_quantize(
    bundle: Path, mode: str, options: dict[str, Any], json_file: Path | None = None, markdown: Path | None = None, html: Path | None = None, details: bool = False
) -> None:  # fmt: skip
    """Quantizes a bundle and shows the measurements, also for a refused mode, before its RefusedError. UsageError for data
    that can't be read.
    """
    from edgexf import names
    from edgexf.bundle.folder import SIGNING_FILE
    from edgexf.cli.console import progress
    from edgexf.pipeline.quantize_bundle import AUTO, Request, quantize
    from edgexf.report import quantization
    from edgexf.report.html.quantization import quantization_page
    from edgexf_runtimes.measure.cases import parse_lengths

    bundle = bundle.resolve()
    files = {kind: path.resolve() for kind, path in (("markdown", markdown), ("html", html)) if path is not None}
    json_path = None if json_file is None or str(json_file) == "-" else json_file.resolve()
    for path in (*files.values(), *([json_path] if json_path else [])):
        if path.is_relative_to(bundle):
            raise UsageError(
                f"a report must lie outside the bundle, which holds listed files alone, got {path}; name another folder."
            )
    check_output(json_path, *files.values())
    if "lengths" in options:
        options = {**options, "lengths": tuple(parse_lengths(options["lengths"]))}
    signed, refusal = (bundle / SIGNING_FILE).exists(), None
    converted = (bundle / names.OPERATORS_FILE).exists()
    try:
        outcomes = quantize(bundle, Request(mode, **options), progress)
    except RefusedError as error:
        outcomes, refusal = error.outcomes, error
    except InputError as error:  # of the files of --evaluate and --calibration, which are wrong usage of a quantization
        raise UsageError(str(error)) from error
    if str(json_file) == "-":
        click.echo(quantization.to_json(outcomes))
    else:
        show_outcomes(outcomes, details)
    if mode == AUTO and options.get("calibration") is None:
        from edgexf.passes.quantize.modes import modes

        for waiting in (known.name for known in modes().values() if known.needs_calibration):
            click.echo(f"{waiting} was not tried: it needs --calibration", err=True)
    if signed and refusal is None:
        click.echo(f"{SIGNING_FILE} spoke for the old files and is gone: sign the bundle again", err=True)
    if converted and not (bundle / names.OPERATORS_FILE).exists():
        click.echo("the .ort files were of the old graphs and are gone: run `edgexf ort` again", err=True)
    if "markdown" in files:
        write_text(files["markdown"], quantization.markdown(outcomes))
    if "html" in files:
        write_text(files["html"], quantization_page(bundle.name, outcomes))
    if json_path is not None:
        write_text(json_path, quantization.to_json(outcomes) + "\n")
    if refusal is not None:
        raise refusal


def show_outcomes(outcomes: Sequence[Outcome], details: bool) -> None:
    """Shows the verdicts in a user's words, or with every measurement."""
    from edgexf.cli.console import show_table
    from edgexf.report import quantization, verdicts

    if details:
        show_table(quantization.HEADER, [quantization.cells(outcome) for outcome in outcomes])
        lines = [note for outcome in outcomes for note in quantization.notes(outcome)]
    else:
        show_table(verdicts.HEADER, [verdicts.cells(outcome) for outcome in outcomes])
        lines = [sentence for outcome in outcomes for sentence in verdicts.sentences(outcome)]
    say("\n".join(lines))


def quantize_each(bundle: Path, modes: Sequence[str]) -> None:
    """Quantizes a bundle with each mode in turn. Refusals stop no other mode; they are shown at the end."""
    refusals = []
    for mode in modes:
        try:
            run_quantize(bundle, mode, {})
        except RefusedError as error:
            refusals.append(error)
    for refusal in refusals[:-1]:
        say_error(refusal)
    if refusals:
        raise refusals[-1]
