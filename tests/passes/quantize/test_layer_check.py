"""Each layer computes with its stored numbers, and the check detects every fault in a layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from shrunk import SHORT, snapshot
from small import wide_encoder
from small_graphs import CHANCE, FLOAT, INPUTS, INT, ROUNDING, TABLE, WEIGHT, Maker
from small_graphs import SCHEMES as BY_MODE

import edgexf
from edgexf.errors import RefusedError
from edgexf.passes.digest import digest_of
from edgexf.passes.quantize.balance import ActivationSample
from edgexf.passes.quantize.blockwise import Blocks, Blockwise
from edgexf.passes.quantize.int8 import Codes, Int8
from edgexf.passes.quantize.layer_check import Check, check
from edgexf.passes.quantize.walk import QuantizeWeights
from edgexf.passes.rewriter import Rewriter
from edgexf.passes.tidy import DropTraces
from edgexf.pipeline.quantize_bundle import quantize
from edgexf.report.html.quantization import quantization_page
from edgexf.report.quantization import EXACT, SLACK

OUTLIERS = INPUTS.copy()
OUTLIERS[..., 5] *= 300
WIDE = CHANCE.normal(size=(64, 384)).astype(np.float32), CHANCE.normal(size=(384, 384)).astype(np.float32)
IDS = np.array([[3, 49, 0, 7, 7, 1, 2]])


def model() -> ir.Model:
    """Makes a graph with several uses of weights.

    It has a table, a layer, a layer by a transposed weight, a layer by the first rows of a weight, and two wide layers.
    """
    make = Maker()
    x, ids = make.given("x", FLOAT, "b", "s", 64), make.given("ids", INT, "b", "s")
    rows = make.node("Gather", make.constant("table", TABLE), ids)
    hidden = make.node("MatMul", make.node("Add", x, rows), make.constant("weight", WEIGHT))
    turned = make.constant("turned", np.ascontiguousarray(0.5 * WEIGHT))  # [64, 96] as [outputs, inputs]
    back = make.node("MatMul", hidden, make.node("Transpose", turned, perm=(1, 0)))
    zero, one = make.constant("zero", np.array([0])), make.constant("one", np.array([1]))
    count = make.node("Slice", make.node("Shape", x), one, make.constant("two", np.array([2])), zero, one)
    first = make.node("Slice", make.constant("projection", WEIGHT[::-1].copy()), zero, count, zero, one)
    pooled = make.node("MatMul", make.node("Transpose", back, perm=(0, 2, 1)), first)
    wide = make.node("MatMul", make.node("MatMul", back, make.constant("up", WIDE[0])), make.constant("wide", WIDE[1]))
    return make.model(y=wide, z=pooled)


RANGES = {
    digest_of(WEIGHT): (-9e3, 9e3),
    digest_of(0.5 * WEIGHT): (-1e5, 1e5),
    digest_of(WIDE[0]): (-1e6, 1e6),
    digest_of(WIDE[1]): (-1e7, 1e7),
}
SEEN = {digest_of(WEIGHT): ActivationSample(OUTLIERS.reshape(-1, 64), np.abs(OUTLIERS).max((0, 1)), -900.0, 900.0)}
SCHEMES: dict[str, Callable[[], Any]] = {
    **BY_MODE,
    "precise": lambda: Int8(precise=True),
    "balanced": lambda: Int8(inputs=SEEN),
    "static": lambda: Int8(ranges=RANGES),
    "static, balanced": lambda: Int8(ranges=RANGES, inputs=SEEN, precise=True),
}
IN_BLOCKS = [name for name, made in BY_MODE.items() if isinstance(made(), Blockwise)]


def checks(scheme: Any, change: Callable[[Any], None] = lambda _: None) -> dict[str, Check]:
    """Returns the checks by the weights' names. `change` may break the scheme after the packing."""
    graph = model()
    names = {digest_of(array): name for name, array in (("table", TABLE), ("weight", WEIGHT), ("turned", 0.5 * WEIGHT), ("projection", WEIGHT[::-1]), ("up", WIDE[0]), ("wide", WIDE[1]))}  # fmt: skip
    QuantizeWeights(scheme)(model())  # packs
    change(scheme)
    walk = QuantizeWeights(scheme)
    walk(graph)
    DropTraces()(graph)
    return {
        names[digest]: found
        for digest, found in check(graph, walk.replaced, scheme, [{"x": OUTLIERS[:1], "ids": IDS}]).items()
    }


