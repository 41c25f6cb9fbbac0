"""What the file of a graph says, read without the package onnx."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgexf_runtimes.device.structure import between_bytes, equations

onnx = pytest.importorskip("onnx")


def test_equations_and_products_between_bytes_are_read_from_the_file(tmp_path: Path) -> None:
    make = onnx.helper.make_node
    nodes = [
        make("DequantizeLinear", ["a8", "scale"], ["a"], "dequantize_a"),
        make("DequantizeLinear", ["b8", "scale"], ["b"], "dequantize_b"),
        make("MatMul", ["a", "b"], ["c"], "of_bytes"),
        make("MatMul", ["c", "b"], ["d"], "of_floats_and_bytes"),
        make("Einsum", ["c", "d"], ["e"], "sum_of_products", equation="ij,jk->ik"),
    ]
    graph = onnx.helper.make_graph(nodes, "graph", [], [])
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    assert equations(path) == {"sum_of_products": "ij,jk->ik"}
    assert between_bytes(path) == {"of_bytes"}
