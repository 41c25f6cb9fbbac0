"""The runtime: a bundle goes in, answers and explanations come out, with numpy and onnxruntime alone."""

import edgexf.errors  # noqa: F401 (first: loading edgexf switches the telemetry of onnxruntime off)
from edgexf_runtimes.explain.arrays import attribute
from edgexf_runtimes.session import Session, load

__all__ = ["Session", "attribute", "load"]
