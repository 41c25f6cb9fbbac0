"""Uses edgexf wrongly, about sixty times, and records how each use is answered.

    python tests/benchmarks/wrong_uses.py

Each must be answered by one sentence: a command by exit code 2 (1 where a file or a result is at fault) without a
traceback, Python by an exception of `edgexf.errors`. Wrong arguments of a command must be answered within two seconds.
Writes results/wrong_uses.md and exits with 1 if a use is answered otherwise.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import edgexf
from edgexf.errors import EdgexfError
from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.device import describe

RESULTS = Path(__file__).parent / "results" / "wrong_uses.md"
SECONDS = 2.0  # for a wrong argument
REMEDY = ";"  # a sentence says the rule and what it got, and after this the way out

COMMANDS = """
export
export --variant nope
export --variant linformer --grid huge
export --variant linformer --opset 7
export --variant linformer --explain nope
export --variant linformer --explain none --explain gradient
export --variant linformer --quantize nope
export --variant linformer --layers 3
export --variant linformer -o occupied
export --variant linformer --model model
export --model nowhere/at/all
export --model model.gguf
export --model model.onnx
export --model lora
export --model empty
export --model model --task nope
export --module nowhere:factory
export --module without_a_colon
run
run bundle
run bundle missing.txt
run bundle .
run bundle - -
run bundle input.txt --dtype nope
run bundle input.txt --threads 0
run bundle input.txt --providers nope
run bundle input.txt --provider-option device_id=1
run bundle input.txt --profile nope
run bundle input.txt --verify twice
run bundle input.txt --timeout 0
run bundle input.txt --text words --stride 3
run empty input.txt
explain bundle
explain bundle input.txt --method nope
explain bundle input.txt --target klingon
explain bundle input.txt --html nowhere/page.html
explain bundle input.txt --method lime --budget 0
bench bundle --lengths many
bench bundle --lengths 999999
bench bundle --method lime
bench bundle --json nowhere/report.json
quantize bundle --mode nope
quantize bundle --mode int8-static
quantize bundle --mode int8 --evaluate missing.jsonl
quantize bundle --mode int8 --max-drop 7
verify empty
doctor --nope
unknown
"""


class Sum(nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.sum(1)


def python_uses(bundle: Path) -> list[tuple[str, Callable[[], object]]]:
    """Wrong uses from Python, each with its text."""
    session, example = edgexf.load(bundle), (torch.randn(2, 5),)
    ids = np.full((1, 9), 999)
    uses: list[tuple[str, Callable[[], object]]] = [
        ("edgexf.export(module)", lambda: edgexf.export(Sum())),
        ('edgexf.export(module, example_inputs="text")', lambda: edgexf.export(Sum(), example_inputs="text")),
        (
            'edgexf.export(module, example_inputs=(x,), dynamic_shapes={"y": {0: 2}})',
            lambda: edgexf.export(Sum(), example_inputs=example, dynamic_shapes={"y": {0: 2}}),
        ),
        ("edgexf.export(3)", lambda: edgexf.export(3)),  # type: ignore[arg-type]
        ('edgexf.load("nowhere")', lambda: edgexf.load("nowhere")),
        ('edgexf.load(bundle, dtype="nope")', lambda: edgexf.load(bundle, dtype="nope")),
        ('edgexf.load(bundle, providers=("nope",))', lambda: edgexf.load(bundle, providers=("nope",))),
        ("edgexf.load(bundle, threads=0)", lambda: edgexf.load(bundle, threads=0)),
        ("session.run(tokens=ids)", lambda: session.run(tokens=ids)),
        ("session.run(input_ids=ids)  # over the vocabulary", lambda: session.run(input_ids=ids)),
        ('session.explain("text", method="nope")', lambda: session.explain("text", method="nope")),
        ("pickle.dumps(session)", lambda: pickle.dumps(session)),
    ]
    return uses


def prepare(folder: Path) -> None:
    """Writes the files that the commands name."""
    edgexf.export(variant="linformer", output=folder / "bundle", explain="gradient")
    (folder / "input.txt").write_text("some words")
    (folder / "model.gguf").write_bytes(b"GGUF" + bytes(60))
    (folder / "model.onnx").write_bytes(bytes(64))
    for name, file, text in (
        ("occupied", "note.txt", "mine"), ("empty", ".keep", ""), ("model", "config.json", '{"model_type": "bert"}'),
        ("lora", "adapter_config.json", '{"peft_type": "LORA"}'),
    ):  # fmt: skip
        (folder / name).mkdir()
        (folder / name / file).write_text(text)


def at_the_prompt(line: str, folder: Path) -> tuple[str, str, float, bool]:
    """How a command answers: its code, what it says, the seconds, and whether all is as it should be."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "edgexf", *line.split()], cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )  # fmt: skip
    took, said = time.monotonic() - start, done.stderr.strip().splitlines()
    sentence = said[-1] if said else ""
    good = done.returncode in (1, 2) and "Traceback" not in done.stderr and bool(sentence) and took <= SECONDS
    return str(done.returncode), sentence, took, good


def in_python(use: Callable[[], Any]) -> tuple[str, str, float, bool]:
    """How a call answers: its exception, what it says, the seconds, and whether all is as it should be."""
    start = time.monotonic()
    try:
        use()
    except EdgexfError as error:
        return type(error).__name__, str(error), time.monotonic() - start, REMEDY in str(error)
    except Exception as error:  # noqa: BLE001 (such an exception is what this looks for)
        return type(error).__name__, str(error), time.monotonic() - start, False
    return "none", "", time.monotonic() - start, False


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        prepare(folder)
        rows = [(f"edgexf {line}", *at_the_prompt(line, folder)) for line in COMMANDS.strip().splitlines()]
        os.chdir(folder)
        rows += [(text, *in_python(use)) for text, use in python_uses(folder / "bundle")]
        os.chdir(RESULTS.parent)
    bad = [row for row in rows if not row[-1]]
    about = describe()
    cells = [
        (f"`{use}`", code, said.replace("|", "\\|").replace(made, "FOLDER"), f"{took:.1f}", "yes" if good else "NO")
        for use, code, said, took, good in rows
    ]
    table = markdown_table(("use", "code or exception", "last line", "seconds", "as it should be"), cells)
    RESULTS.write_text(
        f"# Wrong uses\n\n`python tests/benchmarks/wrong_uses.py`, {about['processor']}, {about['processors']} processors: "
        f"{len(rows)} uses, {len(bad)} answered otherwise than they should be.\n\n{table}"
    )
    print(RESULTS.read_text())
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
