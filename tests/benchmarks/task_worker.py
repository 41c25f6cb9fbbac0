"""A worker that answers one task's requests, and takes the time of each.

In: the task, the checkpoint or bundle, the number of threads and the kind of worker as arguments; on standard input a JSON
line for each call, ``[args, kwargs]``. Out: a JSON line for each answer, ``[seconds, answer]``; the first line names the
version. Each kind imports only what its environment has.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any


def edgexf_session(_task: str, path: str, threads: int, profile: str = "balanced") -> tuple[Callable[..., Any], str]:
    import edgexf

    return edgexf.load(path, threads=threads, profile=profile).predict, f"edgexf {edgexf.__version__}"


def transformers_pipeline(task: str, path: str, threads: int) -> tuple[Callable[..., Any], str]:
    import torch
    import transformers

    torch.set_num_threads(threads)
    return transformers.pipeline(task, model=path, device="cpu"), f"transformers {transformers.__version__}"


def optimum_pipeline(task: str, path: str, threads: int) -> tuple[Callable[..., Any], str]:
    import onnxruntime
    import optimum.onnxruntime as ort
    import transformers

    kinds = {
        "text-classification": ort.ORTModelForSequenceClassification,
        "zero-shot-classification": ort.ORTModelForSequenceClassification,
        "token-classification": ort.ORTModelForTokenClassification,
        "question-answering": ort.ORTModelForQuestionAnswering,
        "fill-mask": ort.ORTModelForMaskedLM,
        "feature-extraction": ort.ORTModelForFeatureExtraction,
    }
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = kinds[task].from_pretrained(path, subfolder="onnx", file_name="model.onnx", session_options=options)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    return transformers.pipeline(task, model=model, tokenizer=tokenizer), f"onnxruntime {onnxruntime.__version__}"


KINDS = {
    "edgexf": edgexf_session,
    "edgexf latency": partial(edgexf_session, profile="latency"),
    "transformers": transformers_pipeline,
    "optimum": optimum_pipeline,
}


def main(task: str, path: str, threads: str, kind: str) -> None:
    warnings.simplefilter("ignore")
    answer, version = KINDS[kind](task, str(Path(path)), int(threads))
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        args, kwargs = json.loads(line)
        start = time.perf_counter()
        answer(*args, **kwargs)
        print(json.dumps([time.perf_counter() - start, None]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
