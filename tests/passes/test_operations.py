"""Operations that are counted on a graph, without running it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper
from small_graphs import FLOAT, INT, SCHEMES, Maker, layer

from edgexf.passes.operations import Products
from edgexf.passes.quantize.walk import QuantizeWeights
from edgexf.products import Count

SIZES = {"b": 3, "s": 7}


def count(model: ir.Model, **sizes: int) -> Count:
    return Products(ir.serde.serialize_model(model).SerializeToString()).count(sizes or SIZES)


def test_products_count_by_their_shapes() -> None:
    assert count(layer()) == Count({"float32": 2 * (2 * 3 * 7 * 64 * 96)}, ())


def test_shapes_follow_from_sizes_through_whole_numbers() -> None:
    """Tokens are padded to blocks of 4 and cut into them, as `edgexf.passes.edges` does."""
    make = Maker()
    x = make.given("x", FLOAT, "b", "s", 8)
    numbers = {name: make.constant(name, np.array([value])) for name, value in (("one", 1), ("four", 4), ("eight", 8))}
    length = make.node("Shape", x, start=1, end=2)
    blocks = make.node(
        "Add", make.node("Div", make.node("Sub", length, numbers["one"]), numbers["four"]), numbers["one"]
    )
    rest = make.node("Sub", make.node("Mul", blocks, numbers["four"]), length)
    none = make.constant("none", np.zeros(4, np.int64))
    pads = make.node("Concat", none, rest, make.constant("last", np.zeros(1, np.int64)), axis=0)
    shape = make.node("Concat", make.node("Shape", x, end=1), blocks, numbers["four"], numbers["eight"], axis=0)
    cut = make.node("Reshape", make.node("Pad", x, pads), shape)  # [b, blocks, 4, 8]
    model = make.model(y=make.node("MatMul", cut, make.node("Transpose", cut, perm=(0, 1, 3, 2))))
    for length, blocks in ((1, 1), (4, 1), (5, 2), (4096, 1024)):
        assert count(model, b=3, s=length) == Count({"float32": 2 * 3 * blocks * 4 * 4 * 8}, ())


@pytest.mark.parametrize("name", SCHEMES)
def test_a_quantized_graph_needs_as_many_operations_as_before(name: str) -> None:
    before, model = count(layer()), layer()
    QuantizeWeights(SCHEMES[name]())(model)
    found = count(model)
    assert found.uncounted == ()
    half = before.operations["float32"] // 2  # the product is of bytes, the reverse pass of floats
    assert found.operations == {"int8": half, "float32": half}


def test_a_product_between_dequantized_bytes_is_one_of_bytes() -> None:
    make = Maker()
    scale, codes = make.constant("scale", np.float32(0.1)), make.constant("codes", np.ones((8, 5), np.int8))
    given = make.node("DequantizeLinear", make.node("QuantizeLinear", make.given("x", FLOAT, "b", 8), scale), scale)
    product = make.node("MatMul", given, make.node("DequantizeLinear", codes, scale))
    assert count(make.model(y=product)) == Count({"int8": 2 * 3 * 8 * 5}, ())


def test_a_product_of_constants_is_computed_beforehand() -> None:
    make = Maker()
    weight = make.constant("weight", np.ones((8, 8), np.float32))
    squared = make.node("MatMul", weight, weight)
    assert count(make.model(y=make.node("MatMul", make.given("x", FLOAT, "b", 8), squared))) == Count(
        {"float32": 2 * 3 * 8 * 8}, ()
    )


def test_other_operators_count_by_their_own_rules() -> None:
    make = Maker()
    x = make.given("x", FLOAT, "b", 4, "s")
    convolved = make.node("Conv", x, make.constant("weight", np.ones((6, 4, 3), np.float32)))
    model = make.model(y=make.node("Einsum", convolved, convolved, equation="bij,bkj->bik"))
    assert count(model) == Count({"float32": 2 * 3 * 6 * 5 * 4 * 3 + 2 * 3 * 6 * 6 * 5}, ())


def loop(inner: str) -> ir.Model:
    """A Loop whose body holds a node, read back from onnx."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"]), helper.make_node(inner, ["x", "x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("step", INT, []),
            helper.make_tensor_value_info("go", ir.DataType.BOOL, []),
            helper.make_tensor_value_info("before", FLOAT, ["b", "b"]),
        ],
        [
            helper.make_tensor_value_info("still", ir.DataType.BOOL, []),
            helper.make_tensor_value_info("y", FLOAT, ["b", "b"]),
        ],
    )
    given = helper.make_tensor_value_info("x", FLOAT, ["b", "b"])
    graph = helper.make_graph(
        [helper.make_node("Loop", ["", "", "x"], ["z"], body=body)],
        "g",
        [given],
        [helper.make_tensor_value_info("z", FLOAT, ["b", "b"])],
    )
    return ir.serde.deserialize_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))


