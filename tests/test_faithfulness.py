"""Relevance finds the tokens that decide, where it is known which they are, and depends on what was learned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from synthetic import DECISIVE, LABELS, Rows, precision, reweighted, telling, train

import edgexf
from edgexf import names
from edgexf.models.encoder import Encoder
from edgexf.pipeline import Bundle
from edgexf.spec import AttentionSpec, FullAttentionSpec, ProjectedAttentionSpec
from edgexf_exporters.explain import METHODS

SEEDS = (0, 1, 2)
FAITHFUL = tuple(method for method in ("attnlrp", "cplrp") if method in METHODS)
COMPARED = ("gradient", *FAITHFUL)
ENOUGH = 0.95
ATTENTIONS = (FullAttentionSpec(), ProjectedAttentionSpec(rank=8))
UNCHANGED = 1e-5  # of the scale, the contract's


@dataclass(frozen=True, eq=False)
class Trained:
    """An attention's bundle, with every method of `COMPARED`, and the encoder that it was exported from."""

    attention: AttentionSpec
    encoder: Encoder
    bundle: Bundle

    def graph(self, method: str) -> Path:
        return self.bundle.path / self.bundle.manifest.graph(method, "fp32").file


@pytest.fixture(scope="module", params=ATTENTIONS, ids=lambda attention: attention.kind)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    encoder = learned("one", request.param, SEEDS[0])
    folder = tmp_path_factory.mktemp(request.param.kind) / "bundle"
    return Trained(request.param, encoder, edgexf.export(encoder, output=folder, explain=COMPARED))


@cache
def learned(task: str, attention: AttentionSpec, seed: int) -> Encoder:
    return train(task, attention, seed)


def relevance(session: ort.InferenceSession, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Relevance of the true label [rows, tokens], and the logits."""
    feeds = {
        names.INPUT_IDS: rows.ids,
        names.ATTENTION_MASK: np.ones_like(rows.ids),
        names.TARGET: np.eye(len(LABELS), dtype=np.float32)[rows.labels],
    }
    found = session.run([names.RELEVANCE, names.LOGITS], feeds)
    return found[0], found[1]


@pytest.mark.parametrize("task", DECISIVE)
def test_the_decisive_tokens_are_the_most_relevant(trained: Trained, task: str) -> None:
    """Three seeds. The graph computes the relevance; that it holds the right weights is seen in its logits."""
    rows = telling(task, 400, seed=1_000)
    found: dict[str, list[float]] = {method: [] for method in (*COMPARED, "random")}
    for seed in SEEDS:
        encoder = learned(task, trained.attention, seed)
        ids = torch.from_numpy(rows.ids)
        with torch.no_grad():
            logits = encoder(ids, torch.ones_like(ids)).numpy()
        assert (logits.argmax(-1) == rows.labels).mean() >= ENOUGH  # else there is nothing to find
        for method in COMPARED:
            scores, answered = relevance(reweighted(trained.graph(method), trained.encoder, encoder), rows)
            assert np.abs(answered - logits).max() <= 1e-4 * np.abs(logits).max()
            found[method].append(precision(scores, rows, DECISIVE[task]))
        guess = np.random.default_rng(seed).random(rows.ids.shape)
        found["random"].append(precision(guess.astype(np.float32), rows, DECISIVE[task]))
    means = {method: float(np.mean(values)) for method, values in found.items()}
    assert means["gradient"] > means["random"], found
    for method in FAITHFUL:
        assert min(found[method]) >= ENOUGH, found
        assert means[method] > means["gradient"], found
