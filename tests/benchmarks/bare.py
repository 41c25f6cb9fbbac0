"""What the bare wheel costs a device beside onnxruntime alone: packages, disk, import, cold start, memory.

    python tests/benchmarks/bare.py BUNDLE [--folder FOLDER]       # a bundle of edgexf.export(variant="linformer")

Builds the wheel, installs ``edgexf[cpu]`` from it and onnxruntime alone into two new environments, and measures in them.
Writes results/bare.md. Import and cold start are measured by overhead.py. Memory is that of a process of its own with one
thread, as a median of 5: resident (RSS), and the part of it that no other process shares (USS).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from matrix import ROOT, run
from overhead import COLD

from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.device import cpu_info

RESULTS = Path(__file__).parent / "results" / "bare.md"
PROCESSES = 5
LISTED = """
import json
from importlib.metadata import distributions
sizes = {}
for one in distributions():
    if one.metadata["Name"] not in ("pip", "setuptools"):
        sizes[f'{one.metadata["Name"]} {one.version}'] = sum(one.locate_file(file).stat().st_size for file in one.files)
print(json.dumps(sizes))
"""
OVERHEAD = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import overhead
print(json.dumps([overhead.at_import(), overhead.from_cold(Path(sys.argv[2]))]))
"""
MEMORY = """
import json, re, sys
from pathlib import Path

def held():
    text = Path("/proc/self/smaps_rollup").read_text()
    found = {name: int(size) / 2**10 for name, size in re.findall(r"^(\\w+):\\s+(\\d+) kB", text, re.MULTILINE)}
    return found["Rss"], found["Private_Clean"] + found["Private_Dirty"]

import numpy as np
ids = np.full((1, 8), 7)
ids[0, 0] = 257
found = {"python and numpy": held()}
"""
BARE = """
import onnxruntime as ort
found["import"] = held()
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1] + "/onnx/model.onnx", options, providers=["CPUExecutionProvider"])
found["load"] = held()
session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
"""
OURS = """
import edgexf, edgexf_runtimes
found["import"] = held()
session = edgexf.load(sys.argv[1], threads=1)
found["load"] = held()
session.run(input_ids=ids)
"""
DONE = """
found["a run at 8 tokens"] = held()
print(json.dumps(found))
"""


def environment(folder: Path, *wanted: str) -> Path:
    """The Python of a new environment with these packages."""
    run(sys.executable, "-m", "venv", "--clear", folder)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted)
    return folder / "bin" / "python"


def asked(python: Path, code: str, *arguments: str | Path) -> Any:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["ORT_DISABLE_TELEMETRY"] = "1"  # as edgexf sets it
    command = [python, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=python.parent)
    return json.loads(done.stdout)


def memory(python: Path, code: str, bundle: Path) -> dict[str, list[float]]:
    """MiB after each step: resident, and unshared."""
    found = [asked(python, MEMORY + code + DONE, bundle) for _ in range(PROCESSES)]
    return {step: [median(values) for values in zip(*(one[step] for one in found), strict=True)] for step in found[0]}


def disk(alone: dict[str, int], ours: dict[str, int]) -> str:
    rows = [[name, f"{size / 1e6:.1f}", "" if name in alone else "x"] for name, size in sorted(ours.items())]
    totals = [sum(sizes.values()) / 1e6 for sizes in (alone, ours)]
    return (
        markdown_table(["package", "MB", "only for edgexf"], rows)
        + f"\nonnxruntime alone: {len(alone)} packages, {totals[0]:.0f} MB. `edgexf[cpu]`: {len(ours)} packages, {totals[1]:.0f} MB.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "edgexf-bare")
    given = parser.parse_args()
    folder, bundle = given.folder.absolute(), given.bundle.absolute()
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder / "wheel", ROOT)
    wheel = max((folder / "wheel").glob("*.whl"), key=lambda path: path.stat().st_mtime)
    ours = environment(folder / "ours", f"{wheel}[cpu]")
    alone = environment(folder / "alone", "onnxruntime")
    sizes = disk(asked(alone, LISTED), asked(ours, LISTED))
    imported, cold = asked(ours, OVERHEAD, str(Path(__file__).parent), bundle)
    bare, other = memory(ours, BARE, bundle), memory(ours, OURS, bundle)
    rows = [
        [step, *(f"{value:.0f}" for value in (*bare[step], *other[step])), f"{other[step][1] - bare[step][1]:+.1f}"]
        for step in bare
    ]
    held = markdown_table(
        ["MiB after", "onnxruntime, RSS", "USS", "edgexf, RSS", "USS", "difference of USS"],
        rows,
    )
    text = (
        f"# The bare wheel\n\n`python tests/benchmarks/bare.py BUNDLE` on {cpu_info('model name')}, Linux, Python {sys.version.split()[0]}; "
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors. The bundle is the trained linformer.\n\n"
        f"{sizes}\n`import edgexf_runtimes` after `import onnxruntime`: {imported:.0f} ms of processor time.\n\n"
        f"{markdown_table(COLD, cold)}\n{held}"
    )
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