def scanned(directions: list[int]) -> ir.Model:
    """Products of each row of x [rows, b, 8] with a weight of the outer graph, and a product of their sum behind the loop."""
    inner = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("sum", "row", "next", "product")]
    nodes = [
        helper.make_node("MatMul", ["row", "weight"], ["product"]),
        helper.make_node("Add", ["sum", "product"], ["next"]),
    ]
    body = helper.make_graph(nodes, "body", inner[:2], inner[2:])
    scan = helper.make_node(
        "Scan", ["start", "x"], ["last", "each"], body=body, num_scan_inputs=1, scan_input_directions=directions
    )
    weight = numpy_helper.from_array(np.ones((8, 5), np.float32), "weight")
    given = [
        helper.make_tensor_value_info("start", FLOAT, ["b", 5]),
        helper.make_tensor_value_info("x", FLOAT, ["s", "b", 8]),
    ]
    outputs = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("y", "z")]
    after = [
        helper.make_node("MatMul", ["last", "square"], ["y"]),
        helper.make_node("MatMul", ["each", "square"], ["z"]),
    ]
    square = numpy_helper.from_array(np.ones((5, 5), np.float32), "square")
    graph = helper.make_graph([scan, *after], "g", given, outputs, [weight, square])
    return ir.serde.deserialize_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))


def test_the_body_of_a_scan_counts_once_for_each_step() -> None:
    inside, behind, each = 7 * 3 * 8 * 5, 3 * 5 * 5, 7 * 3 * 5 * 5
    assert count(scanned([0])) == Count({"float32": 2 * (inside + behind + each)}, ())
    assert count(scanned([1])).uncounted == ("Scan", "MatMul")


def choice(then: str, other: str) -> ir.Model:
    """An If whose branches answer by different operators, and a product behind it."""

    def branch(name: str, operator: str) -> ir.Graph:
        first = ir.node(operator, [x, x])
        inner = [first, ir.node("Relu", [first.outputs[0]])]
        for place, node in enumerate(inner):
            node.outputs[0].name, node.outputs[0].type = f"inner_{place}", floats  # the same names in both branches
        return ir.Graph([], [inner[1].outputs[0]], nodes=inner, name=name)

    floats = ir.TensorType(ir.DataType.FLOAT)
    x = ir.Value(name="x", type=floats, shape=ir.Shape(["rows", "rows"]))
    chosen = ir.Value(name="chosen", type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([]))
    either = ir.node(
        "If", [chosen], attributes={"then_branch": branch("then", then), "else_branch": branch("else", other)}
    )
    last = ir.node("MatMul", [either.outputs[0], x])
    last.outputs[0].name, last.outputs[0].type = "last", floats
    graph = ir.Graph([x, chosen], last.outputs, nodes=[either, last], opset_imports={"": 20})
    return ir.Model(graph, ir_version=9)


def test_of_an_if_the_branch_with_fewer_operations_counts() -> None:
    product = 2 * 5**3
    assert count(choice("MatMul", "MatMul"), rows=5).operations == {"float32": 2 * product}
    assert count(choice("MatMul", "Add"), rows=5).operations == {"float32": product}
    assert count(choice("Add", "MatMul"), rows=5).operations == {"float32": product}


def test_a_loop_with_products_is_named_and_one_without_has_none() -> None:
    assert count(loop("MatMul")) == Count({}, ("Loop",))
    assert count(loop("Add")) == Count({}, ())


@pytest.mark.parametrize("kind", ["NonZero", "mine::Blur"])
def test_a_product_whose_shape_depends_on_values_is_named(kind: str) -> None:
    make = Maker()
    x = make.given("x", FLOAT, "b", 8)
    domain, _, plain = kind.rpartition("::")
    make.nodes.append(ir.node(plain, [x], domain=domain))
    found = make.node("Cast", make.nodes[-1].outputs[0], to=FLOAT)
    model = make.model(y=make.node("MatMul", make.node("Transpose", found, perm=(1, 0)), found))
    assert count(model).uncounted == ("MatMul",)


def test_products_inside_a_function_of_the_file_are_counted() -> None:
    product = helper.make_node("MatMul", ["a", "a"], ["c"])
    opset = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Square", ["a"], ["c"], [product], opset[:1])
    given, found = (helper.make_tensor_value_info(name, FLOAT, ["b", "b"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Square", ["x"], ["y"], domain="own")], "g", [given], [found])
    model = helper.make_model(graph, opset_imports=opset, functions=[function])
    assert Products(model.SerializeToString()).count(SIZES) == Count({"float32": 2 * 27}, ())


def test_an_axis_without_a_size_is_an_error() -> None:
    with pytest.raises(KeyError, match="s"):
        count(layer(), b=3)


def test_numbers_of_float16_are_a_kind_of_their_own() -> None:
    make = Maker()
    half: Any = np.ones((8, 5), np.float16)
    model = make.model(y=make.node("MatMul", make.given("x", ir.DataType.FLOAT16, "b", 8), make.constant("w", half)))
    assert count(model) == Count({"float16": 2 * 3 * 8 * 5}, ())
