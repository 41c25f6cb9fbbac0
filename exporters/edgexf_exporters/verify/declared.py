"""Whether the outputs have the sizes that the manifest declares.

In: a source, the inputs of a cell, and what the untouched model answers. Out: empty, or what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from edgexf.bundle.formula import known, size_of
from edgexf_exporters.source import Source

Array = npt.NDArray[Any]


def sizes_of(source: Source, feeds: Mapping[str, Array]) -> dict[str, int]:
    """The size of each axis of the inputs and outputs that follows from the inputs, by its name or formula."""
    shapes = {tensor.name: tensor.shape for tensor in source.tensors}
    sizes = {
        str(axis): size for name, shape in shapes.items() for axis, size in zip(shape, feeds[name].shape, strict=True)
    }
    if source.module_inputs is not None:
        sizes |= source.module_inputs.signature.sizes(shapes, {name: feeds[name].shape for name in shapes})
    axes = [axis for output in source.outputs for axis in output.shape if isinstance(axis, str)]
    return sizes | {axis: size_of(axis, sizes) for axis in axes if known(axis, sizes)}


def undeclared(source: Source, feeds: Mapping[str, Array], wanted: Mapping[str, Array]) -> str:
    """The first output whose size is not the declared one. An axis with a name of its own may have any size."""
    sizes = sizes_of(source, feeds)
    for output in source.outputs:
        for axis, size in zip(output.shape, wanted[output.name].shape, strict=True):
            right = sizes.get(axis) if isinstance(axis, str) else axis
            if right is not None and size != right:
                declared = f"{axis} is declared" if isinstance(axis, int) else f"{axis} is {right}"
                return f"{output.name} has a size of {size} where {declared}"
    return ""
