"""`edgexf ort`: adds graphs in ONNX Runtime's own format to a bundle, for reduced builds.

In: the folder of a bundle and dtypes. Out: the written files on standard output.
"""

from __future__ import annotations

from pathlib import Path

import click

from edgexf.cli.options import bundle_argument
from edgexf.cli.streams import say
from edgexf.dtypes import NAMES


@click.command()
@bundle_argument
@click.option(
    "--dtype", "dtypes", multiple=True, help=f"{', '.join(NAMES)}; may be repeated. By default all of the bundle."
)
@click.option("--overwrite", is_flag=True, help="Replace .ort files that are already there.")
def ort(bundle: Path, dtypes: tuple[str, ...], overwrite: bool) -> None:
    """Add .ort files to a bundle, and the list of operators that a reduced ONNX Runtime needs to run them."""
    from edgexf import names
    from edgexf.bundle.folder import SIGNING_FILE
    from edgexf.cli.console import progress
    from edgexf.pipeline.ort_bundle import to_ort

    signed = (bundle / SIGNING_FILE).exists()
    files = to_ort(bundle, dtypes, overwrite, progress).manifest.files
    for path in (*names.ort_files(files)[:-1], names.OPERATORS_FILE):
        say(f"{path} ({files[path]['bytes'] / 1e3:,.0f} kB)")
    if signed:
        click.echo(f"{SIGNING_FILE} spoke for the old files and is gone: sign the bundle again", err=True)
