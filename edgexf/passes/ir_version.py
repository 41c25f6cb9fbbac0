"""Writes the lowest IR version that a graph needs, so that older runtimes can read it.

    before  ir_version 10, as the exporter writes it for every graph
    after   ir_version 9 for opset 20; 10 from opset 21 on, or where a tensor has 4 bits

onnxruntime 1.17 reads IR 9 and refuses IR 10.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx import helper

TYPES = {ir.DataType.INT4: 10, ir.DataType.UINT4: 10}  # the IR version that brought a type, if not the opset's


class LowestIrVersion(ir.passes.InPlacePass):
    def call(self, model: ir.Model) -> ir.passes.PassResult:
        opsets = [helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
        stored = [value.const_value for value in model.graph.initializers.values()]
        types = [TYPES.get(tensor.dtype, 0) for tensor in stored if tensor is not None]
        before = model.ir_version
        model.ir_version = max(helper.find_min_ir_version_for(opsets, ignore_unknown=True), *types, 0)
        return ir.passes.PassResult(model, modified=model.ir_version != before)
