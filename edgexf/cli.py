"""The command line: a command parses, makes one library call, and prints.

Results go to standard output, progress and errors to standard error. Exit code 1 for a refused result,
2 for wrong usage. What a command needs is imported inside it, so that `--help` is quick and no command
but `export` loads torch.
"""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from edgexf import __version__
from edgexf.errors import EdgexfError, UsageError, VerificationError
from edgexf.options import (
    bundle_argument,
    dtype_option,
    method_options,
    quantize_options,
    report_options,
    size_options,
    target_options,
    threads_option,
    truncate_option,
    write_text,
)

if TYPE_CHECKING:
    from edgexf.report import Features, Prediction
    from edgexf_runtimes import Session

AT_ONCE = 256  # inputs read before they are batched by length: bounds memory, keeps answers coming


class Refusal(click.ClickException):
    """An EdgexfError as click shows it: one sentence, and the exit code of its kind."""

    def __init__(self, error: EdgexfError) -> None:
        super().__init__(str(error))
        self.error = error

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        return self.error.exit_code


class Commands(click.Group):
    """Turns edgexf's own errors into sentences; any other exception is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EdgexfError as error:
            raise Refusal(error) from error


def stop(*_: int | FrameType | None) -> None:
    """A polite kill unwinds like an error, so that nothing half-written stays."""
    raise SystemExit(128 + signal.SIGTERM)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgexf")
def main() -> None:
    """Efficient transformers as verified, self-explaining ONNX bundles."""
    signal.signal(signal.SIGTERM, stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal can't show must not end a run


@main.command()
def variants() -> None:
    """What can be exported, and how it is verified."""
    from edgexf.console import show_records
    from edgexf_exporters import VARIANTS

    show_records(
        {
            "variant": v.name,
            "family": v.family,
            "attention": f"{v.attention} ({v.source}{'' if v.subquadratic else '; quadratic'})",
            "heads": ", ".join(v.heads),
            "inputs": ", ".join((*v.inputs, *(f"[{name}]" for name in v.sometimes))) or "those of forward",
            "limits": v.limits,
            "padding": v.padding,
            "tolerance": f"{v.tolerance:g}, reached {v.reached:.1e}",
        }
        for v in VARIANTS
    )


@main.command()
@click.option("--variant", help="A reference model; see `edgexf variants`.")
@click.option("--model", help="A folder that save_pretrained wrote, or the id of a model on the hub.")
@click.option(
    "--module", help="package.module:factory that builds a torch.nn.Module, with its example inputs or without."
)
@click.option("--task", help="With --model: what to export it for; by default what it was saved for.")
@click.option("--max-global", type=int, help="With --model: most global tokens a row; 1 to classify, else 64.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder to write; by default ./<name>-bundle.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="With --variant: a safetensors file in the same architecture. With --module: that, or a saved state_dict.",
)
@size_options
@click.option(
    "--explain",
    multiple=True,
    help="Method to compile, or none; may be repeated: attnlrp (the default), cplrp, gradient, integrated-gradients.",
)
@click.option(
    "--quantize",
    "modes",
    multiple=True,
    help="Mode to quantize the bundle with as well; may be repeated. See `edgexf quantize`.",
)
@click.option("--grid", default="quick", show_default=True, help="quick or full.")
@click.option("--opset", type=int, default=20, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is already there.")
def export(
    variant: str | None, model: str | None, module: str | None, task: str | None, max_global: int | None, output: Path | None, weights: Path | None, explain: tuple[str, ...], modes: tuple[str, ...], grid: str, opset: int, overwrite: bool, **sizes: int | None
) -> None:  # fmt: skip
    """Export a model, verify it against the original, and write a bundle."""
    from edgexf.card import grid_table, takes
    from edgexf.console import show_table, stages
    from edgexf.pipeline import UNEXPLAINED, export
    from edgexf.quantize_command import check_mode, quantize_each

    if "none" in explain and len(explain) > 1:
        raise UsageError(f"--explain none stands alone, got {', '.join(explain)}; leave none out, or the methods.")
    for mode in modes:
        check_mode(mode)
    methods = () if explain == ("none",) else explain or None
    given = {name: size for name, size in sizes.items() if size is not None}
    try:
        with stages() as stage:
            bundle = export(
                model, variant=variant, module=module, task=task, max_global=max_global, output=output, weights=weights, sizes=given, explain=methods, grid=grid, opset=opset,
                overwrite=overwrite, progress=stage,
            )  # fmt: skip
    except VerificationError as error:
        show_table(*grid_table(error.grid), to_stderr=True)
        raise
    found = bundle.manifest.grid
    show_table(*grid_table(found))
    click.echo(
        f"worst relative difference {found['worst']:.1e}, tolerance {found['tolerance']:g}; {len(found['checks'])} further checks passed"
    )
    origin = bundle.manifest.provenance
    if bundle.manifest.signature is not None:
        click.echo(takes(bundle.manifest, bundle.manifest.signature))
    if found["growth"]:
        click.echo(f"note: {found['growth']}")
    if UNEXPLAINED in origin:
        click.echo(f"no explain graph was written: {origin[UNEXPLAINED]}")
    if "tokenizer" in origin:
        click.echo(f"tokenizer: {origin['tokenizer']}")
    size = sum(entry["bytes"] for entry in bundle.manifest.files.values())
    click.echo(f"wrote {output or bundle.path.name} ({size / 1e6:.1f} MB)")
    quantize_each(bundle.path, modes)


@main.command()
@bundle_argument
@click.option(
    "--mode", required=True, help="int8, int8-static, q4, fp16, or auto for the smallest that is good enough."
)
@quantize_options
@report_options
@threads_option
def quantize(
    bundle: Path, mode: str, json_file: Path | None, markdown: Path | None, html: Path | None, **options: Any
) -> None:
    """Make a bundle smaller and faster, measured against fp32 on this machine; or refuse, with the reason."""
    from edgexf.quantize_command import run_quantize

    run_quantize(bundle, mode, options, json_file, markdown, html)


@main.command()
@bundle_argument
def verify(bundle: Path) -> None:
    """Check a bundle: hashes, contract, golden outputs on this device."""
    from edgexf.card import difference_text
    from edgexf.console import show_table
    from edgexf.pipeline import verify

    verdict = verify(bundle)
    rows = [
        (part.dtype, row.cell, *map(difference_text, (row.outputs, row.relevance, row.residual)))
        for part in verdict.parts
        for row in part.rows
    ]
    show_table(("dtype", "golden cell", "outputs", "relevance", "residual"), rows)
    click.echo(f"{len(verdict.bundle.manifest.files)} files are as they were written")
    for part in verdict.parts:
        click.echo(
            f"{part.dtype}: worst relative difference {part.worst:.1e}, tolerance {part.tolerance:g}: {'passed' if part.passed else 'FAILED'}"
        )
    if not verdict.passed:
        raise click.exceptions.Exit(1)


@main.command()
@bundle_argument
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option("--text", help="Text to classify instead of, or before, files.")
@truncate_option
@click.option("--stride", type=int, help="Read a text that is too long in windows that share so many tokens.")
@dtype_option
@threads_option
def run(
    bundle: Path, inputs: tuple[str, ...], text: str | None, truncate: bool, stride: int | None, dtype: str, threads: int | None
) -> None:  # fmt: skip
    """Classify files (- is standard input); a JSON line each, in the order given."""
    from edgexf.console import progress
    from edgexf_runtimes import load

    sources: list[str | Path] = ([text] if text is not None else []) + [Path(name) for name in inputs]
    if not sources:
        raise UsageError("a run needs an input, got none; name files, - for standard input, or --text.")
    failed = False
    with load(bundle, dtype=dtype, threads=threads) as session, progress(len(sources), "inputs") as advance:
        for start in range(0, len(sources), AT_ONCE):
            part = sources[start : start + AT_ONCE]
            predictions, errors = predict_readable(session, part, truncate, stride)
            failed |= bool(errors)
            for error in errors:
                click.echo(f"Error: {error}", err=True)
            for prediction in predictions:
                click.echo(prediction.to_json())
            advance(len(part))
    if failed:
        raise click.exceptions.Exit(1)


def predict_readable(
    session: Session, sources: Sequence[str | Path], truncate: bool, stride: int | None
) -> tuple[Sequence[Prediction | Features], list[EdgexfError]]:
    """Answers for the inputs that can be read, and the errors of the others; a call that is wrong is wrong for all."""
    prepared, errors = [], []
    for source in sources:
        try:
            prepared.append(session.prepare(source, truncate, stride))
        except UsageError:
            raise
        except EdgexfError as error:
            errors.append(error)
    return session.predict_prepared(prepared), errors


@main.command()
@bundle_argument
@click.argument("source", metavar="[INPUT]", type=click.Path(path_type=Path), required=False)
@click.option("--text", help="Text to explain instead of a file.")
@truncate_option
@target_options
@method_options
@click.option(
    "--evaluate",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON lines of input and label: measure by deletion curves how faithful methods are on them.",
)
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a self-contained page.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line for each target and method.")
@dtype_option
@threads_option
def explain(
    bundle: Path, source: Path | None, text: str | None, truncate: bool, targets: tuple[str, ...], against: str | None, position: int | None, methods: tuple[str, ...], evaluate: Path | None, html: Path | None, as_json: bool, dtype: str, threads: int | None, **options: Any
) -> None:  # fmt: skip
    """Show why the model answers as it does for one file (- is standard input).

    Several methods or targets stand side by side. `--target c --against python` explains how much more c than python.
    """
    from edgexf.console import show, told_progress, width
    from edgexf.evaluating import check_alone
    from edgexf.explaining import check_page, chosen_targets, explain_each, only_input, page_of, text_of
    from edgexf_runtimes import load

    if evaluate is not None:
        check_alone(
            INPUT=source,
            **{
                "--text": text,
                "--target": targets,
                "--against": against,
                "--position": position is not None,
                "--html": html,
            },
        )
        return show_evaluation(bundle, evaluate, methods, options, truncate, as_json, dtype, threads)
    given, wanted = only_input(text, source), chosen_targets(targets, against)
    check_page(html, source)
    with load(bundle, dtype=dtype, threads=threads) as session:
        found = explain_each(session, given, wanted, methods, options, truncate, told_progress, position)
    if html is not None:
        write_text(html, page_of(found))
        click.echo(f"wrote {html}", err=True)
    if as_json:
        for explanation in found:
            click.echo(explanation.to_json())
    elif html is None:
        show(text_of(found, width()))
    return None


def show_evaluation(
    bundle: Path, listing: Path, methods: tuple[str, ...], options: dict[str, Any], truncate: bool, as_json: bool, dtype: str, threads: int | None
) -> None:  # fmt: skip
    """How faithful methods are on labelled data, as a table or JSON."""
    from edgexf.console import progress, show_table
    from edgexf.evaluating import evaluate
    from edgexf_runtimes import load

    with load(bundle, dtype=dtype, threads=threads) as session:
        found = evaluate(session, listing, methods, options, truncate, progress)
    if as_json:
        click.echo(found.to_json())
    else:
        show_table(*found.table())
        click.echo(found.legend())


@main.command()
@bundle_argument
@click.option(
    "--lengths",
    default="128,256,512,1024,2048,4096",
    show_default=True,
    help="Bytes a run (tokens, for a model that takes token ids), separated by commas.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    help="Write the report as JSON; - prints it.",
)
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="Explanation method of the bundle to measure beside its answers. May be repeated.",
)
@dtype_option
@threads_option
def bench(
    bundle: Path, lengths: str, json_file: Path | None, markdown: Path | None, methods: tuple[str, ...], dtype: str, threads: int | None
) -> None:  # fmt: skip
    """Measure latency, load time and memory over lengths."""
    from edgexf.console import progress, show_table
    from edgexf.report import LATENCY_HEADER, latency_cells
    from edgexf_runtimes.bench import measure, parse_lengths

    wanted = parse_lengths(lengths)
    with progress(None, "runs") as advance:
        report = measure(bundle, wanted, threads, advance, methods, dtype)
    if markdown is not None:
        write_text(markdown, report.to_markdown())
    if json_file is not None and str(json_file) != "-":
        write_text(json_file, report.to_json() + "\n")
    if str(json_file) == "-":
        click.echo(report.to_json())
    else:
        show_table(LATENCY_HEADER, [latency_cells(row) for row in report.rows])
        click.echo(
            f"session load {report.load_ms:.0f} ms (median of {report.load_runs} fresh processes), {report.threads} threads"
        )


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Providers, instruction sets, limits and versions of this device."""
    from edgexf.console import show_table
    from edgexf_runtimes.device import describe

    found = describe()
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        show_table(
            ("what", "found"),
            [(name, value if isinstance(value, str) else ", ".join(value)) for name, value in found.items()],
        )
