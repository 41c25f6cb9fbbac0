"""Loads bundles by optimum's ORTModel classes, in an environment with optimum-onnx and transformers 4.57.

    python ortmodel_child.py JOBS.json

In: a list of jobs, each with `folder`, `loader` (a class of optimum.onnxruntime) and `file`. Out: in each folder
`ortmodel.npz` with the outputs, and on standard output a line of JSON for each job: its folder and the error, or "".
This file imports nothing of edgexf, which that environment does not have.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import optimum.onnxruntime
import torch
import transformers


def answers(folder: Path, loader: str, file: str) -> dict[str, np.ndarray]:
    cls = getattr(optimum.onnxruntime, loader)
    options = {"use_cache": False} if loader == "ORTModelForCausalLM" else {}
    model = cls.from_pretrained(folder / "bundle", subfolder="onnx", file_name=file, **options)
    with np.load(folder / "inputs.npz") as stored:
        given = {name: torch.from_numpy(value) for name, value in stored.items()}
    found = model(**given)
    return {name: value.numpy() for name, value in found.items() if isinstance(value, torch.Tensor)}


def main() -> None:
    transformers.logging.set_verbosity_error()
    for job in json.loads(Path(sys.argv[1]).read_text()):
        folder = Path(job["folder"])
        try:
            np.savez(folder / "ortmodel.npz", **answers(folder, job["loader"], job["file"]))
            error = ""
        except Exception as raised:  # noqa: BLE001 (whatever the tool raises is the result)
            error = f"{type(raised).__name__}: {raised}"
        print(json.dumps({"folder": job["folder"], "error": error}), flush=True)


if __name__ == "__main__":
    main()