@pytest.mark.parametrize("name", SCHEMES)
def test_layers_and_lookups_compute_what_is_stored(name: str) -> None:
    """The error is within float32 sums in another order.

    For wide layers in 4 bits, it also covers an input half way between two steps.
    """
    scheme = SCHEMES[name]()
    found = checks(scheme)
    assert set(found) == {"table", "weight", "turned", "projection", "up", "wide"}
    assert (getattr(scheme.packed[digest_of(WEIGHT)], "balance", None) is not None) == ("balanced" in name)
    for one, result in found.items():
        unseen = ("static" in name or name in IN_BLOCKS) and one == "projection"  # which is read there, rows and all
        assert (result.error is None) == unseen, one
        assert result.error is None or result.error < (1e-5 if one != "wide" else EXACT), one
        assert 0.5 < result.apart <= SLACK, one


def rolled(codes: Any) -> Any:
    """Returns codes in which each scale is the scale of its neighbour."""
    return (
        replace(codes, scales=np.roll(codes.scales, 1, axis=0))
        if isinstance(codes, Blocks)
        else replace(codes, scale=np.roll(codes.scale, 1))
    )


@pytest.mark.parametrize("name", SCHEMES)
def test_numbers_of_another_scale_are_seen(name: str) -> None:
    def change(scheme: Any) -> None:
        scheme.packed = {digest: rolled(codes) for digest, codes in scheme.packed.items()}

    assert all(result.apart > 2 for result in checks(SCHEMES[name](), change).values())


def test_rows_that_stay_in_float32_are_the_weights_own() -> None:
    """A balanced layer multiplies its largest inputs by the float32 rows."""

    def change(scheme: Any) -> None:
        codes = scheme.packed[digest_of(WEIGHT)]
        scheme.packed[digest_of(WEIGHT)] = replace(codes, kept=np.zeros_like(codes.kept))

    assert checks(SCHEMES["balanced"](), change)["weight"].apart > SLACK


def alone(scheme: Any, weight: np.ndarray[Any, Any], given: np.ndarray[Any, Any], cut: bool = False) -> Check:
    """Checks one layer that multiplies by a whole weight, or with `cut` by its first rows."""
    make = Maker()
    x, right = make.given("x", FLOAT, "s", given.shape[-1]), make.constant("w", weight)
    if cut:
        zero, one, two = (make.constant(str(number), np.array([number])) for number in (0, 1, 2))
        right = make.node("Slice", right, zero, make.node("Slice", make.node("Shape", x), one, two), zero, one)
    graph = make.model(y=make.node("MatMul", x, right))
    walk = QuantizeWeights(scheme)
    walk(graph)
    DropTraces()(graph)
    (found,) = check(graph, walk.replaced, scheme, [{"x": given}]).values()
    return found


@pytest.mark.parametrize("tokens", [9, 64])
def test_the_first_rows_of_a_wide_projection_take_no_rounded_input(tokens: int) -> None:
    """In 4 bits, the rows are unpacked and multiplied in float32 at every width."""
    weight = CHANCE.normal(size=(130, 384)).astype(np.float32)
    found = alone(Blockwise(), weight, CHANCE.normal(size=(5, tokens)).astype(np.float32), cut=True)
    assert found.error is not None
    assert found.error < ROUNDING


