"""Modules as users write them: an embedding, an attention of some package, a head."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from linformer import Linformer, LinformerLM
from local_attention import LocalAttention
from nystrom_attention import Nystromformer
from reformer_pytorch import Autopadder, Reformer, ReformerLM
from torch import Tensor, nn

import edgexf
from edgexf.bundle.manifest import Manifest

VOCABULARY = 60
WIDTH = 16


class Classifier(nn.Module):
    """A classifier around linformer, for at most 80 tokens."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.body = Linformer(dim=WIDTH, seq_len=80, depth=1, k=5, heads=2)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.body(self.embed(ids)).mean(dim=1))


class CausalReformer(nn.Module):
    """A language model around reformer_pytorch."""

    def __init__(self, pad: bool = False, **sizes: Any) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        body = Reformer(
            WIDTH, 2, heads=2, bucket_size=4, **{"n_hashes": 2, "causal": True, "weight_tie": True, **sizes}
        )
        self.body = Autopadder(body) if pad else body
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.body(self.embed(ids)))


class SequenceFirst(nn.Module):
    """A language model of nn.TransformerEncoder over [sequence, batch]. Its forward creates the mask."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Embedding(90, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 24)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.size(0)
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        hidden = self.embed(tokens) * math.sqrt(WIDTH) + self.places(torch.arange(length)).unsqueeze(1)
        return self.head(self.body(hidden, mask))


class Translator(nn.Module):
    """A model of nn.Transformer whose source and target have different lengths. The source has padding."""

    def __init__(self) -> None:
        super().__init__()
        self.source = nn.Embedding(VOCABULARY, WIDTH)
        self.target = nn.Embedding(40, WIDTH)
        self.body = nn.Transformer(WIDTH, 2, 1, 1, 24, batch_first=True)
        self.head = nn.Linear(WIDTH, 40)

    def forward(self, src: Tensor, tgt: Tensor, src_key_padding_mask: Tensor | None = None) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tgt.size(1))
        hidden = self.body(
            self.source(src),
            self.target(tgt),
            tgt_mask=mask,
            src_key_padding_mask=src_key_padding_mask,
            memory_key_padding_mask=src_key_padding_mask,
        )
        return self.head(hidden)


class Landmarks(nn.Module):
    """A tagger around nystrom_attention, with a mask of real tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.body = Nystromformer(
            dim=WIDTH, depth=1, dim_head=8, heads=2, num_landmarks=4, attn_values_residual_conv_kernel=3
        )
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.body(self.embed(ids), mask=mask))


class Nearby(nn.Module):
    """A tagger around local_attention."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.body = LocalAttention(**{"dim": 8, "window_size": 4, "autopad": True, **settings})
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, ids: Tensor) -> Tensor:
        heads = self.embed(ids).unflatten(2, (2, -1)).transpose(1, 2)
        return self.head(self.body(heads, heads, heads).transpose(1, 2).flatten(2))


class Between(nn.Module):
    """An embedding with padding id 7, and a head. `between` is what a class does with the hidden values."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(VOCABULARY, 8, padding_idx=7), nn.Linear(8, 3)

    def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.between(ids, self.embed(ids)))


def ids(batch: int, length: int, below: int = VOCABULARY, seed: int = 0) -> Tensor:
    return torch.randint(0, below, (batch, length), generator=torch.Generator().manual_seed(seed))


class Step(nn.Module):
    """A step of a decoder: one layer that reads a cache, and returns the longer cache."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.value, self.head = nn.Embedding(VOCABULARY, 16), nn.Linear(16, 16), nn.Linear(16, 50)

    def forward(self, ids: Tensor, mask: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        query = self.embed(ids).unflatten(2, (2, 8)).transpose(1, 2)
        known = torch.cat((past, self.value(query.transpose(1, 2).flatten(2)).unflatten(2, (2, 8)).transpose(1, 2)), 2)
        found = torch.softmax(query @ known.transpose(-1, -2) + mask, -1) @ known
        return self.head(found.transpose(1, 2).flatten(2)), known


def step_inputs(batch: int, new: int, past: int) -> dict[str, Tensor]:
    mask = torch.full((new, past + new), float("-inf")).triu(past + 1)[None, None]
    return {"ids": ids(batch, new), "mask": mask, "past": torch.randn(batch, 2, past, 8)}


def small(kind: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """Returns a module in eval mode and example inputs.

    Weights are larger than the library draws them, so that attention is not nearly uniform.
    """
    torch.manual_seed(0)
    one: dict[str, tuple[Any, dict[str, Tensor]]] = {
        "linformer classifier": (Classifier, {"ids": ids(2, 16)}),
        "linformer LM": (lambda: LinformerLM(VOCABULARY, WIDTH, 80, 1, k=5, heads=2), {"x": ids(2, 16)}),
        "causal reformer": (CausalReformer, {"ids": ids(2, 16)}),
        "padded reformer": (lambda: CausalReformer(pad=True), {"ids": ids(2, 16)}),
        "reformer LM": (
            lambda: ReformerLM(VOCABULARY, WIDTH, 1, 64, heads=2, dim_head=8, bucket_size=4, n_hashes=2),
            {"x": ids(2, 16)},
        ),
        "[sequence, batch]": (SequenceFirst, {"tokens": ids(16, 2)}),
        "source and target": (
            Translator,
            {
                "src": ids(2, 16),
                "tgt": ids(2, 9, 40),
                "src_key_padding_mask": torch.zeros(2, 16, dtype=torch.bool),
            },
        ),
        "landmarks": (Landmarks, {"ids": ids(2, 16), "mask": torch.ones(2, 16, dtype=torch.bool)}),
        "nearby": (Nearby, {"ids": ids(2, 16)}),
    }
    build, examples = one[kind]
    module = build().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module, examples


def exports(module: nn.Module, examples: Any, tmp_path: Path, **chosen: Any) -> Manifest:
    return edgexf.export(module, example_inputs=examples, output=tmp_path / "bundle", explain=(), **chosen).manifest
