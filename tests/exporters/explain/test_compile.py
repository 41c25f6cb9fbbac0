"""Relevance from the exported graph equals torch autograd's, at lengths and targets that were never traced."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import Exported
from small import random_tokens

import edgexf
from edgexf.errors import InputError, UsageError
from edgexf.spec import LABELS
from edgexf_exporters.explain.methods import METHODS
from edgexf_exporters.hooks import frozen

pytestmark = pytest.mark.slow  # exports or runs many models

TOLERANCE = 1e-4  # relative to the scale of relevance, as in the contract


def gradient_times_input(
    method: str, exported: Exported, ids: torch.Tensor, mask: torch.Tensor, target: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Returns relevance [batch, sequence] and the explained value [batch] of the eager model by torch autograd."""
    embeddings = exported.encoder.tokens(ids).detach().requires_grad_(True)
    with frozen(exported.encoder), METHODS[method].rules():
        explained = (exported.encoder.classify(embeddings, mask) * target).sum(-1)
        (gradient,) = torch.autograd.grad(explained.sum(), embeddings)
    return (gradient * embeddings).sum(-1).detach().numpy(), explained.detach().numpy()


@pytest.mark.parametrize(("batch", "length"), [(1, 2), (2, 77), (5, 129), (1, 1500)])
@pytest.mark.parametrize("contrast", [False, True])
def test_relevance_and_residual_are_those_of_autograd(
    exported: Exported, batch: int, length: int, contrast: bool
) -> None:
    ids = random_tokens(batch, length, seed=length)
    mask = (torch.arange(length) < torch.linspace(length, max(1, length // 2), batch).int()[:, None]).long()
    target = torch.zeros(batch, len(LABELS))
    target[:, 3] = 1.0
    if contrast:
        target[:, 7] = -1.0
    for method in exported.bundle.manifest.methods:
        wanted, explained = gradient_times_input(method, exported, ids, mask, target)
        with edgexf.load(exported.bundle.path) as session:
            found = session.run_explain(
                input_ids=ids.numpy(), attention_mask=mask.numpy(), target=target.numpy(), method=method
            )
        assert np.abs(found["relevance"] - wanted).max() <= TOLERANCE * np.abs(wanted).max()
        scale = np.abs(explained).max() + np.abs(wanted).sum(-1).max()
        assert np.abs(found["residual"] - (explained - wanted.sum(-1))).max() <= TOLERANCE * scale
        assert not found["relevance"][mask.numpy() == 0].any()


def test_a_target_of_zeros_is_the_predicted_label(exported: Exported) -> None:
    ids = random_tokens(3, 90).numpy()
    with edgexf.load(exported.bundle.path) as session:
        default = session.run_explain(input_ids=ids)
        predicted = np.eye(len(LABELS), dtype=np.float32)[default["logits"].argmax(-1)]
        named = session.run_explain(input_ids=ids, target=predicted)
    assert np.array_equal(default["relevance"], named["relevance"])


def test_the_explain_graph_predicts_what_the_predict_graph_predicts(exported: Exported) -> None:
    ids = random_tokens(2, 333).numpy()
    with edgexf.load(exported.bundle.path) as session:
        wanted, found = session.run(input_ids=ids)["logits"], session.run_explain(input_ids=ids)["logits"]
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()  # the contract's bound for "unchanged"


def test_relevance_changes_with_the_input_and_the_length(exported: Exported) -> None:
    """Guards against a known defect of exported heat maps: constant relevance."""
    with edgexf.load(exported.bundle.path) as session:
        rows = [
            session.run_explain(input_ids=random_tokens(1, 500, seed=seed).numpy())["relevance"][0] for seed in (1, 2)
        ]
        short = session.run_explain(input_ids=random_tokens(1, 400, seed=1).numpy())["relevance"][0]
    scale = np.abs(rows[0]).max()
    assert np.abs(rows[0] - rows[1]).max() > 0.01 * scale
    assert np.abs(rows[0][:400] - short).max() > 0.001 * scale
    assert np.unique(rows[0]).size > 250


def test_an_explanation_adds_up(linformer: Exported) -> None:
    source = b'#!/bin/sh\nset -eu\nfor file in *.txt; do\n  echo "$file"\ndone\n'
    with edgexf.load(linformer.bundle.path) as session:
        why = session.explain(source)
        logits = session.run(input_ids=[[257, *source]])["logits"][0]
    assert why.prediction.label == LABELS[int(logits.argmax())]
    assert why.target == {why.prediction.label: 1.0}
    assert len(why.tokens) == len(why.scores) == len(why.offsets) == 1 + len(source)
    assert why.explained == pytest.approx(float(logits.max()), rel=1e-4)
    assert why.explained == pytest.approx(float(why.scores.sum()) + why.residual, rel=1e-4)


def test_a_contrast_is_the_difference_of_its_targets(linformer: Exported) -> None:
    source = b"def f(x):\n    return {'a': x}\n"
    with edgexf.load(linformer.bundle.path) as session:
        one, other = (session.explain(source, target=label) for label in ("python", "json"))
        both = session.explain(source, target={"python": 1.0, "json": -1.0})
    assert np.allclose(both.scores, one.scores - other.scores, atol=1e-4 * float(np.abs(both.scores).max()))


def test_wrong_targets_and_methods_are_named(linformer: Exported) -> None:
    with edgexf.load(linformer.bundle.path) as session:
        with pytest.raises(UsageError, match="cobol"):
            session.explain(b"x = 1\n", target="cobol")
        with pytest.raises(UsageError, match="tarot"):
            session.explain(b"x = 1\n", method="tarot")
        with pytest.raises(UsageError, match="weigh"):
            session.explain(b"x = 1\n", target={"c": 0.0})
        with pytest.raises(InputError, match="target"):
            session.run_explain(input_ids=[[257, 1]], target=[[np.nan] * len(LABELS)])
