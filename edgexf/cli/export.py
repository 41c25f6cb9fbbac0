"""`edgexf export`: exports a model as a verified bundle.

In: a reference model, a checkpoint or a module. Out: a bundle, and the results of its verification.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import click

from edgexf import names
from edgexf.bundle.graphs import OPS, PORTABLE
from edgexf.cli.options import size_options
from edgexf.cli.streams import say
from edgexf.dtypes import MODES
from edgexf.errors import ExportWarning, UsageError, VerificationError, first_three
from edgexf_exporters.explain.methods import METHODS

DEFAULT_METHOD, *FURTHER_METHODS = METHODS


@click.command()
@click.option("--variant", help="A reference model; see `edgexf variants`.")
@click.option("--model", help="A folder that save_pretrained wrote, or the id of a model on the hub.")
@click.option(
    "--module", help="package.module:factory that builds a torch.nn.Module, with its example inputs or without."
)
@click.option("--task", help="With --model: what to export it for; by default what it was saved for.")
@click.option("--max-global", type=int, help="With --model: most global tokens a row; 1 to classify, else 64.")
@click.option(
    "--image-size",
    help="With --model: pixels of a side, such as 384, or least and most of both sides, such as 160-320, which then vary.",
)
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
    help=f"Method to compile, or none; may be repeated: {DEFAULT_METHOD} (the default), {', '.join(FURTHER_METHODS)}.",
)
@click.option(
    "--quantize",
    "modes",
    multiple=True,
    help=f"Mode to quantize the bundle with as well: {', '.join(MODES)}, or auto; may be repeated. See `edgexf quantize`.",
)
@click.option("--grid", default="quick", show_default=True, help="quick or full.")
@click.option("--opset", type=int, default=20, show_default=True)
@click.option(
    "--ops",
    default=PORTABLE,
    show_default=True,
    help=f"Operators of a further graph for one provider: {', '.join(OPS)}. onnx/model.onnx stays portable.",
)
@click.option("--candidates", is_flag=True, help="Write all further forms of the graphs, for `edgexf tune`.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is already there.")
def export(
    variant: str | None, model: str | None, module: str | None, task: str | None, max_global: int | None, image_size: str | None, output: Path | None, weights: Path | None, explain: tuple[str, ...], modes: tuple[str, ...], grid: str, opset: int, ops: str, candidates: bool, overwrite: bool, **sizes: int | None
) -> None:  # fmt: skip
    """Export a model, verify it against the original, and write a bundle."""
    from edgexf.cli.console import show_table, stages
    from edgexf.cli.quantize import check_mode, quantize_each
    from edgexf.pipeline.card import grid_table, takes
    from edgexf.pipeline.describe_bundle import UNEXPLAINED
    from edgexf.pipeline.export_model import NO_CANDIDATES, export

    if "none" in explain and len(explain) > 1:
        raise UsageError(f"--explain none stands alone, got {', '.join(explain)}; leave none out, or the methods.")
    for mode in modes:
        check_mode(mode)
    methods = () if explain == ("none",) else explain or None
    given = {name: size for name, size in sizes.items() if size is not None}
    max_length = given.pop("max_length", None) if module or model else None
    try:
        with stages() as stage, warnings.catch_warnings():
            warnings.simplefilter("ignore", ExportWarning)  # the lines below say the same
            bundle = export(
                model, variant=variant, module=module, task=task, max_global=max_global, max_length=max_length, image_size=parse_image_size(image_size), output=output, weights=weights, sizes=given, explain=methods, grid=grid, opset=opset, ops=ops, candidates=candidates,
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
        say(takes(bundle.manifest, bundle.manifest.signature))
    for note in filter(None, (found["growth"], found.get("undefined"), found.get("ties"))):
        say(f"note: {note}")
    if bundle.manifest.candidates:
        say(f"candidates: {', '.join(one.name for one in bundle.manifest.candidates)}")
    elif candidates or ops != PORTABLE:
        say(f"note: {NO_CANDIDATES}")
    if UNEXPLAINED in origin:
        say(f"no explain graph was written: {origin[UNEXPLAINED]}")
    if "longest" in origin:
        say(f"longest input: {bundle.manifest.limits.max_length:,} tokens, {origin['longest']}")
    if origin.get("ignored"):
        say(f"weights of the checkpoint that change no answer: {first_three(origin['ignored'])}")
    if "tokenizer" in origin:
        say(f"tokenizer: {origin['tokenizer']}")
    if names.PICTURES in origin:
        say(f"pictures: {origin[names.PICTURES]}")
    size = sum(entry["bytes"] for entry in bundle.manifest.files.values())
    say(f"wrote {output or bundle.path.name} ({size / 1e6:.1f} MB)")
    quantize_each(bundle.path, modes)


def parse_image_size(text: str | None) -> int | tuple[int, int] | None:
    """Reads ``384`` or ``160-320``. Raises UsageError for other texts."""
    if text is None:
        return None
    least, _, most = text.partition("-")
    if not all(one.isascii() and one.isdigit() and len(one) < 6 for one in (least, *([most] if "-" in text else []))):
        raise UsageError(
            f"--image-size must be pixels, or least and most of them, got {text[:20]!r}; write 384 or 160-320."
        )
    return (int(least), int(most)) if "-" in text else int(least)
