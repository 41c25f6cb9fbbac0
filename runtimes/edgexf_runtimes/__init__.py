"""The runtime: a bundle goes in, answers and explanations come out, with numpy and onnxruntime alone."""

import edgexf  # noqa: F401 (first: it switches the telemetry of onnxruntime off)
from edgexf_runtimes.session import Session, load

__all__ = ["Session", "load"]
