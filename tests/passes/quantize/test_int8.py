"""Codes in 8 bits whose products no processor saturates, and tables with the finer scale."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from small_graphs import CHANCE, FLOAT, INT, ROUNDING, TABLE, WEIGHT, Maker, int8_of, relative, rounded_inputs, run

from edgexf.passes.quantize.int8 import Int8, quantized
from edgexf.passes.quantize.walk import QuantizeWeights

MOST = 2**15 - 1  # of a sum in 16 bits
LAYERS = {
    "by chance": WEIGHT,
    "of one size": np.full((64, 8), -0.3, np.float32),
    "with two large neighbours": np.where(np.arange(64)[:, None] // 2 == 7, 5.0, WEIGHT[:, :8]).astype(np.float32),
    "an odd number of inputs": WEIGHT[:63],
    "a single input": WEIGHT[:1],
    "nothing": np.zeros((4, 8), np.float32),
}


def in_pairs(codes: npt.NDArray[np.int8], first: int) -> npt.NDArray[np.int64]:
    """The largest sums of two products of neighbouring inputs with unsigned bytes, from input `first` on."""
    wide = np.abs(codes.astype(np.int64))[first:]
    even = wide[: len(wide) // 2 * 2].reshape(-1, 2, wide.shape[1])
    return 255 * even.sum(axis=1)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("axis", [0, 1])
def test_two_products_of_neighbouring_inputs_fit_into_16_bits(name: str, axis: int) -> None:
    array = LAYERS[name]
    codes, scale = quantized(array if axis == 1 else array.T, axis, multiplied=True)
    codes = codes if axis == 1 else codes.T
    for first in (0, 1):  # a kernel pairs the inputs from its first one on
        assert (in_pairs(codes, first) <= MOST).all()
    assert np.abs(codes * scale - array).max() <= 0.5 * scale.max() * (1 + ROUNDING)
    assert len(array) < 2 or not array.any() or in_pairs(codes, 0).max() > 255 * 90  # the bits are used


@pytest.mark.parametrize("rows", [1, 3, 16])
@pytest.mark.parametrize("inputs", [1, 2, 63, 64, 1027])
@pytest.mark.parametrize("pattern", [(64, 64), (127, 1), (1, 127), (-127, -1), (127, 0, 0, 127), (0, 127, 1, 100)])
def test_no_kernel_here_saturates_where_neighbours_sum_to_128(pattern: tuple[int, ...], inputs: int, rows: int) -> None:
    """A kernel that added other inputs than neighbours in 16 bits would."""
    weight = np.resize(np.array(pattern, np.int8), inputs)[:, None] * np.ones((1, 24), np.int8)
    make = Maker()
    x = make.given("x", ir.DataType.UINT8, "b", inputs)
    product = make.node("MatMulInteger", x, make.constant("w", weight))
    model = make.model(y=make.node("Cast", product, to=FLOAT))
    (found,) = run(model, x=np.full((rows, inputs), 255, np.uint8))
    assert np.array_equal(found, np.full((rows, 24), 255 * int(weight[:, 0].astype(int).sum()), np.float32))


def test_a_table_has_a_scale_of_its_largest_number() -> None:
    make = Maker()
    ids = make.given("ids", INT, "n")
    model = make.model(rows=make.node("Gather", make.constant("table", TABLE), ids))
    QuantizeWeights(scheme := Int8())(model)
    (packed,) = scheme.packed.values()
    assert np.array_equal(np.abs(packed.codes).max(axis=1), np.full(50, 127))


def test_a_table_that_another_graph_multiplies_by_is_read_whole_there() -> None:
    """Its codes were made for lookups, so products of neighbouring inputs might saturate."""
    lookups, products = Maker(), Maker()
    ids = lookups.given("ids", INT, "n")
    table = lookups.model(rows=lookups.node("Gather", lookups.constant("w", WEIGHT), ids))
    x = products.given("x", FLOAT, "n", 64)
    layer = products.model(y=products.node("MatMul", x, products.constant("w", WEIGHT)))
    walk = QuantizeWeights(Int8())
    walk(table)
    walk(layer)
    assert [(entry.products, entry.reads) for entry in walk.entries] == [(0, 1)]
    given = CHANCE.normal(size=(5, 64)).astype(np.float32)
    (found,) = run(layer, x=given)
    assert relative(found, given @ WEIGHT) < 0.01
    assert "MatMulInteger" not in {node.op_type for node in layer.graph}


def test_a_table_that_is_also_a_head_has_the_scale_of_a_layer() -> None:
    """Its rows have a scale each for lookups and for the head, which multiplies by the transposed table."""
    make = Maker()
    ids, x = make.given("ids", INT, "n"), make.given("x", FLOAT, "n", 96)
    table = make.constant("w", WEIGHT)
    head = make.node("MatMul", x, make.node("Transpose", table, perm=(1, 0)))
    model = make.model(y=head, rows=make.node("Gather", table, ids))
    walk = QuantizeWeights(scheme := Int8())
    walk(model)
    (packed,) = scheme.packed.values()
    assert (walk.entries[0].products, walk.entries[0].rows, packed.axis) == (1, 1, 0)
    assert in_pairs(packed.codes.T, 0).max() <= MOST


def test_a_product_along_the_other_axis_than_lookups_leaves_the_table_its_scale() -> None:
    make = Maker()
    ids, x = make.given("ids", INT, "n"), make.given("x", FLOAT, "n", 64)
    table = make.constant("w", WEIGHT)
    model = make.model(y=make.node("MatMul", x, table), rows=make.node("Gather", table, ids))
    walk = QuantizeWeights(scheme := Int8())
    walk(model)
    (packed,) = scheme.packed.values()
    assert (walk.entries[0].products, walk.entries[0].rows, walk.entries[0].reads) == (0, 1, 1)
    assert np.array_equal(np.abs(packed.codes).max(axis=1), np.full(64, 127))


def test_products_are_those_of_the_formula() -> None:
    make = Maker()
    x = make.given("x", FLOAT, "n", 64)
    model = make.model(y=make.node("MatMul", x, make.constant("w", WEIGHT)))
    QuantizeWeights(Int8())(model)
    given = CHANCE.normal(size=(9, 64)).astype(np.float32)
    assert relative(run(model, x=given)[0], rounded_inputs(given) @ int8_of(WEIGHT, 1)) < ROUNDING
