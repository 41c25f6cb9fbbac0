"""Time and memory of ModernBERT at long inputs: edgexf's graph, eager SDPA and the graph of torch's own exporter.

    python tests/benchmarks/long_documents.py FOLDER [--layers N] [--lengths 512,2048,8192] [--turns N] [--output FILE]

FOLDER keeps the model's graphs between calls. The model has the sizes of ModernBERT base and random weights. Each row is
measured in fresh processes that take turns, two threads each: the median of the turns' seconds, of their processor seconds, and
the resident memory of a run over that of the loaded model. `explain` and `int8` are edgexf's graphs too. A length at which
a process needs more memory than `--most` GiB is left out, and the table says so.

Without `--verified` the explain graph is that of an export which stops before its grid: the grid of 22 layers to 8,192 tokens
takes about 50 minutes of a processor. The predict graph and int8 are those of a verified bundle.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import click

from edgexf.report.markdown import markdown_table

THREADS = 2
RUN = """
import json, os, resource, sys, time
import numpy as np
kind, where, length, threads, most = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
resource.setrlimit(resource.RLIMIT_DATA, (most << 30, most << 30))
ids, mask = np.random.default_rng(0).integers(5, 1000, (1, length)), np.ones((1, length), np.int64)

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

def eager():
    import torch, transformers
    torch.set_num_threads(threads)
    model = transformers.ModernBertForSequenceClassification.from_pretrained(where).eval()
    given = torch.from_numpy(ids), torch.from_numpy(mask)
    def run():
        with torch.no_grad():
            model(input_ids=given[0], attention_mask=given[1])
    return run

def ours():
    import edgexf
    session = edgexf.load(where, threads=threads, dtype="q8" if kind == "int8" else "fp32", verify="never")
    call = session.run_explain if kind == "explain" else session.run
    call(input_ids=ids[:, :2], attention_mask=mask[:, :2])
    return lambda: call(input_ids=ids, attention_mask=mask)

def explained():
    from pathlib import Path
    from edgexf_runtimes.device.profiles import Settings
    from edgexf_runtimes.device.providers import create
    from edgexf_runtimes.device.session_options import run_options
    session = create(Path(where), settings=Settings(threads=threads), explains=True)
    target, options = np.ones((1, 2), np.float32), run_options(length, "CPUExecutionProvider")
    return lambda: session.run(None, {"input_ids": ids, "attention_mask": mask, "target": target}, options)

def exporters():
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.enable_mem_pattern = threads, False
    session = ort.InferenceSession(where, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"input_ids": ids, "attention_mask": mask})

run = {"eager": eager, "exporter": exporters}.get(kind, explained if where.endswith("explain.onnx") else ours)()
before, found = resident(), []
for _ in range(2):
    start, used = time.perf_counter(), time.process_time()
    run()
    found.append((time.perf_counter() - start, time.process_time() - used))
