"""What stands around a module: wrappers that are taken off, and modules that are no plain PyTorch any more.

In: what a user gives as a model. Out: the module inside, or an ExportError with the remedy.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from edgexf.errors import ExportError

# The class of a wrapper: the attribute that holds the module.
WRAPPERS = {
    "torch._dynamo.eval_frame:OptimizedModule": "_orig_mod",
    "torch.nn.parallel.data_parallel:DataParallel": "module",
    "torch.nn.parallel.distributed:DistributedDataParallel": "module",
}
# The start of the path of a module's class: what it holds. Their weights are packed, so no gradient and no trace exists.
QUANTIZED = {
    "torch.ao.nn.quantized": "torch.ao.quantization",
    "torch.ao.nn.intrinsic.quantized": "torch.ao.quantization",
    "torch.nn.quantized": "torch.quantization",
    "bitsandbytes": "bitsandbytes",
    "auto_gptq": "GPTQ",
    "gptqmodel": "GPTQ",
    "awq": "AWQ",
    "optimum.quanto": "quanto",
}


def unwrapped(source: Any) -> Any:
    """The module inside a compiled or data-parallel wrapper; anything else as it is.

    Raises ExportError for a TorchScript program and for a module with quantized parts.
    """
    while (inside := WRAPPERS.get(f"{type(source).__module__}:{type(source).__qualname__}")) is not None:
        source = getattr(source, inside)
    if isinstance(source, torch.jit.ScriptModule | torch.jit.ScriptFunction):
        raise ExportError(
            "a model must be a torch.nn.Module, got a TorchScript program; export the module that it was made from, by its example_inputs."
        )
    if isinstance(source, nn.Module):
        check_precision(source)
    return source


def check_precision(module: nn.Module) -> None:
    for name, part in module.named_modules():
        where = type(part).__module__
        library = next((QUANTIZED[start] for start in QUANTIZED if f"{where}.".startswith(f"{start}.")), None)
        if library is not None:
            raise ExportError(
                f"weights must be in full precision, got {name or type(part).__name__} quantized by {library}; export the module as it was before, then call edgexf quantize."
            )
