"""Custom modules that add up the embeddings of their tokens, so that the contribution of each token is known.

Each is exported with the embedding that a test gives, and the test computes the same in numpy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import edgexf


class Bag(nn.Module):
    """Sums logits over tokens."""

    def __init__(self, table: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self.embed = nn.Embedding.from_pretrained(torch.from_numpy(table))

    def forward(self, ids: Tensor) -> Tensor:
        return self.embed(ids).sum(dim=-2)


class Choose(Bag):
    """Takes ids [samples, choices, tokens]."""

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids).tanh().sum(dim=-1)


class Tag(Bag):
    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.embed(ids) * attention_mask.unsqueeze(-1)
        return hidden.cumsum(dim=1).tanh()


class Sum(Bag):
    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        return (self.embed(ids) * attention_mask.unsqueeze(-1)).sum(dim=1)


class Ends(Bag):
    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        found = self.embed(ids).cumsum(dim=1).tanh()
        return {"start_logits": found[..., 0], "end_logits": found[..., 1]}


class Vectors(Bag):
    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        return {"last_hidden_state": self.embed(ids).cumsum(dim=1).tanh()}


KINDS = {kind.__name__.lower(): kind for kind in (Bag, Choose, Tag, Sum, Ends, Vectors)}


def export(kind: str, table: npt.NDArray[np.float32], path: Path) -> None:
    """Exports a module of a kind, with ids in the rows of `table`."""
    shape = (2, 3, 8) if kind == "choose" else (2, 8)
    ids = torch.randint(1, len(table), shape, generator=torch.Generator().manual_seed(1))
    masked: Any = {"ids": ids, "attention_mask": torch.ones_like(ids)}
    edgexf.export(
        KINDS[kind](table).eval(), example_inputs=masked if kind in ("tag", "sum") else ids, output=path, explain=()
    )
