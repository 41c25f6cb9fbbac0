"""A pipeline of transformers as a child process: the reference that answers of bundles are compared with.

In: the task and the checkpoint as arguments; on standard input a JSON line for each call, ``[args, kwargs]``. Out: a JSON
line for each answer, with the seconds that the call took: ``[seconds, answer]``. The first line names the versions. It
imports nothing of edgexf, so it runs in any environment with transformers, such as one with the last 4.x release.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

import numpy as np
import torch
import transformers


def plain(value: object) -> object:
    """A value in types that JSON has."""
    return value.item() if isinstance(value, np.generic) else str(value)


def main(task: str, checkpoint: str, threads: str) -> None:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(int(threads))
    pipe = transformers.pipeline(task, model=checkpoint, device="cpu")
    print(json.dumps({"transformers": transformers.__version__, "torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        args, kwargs = json.loads(line)
        start = time.perf_counter()
        answer = pipe(*args, **kwargs)
        seconds = time.perf_counter() - start
        print(json.dumps([seconds, answer], default=plain), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
