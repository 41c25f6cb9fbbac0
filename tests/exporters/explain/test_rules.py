"""Relevance rules, compared in float64 with relevance that is propagated step by step as in the papers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import families
import pytest
import torch
from families import small
from propagation import added, gradient_of, linear, norm, product, softmax
from small import small_encoder, small_spec
from torch import Tensor, nn
from transformers.activations import NewGELUActivation

from edgexf.errors import ExportError
from edgexf.models import build
from edgexf.models.encoder import Encoder
from edgexf.models.full import FullAttention, join_heads, split_heads
from edgexf.models.hashed import ALONE
from edgexf.spec import HashedAttentionSpec
from edgexf_exporters.explain import rules
from edgexf_exporters.explain.rules import Rules

ROUNDING = 1e-9  # for float64 sums of some thousand products, with divisions by values near 0
CPLRP = partial(Rules, constant_softmax=True)
METHODS = {"attnlrp": Rules, "cplrp": CPLRP}


class Slow:
    """Layer-wise relevance propagation through a BERT without a mask, by the steps of `propagation`."""

    def __init__(self, model: Any, values_alone: bool) -> None:
        self.model = model
        self.values_alone = values_alone

    def attention(self, own: Any, hidden: Tensor, relevance: Tensor) -> Tensor:
        heads = own.num_attention_heads
        projects = own.query, own.key, own.value
        query, key, value = (split_heads(project(hidden), heads) for project in projects)
        scores = query @ key.mT / query.shape[-1] ** 0.5
        weights = scores.softmax(-1)
        split = split_heads(relevance, heads)
        of_weights, of_value = product(weights, value, split, 1 if self.values_alone else 2)
        if self.values_alone:
            return linear(own.value, hidden, join_heads(of_value))
        of_scores = softmax(scores, weights, of_weights)
        of_query, of_key = product(query, key.mT, of_scores)
        parts = zip(projects, (of_query, of_key.mT, of_value), strict=True)
        return sum(linear(project, hidden, join_heads(part)) for project, part in parts)  # type: ignore[return-value]

    def __call__(self, ids: Tensor, label: int) -> tuple[Tensor, Tensor]:
        """Returns the relevance [1, tokens] of a label's logit, and the logit."""
        base = self.model.bert
        words = base.embeddings.word_embeddings(ids)
        rest = (
            base.embeddings.position_embeddings.weight[: ids.shape[1]] + base.embeddings.token_type_embeddings.weight[0]
        )
        states, steps = base.embeddings.LayerNorm(words + rest), []
        for layer in base.encoder.layer:
            mixed = layer.attention.self(states)[0]
            attended = layer.attention.output.dense(mixed)
            middle = layer.attention.output.LayerNorm(attended + states)
            inner = layer.intermediate.dense(middle)
            outer = layer.output.dense(nn.functional.gelu(inner))
            steps.append((layer, states, mixed, attended, middle, inner, outer))
            states = layer.output.LayerNorm(outer + middle)
        first = states[:, 0]
        before = base.pooler.dense(first)
        logits = self.model.classifier(before.tanh())
        relevance = torch.zeros_like(logits)
        relevance[:, label] = logits[:, label]
        relevance = linear(self.model.classifier, before.tanh(), relevance)  # tanh passes relevance on unchanged
        relevance = nn.functional.pad(linear(base.pooler.dense, first, relevance)[:, None], (0, 0, 0, ids.shape[1] - 1))
        for layer, hidden, mixed, attended, middle, inner, outer in reversed(steps):
            of_outer, of_middle = added(outer, middle, norm(layer.output.LayerNorm, outer + middle, relevance))
            of_inner = linear(layer.output.dense, nn.functional.gelu(inner), of_outer)
            of_middle = of_middle + linear(layer.intermediate.dense, middle, of_inner)
            inside = layer.attention.output.LayerNorm
            of_attended, of_hidden = added(attended, hidden, norm(inside, attended + hidden, of_middle))
            of_mixed = linear(layer.attention.output.dense, mixed, of_attended)
            relevance = of_hidden + self.attention(layer.attention.self, hidden, of_mixed)
        summed = norm(base.embeddings.LayerNorm, words + rest, relevance)
        return added(words, rest, summed)[0].sum(-1), logits[:, label]


