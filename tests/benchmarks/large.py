"""Measures time and memory of exporting a Longformer of the published size.

    python tests/benchmarks/large.py [--head Model] [--output FILE]

The model has 12 layers x 768, window 512, 4,096 positions, the full vocabulary and random weights. The export runs over
the quick grid in a fresh process. The kernel reports the peak resident memory of this process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import torch
import transformers

from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.session_options import available_threads
from edgexf_runtimes.measure.processes.resident import peak_mib


def child(checkpoint: str, out: str) -> None:
    """Exports the checkpoint and prints seconds, peak MiB, the number of grid cells and their worst difference."""
    import edgexf

    start = time.perf_counter()
    grid = edgexf.export(checkpoint, output=out).manifest.grid
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, peak_mib(), len(grid["rows"]), grid["worst"]]))


@click.command()
@click.option("--head", default="Model", show_default=True, help="Of Longformer; one with classes is explained too.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Also write the table here.")
def main(head: str, output: Path | None) -> None:
    """Export once and print a Markdown table."""
    config = transformers.LongformerConfig(
        attention_window=512, max_position_embeddings=4098, vocab_size=50265, type_vocab_size=1,
        pad_token_id=1, bos_token_id=0, eos_token_id=2, sep_token_id=2,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
        torch.manual_seed(0)
        getattr(transformers, f"Longformer{head}")(config).save_pretrained(Path(folder, "model"))
        command = [sys.executable, __file__, str(Path(folder, "model")), str(Path(folder, "out"))]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds, peak, cells, worst = json.loads(done.stdout.splitlines()[-1])
    header = ("head", "threads", "seconds", "peak GB", "cells", "worst difference")
    row = (head, str(available_threads()), f"{seconds:.0f}", f"{peak * 2**20 / 1e9:.1f}", str(cells), f"{worst:.1e}")
    text = markdown_table(header, [row])
    print(text)
    if output is not None:
        output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 3 and not sys.argv[1].startswith("-"):
        child(*sys.argv[1:])
    else:
        main()
