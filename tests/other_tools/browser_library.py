"""Runs graphs of bundles by transformers.js in Node, and compares the answers with onnxruntime's in Python.

In: bundles in one folder. Out: for each graph and each loader of transformers.js the error, or the largest difference.
Models from elsewhere are switched off, so what is loaded is the bundle as it stands on disk.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edgexf import bundle, names
from edgexf.bundle.manifest import Graph

Arrays = dict[str, npt.NDArray[Any]]
PACKAGE = "@huggingface/transformers@4.3.2"
PROGRAM = Path(__file__).with_name("load_bundles.mjs")
ANY = "AutoModel"


@dataclass(frozen=True)
class Job:
    """One graph of a bundle for one loader: a class of transformers.js, such as ``AutoModelForMaskedLM``."""

    folder: Path
    loader: str
    graph: Graph
    inputs: Arrays

    @property
    def file(self) -> str:
        return Path(self.graph.file).stem

    def to_dict(self) -> dict[str, Any]:
        given = {name: plain(value) for name, value in self.inputs.items()}
        return {"name": self.folder.name, "loader": self.loader, "file": self.file, "inputs": given}

    def expected(self) -> Arrays:
        """What onnxruntime answers in Python."""
        session = ort.InferenceSession(str(self.folder / self.graph.file), providers=["CPUExecutionProvider"])
        outputs = [value.name for value in session.get_outputs()]
        return dict(zip(outputs, session.run(None, self.inputs), strict=True))


def plain(value: npt.NDArray[Any]) -> dict[str, Any]:
    return {"type": str(value.dtype), "dims": list(value.shape), "data": value.ravel().tolist()}


def jobs_of(folder: Path, inputs: Arrays, loaders: Iterable[str]) -> list[Job]:
    """The jobs of a bundle: its fp32 graphs by each of the loaders. Targets of an explanation are zeros: what is predicted."""
    rows = next(iter(inputs.values())).shape[0]
    found = []
    for graph in bundle.read(folder).in_dtype("fp32").variants:
        sizes = {
            name: size
            for tensor in graph.inputs
            if tensor.name in inputs
            for name, size in zip(tensor.shape, inputs[tensor.name].shape, strict=True)
        }
        given = {
            tensor.name: inputs[tensor.name] if tensor.name in inputs else zeros(tensor, {**sizes, names.BATCH: rows})
            for tensor in graph.inputs
        }
        found += [Job(folder, loader, graph, given) for loader in loaders]
    return found


def zeros(tensor: Any, sizes: dict[str | int, int]) -> npt.NDArray[Any]:
    return np.zeros([sizes.get(size, size) for size in tensor.shape], tensor.dtype)


def install(folder: Path) -> str:
    """Installs transformers.js into a folder where it is not there. Returns why it can't be, else ""."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "Node with npm is not installed, so transformers.js can't be run"
    if not (folder / "node_modules").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefer-offline", PACKAGE]
        environment = {**os.environ, "ONNXRUNTIME_NODE_INSTALL": "skip"}  # only further providers are fetched there
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f"npm can't install {PACKAGE} here: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}"
    return ""


def answers(package: Path, jobs: list[Job], work: Path) -> list[dict[str, Any]]:
    """Runs the jobs, whose bundles share one folder, with the package in the folder `package`."""
    listing, out = work / "jobs.json", work / "answers.json"
    told = {"folder": str(jobs[0].folder.parent), "jobs": [job.to_dict() for job in jobs]}
    listing.write_text(json.dumps(told))
    done = subprocess.run(["node", PROGRAM, listing, out], cwd=package, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"Node must run all jobs, got exit code {done.returncode}: {done.stderr[-2000:]}")
    found: list[dict[str, Any]] = json.loads(out.read_text())
    return found


def difference(job: Job, answer: dict[str, Any]) -> float:
    """The largest difference of an output, relative to the output's largest value; infinite where an output lacks.

    Classes of heads hand on the outputs of their head alone, so only `ANY` is asked for the relevance.
    """
    worst = 0.0
    head = [output.name for output in bundle.read(job.folder).variants[0].outputs]
    for name, wanted in job.expected().items():
        if job.loader != ANY and name not in head:
            continue
        got = answer["outputs"].get(name)
        if got is None or tuple(got["dims"]) != wanted.shape:
            return float("inf")
        values = np.array(got["data"]).reshape(wanted.shape)
        worst = max(worst, float(np.abs(values - wanted).max() / max(np.abs(wanted).max(), 1e-30)))
    return worst
