"""The runtime: a bundle goes in, answers and explanations come out, with numpy and onnxruntime alone.

ONNX Runtime's telemetry is on by default on some systems and is read once, at its import; so it is
switched off here, before anything imports it.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from edgexf_runtimes.session import Session, load

__all__ = ["Session", "load"]
