"""Weights of three axes are stored as matrices, unless a choice behind them may turn on their signs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from small_graphs import CHANCE, FLOAT, ROUNDING, Maker, relative, run

from edgexf.passes.quantize.flatten import FlattenWeights
from edgexf.passes.quantize.int8 import Int8
from edgexf.passes.quantize.walk import QuantizeWeights

HEADS = CHANCE.normal(size=(2, 64, 32)).astype(np.float32)
GIVEN = CHANCE.normal(size=(2, 5, 64)).astype(np.float32)


def product(choice: str = "") -> ir.Model:
    """x [2, 5, 64] times a weight of three axes, and behind it the operator `choice`."""
    make = Maker()
    found = make.node("MatMul", make.given("x", FLOAT, 2, 5, 64), make.constant("heads", HEADS))
    if choice:
        chosen = make.node(choice, found, found) if choice == "Greater" else make.node(choice, found)
        found = make.node("Add", found, make.node("Cast", chosen, to=FLOAT))
    return make.model(y=found)


def test_a_weight_of_many_axes_is_quantized_as_a_matrix() -> None:
    model = product()
    assert FlattenWeights()(model).modified
    (exact,) = run(model, x=GIVEN)
    assert relative(exact, GIVEN @ HEADS) < ROUNDING
    walk = QuantizeWeights(Int8())
    walk(model)
    (entry,) = walk.entries
    assert (entry.shape, entry.reads, entry.skipped) == ((128, 32), 1, "")
    (rounded,) = run(model, x=GIVEN)
    assert 0 < relative(rounded, GIVEN @ HEADS) < 0.02


@pytest.mark.parametrize("choice", ["ArgMax", "Sign", "Greater", "Floor"])
def test_a_weight_before_a_choice_is_left_alone(choice: str) -> None:
    assert not FlattenWeights()(product(choice)).modified


def test_an_explain_graph_flattens_what_the_predict_graph_does() -> None:
    """It chooses the predicted class behind every weight, which is no reason there."""
    flat: set[bytes] = set()
    FlattenWeights(flat)(product())
    assert FlattenWeights(flat, first=False)(product("ArgMax")).modified
    assert not FlattenWeights(set(), first=False)(product()).modified
