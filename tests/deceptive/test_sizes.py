"""Custom modules that branch on sizes: each is exact in its contract, or refused by the line that branches.

A module looks like any other at the sizes of its example and of the grid, and answers otherwise somewhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from modules import VOCABULARY, ids
from torch import Tensor, nn

import edgexf
from edgexf.bundle.signature import Signature
from edgexf.errors import EdgexfError, ExportWarning, InputError, VerificationError

Step = Callable[[Tensor, Tensor], Tensor]


class TwoTexts(nn.Module):
    """Tokens of two texts, each of its own length, and a step over both."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.step = step

    def forward(self, ids: Tensor, context: Tensor) -> Tensor:
        return self.step(self.embed(ids), self.embed(context).mean(1, keepdim=True).repeat(1, context.shape[1], 1))


class Branching(nn.Module):
    """An embedding, then a step over its vectors and the ids."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.step = step

    def forward(self, ids: Tensor) -> Tensor:
        return self.step(self.embed(ids), ids)


def signature(step: Step, folder: Path, examples: Any = None) -> Signature:
    found = edgexf.export(
        Branching(step).eval(), example_inputs=examples or (ids(4, 16),), output=folder / "bundle", explain=()
    ).manifest.signature
    assert found is not None
    return found


def a_batch_of_100(hidden: Tensor, ids: Tensor) -> Tensor:
    return hidden * 2 if ids.shape[0] == 100 else hidden


def many_values(hidden: Tensor, ids: Tensor) -> Tensor:
    return hidden * 2 if ids.numel() > 20000 else hidden


def even_and_1000(hidden: Tensor, ids: Tensor) -> Tensor:
    return hidden * 2 if ids.shape[1] % 2 == 0 and ids.shape[1] == 1000 else hidden


def beyond_300(hidden: Tensor, ids: Tensor) -> Tensor:
    return hidden * 2 if ids.shape[1] > 300 else hidden


def agrees_at_its_boundary(hidden: Tensor, ids: Tensor) -> Tensor:
    if ids.shape[1] >= 300:
        return hidden * (1.0 if ids.shape[1] < 400 else 2.0)
    return hidden


def a_single_row(hidden: Tensor, ids: Tensor) -> Tensor:
    return hidden * 2 if ids.shape[0] == 1 else hidden


def hidden_twice(hidden: Tensor, ids: Tensor) -> Tensor:
    length = ids.shape[1]
    if length % 2 == 0 and length % 3 == 0 and length == 600:
        return hidden * 2
    return hidden


def one_size_of_two_axes(hidden: Tensor, ids: Tensor) -> Tensor:
    return hidden * 2 if ids.shape[0] == 37 and ids.shape[1] == 211 else hidden


def a_single_row_of_211(hidden: Tensor, ids: Tensor) -> Tensor:
    return hidden * 2 if ids.shape[0] == 1 and ids.shape[1] == 211 else hidden


@pytest.mark.parametrize(
    ("step", "axis", "ends"),
    [
        (a_batch_of_100, "batch_size", (1, 99)),
        (many_values, "batch_size", (1, 4)),  # 4 x 4,096 tokens are the most below 20,000
        (even_and_1000, "sequence_length", (2, 999)),
        (beyond_300, "sequence_length", (2, 300)),
        (agrees_at_its_boundary, "sequence_length", (2, 399)),
        (a_single_row, "batch_size", (2, 65536)),
        (hidden_twice, "sequence_length", (2, 599)),
    ],
)
def test_the_contract_keeps_to_where_the_graph_is_the_module(
    step: Step, axis: str, ends: tuple[int, int], tmp_path: Path
) -> None:
    with pytest.warns(ExportWarning, match=f"keeps to fewer sizes than the module answers: {axis} from"):
        found = signature(step, tmp_path)
    assert (found.axis(axis).least, found.axis(axis).most) == ends
    assert len(found.narrowed) == 1
    if step is not a_single_row:  # torch traces no size of 1, so no line of the module asks
        assert re.search(r"test_sizes\.py:\d+ `", found.narrowed[0])
        assert step is many_values or "differs where" in found.narrowed[0]


def test_a_session_refuses_what_the_contract_leaves_out(tmp_path: Path) -> None:
    with pytest.warns(ExportWarning):
        signature(beyond_300, tmp_path)
    with edgexf.load(tmp_path / "bundle") as session:
        whole = session.run(ids=ids(2, 300).numpy())
        wanted = Branching(beyond_300).eval()(ids(2, 300)).detach().numpy()
        np.testing.assert_allclose(whole["logits"], wanted, rtol=1e-6)
        with pytest.raises(InputError, match="300"):
            session.run(ids=ids(2, 301).numpy())


def ten(hidden: Tensor, ids: Tensor) -> Tensor:
    return hidden * 2 if ids.shape[1] % 10 == 0 else hidden


def square(hidden: Tensor, ids: Tensor) -> Tensor:
    return hidden * 2 if ids.shape[0] == ids.shape[1] else hidden


def rounded(hidden: Tensor, ids: Tensor) -> Tensor:
    return hidden * int(ids.shape[1] * 0.5)


def at_the_example(hidden: Tensor, ids: Tensor) -> Tensor:
    return hidden * 2 if ids.shape[1] < 20 else hidden


OTHER_SHAPES = "dynamic_shapes"


@pytest.mark.parametrize(
    ("step", "remedy"),
    [
        (ten, OTHER_SHAPES),
        (square, OTHER_SHAPES),
        (rounded, r"math\.floor"),
        (at_the_example, OTHER_SHAPES),
        (one_size_of_two_axes, OTHER_SHAPES),
        (a_single_row_of_211, OTHER_SHAPES),
    ],
)
def test_where_too_little_would_be_left_the_line_is_named(step: Step, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(
        VerificationError, match=rf"since forward goes another way there, at test_sizes\.py:\d+ `.*{remedy}"
    ):
        signature(step, tmp_path)


def a_product(hidden: Tensor, context: Tensor) -> Tensor:
    return hidden * 2 if hidden.shape[1] * context.shape[1] == 91 else hidden + context[:, :1]


@pytest.mark.filterwarnings("ignore::edgexf.errors.ExportWarning")
def test_a_branch_on_a_product_is_found_between_the_lines(tmp_path: Path) -> None:
    """7 tokens beside 13, and 13 beside 7, are neither the ends of an axis nor its usual sizes."""
    with pytest.raises(VerificationError, match=r"length is (7|13), .*length is (13|7), since forward goes another"):
        edgexf.export(
            TwoTexts(a_product).eval(), example_inputs=(ids(3, 16), ids(3, 23)), output=tmp_path / "out", explain=()
        )


def padded_to_8(hidden: Tensor, ids: Tensor) -> Tensor:
    missing = -ids.shape[1] % 8
    if missing > 0:
        hidden = nn.functional.pad(hidden, (0, 0, 0, missing))
    return hidden.sum(1)


def in_two_parts(hidden: Tensor, ids: Tensor) -> Tensor:
    return torch.cat([hidden[:50], hidden[50:]]) * 1.0 if ids.shape[0] > 50 else hidden * 1.0


def by_parity(hidden: Tensor, ids: Tensor) -> Tensor:
    return hidden.flip(1).flip(1) if ids.shape[1] % 2 else hidden * 1.0


@pytest.mark.parametrize("step", [padded_to_8, in_two_parts, by_parity])
def test_a_branch_that_changes_no_answer_is_kept_and_called_sampled(step: Step, tmp_path: Path) -> None:
    found = signature(step, tmp_path)
    assert found.narrowed == ()
    assert [(axis.least, axis.most) for axis in found.axes] == [(1, 65536), (2, 4096)]
    assert len(found.sampled) == 1
    assert re.search(r"test_sizes\.py:\d+ `.*: 1\d sizes of [\d,]+ that the trace does not cover", found.sampled[0])
    assert "sampled: at test_sizes.py" in (tmp_path / "bundle" / "README.md").read_text()


def test_a_module_without_a_branch_has_nothing_to_say(tmp_path: Path) -> None:
    found = signature(lambda hidden, _: hidden.sum(1), tmp_path)
    assert (found.narrowed, found.sampled) == ((), ())


def test_an_answer_of_the_module_that_is_an_error_ends_the_contract(tmp_path: Path) -> None:
    def stops(hidden: Tensor, ids: Tensor) -> Tensor:
        if ids.shape[1] == 700:
            raise ValueError("no")
        return hidden

    with pytest.warns(ExportWarning, match=r"since the module fails \(ValueError: no\) where"):
        found = signature(stops, tmp_path)
    assert found.axis("sequence_length").most == 699


def test_an_answer_with_another_number_of_axes_is_a_sentence(tmp_path: Path) -> None:
    """`squeeze` takes the axis of a batch of one away."""
    with pytest.raises(EdgexfError, match=r"logits has the shape \[8\] where the file declares \['batch_size', 8\]"):
        signature(lambda hidden, _: hidden.sum(1).squeeze(), tmp_path)


def cut_off(hidden: Tensor, _: Tensor) -> Tensor:
    return hidden[:, : int(hidden.shape[1] * 0.3) + 1]


def test_a_size_that_int_makes_a_number_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"test_sizes\.py:\d+ `.*int\(.*; write math\.floor\(x\)"):
        signature(cut_off, tmp_path)
