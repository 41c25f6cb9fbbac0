"""Which embedding looks up which ids, where ``forward`` of an embedding is given something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import edgexf
from edgexf import names
from edgexf_exporters.sources.modules.lookups import Lookups
from edgexf_exporters.verify.grid import name_tied_choices


class Places(nn.Embedding):
    """Reads the places that a mask counts, as OPT's positions do."""

    def forward(self, mask: Tensor) -> Tensor:
        return super().forward(mask.cumsum(1) - 1)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, 4), Places(9, 4)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = self.words(ids) + self.places(mask) + self.words(input=ids)
        return found


def test_a_lookup_is_that_of_ids_and_not_what_forward_is_given() -> None:
    model, ids, mask = Model(), torch.arange(8).reshape(2, 4) + 5, torch.ones(2, 4, dtype=torch.long)
    with Lookups(model) as lookups:
        model(ids, mask)
    readers = [reader for reader, _ in lookups.seen]
    assert readers == [model.words, model.places, model.words]
    assert lookups.seen[0][1] is ids
    assert torch.equal(lookups.seen[1][1], torch.arange(4).expand(2, 4))
    assert not model.words._forward_hooks


class Choices(nn.Module):
    """Scores each choice of a row by the mean of its tokens; the library's multiple choice joins rows and choices so."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(50, 6), nn.Linear(6, 1)

    def forward(self, input_ids: Tensor) -> Tensor:
        rows = input_ids.view(-1, input_ids.shape[-1])
        scores: Tensor = self.head(self.embedding(rows).mean(dim=1)).view(input_ids.shape[:2])
        return scores


def test_tokens_of_choices_that_a_model_joins_with_rows_are_explained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, ids = Choices().eval(), torch.randint(0, 50, (3, 4, 9))
    edgexf.export(module, example_inputs=ids[:2, :, :7], max_length=16, output=tmp_path / "out")
    target = torch.eye(4)[[1, 3, 0]]
    with edgexf.load(tmp_path / "out") as session:
        found = session.run_explain(input_ids=ids.numpy(), target=target.numpy())["relevance"]
    with torch.no_grad():
        wanted = target.unsqueeze(-1) * (module.embedding(ids) @ module.head.weight[0]) / 9
    assert np.abs(found - wanted.numpy()).max() <= 1e-6 * wanted.abs().max()


def test_a_row_that_holds_a_choice_twice_explains_a_named_one() -> None:
    """The best of equal choices would be a tie, which rounding decides."""
    target = {names.TARGET: np.zeros((3, 2), dtype=np.float32)}
    target[names.TARGET][2, 1] = 1.0
    name_tied_choices(target, np.array([[[4, 5], [4, 5]], [[4, 5], [5, 4]], [[6, 6], [6, 6]]]))
    assert target[names.TARGET].tolist() == [[1, 0], [0, 0], [0, 1]]
