"""Compares a lowering with its library in float64: is a difference between them rounding, or an error?

In: a source. Out: the largest relative difference between its lowered module and its untouched module over the quick
grid, both in float64 and both in PyTorch. Rounding shrinks from about 1e-6 to about 1e-15, but an error keeps its size.
A library that computes a softmax in float32, whatever the dtype of its weights (Longformer, LED), keeps about 1e-7.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from edgexf import names
from edgexf.bundle.golden import output_difference
from edgexf_exporters.capture import Program
from edgexf_exporters.hooks import frozen
from edgexf_exporters.lowerings.swap import Lowered, lowered
from edgexf_exporters.source import Source
from edgexf_exporters.verify.compare import reference
from edgexf_exporters.verify.grid import Feeds, cells


def worst_difference(source: Source) -> float:
    """The largest difference over all cells of the quick grid, on the real tokens.

    The module of the source is copied, not changed.
    """
    module: nn.Module = copy.deepcopy(source.module).double()
    wide = replace(source, module=module)
    program = Program(wide)
    worst = 0.0
    with frozen(module), torch.no_grad():
        with lowered(program, wide.limits) as lowering:
            block = lowering.step
        for cell in cells(source, block, "quick"):
            feeds = cell.feeds(source)
            wanted = reference(wide, feeds)
            with lowered(program, wide.limits) as lowering:
                program.lowering = lowering
                found = program(*(blocked(wide, lowering, name, feeds) for name in source.inputs))
            real = source.real(feeds)
            for output, value in zip(source.outputs, found, strict=True):
                array = value.numpy()
                if names.SEQUENCE in output.shape:
                    axis = output.shape.index(names.SEQUENCE)
                    array = array.take(np.arange(cell.length), axis=axis)
                worst = max(worst, output_difference(output, array, wanted[output.name], real))
    return worst


def blocked(source: Source, lowering: Lowered, name: str, feeds: Feeds) -> Tensor:
    """An input as the traced graph gets it from `edgexf.passes.edges`: padded, and cut into blocks."""
    array = feeds[name]
    tokens = next(names.SEQUENCE in tensor.shape for tensor in source.tensors if tensor.name == name)
    if not (lowering.blocked and tokens):
        return torch.from_numpy(array)
    length = array.shape[-1]
    short = lowering.variable_block and length <= source.limits.switch
    blocks, block = (2, (length + 1) // 2) if short else (-(-length // lowering.block), lowering.block)
    filler = {names.INPUT_IDS: source.padding_id, names.ATTENTION_MASK: lowering.padding_mark}.get(name, 0)
    widths = [(0, 0)] * (array.ndim - 1) + [(0, blocks * block - length)]
    whole: Tensor = torch.from_numpy(np.pad(array, widths, constant_values=filler))
    return whole.reshape(*array.shape[:-1], blocks, block)