def in_float64(model: Any) -> Any:
    return model.double().eval().requires_grad_(False)


def relevance_by(
    method: Callable[[], Any], embedding: nn.Module, answer: Callable[[], Tensor]
) -> tuple[Tensor, Tensor]:
    """Returns input * gradient [batch, tokens] under a method's rules, and the value [batch] that `answer` returns."""
    leaves: list[Tensor] = []

    def leaf(_: nn.Module, __: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_(True))
        return leaves[-1]

    with embedding.register_forward_hook(leaf), method():
        value = answer()
        (gradient,) = torch.autograd.grad(value.sum(), leaves)
    return (gradient * leaves[0].detach()).sum(-1), value.detach()


def tokens(length: int, seed: int = 0) -> Tensor:
    return torch.randint(4, families.VOCABULARY, (1, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("length", "label"), [(2, 0), (17, 1), (60, 0)])
def test_relevance_is_what_the_papers_steps_propagate(method: str, length: int, label: int) -> None:
    model = in_float64(small("Bert", "ForSequenceClassification", layers=2))
    ids = tokens(length)
    found, value = relevance_by(
        METHODS[method], model.get_input_embeddings(), lambda: model(input_ids=ids).logits[:, label]
    )
    wanted, logit = Slow(model, method == "cplrp")(ids, label)
    assert torch.allclose(value, logit, rtol=1e-12)
    assert (found - wanted).abs().max() <= ROUNDING * wanted.abs().max()


def added_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Returns the parameters that a model adds to the token embeddings or later: biases, positions and token types."""
    kinds = ("bias", "position", "token_type", "pos_emb", "r_w_", "r_r_", "r_s_", "seg_embed")
    return {name: value for name, value in model.named_parameters() if any(kind in name for kind in kinds)}


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "Roberta", "Longformer", "BigBird", "Nystromformer"])
def test_cplrp_of_tokens_positions_types_and_biases_is_the_whole_logit(family: str) -> None:
    """f is the sum of R over tokens, positions and types plus the sum of bias * df/dbias, up to rounding."""
    model = in_float64(small(family, "ForSequenceClassification", layers=2))
    rest = added_parameters(model)
    for parameter in rest.values():
        parameter.requires_grad_(True)
    ids = tokens(48)
    leaves: list[Tensor] = []

    def leaf(_: nn.Module, __: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_(True))
        return leaves[-1]

    with model.get_input_embeddings().register_forward_hook(leaf), CPLRP():
        value = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.max()
        gradients = torch.autograd.grad(value, [leaves[0], *rest.values()], allow_unused=True)
    parts = [
        (given.detach() * found).sum()
        for given, found in zip([leaves[0], *rest.values()], gradients, strict=True)
        if found is not None
    ]
    # Longformer and Nystromformer keep some softmaxes or masks in float32. They stay constants here.
    assert abs(value.item() - sum(parts).item()) <= 1e-6 * abs(value.item())  # type: ignore[union-attr]


def test_what_attnlrp_leaves_is_the_share_of_softmax_positions_and_biases(monkeypatch: pytest.MonkeyPatch) -> None:
    model = in_float64(small("Bert", "ForSequenceClassification", layers=2))
    rest = added_parameters(model)
    for parameter in rest.values():
        parameter.requires_grad_(True)
    met: list[tuple[Tensor, Tensor]] = []

    def recorded(_: Rules, op: Any, scores: Tensor, *given: Any) -> Tensor:
        scores.retain_grad()
        weights: Tensor = op(scores, *given)
        weights.retain_grad()
        met.append((scores, weights))
        return weights

    monkeypatch.setattr(rules, "softmax", recorded)
    leaves: list[Tensor] = []

    def leaf(_: nn.Module, __: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_(True))
        return leaves[-1]

    with model.get_input_embeddings().register_forward_hook(leaf), Rules():
        value = model(input_ids=tokens(30)).logits.max()
        value.backward()
    assert len(met) == 2
    relevance = sum((tensor.grad * tensor).sum().item() for tensor in leaves)  # type: ignore[operator]
    lost = sum((weights.grad * weights).sum().item() - (scores.grad * scores).sum().item() for scores, weights in met)  # type: ignore[operator]
    added = sum((tensor.grad * tensor).sum().item() for tensor in rest.values() if tensor.grad is not None)
    residual = value.item() - relevance
    assert abs(residual) > 0.01 * abs(value.item())
    assert abs(residual - lost - added) <= 1e-4 * abs(value.item())


def dense_like(encoder: Encoder) -> Encoder:
    """Returns an encoder with full attention and the weights of another encoder."""
    dense = small_encoder("transformer").double()
    for ours, theirs in zip(dense.layers, encoder.layers, strict=True):
        for part in ("query", "key", "value", "output"):
            getattr(ours.attention, part).load_state_dict(getattr(theirs.attention, part).state_dict())
    rest = {key: value for key, value in encoder.state_dict().items() if ".attention." not in key}
    dense.load_state_dict(rest, strict=False)
    return in_float64(dense)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["longformer", "linformer"])
def test_attention_that_sees_all_tokens_has_the_dense_models_relevance(name: str, method: str) -> None:
    """The window is wider than the text, or the projections are the identity.

    In the windowed model the first token attends as the other tokens do.
    """
    encoder = small_encoder(name).double()
    length = 8 if name == "longformer" else 5  # the largest length within the window, or the rank
    with torch.no_grad():
        for layer in encoder.layers:
            if name == "linformer":
                layer.attention.projection.zero_()
                layer.attention.projection[:, :length] = torch.eye(length)
            else:
                for part in ("query", "key", "value"):
                    getattr(layer.attention, f"{part}_global").load_state_dict(
                        getattr(layer.attention, part).state_dict()
                    )
    encoder, dense = in_float64(encoder), dense_like(encoder)
    assert isinstance(dense.layers[0].attention, FullAttention)
    ids = torch.randint(0, 256, (1, length), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    found, wanted = (
        relevance_by(METHODS[method], one.tokens, lambda one=one: one(ids, mask)[:, 1])
        for one in (encoder, dense)  # type: ignore[misc]
    )
    assert torch.allclose(found[1], wanted[1], rtol=1e-9)
    assert (found[0] - wanted[0]).abs().max() <= 1e-5 * wanted[0].abs().max()


class SharedAttention(nn.Module):
    """Dense attention with shared queries and keys; Kitaev et al. 2020, section 2.

    Keys are normalized to length 1. A query scores its own key low.
    """

    def __init__(self, own: Any) -> None:
        super().__init__()
        self.own = own

    def forward(self, hidden: Tensor, _: Tensor) -> Tensor:
        query, value = (
            split_heads(project(hidden), self.own.heads) for project in (self.own.query_key, self.own.value)
        )
        scores = query @ nn.functional.normalize(query, dim=-1).mT / query.shape[-1] ** 0.5
        scores = torch.where(torch.eye(hidden.shape[1], dtype=torch.bool), ALONE, scores)
        answer: Tensor = self.own.output(join_heads(scores.softmax(-1) @ value))
        return answer


@pytest.mark.parametrize("method", METHODS)
def test_one_bucket_of_one_round_has_the_dense_models_relevance(method: str) -> None:
    spec = replace(small_spec("reformer"), attention=HashedAttentionSpec(buckets=4, rounds=1, chunk=8))
    torch.manual_seed(0)
    encoder = in_float64(build(spec))
    ids = torch.randint(0, 256, (1, 8), generator=torch.Generator().manual_seed(1))
    found = []
    for dense in (False, True):
        for layer in encoder.layers:
            layer.attention.rotations.zero_() if not dense else None
            layer.attention = SharedAttention(layer.attention) if dense else layer.attention
        answer = partial(encoder, ids, torch.ones_like(ids))
        found.append(relevance_by(METHODS[method], encoder.tokens, lambda answer=answer: answer()[:, 1]))  # type: ignore[misc]
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-9)
    assert (found[0][0] - found[1][0]).abs().max() <= 1e-5 * found[1][0].abs().max()


@pytest.mark.parametrize(
    "function",
    [nn.GELU(), nn.GELU("tanh"), NewGELUActivation(), nn.SiLU(), lambda x: x * x.sigmoid(), nn.Tanh(), nn.Mish(), nn.ReLU(), torch.square],
    ids=["gelu", "gelu tanh", "gelu in parts", "silu", "silu in parts", "tanh", "mish", "relu", "square"],
)  # fmt: skip
def test_an_activation_hands_on_all_relevance(function: Callable[[Tensor], Tensor]) -> None:
    value = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = gradient_of(function, value) * value
    assert torch.allclose(found, function(value), rtol=1e-9, atol=1e-12)


def test_a_gate_of_another_input_gets_half_and_a_norm_nothing() -> None:
    value = torch.randn(6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gated = gradient_of(lambda x: x * (x @ weight), value)
    assert torch.allclose(gated, (value @ weight + value @ weight.T) / 2)
    scaled = gradient_of(lambda x: x * torch.rsqrt(x.square().mean(-1, keepdim=True)), value)
    assert torch.allclose(scaled, torch.rsqrt(value.square().mean(-1, keepdim=True)).expand_as(value))
    divided = gradient_of(lambda x: x / torch.linalg.vector_norm(x, dim=-1, keepdim=True), value)
    assert torch.allclose(divided, (1 / torch.linalg.vector_norm(value, dim=-1, keepdim=True)).expand_as(value))


def test_an_operator_in_place_has_the_rule_of_the_one_that_is_not() -> None:
    value = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    there = gradient_of(lambda x: (2 * x).mul_(x @ x), value)
    assert torch.allclose(there, gradient_of(lambda x: (2 * x) * (x @ x), value))
    assert torch.allclose(gradient_of(lambda x: (2 * x).tanh_(), value) * value, (2 * value).tanh())

    def hidden_in_place(x: Tensor) -> Tensor:
        scores = x @ x.mT
        scores.transpose(0, 1)[0] = -5.0  # Longformer writes to a view of its scores in this way
        return scores

    kept = torch.ones(4, 4, dtype=torch.float64)
    kept[:, 0] = 0
    assert torch.allclose(gradient_of(hidden_in_place, value), gradient_of(lambda x: (x @ x.mT) * kept, value))


def test_a_softmax_in_two_steps_is_a_softmax() -> None:
    value = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wide = torch.arange(5.0, dtype=torch.float64)

    def steps(x: Tensor) -> Tensor:
        return (x - x.logsumexp(-1, keepdim=True)).exp() * wide

    assert torch.allclose(gradient_of(steps, value), gradient_of(lambda x: x.softmax(-1) * wide, value))
    both = gradient_of(lambda x: steps(x) + x, value, CPLRP)
    assert torch.allclose(both, torch.ones_like(value))
    for other in (torch.exp, lambda x: (x - x.amax(-1, keepdim=True)).exp()):  # the denominator would be a constant
        with pytest.raises(ExportError, match="softmax"):
            gradient_of(other, value)


@pytest.mark.parametrize("function", [torch.sinh, torch.lgamma, nn.Softshrink(), lambda x: torch.cumprod(x, 0)])
def test_an_operator_without_a_rule_is_named(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ExportError, match=r"got (sinh|lgamma|softshrink|cumprod) without"):
        gradient_of(function, torch.randn(5))


def test_weights_that_depend_on_the_input_and_batch_statistics_are_refused() -> None:
    with pytest.raises(ExportError, match="must be parameters"):
        gradient_of(lambda x: nn.functional.linear(x, x), torch.randn(5, 5))
    with pytest.raises(ExportError, match="statistics of its training"):
        gradient_of(nn.BatchNorm1d(5), torch.randn(5, 5))
    assert gradient_of(nn.BatchNorm1d(5).eval(), torch.randn(5, 5)).shape == (5, 5)


def test_behind_the_rules_gradients_are_plain_again() -> None:
    value = torch.randn(5, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ExportError), Rules():
        value.sinh()
    (gradient,) = torch.autograd.grad(value.tanh().sum(), value)
    assert torch.allclose(gradient, 1 - value.detach().tanh().square())


def test_two_towers_of_one_embedding_add_up() -> None:
    """An operand with two uses gets the sum of the relevance of both uses."""
    value = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    both = gradient_of(lambda x: x.tanh() + x @ x, value)
    assert torch.allclose(both, gradient_of(torch.tanh, value) + gradient_of(lambda x: x @ x, value))
