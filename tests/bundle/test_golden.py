"""Comparisons of two outputs: an output that is not finite must not pass."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgexf.bundle.golden import output_difference, relative_difference, residual_difference
from edgexf.bundle.manifest import Tensor
from edgexf_exporters.verify.compare import GridResult, Row
from edgexf_runtimes.measure.golden import GoldenRow


def test_a_difference_is_relative_to_the_largest_reference() -> None:
    assert relative_difference(np.float32([1.0, -3.9]), np.float32([1.0, -4.0])) == pytest.approx(0.025)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_infinitely_wrong(value: float) -> None:
    wanted, broken = np.float32([1.0, 2.0]), np.float32([1.0, value])
    assert relative_difference(broken, wanted) == relative_difference(wanted, broken) == math.inf


def test_a_reference_of_zeros_is_no_division_by_zero() -> None:
    zeros = np.zeros(3, dtype=np.float32)
    assert relative_difference(zeros, zeros) == 0
    assert relative_difference(zeros + 1e-3, zeros) > 1


def test_arrays_of_different_shapes_never_agree() -> None:
    """Such arrays would broadcast, but a graph that collapses the batch must not pass."""
    one, three = np.ones((1, 20), dtype=np.float32), np.ones((3, 20), dtype=np.float32)
    assert relative_difference(one, three) == relative_difference(three, one) == math.inf
    assert relative_difference(np.float32(1.0), three) == math.inf
    assert residual_difference(np.ones(1), np.ones(3), three) == math.inf


def test_a_residual_is_measured_against_what_it_is_left_of() -> None:
    relevance = np.float32([[60.0, -39.0]])
    assert residual_difference(np.float32([1.1]), np.float32([1.0]), relevance) == pytest.approx(0.001, rel=1e-5)


def test_only_real_tokens_are_compared_but_padding_must_be_finite() -> None:
    output = Tensor("logits", "float32", ("batch_size", "sequence_length", 3))
    wanted = np.ones((2, 4, 3), dtype=np.float32)
    real = np.arange(4) < np.array([[4], [2]])
    found = wanted.copy()
    found[1, 2:] = 7
    assert output_difference(output, found, wanted, real) == 0
    found[1, 1] = 2
    assert output_difference(output, found, wanted, real) == 1
    found[1, 1], found[1, 3] = 1, np.nan
    assert output_difference(output, found, wanted, real) == math.inf
    assert output_difference(output, wanted[:1], wanted, real) == math.inf
    assert output_difference(Tensor("logits", "float32", ("batch_size", 3)), wanted[:, 0] * 2, wanted[:, 0], real) == 1


def test_padding_is_no_scale_for_what_is_real() -> None:
    """A single real logit near 0 gives no scale either. In this case the median of all logits is the scale."""
    output = Tensor("start_logits", "float32", ("batch_size", "sequence_length"))
    real = np.array([[True, False, False, False]])
    wanted = np.float32([[1.0, 9e4, 3.0, 2.0]])
    assert output_difference(output, wanted * [[1.5, 1, 1, 1]], wanted, real) == pytest.approx(0.5 / 2.5)
    near = np.float32([[1e-6, 3.0, -2.0, 2.0]])
    assert output_difference(output, near + np.float32(1e-6), near, real) < 1e-6


def test_logits_that_are_barred_are_compared_among_themselves() -> None:
    """A library subtracts 1e6 from barred logits. They give no scale for the others, and both outputs must bar them."""
    output = Tensor("start_logits", "float32", ("batch_size", "sequence_length"))
    real = np.ones((1, 3), dtype=bool)
    wanted = np.float32([[1.0, -1e6, 2.0]])
    assert output_difference(output, wanted, wanted, real) == 0
    assert output_difference(output, np.float32([[1.5, -1e6, 2.0]]), wanted, real) == 0.25
    assert output_difference(output, np.float32([[1.0, -2e5, 2.0]]), wanted, real) == pytest.approx(0.8)
    assert output_difference(output, np.float32([[1.0, -5.0, 2.0]]), wanted, real) == math.inf
    assert output_difference(output, np.float32([[-1e6, -1e6, 2.0]]), wanted, real) == math.inf


@pytest.mark.parametrize(("logits", "relevance"), [(math.inf, 0.0), (0.0, math.inf), (2e-4, None), (0.0, 2e-4)])
def test_a_row_outside_the_tolerance_fails(logits: float, relevance: float | None) -> None:
    result = GridResult("quick", 1e-4, [Row(2, 1, "none", 0.0, 0.0), Row(64, 3, "one", logits, relevance)])
    assert len(result.failures) == 1
    assert "length 64, batch 3, mask one" in result.failures[0]
    assert GoldenRow("cell", logits, relevance).worst > 1e-4


def test_a_failed_check_is_a_failure() -> None:
    result = GridResult(
        "quick", 1e-4, [Row(2, 1, "none", 1e-5, None)], {"two runs are bit-equal": "logits differs between two runs"}
    )
    assert result.failures == ["two runs are bit-equal: logits differs between two runs"]
