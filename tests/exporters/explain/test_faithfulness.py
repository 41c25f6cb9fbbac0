"""Relevance finds the decisive tokens in tasks where they are known, and depends on the learned weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from conftest import Exported
from small import DATA
from synthetic import DECISIVE, LABELS, draw, precision, reweighted, telling, train

import edgexf
from edgexf import names
from edgexf.bundle.folder import Bundle
from edgexf.models import build
from edgexf.models.encoder import Encoder
from edgexf.spec import CLASS_ID, FullAttentionSpec

pytestmark = pytest.mark.slow  # exports or runs many models

SEEDS = (0, 1)
HARDEST = "order"  # of the tasks; all of them, with more seeds, are in benchmarks/synthetic.py
FAITHFUL = ("attnlrp", "cplrp")
COMPARED = ("gradient", *FAITHFUL)
ENOUGH = 0.95
AGREES, UNCHANGED = 1e-4, 1e-5  # relative to the scale, as in the contract


@dataclass(frozen=True, eq=False)
class Trained:
    """A bundle with every method of `COMPARED`, and the encoder that the bundle was exported from."""

    encoder: Encoder
    bundle: Bundle

    def graph(self, method: str) -> Path:
        return self.bundle.path / self.bundle.manifest.graph(method, "fp32").file


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    encoder = learned("one", SEEDS[0])
    return Trained(encoder, edgexf.export(encoder, output=tmp_path_factory.mktemp("full") / "out", explain=COMPARED))


@cache
def learned(task: str, seed: int) -> Encoder:
    return train(task, FullAttentionSpec(), seed)


def relevance(session: ort.InferenceSession, ids: np.ndarray, labels: np.ndarray, classes: int) -> list[np.ndarray]:
    """Returns the relevance of the labels [rows, tokens], and the logits."""
    target = np.eye(classes, dtype=np.float32)[labels]
    feeds = {names.INPUT_IDS: ids, names.ATTENTION_MASK: np.ones_like(ids), names.TARGET: target}
    found: list[np.ndarray] = session.run([names.RELEVANCE, names.LOGITS], feeds)
    return found


def assert_answers(logits: np.ndarray, encoder: Encoder, ids: np.ndarray) -> None:
    """Asserts that the logits of a graph are the encoder's logits."""
    tokens = torch.from_numpy(ids)
    with torch.no_grad():
        wanted = encoder(tokens, torch.ones_like(tokens)).numpy()
    assert np.abs(logits - wanted).max() <= AGREES * np.abs(wanted).max()


def test_the_decisive_tokens_are_the_most_relevant(trained: Trained) -> None:
    """Tests two seeds. The graph computes the relevance, and its logits show that it holds the right weights."""
    task = HARDEST
    rows = telling(task, 400, seed=1_000)
    found: dict[str, list[float]] = {method: [] for method in (*COMPARED, "random")}
    for seed in SEEDS:
        encoder = learned(task, seed)
        for method in COMPARED:
            graph = reweighted(trained.graph(method), trained.encoder, encoder)
            scores, logits = relevance(graph, rows.ids, rows.labels, len(LABELS))
            assert_answers(logits, encoder, rows.ids)
            assert (logits.argmax(-1) == rows.labels).mean() >= ENOUGH  # otherwise the model has not learned the task
            found[method].append(precision(scores, rows, DECISIVE[task]))
        guess = np.random.default_rng(seed).random(rows.ids.shape)
        found["random"].append(precision(guess.astype(np.float32), rows, DECISIVE[task]))
    means = {method: float(np.mean(values)) for method, values in found.items()}
    assert means["gradient"] > means["random"], found
    for method in FAITHFUL:
        assert min(found[method]) >= ENOUGH, found
        assert means[method] > means["gradient"], found


def crops(length: int) -> np.ndarray:
    """Returns the class token and the first bytes of some crops of the shipped set, int64 [crops, 1 + length]."""
    files = sorted((DATA / "evaluation").glob("*-03.bin"))
    whole = [data for data in (file.read_bytes()[:length] for file in files) if len(data) == length]
    return np.array([[CLASS_ID, *data] for data in whole], dtype=np.int64)


def ranks(scores: np.ndarray) -> np.ndarray:
    return scores.argsort(axis=1).argsort(axis=1).astype(np.float64)


def spearman(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the rank correlation of each row. Ties are ignored, because relevance has hardly any."""
    pairs = zip(ranks(one), ranks(other), strict=True)
    return np.array([np.corrcoef(first, second)[0, 1] for first, second in pairs])


def test_other_weights_give_another_map(exported: Exported) -> None:
    """The sanity check of Adebayo et al. 2018.

    A map that stays the same under random weights shows the input and not the model.
    """
    ids, spec, manifest = crops(512), exported.encoder.spec, exported.bundle.manifest
    assert len(ids) >= 10
    torch.manual_seed(0)
    encoders = (exported.encoder, build(spec))
    with edgexf.load(exported.bundle.path) as session:
        labels = session.run(input_ids=ids)["logits"].argmax(-1)
    for method in manifest.methods:
        graph, maps = exported.bundle.path / manifest.graph(method, "fp32").file, []
        for encoder in encoders:
            scores, logits = relevance(reweighted(graph, exported.encoder, encoder), ids, labels, len(spec.labels))
            assert_answers(logits, encoder, ids)
            maps.append(scores)
        assert abs(float(spearman(*maps).mean())) <= 0.3
        assert spearman(maps[0], maps[0]).min() == pytest.approx(1.0)


def test_batch_mates_and_padding_change_no_map(exported: Exported) -> None:
    check_alone_and_together(exported.bundle, crops(300)[:4], (301, 64, 200, 13))


def test_batch_mates_and_padding_change_no_map_of_any_method(trained: Trained) -> None:
    check_alone_and_together(trained.bundle, draw("both", 4, seed=7).ids, (25, 2, 17, 24))


def check_alone_and_together(made: Bundle, ids: np.ndarray, lengths: tuple[int, ...]) -> None:
    mask = (np.arange(ids.shape[1]) < np.array(lengths)[:, None]).astype(np.int64)
    with edgexf.load(made.path) as session:
        for method in made.manifest.methods:
            together = session.run_explain(input_ids=ids, attention_mask=mask, method=method)["relevance"]
            for row, length in enumerate(lengths):
                alone = session.run_explain(input_ids=ids[row : row + 1, :length], method=method)["relevance"][0]
                assert np.abs(together[row, :length] - alone).max() <= UNCHANGED * np.abs(alone).max(), method
                assert not together[row, length:].any()
