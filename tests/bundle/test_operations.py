"""Formulas of operations: what they say, what they are made from, and what is thrown away."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from edgexf.bundle.fitted import fitted
from edgexf.bundle.operations import Operations, Part, Region
from edgexf.errors import BundleError

BATCH = {"batch_size": (1, 1 << 16, 1)}
BLOCKS = Region({**BATCH, "sequence_length": (2, 4097, 1)}, ("batch_size", "(sequence_length + 63) // 64"))
PLAIN = Region(BLOCKS.sizes, ("batch_size", "sequence_length"))


def in_blocks(sizes: Mapping[str, int]) -> dict[str, int]:
    """Attention within blocks, a product of constants for each block, and a classifier, written out."""
    batch, blocks = sizes["batch_size"], -(-sizes["sequence_length"] // 64)
    return {"int8": 12_582_912 * batch * blocks, "float32": 7 * batch * blocks**2 + 5 * blocks + 40 * batch + 3}


def test_a_formula_gives_the_count_at_every_length_and_batch() -> None:
    found = fitted(in_blocks, [BLOCKS])
    assert found is not None
    for length in range(2, 4098):
        sizes = {"batch_size": 1 + length % 9, "sequence_length": length}
        assert found.at(sizes) == in_blocks(sizes)
    assert found.parts[0].terms["int8"] == ((12_582_912, 1, 1),)


def in_slices(sizes: Mapping[str, int]) -> dict[str, int]:
    """Linear layers over whole blocks, and full attention of slices of 256 queries with all blocks."""
    batch, blocks, slices = sizes["batch_size"], -(-sizes["sequence_length"] // 64), -(-sizes["sequence_length"] // 256)
    return {"float32": batch * (9 * blocks + 5 * blocks * slices)}


def test_a_formula_may_have_several_factors_of_one_axis() -> None:
    sliced = "(sequence_length + 255) // 256"
    found = fitted(in_slices, [Region(BLOCKS.sizes, (*BLOCKS.factors, sliced))])
    assert found is not None
    assert found.parts[0].terms == {"float32": ((9, 1, 1, 0), (5, 1, 1, 1))}
    assert all(found.at(sizes) == in_slices(sizes) for length in range(2, 4098, 7)
               for sizes in [{"batch_size": 3, "sequence_length": length}])  # fmt: skip
    assert fitted(in_slices, [BLOCKS]) is None


@pytest.mark.parametrize("size", [32, 63, 65, 128])
def test_a_formula_with_blocks_of_another_size_is_thrown_away(size: int) -> None:
    other = Region(BLOCKS.sizes, ("batch_size", f"(sequence_length + {size - 1}) // {size}"))
    assert fitted(in_blocks, [other]) is None


def test_blocks_that_begin_a_token_later_are_another_formula() -> None:
    assert fitted(in_blocks, [Region(BLOCKS.sizes, ("batch_size", "(sequence_length + 64) // 64"))]) is None
    assert fitted(in_blocks, [PLAIN]) is None


@pytest.mark.parametrize(
    "count",
    [
        lambda sizes: {"float32": sizes["sequence_length"] ** 3},
        lambda sizes: {"float32": sizes["batch_size"] ** 2},
        lambda sizes: {"float32": sizes["sequence_length"] // 2},
        lambda sizes: {"float32": min(sizes["sequence_length"], 4096)},
        lambda sizes: {"float32": 1, **({"int8": 1} if sizes["sequence_length"] == 4096 else {})},
        lambda _: None,
    ],
)
def test_counts_that_are_no_polynomial_of_the_factors_have_no_formula(count: Any) -> None:
    assert fitted(count, [PLAIN]) is None


def test_a_model_that_computes_in_another_way_up_to_a_length_has_two_parts() -> None:
    def count(sizes: Mapping[str, int]) -> dict[str, int]:
        length = sizes["sequence_length"]
        return {"float32": 2 * (-(-length // 2)) ** 2 if length <= 128 else 9 * -(-length // 64)}

    short, long = {"sequence_length": (2, 128, 1)}, {"sequence_length": (129, 4097, 1)}
    found = fitted(count, [Region(short, ("(sequence_length + 1) // 2",)), Region(long, (BLOCKS.factors[1],))])
    assert found is not None
    for length in (2, 3, 127, 128, 129, 192, 193, 4097):
        assert found.at({"sequence_length": length}) == count({"sequence_length": length})
    assert found.at({"sequence_length": 1}) is None


def test_a_formula_says_nothing_of_sizes_that_it_was_not_made_for() -> None:
    found = fitted(lambda sizes: {"float32": sizes["time"]}, [Region({"time": (4, 40, 4)}, ("time",))])
    assert found is not None
    assert found.at({"time": 8}) == {"float32": 8}
    assert [found.at(sizes) for sizes in ({"time": 9}, {"time": 44}, {})] == [None, None, None]


def test_an_axis_of_a_single_size_or_two_has_a_formula_too() -> None:
    for most in (17, 18):
        region = Region({"sequence_length": (17, most, 1)}, ("sequence_length",))
        found = fitted(lambda sizes: {"float32": sizes["sequence_length"] ** 3}, [region])
        assert found is not None
        assert [found.at({"sequence_length": size}) for size in range(17, most + 1)] == [
            {"float32": size**3} for size in range(17, most + 1)
        ]


def test_counts_beyond_what_a_run_could_need_do_not_stop_an_export() -> None:
    found = fitted(lambda sizes: {"float32": 2**60 * sizes["batch_size"]}, [Region(BATCH, ("batch_size",))])
    assert found is not None
    assert found.at({"batch_size": 7}) == {"float32": 7 * 2**60}


def test_operations_are_read_as_they_were_written() -> None:
    found = fitted(in_blocks, [BLOCKS])
    assert found is not None
    assert Operations.from_list(json.loads(json.dumps(found.to_list()))) == found


PART: dict[str, Any] = {"sizes": {"n": [1, 9, 1]}, "factors": ["n"], "terms": {"float32": [[2, 1]]}}


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": {"n": [9, 1, 1]}},
        {"sizes": {"n": [1, 9]}},
        {"sizes": {"n": [1, 2**80, 1]}},
        {"sizes": {"n": [True, 9, 1]}},
        {"sizes": []},
        {"factors": ["m"]},
        {"factors": ["(n + 1) // 0"]},
        {"factors": [3]},
        {"factors": ["(n + 1) // " + "9" * 5000]},
        {"terms": {"float32": [[2]]}},
        {"terms": {"float32": [[2, 1, 1]]}},
        {"terms": {"float32": [[2.0, 1]]}},
        {"terms": {"float32": [[2**63, 1]]}},
        {"terms": {"float32": [[2, 10**9]]}},
        {"terms": {"float32": [[2, -1]]}},
        {"terms": {"float32": [[2, 1]] * 5000}},
        {"terms": {"float32": 2}},
        {"more": 1},
    ],
)
def test_what_is_no_formula_is_refused(change: dict[str, Any]) -> None:
    assert Operations.from_list([PART]).at({"n": 3}) == {"float32": 6}
    with pytest.raises((ValueError, TypeError, AttributeError)):
        Operations.from_list([{**PART, **change}])


@pytest.mark.parametrize("terms", [((-1, 1),), ((2**62, 4),)])
def test_operations_that_no_graph_has_are_an_error(terms: tuple[tuple[int, ...], ...]) -> None:
    part = Part(Region({"n": (1, 9, 1)}, ("n",)), {"float32": terms})
    with pytest.raises(BundleError, match=r"^operations of a graph must be at least 0, in 63 bits, got .* export the"):
        part.at({"n": 9})
