"""Exporters: a PyTorch model goes in, verified ONNX graphs come out.

    variant      the record of an attention that can be lowered
    variants/    all of these records
    families     the families of transformers that are exported as they are
    options      checks what needs no model
    sources/     a user's request -> a `Source`
    source       the `Source`: what an export must know about a model
    hooks        what surrounds a call of the untouched model
    hard_values  values at which graphs differ from their models, for the inputs of a verification
    targets      the explained value of a head
    lowerings/   replaces modules of the model by modules that can be traced
    trace/       torch.export, and the translation of a captured program to ONNX
    capture      a `Source` -> captured programs, by lowerings/ and trace/
    explain/     adds an explanation to a captured program
    graphs       captured programs -> ONNX graphs, by explain/ and trace/
    verify/      compares the graphs with the untouched model

A request goes through sources/, `capture`, `graphs` and verify/, in this order. `edgexf.pipeline.export_model` passes
the records from one to the next.

`VARIANTS` of variants/ is the only list of attentions that can be lowered. It holds plain data, so the command line can
print it without torch. README.md in the folder above says how to add a variant.
"""

import edgexf.errors  # noqa: F401 (stands first, because loading edgexf switches off the telemetry of onnxruntime)
from edgexf_exporters.variants import VARIANTS

__all__ = ["VARIANTS"]
