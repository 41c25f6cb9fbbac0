"""The runtime: runs a bundle and explains its answers, with numpy and onnxruntime alone.

    calls/       deadlines, cancelling, calls in flight, forks
    device/      the threads, provider and dtype for this device
    inputs/      files, bytes, text and arrays become checked arrays
    finite       finds answers that are no finite numbers
    golden       what a graph answers, compared with the bundle's golden outputs
    remembered   what was checked once: hashes, and golden outputs on this device
    tuned        what `edgexf tune` found to be the fastest on this device
    candidates   which of the graphs that answer the same a session runs
    opening      opens a graph for the first time, and checks it where it was not verified
    graphs       opens the graphs of a bundle, and runs them
    decoding     an input with its tokens, and the outputs of each window
    pictures     pictures on their way to a graph
    reading      reads and tokenizes the inputs of a bundle
    tasks/       outputs become answers, in the shapes of pipelines
    predictor    answers with the predict graph
    stream       answers an iterator of inputs
    head         the kind of the outputs, and the names of their columns
    scores       logits become scores of labels
    explain/     a score for each token: from an explain graph, or from many runs of the predict graph
    embeddings/  one vector for a text, and why two texts are alike
    session      `Session`, which predicts and explains
    rows         explains one sample of arrays, as tokens that a view shows
    measure/     figures about a session: latency, memory, agreement, faithfulness

Data passes from the bundle and the inputs at the top to the figures at the bottom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import edgexf.errors  # noqa: F401 (first: importing edgexf switches off onnxruntime's telemetry)
from edgexf.extras import require_onnxruntime

require_onnxruntime()

from edgexf_runtimes.session import Session, load  # noqa: E402 (its modules import onnxruntime)

if TYPE_CHECKING:
    from edgexf_runtimes.explain.arrays import attribute as attribute

__all__ = ["Session", "attribute", "load"]


def __getattr__(name: str) -> Any:
    """Imports what explains arrays at its first use."""
    if name == "attribute":
        from edgexf_runtimes.explain.arrays import attribute

        return attribute
    raise AttributeError(f"module 'edgexf_runtimes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
