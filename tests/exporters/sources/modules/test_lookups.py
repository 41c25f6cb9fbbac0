"""Which embedding looks up which ids, where ``forward`` of an embedding is given something else."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgexf_exporters.sources.modules.lookups import Lookups


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
