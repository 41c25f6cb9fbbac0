"""Sizes that follow from other sizes: formulas in the shapes of a manifest."""

from __future__ import annotations

import numpy as np
import pytest

from edgexf.bundle.formula import formula, known, size_of
from edgexf.bundle.golden import defined, output_difference
from edgexf.bundle.manifest import Tensor
from edgexf.bundle.signature import Axis, Signature, Within

SIZES = {"n": 11, "past": 4}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("n", 11),
        ("past + n", 15),
        ("2*n - 1", 21),
        ("n // 2", 5),
        ("(n + 4) // 5", 3),
        ("(2*n + past - 3) // 4", 5),
    ],
)
def test_a_formula_reads_and_writes_its_text_and_knows_its_size(text: str, size: int) -> None:
    assert str(formula(text)) == text
    assert size_of(text, SIZES) == size
    assert known(text, SIZES)
    assert not known("n + other", SIZES)
    assert formula(text).is_axis == (text == "n")


@pytest.mark.parametrize("text", ["a b", "n * m", "n // 0", "-n", "", "size 3"])
def test_any_other_text_is_a_name(text: str) -> None:
    assert formula(text).terms == ((text, 1),)


def test_the_sizes_of_axes_are_found_also_where_only_formulas_hold_them() -> None:
    signature = Signature((Axis("n", 1, 64, 1), Axis("past", 1, 64, 1)), {}, "")
    shapes = {"signs": ("2*n + 1",), "mask": ("n", "past + n")}
    assert signature.sizes(shapes, {"signs": (7,), "mask": (3, 8)}) == {"n": 3, "past": 5}
    assert signature.sizes({"signs": ("2*n + 1",)}, {"signs": (8,)}) == {}, "no n gives 8"


def test_a_range_must_belong_to_an_axis() -> None:
    with pytest.raises(ValueError, match="within must name an axis"):
        Signature((Axis("n", 1, 64, 1),), {}, "", {"lengths": Within("other", 1, 0)})


def test_what_the_model_leaves_undefined_is_left_out_and_nothing_else() -> None:
    output = Tensor("scores", "float32", ("batch_size", 3))
    wanted = np.array([[np.nan, -np.inf, 2.0]], dtype=np.float32)
    real = np.ones((1, 3), dtype=bool)
    assert output_difference(output, np.array([[7.0, -np.inf, 2.0]], dtype=np.float32), wanted, real) == 0
    for wrong in ([7.0, 1.0, 2.0], [7.0, np.inf, 2.0], [7.0, -np.inf, np.nan]):
        assert output_difference(output, np.array([wrong], dtype=np.float32), wanted, real) == np.inf
    assert output_difference(output, wanted, np.full_like(wanted, np.nan), real) == np.inf, "nothing would be compared"
    assert defined(wanted, wanted)[0].tolist() == [[0, 0, 2]]
