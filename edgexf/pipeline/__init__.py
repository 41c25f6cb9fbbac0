"""What a user asks for as a whole; each file composes rooms below and decides nothing that they decide.

    export_model      a model -> a verified bundle              (describe_bundle, card: its manifest and model card)
    verify_bundle     a bundle -> a verdict on this device
    quantize_bundle   a bundle -> the same with graphs in fewer bits   (measure_mode, search_kept)
    explain_input     a bundle and an input -> explanations side by side
    evaluate_methods  a bundle and labelled data -> how faithful its methods are

Public names are handed on when they are first used, since most of them import much.
"""

from importlib import import_module
from typing import Any

PUBLIC = {
    "Bundle": "edgexf.bundle.folder",
    "UNEXPLAINED": "edgexf.pipeline.describe_bundle",
    "Verdict": "edgexf.pipeline.verify_bundle",
    "export": "edgexf.pipeline.export_model",
    "verify": "edgexf.pipeline.verify_bundle",
}


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        return getattr(import_module(PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
