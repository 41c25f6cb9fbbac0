"""edgexf exports a PyTorch transformer as a small, verified, self-explaining ONNX bundle, which runs without torch.

In: a PyTorch transformer. Out: a bundle, predictions, explanations and reports.

    edgexf.spec -> edgexf.models (torch, readable references)
                -> edgexf_exporters (lower, trace, differentiate, translate)
                -> edgexf.passes (tidy, share weights, quantize)
                -> edgexf.bundle (a directory, versioned, hashed)
                -> edgexf_runtimes (numpy + onnxruntime only)
                -> edgexf.report (explanations, latency reports)

`edgexf.pipeline` and `edgexf.cli` stand above all of these packages and combine them. Importing `edgexf` imports
nothing heavy: each public function imports what it needs at its first use.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgexf.pipeline.export_model import export as export
    from edgexf.pipeline.quantize_bundle import quantize as quantize
    from edgexf.pipeline.tune_bundle import tune as tune
    from edgexf.pipeline.verify_bundle import verify as verify
    from edgexf_runtimes.calls.cancel import Cancel as Cancel
    from edgexf_runtimes.session import load as load

# ONNX Runtime reads this variable once, at import, and sends telemetry unless the variable is set. Every package of
# edgexf imports this module first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["Cancel", "__version__", "export", "load", "quantize", "tune", "verify"]

PUBLIC = {
    "Cancel": "edgexf_runtimes.calls.cancel",
    "export": "edgexf.pipeline.export_model",
    "load": "edgexf_runtimes.session",
    "quantize": "edgexf.pipeline.quantize_bundle",
    "tune": "edgexf.pipeline.tune_bundle",
    "verify": "edgexf.pipeline.verify_bundle",
}


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        return getattr(import_module(PUBLIC[name]), name)
    raise AttributeError(f"module 'edgexf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
