"""edgexf: a PyTorch transformer goes in, a small, verified, self-explaining ONNX bundle comes out, and runs without torch.

    edgexf.spec -> edgexf.models (torch, readable references)
                -> edgexf_exporters (lower, trace, differentiate, translate)
                -> edgexf.passes (tidy, share weights, quantize)
                -> edgexf.bundle (a directory, versioned, hashed)
                -> edgexf_runtimes (numpy + onnxruntime only)
                -> edgexf.report (explanations, latency reports)

`edgexf.pipeline` and `edgexf.cli` stand above all of them and compose. Importing `edgexf` imports nothing heavy: each
public function imports what it needs when it is first used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgexf.pipeline.export_model import export as export
    from edgexf.pipeline.quantize_bundle import quantize as quantize
    from edgexf.pipeline.verify_bundle import verify as verify
    from edgexf_runtimes.session import load as load

# ONNX Runtime reads this once, at its import, and reports to its makers unless it is set. Every package of
# edgexf imports this module first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["__version__", "export", "load", "quantize", "verify"]

PUBLIC = {
    "export": "edgexf.pipeline.export_model",
    "load": "edgexf_runtimes.session",
    "quantize": "edgexf.pipeline.quantize_bundle",
    "verify": "edgexf.pipeline.verify_bundle",
}


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        return getattr(import_module(PUBLIC[name]), name)
    raise AttributeError(f"module 'edgexf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
