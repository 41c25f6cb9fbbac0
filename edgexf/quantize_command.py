"""What `edgexf quantize`, and `edgexf export --quantize`, do behind their options: quantize, and show what was measured.

In: a bundle's folder, a mode and options. Out: the table on standard output, reports in files, and where a mode is refused
the error, behind its table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgexf import quantization
from edgexf.console import progress, show_table
from edgexf.errors import RefusedError
from edgexf.extras import require_packages
from edgexf.options import write_text
from edgexf.quantization_page import quantization_page
from edgexf.quantizing import Request, chosen_modes, quantize
from edgexf_runtimes.bench import parse_lengths


def check_mode(mode: str) -> None:
    """UsageError for a mode that an export can't be followed by."""
    require_packages("quantize", "onnx", "onnx_ir")
    chosen_modes(Request(mode))


def run_quantize(
    bundle: Path, mode: str, options: dict[str, Any], json_file: Path | None = None, markdown: Path | None = None, html: Path | None = None
) -> None:  # fmt: skip
    """Quantizes and shows what was measured, also of a mode that is refused."""
    refusal = None
    if "lengths" in options:
        options = {**options, "lengths": tuple(parse_lengths(options["lengths"]))}
    try:
        outcomes = quantize(bundle, Request(mode, **options), progress)
    except RefusedError as error:
        outcomes, refusal = error.outcomes, error
    if markdown is not None:
        write_text(markdown, quantization.markdown(outcomes))
    if html is not None:
        write_text(html, quantization_page(bundle.resolve().name, outcomes))
    if json_file is not None and str(json_file) != "-":
        write_text(json_file, quantization.to_json(outcomes) + "\n")
    if str(json_file) == "-":
        click.echo(quantization.to_json(outcomes))
    else:
        show_table(quantization.HEADER, [quantization.cells(outcome) for outcome in outcomes])
        for outcome in outcomes:
            click.echo("\n".join(quantization.notes(outcome)))
    if refusal is not None:
        raise refusal
