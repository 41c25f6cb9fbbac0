"""What `edgexf quantize`, and `edgexf export --quantize`, do behind their options: quantize, and show what was measured.

In: a bundle's folder, a mode and options. Out: the table on standard output, reports in files, and where a mode is refused
the error, behind its table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgexf import quantization
from edgexf.bundle import SIGNATURE_FILE
from edgexf.console import progress, show_table
from edgexf.errors import RefusedError, UsageError
from edgexf.extras import require_packages
from edgexf.options import write_text
from edgexf.quantization_page import quantization_page
from edgexf.quantizing import AUTO, STATIC, Request, chosen_modes, quantize
from edgexf_runtimes.bench import parse_lengths


def check_mode(mode: str) -> None:
    """UsageError for a mode that an export can't be followed by."""
    require_packages("quantize", "onnx", "onnx_ir")
    if mode == STATIC:
        raise UsageError(
            f"--quantize takes modes that need no data, got {mode}; export first, then `edgexf quantize BUNDLE --mode {mode} --calibration FILE`."
        )
    chosen_modes(Request(mode))


def run_quantize(
    bundle: Path, mode: str, options: dict[str, Any], json_file: Path | None = None, markdown: Path | None = None, html: Path | None = None
) -> None:  # fmt: skip
    """Quantizes and shows what was measured, also of a mode that is refused."""
    bundle = bundle.resolve()
    files = {kind: path.resolve() for kind, path in (("markdown", markdown), ("html", html)) if path is not None}
    json_path = None if json_file is None or str(json_file) == "-" else json_file.resolve()
    for path in (*files.values(), *([json_path] if json_path else [])):
        if path.is_relative_to(bundle):
            raise UsageError(
                f"a report must lie outside the bundle, which holds listed files alone, got {path}; name another folder."
            )
    if "lengths" in options:
        options = {**options, "lengths": tuple(parse_lengths(options["lengths"]))}
    signed, refusal = (bundle / SIGNATURE_FILE).exists(), None
    try:
        outcomes = quantize(bundle, Request(mode, **options), progress)
    except RefusedError as error:
        outcomes, refusal = error.outcomes, error
    if str(json_file) == "-":
        click.echo(quantization.to_json(outcomes))
    else:
        show_table(quantization.HEADER, [quantization.cells(outcome) for outcome in outcomes])
        for outcome in outcomes:
            click.echo("\n".join(quantization.notes(outcome)))
    if mode == AUTO and options.get("calibration") is None:
        click.echo("int8-static was not tried: it needs --calibration", err=True)
    if signed and refusal is None:
        click.echo(f"{SIGNATURE_FILE} spoke for the old files and is gone: sign the bundle again", err=True)
    if "markdown" in files:
        write_text(files["markdown"], quantization.markdown(outcomes))
    if "html" in files:
        write_text(files["html"], quantization_page(bundle.name, outcomes))
    if json_path is not None:
        write_text(json_path, quantization.to_json(outcomes) + "\n")
    if refusal is not None:
        raise refusal


def quantize_each(bundle: Path, modes: Sequence[str]) -> None:
    """One mode after the other; what is refused stops none of the others, and is told at the end."""
    refusals = []
    for mode in modes:
        try:
            run_quantize(bundle, mode, {})
        except RefusedError as error:
            refusals.append(error)
    for refusal in refusals[:-1]:
        click.echo(f"Error: {refusal}", err=True)
    if refusals:
        raise refusals[-1]