@pytest.mark.parametrize("name", BY_MODE)
def test_a_column_that_is_nearly_nothing_is_no_fault(name: str) -> None:
    """The codes of such a column may have any value, because the column is below every rounding error."""
    weight = WIDE[1].copy()
    weight[:, 7] = 1e-38 * CHANCE.normal(size=384)
    found = alone(SCHEMES[name](), weight, CHANCE.normal(size=(5, 384)).astype(np.float32))
    assert found.apart <= SLACK
    assert found.error is not None
    assert found.error < EXACT


@pytest.mark.parametrize("name", BY_MODE)
def test_inputs_of_a_few_sizes_are_no_fault(name: str) -> None:
    """Half of such inputs lie half way between two steps, so they show how a kernel divides."""
    for size in CHANCE.uniform(0.1, 3, size=8).astype(np.float32):
        given = size * CHANCE.integers(0, 3, size=(5, 384)).astype(np.float32)
        found = alone(SCHEMES[name](), WIDE[1], given)
        assert found.error is not None
        assert found.error < EXACT


def without_the_factor(
    self: Int8, graph: Rewriter, left: Any, packed: Codes, use: Any, right: Any = Int8.dynamic
) -> Any:
    return graph.node("Mul", right(self, graph, left, packed, use), graph.constant("wrong", np.float32(1.01)))


def of_other_zeros(self: Int8, graph: Rewriter, left: Any, packed: Codes, use: Any, right: Any = Int8.static) -> Any:
    low, high = packed.range or (0.0, 0.0)
    return right(self, graph, left, replace(packed, range=(low, high * 1.01)), use)


def of_other_rows(self: Any, graph: Rewriter, packed: Any, node: ir.Node, right: Any) -> Any:
    first = graph.node("Min", node.inputs[1], graph.constant("most", np.array(48)))
    return right(self, graph, packed, ir.node("Gather", [node.inputs[0], first]))


@pytest.mark.parametrize(
    ("name", "owner", "method", "wrong", "weights"),
    [
        ("int8", Int8, "dynamic", without_the_factor, {"weight", "turned", "projection", "up", "wide"}),
        ("balanced", Int8, "dynamic", without_the_factor, {"weight", "turned", "projection", "up", "wide"}),
        ("static", Int8, "static", of_other_zeros, {"weight", "turned", "up", "wide"}),
        ("int8", Int8, "rows", lambda *given, right=Int8.rows: of_other_rows(*given, right=right), {"table"}),
        *((name, Blockwise, "rows", lambda *given, right=Blockwise.rows: of_other_rows(*given, right=right), {"table"}) for name in IN_BLOCKS),
    ],
)  # fmt: skip
def test_a_kernel_that_is_called_wrongly_is_seen(
    name: str, owner: type, method: str, wrong: Any, weights: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault is a factor of 1.01, or a wrong row."""
    scheme = SCHEMES[name]()
    monkeypatch.setattr(owner, method, wrong)
    found = checks(scheme)
    assert {one for one, result in found.items() if result.error is not None and result.error > EXACT} == weights


def test_a_broken_layer_never_becomes_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer is refused even if the outputs of the whole graph stay within the mode's tolerance."""
    folder = tmp_path / "work" / "bundle"
    edgexf.export(wide_encoder("linformer"), explain=(), output=folder)
    before = snapshot(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Int8, "dynamic", without_the_factor)
        with pytest.raises(RefusedError, match="computes otherwise than its stored numbers say") as caught:
            quantize(folder, "int8", lengths=SHORT)
    (outcome,) = caught.value.outcomes
    assert outcome.worst < outcome.tolerance
    assert {f"{layer.error:.0e}" for layer in outcome.layers if layer.products} == {"1e-02"}
    assert "<td>1e-02</td>" in quantization_page("bundle", caught.value.outcomes)
    assert snapshot(folder) == before
    packed = Int8.packed_anew
    monkeypatch.setattr(Int8, "packed_anew", lambda self, weight, axis: rolled(packed(self, weight, axis)))
    with pytest.raises(RefusedError, match="times as far from its weight"):
        quantize(folder, "int8", lengths=SHORT)
