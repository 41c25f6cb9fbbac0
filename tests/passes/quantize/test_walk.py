"""Weights in fewer bits, graph by graph: every use of a weight in a graph, compared with arithmetic in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from small_graphs import (
    CHANCE,
    FLOAT,
    INPUTS,
    INT,
    ROUNDING,
    SCHEMES,
    TABLE,
    WEIGHT,
    Maker,
    again,
    int8_of,
    layer,
    relative,
    rounded_inputs,
    rounding_of,
    run,
    stored,
)  # fmt: skip

from edgexf.passes.canonical_weights import canonical_weights
from edgexf.passes.digest import digest_of
from edgexf.passes.linear import GemmToMatMul
from edgexf.passes.quantize.blockwise import BLOCK, Blockwise
from edgexf.passes.quantize.int8 import Int8
from edgexf.passes.quantize.observe import observe
from edgexf.passes.quantize.walk import QuantizeWeights


@pytest.mark.parametrize("precise", [False, True])
def test_a_layer_computes_in_whole_numbers_and_its_reverse_pass_reads_the_same_weight(precise: bool) -> None:
    model, gradient = layer(), CHANCE.normal(size=(2, 7, 96)).astype(np.float32)
    walk = QuantizeWeights(Int8(precise=precise))
    walk(model)
    assert [(entry.products, entry.reads) for entry in walk.entries] == [(1, 1)]
    forward, reverse = run(model, x=INPUTS, y=gradient)
    step = np.abs(WEIGHT).max(axis=0) / 127
    weight = np.rint(WEIGHT / step) * step if precise else int8_of(WEIGHT, 1)
    assert relative(forward, rounded_inputs(INPUTS) @ weight) < ROUNDING
    assert relative(reverse, gradient @ weight.T) < ROUNDING
    assert stored(model) < 0.3 * WEIGHT.nbytes  # stored once for both uses


@pytest.mark.parametrize("name", [name for name, made in SCHEMES.items() if isinstance(made(), Blockwise)])
def test_blocks_of_four_bits_are_stored_once_for_both_directions(name: str) -> None:
    model, gradient = layer(), CHANCE.normal(size=(2, 7, 96)).astype(np.float32)
    scheme: Any = SCHEMES[name]()
    QuantizeWeights(scheme)(model)
    forward, reverse = run(model, x=INPUTS, y=gradient)
    (packed,) = scheme.packed.values()
    codes = (
        np.stack([packed.packed & 15, packed.packed >> 4], axis=-1).reshape(96, 64 // BLOCK, BLOCK).astype(np.float32)
    )
    weight = ((codes - 8) * packed.scales[..., None]).reshape(96, 64).T
    assert relative(forward, INPUTS @ weight) < ROUNDING
    assert relative(reverse, gradient @ weight.T) < ROUNDING
    assert relative(weight, WEIGHT) < 1 / 8  # at most half a step of the largest value of a block


@pytest.mark.parametrize("width", [352, 384])
def test_wide_layers_take_inputs_in_bytes_and_rows_stay_independent(width: int) -> None:
    """With one range for the whole batch, as in int8, an outlier in one row would spoil the other rows."""
    weight, make = CHANCE.normal(size=(width, width)).astype(np.float32), Maker()
    x = make.given("x", FLOAT, "b", "s", width)
    plain = make.model(y=make.node("MatMul", x, make.constant("w", weight)))
    model = again(plain)
    QuantizeWeights(Blockwise())(model)
    (product,) = (node for node in model.graph if node.op_type == "MatMulNBits")
    assert product.attributes.get_int("accuracy_level", 0) == (4 if width == 384 else 0)
    rows = CHANCE.normal(size=(2, 5, width)).astype(np.float32)
    rows[1] *= 1e4
    together, alone = run(model, x=rows)[0], run(model, x=rows[:1])[0]
    assert relative(together[:1], alone) < ROUNDING
    assert relative(alone, rows[:1] @ weight) < 1 / 8  # half a step of a block's largest value


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("kind", ["Gather", "GatherND", "Slice"])
def test_rows_of_a_table_have_a_scale_each(kind: str, name: str) -> None:
    """One scale for the whole table would make rows that are a thousand times smaller zero."""
    make, places = Maker(), np.array([[3, 0, 49], [7, 7, 1]])
    table = make.constant("table", TABLE)
    if kind == "Slice":
        count = make.given("n", INT, 1)
        found = make.node("Slice", table, make.constant("start", [0]), count, make.constant("axes", [0]))
        feeds, wanted = {"n": np.array([5])}, TABLE[:5]
    else:
        ids = make.given("ids", INT, "b", "s")
        chosen = make.node("Unsqueeze", ids, make.constant("last", [-1])) if kind == "GatherND" else ids
        found, feeds, wanted = make.node(kind, table, chosen), {"ids": places}, TABLE[places]
    model, scheme = make.model(rows=found), SCHEMES[name]()
    (walk := QuantizeWeights(scheme))(model)
    (answer,) = run(model, **feeds)
    sizes = np.abs(wanted).max(axis=-1)
    assert (np.abs(answer - wanted).max(axis=-1) <= (rounding_of(scheme) + ROUNDING) * sizes).all()
    assert walk.entries[0].rows + walk.entries[0].reads == 1


def test_the_first_rows_of_a_projection_are_multiplied_in_whole_numbers() -> None:
    """Linformer cuts the weight of a projection to the length of the input."""
    make = Maker()
    x, count = make.given("x", FLOAT, "b", "s", "n"), make.given("count", INT, 1)
    cut = make.node(
        "Slice", make.constant("projection", WEIGHT), make.constant("start", [0]), count, make.constant("axes", [0])
    )
    model, x_given = make.model(y=make.node("MatMul", x, cut)), INPUTS[..., :40].copy()
    QuantizeWeights(Int8())(model)
    assert "MatMulInteger" in {node.op_type for node in model.graph}
    (found,) = run(model, x=x_given, count=np.array([40]))
    assert relative(found, rounded_inputs(x_given) @ int8_of(WEIGHT, 1)[:40]) < ROUNDING


@pytest.mark.parametrize("name", SCHEMES)
def test_a_weight_that_is_repeated_for_each_sample_is_a_layer_too(name: str) -> None:
    """In 8 bits; blocks of 4 bits are unpacked, since their product takes one weight for all samples."""
    make = Maker()
    x, weight = make.given("x", FLOAT, 2, "s", 64), make.constant("weight", WEIGHT)
    repeated = make.node("Expand", weight, make.constant("shape", [2, 64, 96]))
    model, scheme = make.model(y=make.node("MatMul", x, repeated)), SCHEMES[name]()
    (walk := QuantizeWeights(scheme))(model)
    whole = isinstance(scheme, Int8)
    assert (walk.entries[0].products, walk.entries[0].reads) == ((1, 0) if whole else (0, 1))
    assert stored(model) < 0.4 * WEIGHT.nbytes
    assert relative(run(model, x=INPUTS)[0], INPUTS @ WEIGHT) < (0.03 if whole else 0.15)  # 8 and 4 bits


@pytest.mark.parametrize("name", SCHEMES)
def test_a_table_that_is_also_a_head_is_stored_once(name: str) -> None:
    """Tied embeddings: looked up by rows, and multiplied transposed."""
    make = Maker()
    table, ids, x = (
        make.constant("table", TABLE),
        make.given("ids", INT, "b", "s"),
        make.given("x", FLOAT, "b", "s", 64),
    )
    head = make.node("MatMul", x, make.node("Transpose", table, perm=(1, 0)))
    model = make.model(rows=make.node("Gather", table, ids), logits=head)
    walk = QuantizeWeights(SCHEMES[name]())
    walk(model)
    assert [(entry.products, entry.rows, entry.reads) for entry in walk.entries] == [(1, 1, 0)]
    rows, logits = run(model, ids=np.arange(50)[None], x=INPUTS)
    assert relative(logits, INPUTS @ rows[0].T) < 0.02  # activations in 8 bits
    assert relative(rows[0], TABLE) < 1 / 8


def test_masks_hash_projections_and_vectors_stay_with_a_reason() -> None:
    make = Maker()
    x = make.given("x", FLOAT, 1, 2, 64, 64)
    hashing = make.node("MatMul", x, make.constant("rotations", CHANCE.normal(size=(1, 2, 64, 8)).astype(np.float32)))
    mask = make.constant("mask", np.full((64, 64), -1e30, np.float32))
    chosen = make.node(
        "Slice", mask, make.constant("start", [0]), make.constant("end", [64]), make.constant("axes", [0])
    )
    model = make.model(hashed=hashing, added=make.node("Add", x, chosen))
    walk = QuantizeWeights(Int8())
    walk(model)
    reasons = {entry.name: entry.skipped for entry in walk.entries}
    assert "hash" in reasons["rotations"]
    assert "mask" in reasons["mask"]
    assert not {"MatMulInteger", "DequantizeLinear"} & {node.op_type for node in model.graph}


def test_what_is_kept_is_left_alone_and_says_why() -> None:
    model = layer()
    walk = QuantizeWeights(Int8(), keep={digest_of(WEIGHT): "was kept"})
    walk(model)
    assert walk.entries[0].skipped == "was kept"
    forward, _ = run(model, x=INPUTS, y=np.zeros((1, 1, 96), np.float32))
    assert relative(forward, INPUTS @ WEIGHT) < ROUNDING


def test_a_weight_that_only_a_later_graph_has_is_never_multiplied_in_whole_numbers() -> None:
    """Such a weight may belong to a reverse pass, and no single range fits the gradients there."""
    model = layer()
    (walk := QuantizeWeights(Int8(), first=False))(model)
    assert (walk.entries[0].products, walk.entries[0].reads) == (0, 2)


def test_tables_of_three_axes_are_left_alone() -> None:
    """A scale for each row would be used as a scale for each column.

    Besides, hash rotations are sliced and moved like such tables.
    """
    table = CHANCE.normal(size=(40, 4, 32)).astype(np.float32)
    make = Maker()
    ids, count, held = make.given("ids", INT, "s"), make.given("n", INT, 1), make.constant("table", table)
    cut = make.node("Slice", held, make.constant("start", [0]), count, make.constant("axes", [0]))
    model = make.model(rows=make.node("Gather", held, ids), cut=cut)
    walk = QuantizeWeights(Int8())
    walk(model)
    assert "hash" in walk.entries[0].skipped
    rows, first = run(model, ids=np.array([3, 39, 0]), n=np.array([6]))
    assert (rows == table[[3, 39, 0]]).all()
    assert (first == table[:6]).all()


def test_what_a_layer_multiplies_may_be_a_constant_and_names_may_be_taken() -> None:
    """Tests learned queries, and a model in which another constant has the name of the new scale."""
    make = Maker()
    weight, other = (
        make.constant("proj", WEIGHT),
        make.constant("proj_scale", CHANCE.normal(size=96).astype(np.float32)),
    )
    queries = make.constant("queries", INPUTS[0])
    x = make.given("x", FLOAT, "b", 7, 64)
    model = make.model(
        a=make.node("MatMul", queries, weight), b=make.node("Add", make.node("MatMul", x, weight), other)
    )
    scale = other.const_value.numpy()  # type: ignore[union-attr]
    observe(again(model), [{"x": INPUTS}])
    QuantizeWeights(Int8())(model)
    first, second = run(model, x=INPUTS)
    assert relative(first, INPUTS[0] @ WEIGHT) < 0.03  # activations in 8 bits
    assert relative(second, INPUTS @ WEIGHT + scale) < 0.03


def test_two_weights_of_one_name_in_two_graphs_stay_two() -> None:
    """In older bundles each graph numbers its constants separately."""
    scheme, other = Int8(), CHANCE.normal(size=(64, 96)).astype(np.float32)
    QuantizeWeights(scheme)(layer())
    make = Maker()
    x = make.given("x", FLOAT, "b", "s", 64)
    model = make.model(
        y=make.node("MatMul", x, make.constant("weight", other)),
        z=make.node("MatMul", x, make.constant("val_1", WEIGHT)),
    )
    QuantizeWeights(scheme)(model)
    first, second = run(model, x=INPUTS)
    assert relative(first, rounded_inputs(INPUTS) @ int8_of(other, 1)) < ROUNDING
    assert relative(second, rounded_inputs(INPUTS) @ int8_of(WEIGHT, 1)) < ROUNDING


def test_a_gemm_is_a_product_and_a_sum() -> None:
    make = Maker()
    x, bias = make.given("x", FLOAT, "s", 64), make.constant("bias", np.arange(96, dtype=np.float32))
    plain = make.node("Gemm", x, make.constant("w", WEIGHT), bias)
    turned = make.node("Gemm", x, make.constant("v", np.ascontiguousarray(WEIGHT.T)), bias, transB=1)
    scaled = make.node("Gemm", x, make.constant("u", WEIGHT), bias, alpha=2.0)
    model = make.model(plain=plain, turned=turned, scaled=scaled)
    GemmToMatMul()(model)
    assert [node.op_type for node in model.graph].count("Gemm") == 1
    product = INPUTS[0] @ WEIGHT
    for found, wanted in zip(run(model, x=INPUTS[0]), (product, product, 2 * product), strict=True):
        assert relative(found, wanted + np.arange(96)) < ROUNDING


def test_graphs_share_one_orientation_and_the_models_names() -> None:
    def one(name: str, array: np.ndarray, turned: bool) -> ir.Model:
        make = Maker()
        x, w = make.given("x", FLOAT, "s", 64), make.constant(name, array)
        return make.model(y=make.node("MatMul", x, make.node("Transpose", w, perm=(1, 0)) if turned else w))

    models = {"a": one("val_1", WEIGHT, False), "b": one("p_0", np.ascontiguousarray(WEIGHT.T), True)}
    canonical_weights(models, [("layer.weight", np.ascontiguousarray(WEIGHT.T))])
    for model in models.values():
        assert list(model.graph.initializers) == ["layer.weight"]
        assert model.graph.initializers["layer.weight"].const_value.numpy().shape == (64, 96)  # type: ignore[union-attr]
        assert [node.op_type for node in model.graph] == ["MatMul"]
        assert relative(run(model, x=INPUTS[0])[0], INPUTS[0] @ WEIGHT) < ROUNDING
