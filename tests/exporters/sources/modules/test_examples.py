"""The inputs that are drawn for a custom module: no special ids in a text, padding behind its end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from families import small
from modules import VOCABULARY, ids
from torch import Tensor, nn

import edgexf
from edgexf_exporters.sources.modules.module import from_module


class CountsRealIds(nn.Module):
    """Positions count the ids that are no padding, as in RoBERTa; the table has 12 rows, the first one for padding."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, 8, padding_idx=3)
        self.places = nn.Embedding(12, 8)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        places = (ids != 3).cumsum(1) * (ids != 3)
        return ((self.words(ids) + self.places(places)) * mask[..., None]).sum(1)


@pytest.mark.parametrize("family", ["XLMRoberta", "Camembert", "MPNet", "own"])
def test_the_longest_input_is_found_where_positions_count_ids_that_are_no_padding(family: str) -> None:
    """A padding id among the drawn ids takes no position, so a longer input than the longest seems to work."""
    model = CountsRealIds().eval() if family == "own" else small(family, "Model")
    given = (ids(2, 9, 50), torch.ones(2, 9, dtype=torch.long))
    source = from_module(
        model, given if family == "own" else dict(zip(("input_ids", "attention_mask"), given, strict=True))
    )
    assert source.limits.max_length == (11 if family == "own" else 128)


def test_drawn_texts_hold_no_special_id_and_padding_behind_their_end() -> None:
    source = from_module(CountsRealIds().eval(), (ids(2, 9), torch.ones(2, 9, dtype=torch.long)))
    assert source.module_inputs is not None
    found = source.module_inputs.draw(
        {"batch_size": 50, "sequence_length": 11}, 0, lambda row, length: 1 + row % length
    )
    assert (found["ids"] == 3).tolist() == (found["mask"] == 0).tolist()
    assert found["ids"].dtype == np.int64


class CutsATable(nn.Module):
    """Causal attention whose mask is a part of a table, as in GPT-Neo. The table is as long as the longest input."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, 8), nn.Embedding(24, 8)
        self.register_buffer("seen", torch.ones(1, 24, 24).tril())

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.words(ids) + self.places.weight[: ids.shape[1]]
        scores = hidden @ hidden.transpose(-1, -2)
        seen = self.seen[:, : scores.shape[-2], : scores.shape[-1]]
        return (scores * seen + -1e4 * (1 - seen)).softmax(-1) @ hidden


def test_a_table_of_the_longest_input_is_cut_at_every_length(tmp_path: Path) -> None:
    """An example of the longest input takes the whole table: torch then fixes the length."""
    bundle = edgexf.export(CutsATable().eval(), example_inputs=(ids(2, 9),), explain=(), output=tmp_path / "out")
    assert bundle.manifest.limits is not None
    assert bundle.manifest.limits.max_length == 24
