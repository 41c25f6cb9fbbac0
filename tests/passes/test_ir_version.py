"""The IR version of a graph is the lowest that its opset and its types need."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgexf.passes.ir_version import LowestIrVersion
from edgexf.passes.tidy import DropTraces


def model(opset: int, dtype: ir.DataType, domains: tuple[str, ...] = ()) -> ir.Model:
    """A graph that holds a tensor of the dtype, as an exporter writes it."""
    array = np.ones(4, dtype=dtype.numpy())
    value = ir.Value(
        name="w", type=ir.TensorType(dtype), shape=ir.Shape([4]), const_value=ir.tensor(array, dtype=dtype)
    )
    opsets = {"": opset, **dict.fromkeys(domains, 1)}
    return ir.Model(ir.Graph([], [], nodes=[], initializers=[value], opset_imports=opsets), ir_version=12)


@pytest.mark.parametrize(
    ("opset", "dtype", "domains", "version"),
    [
        (20, ir.DataType.FLOAT, (), 9),
        (20, ir.DataType.UINT8, ("com.microsoft",), 9),
        (20, ir.DataType.INT4, (), 10),
        (21, ir.DataType.FLOAT, (), 10),
        (23, ir.DataType.UINT4, (), 11),
    ],
)
def test_the_version_is_the_lowest_that_the_graph_needs(
    opset: int, dtype: ir.DataType, domains: tuple[str, ...], version: int
) -> None:
    found = model(opset, dtype, domains)
    assert LowestIrVersion()(found).modified
    assert found.ir_version == version


def test_every_written_graph_gets_it() -> None:
    """`DropTraces` is the last pass of exports and of quantization."""
    found = model(20, ir.DataType.FLOAT)
    DropTraces()(found)
    assert found.ir_version == 9
