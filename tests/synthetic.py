"""Three tasks whose decisive tokens are known, small encoders that learn them, and other weights for a graph.

A row is the class token and `LENGTH` letters drawn at random, of which some are replaced by marks at random places:

    one     one of four marks; the label is which                     one token decides
    both    marks 0 and 1, one of them, or none; is label 1 if both   two tokens are needed
    order   marks 0 and 1; the label is which of them comes first     nothing but their order decides

For `both` another task was tried first, the sum of two marks modulo 2 or 3. There no token is evidence by itself, what
it speaks for turns with the other one, and signed relevance is negative for one of the two in part of the rows: AttnLRP
and CP-LRP had a precision@2 of 0.62 to 0.91 by signed and 0.75 to 0.98 by absolute relevance, still above gradient x
input (0.10 to 0.35). That is a property of signed maps, not of a token's being needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from onnx import numpy_helper
from torch.nn import functional as F

from edgexf.models import build
from edgexf.models.encoder import Encoder, sinusoids
from edgexf.spec import CLASS_ID, AttentionSpec, EncoderSpec

LENGTH = 24
LABELS = ("0", "1", "2", "3")  # of all tasks, so that their models differ by weights alone
NOISE = np.arange(ord("a"), ord("z") + 1)
MARKS = np.arange(ord("0"), ord("3") + 1)
DECISIVE = {"one": 1, "both": 2, "order": 1}  # the most relevant tokens that have to be marks
BATCH, STEPS, RATE = 64, 200, 3e-3
Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rows:
    """`ids` int64 [rows, 1 + LENGTH], `labels` int64 [rows], and the `places` of the marks int64 [rows, marks]."""

    ids: Tokens
    labels: Tokens
    places: Tokens


def draw(task: str, count: int, seed: int | tuple[int, ...]) -> Rows:
    """Rows of a task, the same ones for the same seed."""
    chance = np.random.default_rng(seed)
    ids = chance.choice(NOISE, (count, 1 + LENGTH))
    ids[:, 0] = CLASS_ID
    places = 1 + chance.random((count, LENGTH)).argsort(axis=1)[:, : 1 if task == "one" else 2]
    if task == "one":
        labels = chance.integers(0, len(MARKS), count)
        marks = MARKS[labels][:, None]
    elif task == "order":
        labels = (places[:, 1] < places[:, 0]).astype(np.int64)
        marks = np.tile(MARKS[:2], (count, 1))
    else:
        there = chance.random((count, 2)) < 0.7  # about as often both as not
        labels = there.all(axis=1).astype(np.int64)
        marks = np.where(there, MARKS[:2], np.take_along_axis(ids, places, axis=1))
    np.put_along_axis(ids, places, marks, axis=1)
    return Rows(ids, labels, places)


def telling(task: str, count: int, seed: int) -> Rows:
    """Rows whose decisive tokens are there: of `both` those that have both."""
    rows = draw(task, count, seed)
    kept = rows.labels == 1 if task == "both" else np.ones(count, dtype=bool)
    return Rows(rows.ids[kept], rows.labels[kept], rows.places[kept])


def train(task: str, attention: AttentionSpec, seed: int) -> Encoder:
    """An encoder that has learned a task; a few seconds on one core."""
    torch.manual_seed(seed)
    sizes = {"width": 32, "layers": 2, "heads": 4, "feedforward": 64, "context": 1, "max_length": 1 + LENGTH}
    model = build(EncoderSpec(attention=attention, labels=LABELS, **sizes)).train()  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS)
    for step in range(STEPS):
        rows = draw(task, BATCH, (seed, step))
        ids = torch.from_numpy(rows.ids)
        loss = F.cross_entropy(model(ids, torch.ones_like(ids)), torch.from_numpy(rows.labels))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def precision(relevance: npt.NDArray[np.float32], rows: Rows, count: int) -> float:
    """The share of each row's `count` most relevant tokens, the class token aside, that are marks."""
    most = 1 + np.argsort(-relevance[:, 1:], axis=1)[:, :count]
    return float((most[:, :, None] == rows.places[:, None, :]).any(axis=2).mean())


def reweighted(graph: Path, old: Encoder, new: Encoder) -> ort.InferenceSession:
    """The graph exported from `old` with the weights of `new`, an encoder of the same shape.

    An export takes far longer than a training here, and what it makes depends on the weights in nothing but their values.
    Each weight is found in the graph by its content, its axes in any order; AssertionError for a tensor that is none. That
    the graph is then the new encoder's is for the caller to see in its logits.
    """
    model = onnx.load(str(graph))
    positions = sinusoids(max(64, old.spec.max_length), old.spec.width)  # the graph has its table in parts
    known = {}
    for one, other in zip(old.state_dict().values(), new.state_dict().values(), strict=True):
        for axes in permutations(range(one.ndim)):
            known[one.permute(axes).numpy().tobytes()] = other.permute(axes).numpy()
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        weight = known.get(values.tobytes())
        if weight is not None:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(weight).reshape(values.shape), tensor.name))
        elif values.dtype == np.float32 and values.size > 1:
            constant = np.unique(values).size <= 2 or np.isin(values, positions).all()  # a mask, or positions
            assert constant, f"{tensor.name} {values.shape} is neither a weight nor a constant"
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
