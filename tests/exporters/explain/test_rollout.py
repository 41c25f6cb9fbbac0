"""Attention weights as an explanation, compared with the product of dense matrices."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import inputs, small
from small import random_tokens, small_encoder
from torch import Tensor

import edgexf
from edgexf.errors import EdgexfError, UsageError
from edgexf.models.encoder import Encoder
from edgexf.report.relevance import SHARES_NOTE
from edgexf.report.terminal.explanation import explanation_text
from edgexf_exporters import VARIANTS
from edgexf_exporters.explain.methods import METHODS
from edgexf_exporters.lowerings.reference import windowed
from edgexf_exporters.variant import REFERENCE

pytestmark = pytest.mark.slow  # exports or runs many models

BY_ATTENTION = ("attention-rollout", "attention")
TOLERANCE = 1e-4  # as in the contract: float32 against float64
LENGTHS = (2, 19, 61)  # lengths that were not traced


def dense(attention: Any, hidden: Tensor, mask: Tensor) -> Tensor:
    """Returns each query's weights over all tokens, [batch, heads, tokens, tokens].

    Beltagy et al. 2020, section 3.1.
    """

    def heads(project: Any) -> Tensor:
        return project(hidden).unflatten(2, (attention.heads, -1)).transpose(1, 2)  # type: ignore[no-any-return]

    place = torch.arange(hidden.shape[1])
    near = (place[:, None] - place).abs() <= attention.window
    near[:, 0] = True
    scale = math.sqrt(hidden.shape[2] / attention.heads)
    local = (heads(attention.query) @ heads(attention.key).mT / scale).masked_fill(~near, -math.inf)
    first = heads(attention.query_global)[:, :, :1] @ heads(attention.key_global).mT / scale
    scores = torch.cat((first, local[:, :, 1:]), dim=2).masked_fill(~mask[:, None, None], -math.inf)
    return scores.softmax(dim=-1)


def expected(encoder: Encoder, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Returns rollout [batch, tokens] and weights [batch, layers, heads, tokens] of the predicted label, in float64."""
    model = copy.deepcopy(encoder).double()
    matrices: list[Tensor] = []
    mixed: list[Tensor] = []
    for layer in model.layers:
        layer.attention.register_forward_pre_hook(lambda own, given: matrices.append(dense(own, *given).detach()))
        layer.attention.output.register_forward_pre_hook(lambda _, given: mixed.append(given[0]))
    logits = model(ids, mask)
    (slope,) = torch.autograd.grad(logits.max(dim=-1).values.sum(), mixed[-1])
    row = slope.norm(dim=-1)
    row = row / row.sum(dim=-1, keepdim=True)
    weights = torch.stack([torch.einsum("bq,bhqk->bhk", row, matrix) for matrix in matrices], dim=1)
    for matrix in reversed(matrices):
        row = 0.5 * row + 0.5 * torch.einsum("bq,bqk->bk", row, matrix.mean(dim=1))
    return row, weights


@pytest.fixture(scope="module")
def longformer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, Path]:
    encoder = small_encoder("longformer")
    return encoder, edgexf.export(encoder, output=tmp_path_factory.mktemp("rollout") / "out", explain=BY_ATTENTION).path


@pytest.mark.parametrize("length", LENGTHS)
def test_shares_are_those_of_the_dense_matrices(longformer: tuple[Encoder, Path], length: int) -> None:
    encoder, path = longformer
    ids, mask = random_tokens(3, length, seed=length), torch.ones(3, length, dtype=torch.int64)
    mask[1, max(length // 2, 1) :] = 0
    wanted, weights = expected(encoder, ids, mask > 0)
    with edgexf.load(path) as session:
        given = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
        rolled, attended = (session.run_explain(method=method, **given) for method in BY_ATTENTION)
    assert np.abs(rolled["relevance"] - wanted.numpy()).max() <= TOLERANCE * wanted.max()
    assert np.abs(attended["attention"] - weights.numpy()).max() <= TOLERANCE * weights.max()
    assert np.abs(attended["relevance"] - weights.mean(dim=(1, 2)).numpy()).max() <= TOLERANCE * weights.max()
    for found in (rolled, attended):
        assert np.abs(found["relevance"].sum(axis=1) - 1).max() <= TOLERANCE
        assert (found["relevance"] >= 0).all()
        assert not found["relevance"][mask.numpy() == 0].any()


def test_a_class_token_reads_the_librarys_own_weights(tmp_path: Path) -> None:
    model = small("Bert", "ForSequenceClassification", layers=2)
    path = edgexf.export(model, output=tmp_path / "out", explain="attention-rollout").path
    given = inputs(model, 23)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        found = model(**given, output_attentions=True).attentions  # for each layer [batch, heads, tokens, tokens]
    row = torch.nn.functional.one_hot(torch.zeros(3, dtype=torch.int64), 23).float()
    for matrix in reversed(found):
        row = 0.5 * row + 0.5 * torch.einsum("bq,bqk->bk", row, matrix.mean(dim=1))
    with edgexf.load(path) as session:
        rolled = session.run_explain(**{name: tensor.numpy() for name, tensor in given.items()})
    assert np.abs(rolled["relevance"] - row.numpy()).max() <= TOLERANCE


def test_a_view_says_that_shares_are_no_parts_of_the_value(longformer: tuple[Encoder, Path]) -> None:
    with edgexf.load(longformer[1]) as session:
        why = session.explain(b"attention is all")
    assert why.scores_are_attention
    assert why.total == pytest.approx(1, abs=1e-5)
    text = explanation_text(why).plain
    assert "shares of attention, 1.00 in all" in text
    assert "against" not in text
    assert SHARES_NOTE in why.to_html()


def test_a_layer_that_hides_a_path_of_its_values_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the global token gathers values without the marked projection, the export must fail."""
    monkeypatch.setattr(windowed, "are_marked", lambda: False)
    with pytest.raises(EdgexfError):
        edgexf.export(small_encoder("longformer", layers=1), output=tmp_path / "out", explain="attention-rollout")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_every_attention_has_weights_over_tokens_or_a_reason(variant: Any) -> None:
    assert (variant.mixing is None) == bool(variant.unweighted)


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.attends])
@pytest.mark.parametrize("name", [one.name for one in VARIANTS if one.unweighted and one.family == REFERENCE])
def test_an_attention_without_weights_over_tokens_is_refused(name: str, method: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="projected slots"):
        edgexf.export(variant=name, output=tmp_path / "out", explain=method)
