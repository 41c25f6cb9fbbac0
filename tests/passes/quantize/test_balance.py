"""Inputs of integer layers: inputs that are balanced, and ranges that are fixed in advance."""

from __future__ import annotations

import numpy as np
import pytest
from small_graphs import CHANCE, FLOAT, INPUTS, ROUNDING, WEIGHT, Maker, again, int8_of, layer, relative, run

from edgexf.passes.digest import digest_of
from edgexf.passes.quantize.balance import ActivationSample, find_balance
from edgexf.passes.quantize.calibrate import METHODS, calibrate
from edgexf.passes.quantize.int8 import Int8
from edgexf.passes.quantize.observe import observe
from edgexf.passes.quantize.walk import QuantizeWeights
from edgexf.passes.quantize.weights import find


def outliers() -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs with three far larger channels, and a weight whose rows for these channels are small."""
    inputs, weight = CHANCE.normal(size=(40, 64)).astype(np.float32), WEIGHT.copy()
    inputs[:, [5, 9, 40]] *= np.array([100, 80, 60], np.float32)
    weight[[5, 9, 40]] *= 0.02
    return inputs, weight


def test_balancing_is_exact_but_for_rounding_and_pays_on_outliers() -> None:
    inputs, weight = outliers()
    make = Maker()
    x, y, w = make.given("x", FLOAT, "s", 64), make.given("y", FLOAT, "s", 96), make.constant("w", weight)
    model = make.model(
        forward=make.node("MatMul", x, w), reverse=make.node("MatMul", y, make.node("Transpose", w, perm=(1, 0)))
    )
    seen = observe(again(model), [{"x": inputs, "y": np.zeros((1, 96), np.float32)}])
    balanced, plain = (again(model) for _ in range(2))
    scheme = Int8(inputs=seen)
    QuantizeWeights(scheme)(balanced)
    QuantizeWeights(Int8())(plain)
    balance = next(iter(scheme.packed.values())).balance
    assert balance is not None
    errors = []
    for quantized in (balanced, plain):
        forward, reverse = run(quantized, x=inputs, y=np.eye(96, dtype=np.float32))
        assert relative(reverse, weight.T) < 0.02  # the product is the weight, to half a step of its largest value
        if quantized is balanced:
            assert (reverse[:, balance.rows] == weight.T[:, balance.rows]).all()
        errors.append(float(np.linalg.norm(forward - inputs @ weight)))
    assert errors[0] < 0.3 * errors[1]


def test_a_weight_that_is_multiplied_and_also_repeated_for_each_sample_is_balanced() -> None:
    """Longformer's global layers may share weights with the local layers. The inputs of both uses are observed."""
    inputs, weight = outliers()
    make = Maker()
    x, w = make.given("x", FLOAT, 1, "s", 64), make.constant("w", weight)
    repeated = make.node("Expand", w, make.constant("shape", [1, 64, 96]))
    scaled = make.node("Mul", x, make.constant("two", np.float32(2)))
    model = make.model(plain=make.node("MatMul", x, w), repeated=make.node("MatMul", scaled, repeated))
    seen = observe(again(model), [{"x": inputs[None]}])
    (found,) = seen.values()
    assert found.high == 2 * inputs.max()  # of the product with the repeated weight
    scheme = Int8(inputs=seen)
    (walk := QuantizeWeights(scheme))(model)
    assert walk.entries[0].products == 2
    assert next(iter(scheme.packed.values())).balance is not None
    for answer, scale in zip(run(model, x=inputs[None]), (1, 2), strict=True):
        assert relative(answer[0], scale * inputs @ weight) < 0.03  # 8 bits of weight and activations


def test_an_input_that_was_never_seen_may_come_later() -> None:
    """No text activated a unit behind a ReLU.

    The factor of this unit must not widen the range so much that all other inputs round to 0.
    """
    inputs, weight = outliers()
    inputs[:, 20] = 0
    make = Maker()
    model = make.model(y=make.node("MatMul", make.given("x", FLOAT, "s", 64), make.constant("w", weight)))
    scheme = Int8(inputs=observe(again(model), [{"x": inputs}]))
    QuantizeWeights(scheme)(model)
    assert next(iter(scheme.packed.values())).balance is not None
    later = inputs.copy()
    later[3, 20] = 1.0  # a value of the usual size
    assert relative(run(model, x=later)[0], later @ weight) < 0.03  # 8 bits of weight and activations


def test_even_inputs_are_not_balanced() -> None:
    rows = INPUTS.reshape(-1, 64)
    assert (
        find_balance(ActivationSample(rows, np.abs(rows).max(axis=0), float(rows.min()), float(rows.max())), WEIGHT)
        is None
    )


@pytest.mark.parametrize("method", METHODS)
def test_calibrated_ranges_hold_the_data(method: str) -> None:
    """minmax takes the extremes. The other methods stay within the extremes and cover most of the values."""
    model = layer()
    scheme = Int8()
    for weight in find(model.graph)[0]:
        scheme.pack(weight, 1)
    batches = [{"x": INPUTS * size, "y": np.zeros((1, 1, 96), np.float32)} for size in (1, 0.5, 2)]
    (low, high), *more = calibrate(model, scheme.packed, batches, method).values()
    extremes = 2 * INPUTS.min(), 2 * INPUTS.max()
    assert not more
    if method == "minmax":
        assert (low, high) == pytest.approx(extremes)
    else:
        bound = max(-extremes[0], extremes[1])
        assert -bound - ROUNDING <= low < -0.2 * bound
        assert 0.2 * bound < high <= bound + ROUNDING


def test_static_ranges_round_the_inputs_within_them() -> None:
    model, digest = layer(), digest_of(WEIGHT)
    scheme = Int8()
    scheme.pack(find(model.graph)[0][0], 1)
    scheme.calibrate({digest: (-2.0, 2.0)})
    QuantizeWeights(scheme)(model)
    forward, _ = run(model, x=INPUTS, y=np.zeros((1, 1, 96), np.float32))
    step = 4 / 255
    zero = np.float32(round(2 / step))
    inputs = (np.clip(np.rint(INPUTS / step) + zero, 0, 255) - zero) * step
    assert relative(forward, inputs @ int8_of(WEIGHT, 1)) < 2e-3  # a value half way between two steps may go up or down
    assert relative(forward, INPUTS @ WEIGHT) > 0.02  # values outside the range are clipped
