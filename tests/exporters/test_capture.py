"""The sizes of the examples with which a model is traced."""

from __future__ import annotations

from itertools import islice

import pytest

from edgexf.bundle.signature import Axis
from edgexf_exporters.capture import sizes_from


@pytest.mark.parametrize(
    ("axis", "first", "sizes"),
    [
        (Axis("tokens", 1, 512, 1), 61, [61, 67, 71]),
        (Axis("tokens", 4, 512, 4), 61, [68, 76, 92]),  # primes times the step
    ],
)
def test_primes_are_first(axis: Axis, first: int, sizes: list[int]) -> None:
    assert [*islice(sizes_from(first, axis), 3)] == sizes


def test_a_table_that_is_shorter_than_the_example_is_not_read_to_its_end() -> None:
    """With the whole of a table a model may leave its lookup out, so the largest size comes last among all allowed ones."""
    axis = Axis("tokens", 1, 64, 1)
    allowed = [size for size in sizes_from(97, axis) if axis.allows(size)]
    assert allowed[0] == 61
    assert allowed.index(64) > allowed.index(2)
    assert set(allowed) == {*range(1, 65)}
