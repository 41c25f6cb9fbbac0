"""Three tasks whose decisive tokens are known, and small encoders that learn them.

A row is the class token and `LENGTH` letters drawn at random, of which some are replaced by marks at random places:

    one     one of four marks; the label is which                          one token decides
    both    a mark of {0, 1, 2} and one of {A, B, C}; the label is         neither token says anything
            (digit + letter) modulo 3                                      without the other
    order   the marks 0 and 1; the label is which of them comes first      nothing but their order decides
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from edgexf.models import build
from edgexf.models.encoder import Encoder
from edgexf.spec import CLASS_ID, AttentionSpec, EncoderSpec

LENGTH = 24
NOISE = np.arange(ord("a"), ord("z") + 1)
Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rows:
    """`ids` int64 [rows, 1 + LENGTH], `labels` int64 [rows], and the decisive `places` int64 [rows, marks]."""

    ids: Tokens
    labels: Tokens
    places: Tokens


def draw(task: str, count: int, seed: int | tuple[int, ...]) -> Rows:
    """Rows of a task, the same ones for the same seed."""
    chance = np.random.default_rng(seed)
    marks, labels = MARKS[task](chance, count)
    ids = chance.choice(NOISE, (count, 1 + LENGTH))
    ids[:, 0] = CLASS_ID
    order = chance.random((count, LENGTH)).argsort(axis=1)
    places = 1 + order[:, : marks.shape[1]]
    if task == "order":
        places = np.where(labels[:, None] == 0, np.sort(places), -np.sort(-places))
    np.put_along_axis(ids, places, marks, axis=1)
    return Rows(ids, labels, places)


def one(chance: np.random.Generator, count: int) -> tuple[Tokens, Tokens]:
    labels = chance.integers(0, 4, count)
    return ord("0") + labels[:, None], labels


def both(chance: np.random.Generator, count: int) -> tuple[Tokens, Tokens]:
    drawn = chance.integers(0, 3, (count, 2))
    return np.array([ord("0"), ord("A")]) + drawn, drawn.sum(axis=1) % 3


def order(chance: np.random.Generator, count: int) -> tuple[Tokens, Tokens]:
    labels = chance.integers(0, 2, count)
    return np.repeat([[ord("0"), ord("1")]], count, axis=0), labels


MARKS = {"one": one, "both": both, "order": order}
LABELS = {"one": 4, "both": 3, "order": 2}


def train(task: str, attention: AttentionSpec, seed: int, steps: int, rate: float = 3e-3, **sizes: int) -> Encoder:
    torch.manual_seed(seed)
    spec = EncoderSpec(
        attention=attention, labels=tuple(f"label {i}" for i in range(LABELS[task])), max_length=1 + LENGTH,
        **{"width": 32, "layers": 2, "heads": 4, "feedforward": 64, "context": 1} | sizes,
    )  # fmt: skip
    model = build(spec).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for step in range(steps):
        rows = draw(task, 128, (seed, step))
        ids = torch.from_numpy(rows.ids)
        loss = F.cross_entropy(model(ids, torch.ones_like(ids)), torch.from_numpy(rows.labels))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()
