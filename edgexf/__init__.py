"""edgexf: a PyTorch transformer goes in, a small, verified, self-explaining ONNX bundle comes out, and runs without torch.

    edgexf.spec -> edgexf.models (torch, readable references)
                -> edgexf_exporters (lower, trace, differentiate, translate)
                -> edgexf.passes (tidy, share weights)
                -> edgexf.bundle (a directory, versioned, hashed)
                -> edgexf_runtimes (numpy + onnxruntime only)
                -> edgexf.report (explanations, latency reports)

Importing it imports nothing heavy; `export` and `load` import what they need when they are used.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgexf.pipeline import export as export
    from edgexf.pipeline import verify as verify
    from edgexf.quantizing import quantize as quantize
    from edgexf_runtimes.session import load as load

# ONNX Runtime reads this once, at its import, and reports to its makers unless it is set. Every package of
# edgexf imports this module first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["__version__", "export", "load", "quantize", "verify"]


def __getattr__(name: str) -> Any:
    if name in ("export", "verify"):
        from edgexf import pipeline

        return getattr(pipeline, name)
    if name == "quantize":
        from edgexf.quantizing import quantize

        return quantize
    if name == "load":
        from edgexf_runtimes import load

        return load
    raise AttributeError(f"module 'edgexf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
