"""The tasks of a user. Each file composes the rooms below, and decides nothing that these rooms decide.

    export_model      a model -> a verified bundle
                      (describe_bundle: its manifest; card: its model card, with usage; browser_config: what
                      transformers.js loads; profile_graphs: where the time of each graph goes)
    verify_bundle     a bundle -> a verdict on this device
    quantize_bundle   a bundle -> the same bundle with further graphs in fewer bits
                      (measure_mode: the measurements; search_kept: the weights that stay in float32; verdict: the
                      decision; write_quantized: the graphs, those of candidates too)
    tune_bundle       a bundle -> the fastest way to run it on this device, remembered beside it
    run_inputs        a bundle and texts, files, folders or records -> their answers
    ort_bundle        a bundle -> the same bundle with its graphs in ONNX Runtime's own format too, for phones
                      (ort_format: the files, and the operators that they need)
    answer_arrays     a bundle and an .npz of arrays -> its answer
    explain_arrays    a bundle and an .npz of arrays -> explanations of its samples
    explain_input     a bundle and an input -> explanations side by side
                      (explain_similarity: of two texts that are alike)
    evaluate_methods  a bundle and labelled data -> how faithful its methods are

A bundle goes from `export_model` to the device, where the other files use it. Public names are imported when they are
first used, because most of them import large packages.
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