# ru_maxrss would begin with the memory of the process that started this one
peak = next(int(line.split()[1]) * 1.024e-3 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([min(one for one, _ in found), min(one for _, one in found), peak - before]))
"""


def prepare(folder: Path, layers: int, verified: bool) -> dict[str, Path]:
    """Makes what is missing: the saved model, edgexf's bundle with int8, its explain graph, and the exporter's graph."""
    import torch
    import transformers

    import edgexf

    model_folder, bundle, graph = folder / "model", folder / "bundle", folder / "exporter" / "model.onnx"
    if not model_folder.exists():
        torch.manual_seed(0)
        config = transformers.ModernBertConfig(num_hidden_layers=layers)
        transformers.ModernBertForSequenceClassification(config).save_pretrained(model_folder)
    model = transformers.ModernBertForSequenceClassification.from_pretrained(model_folder).eval()
    explain = bundle if verified else folder / "unverified" / "onnx" / "explain.onnx"
    if not bundle.exists():
        start = time.perf_counter()
        edgexf.export(model, output=bundle, explain=None if verified else ())
        edgexf.quantize(bundle, "int8", force=True)
        print(f"edgexf exported and quantized in {time.perf_counter() - start:.0f} s", flush=True)
    if not explain.exists():
        write_unverified(model, explain.parents[1])
    if not graph.exists():
        graph.parent.mkdir()
        example = torch.ones(2, 96, dtype=torch.int64), torch.ones(2, 96, dtype=torch.int64)
        axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", min=2, max=8192)}
        torch.onnx.export(
            model, (), str(graph), kwargs={"input_ids": example[0], "attention_mask": example[1]}, dynamo=True,
            dynamic_shapes={"input_ids": axes, "attention_mask": axes}, external_data=True,
        )  # fmt: skip
    return {"edgexf": bundle, "explain": explain, "int8": bundle, "eager": model_folder, "exporter": graph}


def write_unverified(model: Any, folder: Path) -> None:
    """Writes the graphs of an export, which stops before its grid."""
    from edgexf.pipeline.export_model import graph_files
    from edgexf_exporters.capture import capture_source, wanted_methods
    from edgexf_exporters.graphs import make_graphs
    from edgexf_exporters.hooks import frozen
    from edgexf_exporters.sources.checkpoint import from_model

    source = from_model(model)
    with source.quiet(), frozen(source.module):
        captured = capture_source(source, wanted_methods(source, None), asked=False)
        files = graph_files(source, make_graphs(captured, 20, asked=False))
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def measured(kind: str, where: Path, length: int, most: int) -> list[float] | None:
    """Seconds, processor seconds and MB of one fresh process; None where it needs too much memory."""
    command = [sys.executable, "-c", RUN, kind, str(where), str(length), str(THREADS), str(most)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(THREADS)})
    if done.returncode == 0:
        found: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
        return found
    if any(word in done.stderr for word in ("memory", "bad_alloc", "Memory")) or done.returncode < 0:
        return None
    raise SystemExit(done.stderr[-2000:])


def row(kind: str, length: int, found: list[list[float] | None], eager: float | None) -> list[str]:
    kept = [one for one in found if one is not None]
    if not kept:
        return [kind, f"{length:,}", "too much memory", "-", "-", "-"]
    seconds, used, memory = (median(column) for column in zip(*kept, strict=True))
    ratio = "-" if eager is None else f"{used / eager:.2f}"
    return [kind, f"{length:,}", f"{seconds:.2f}", f"{used:.2f}", ratio, f"{memory:,.0f}"]


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--layers", default=22, show_default=True)
@click.option("--lengths", default="512,2048,8192", show_default=True)
@click.option("--kinds", default="edgexf,eager,exporter,explain,int8", show_default=True)
@click.option("--turns", default=3, show_default=True)
@click.option("--most", default=20, show_default=True, help="GiB that a process may take.")
@click.option("--verified", is_flag=True, help="Verify the explain graph too.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A Markdown file of the table.")
def main(
    folder: Path, layers: int, lengths: str, kinds: str, turns: int, most: int, verified: bool, output: Path | None
) -> None:  # fmt: skip
    """Measure, and print the table after each length."""
    folder.mkdir(parents=True, exist_ok=True)
    places, rows = prepare(folder, layers, verified), []
    for length in map(int, lengths.split(",")):
        found: dict[str, list[Any]] = {kind: [] for kind in kinds.split(",")}
        for _ in range(turns):
            for kind in found:
                if None not in found[kind]:
                    found[kind].append(measured(kind, places[kind], length, most))
        kept = [one[1] for one in found.get("eager", []) if one is not None]
        named = {"explain": "explain" if verified else "explain (not verified)"}
        rows += [
            row(named.get(kind, kind), length, each, median(kept) if kept else None) for kind, each in found.items()
        ]
        header = ("graph", "tokens", "seconds", "processor seconds", "of eager's", "MB over the model")
        table = f"{layers} layers x 768.\n\n{markdown_table(header, rows)}"
        print(table, flush=True)
        if output is not None:
            output.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
