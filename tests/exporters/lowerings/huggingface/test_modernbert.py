"""ModernBERT and its decoder: every configuration against the library, windows against the paper, broken lowerings."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import VOCABULARY, autograd, check, inputs, small
from propagation import ModernBert
from torch import Tensor, nn
from transformers import ModernBertModel

import edgexf
from edgexf.errors import ExportError, InputError, VerificationError
from edgexf_exporters.capture import Program
from edgexf_exporters.explain.methods import METHODS
from edgexf_exporters.hooks import frozen, vectors_of
from edgexf_exporters.lowerings.huggingface.modernbert import Positions, Windows
from edgexf_exporters.lowerings.swap import lowered
from edgexf_exporters.sources.checkpoint import from_model
from edgexf_exporters.verify.float64 import blocked, worst_difference

pytestmark = pytest.mark.slow  # exports or runs many models

FLOAT32 = (
    1e-5  # the library turns queries and keys in float32, also in a model of float64: 1e-7, and what layers make of it
)
PROPAGATED = (
    3e-6  # fifty roundings of float32, 6e-8 each: those of rotations in the float64 model, all of them in the graph
)
ROUNDING = 1e-12  # float64 sums in another order, relative to the largest


def rope(kind: str = "default", **more: Any) -> dict[str, Any]:
    """The parameters of rotary positions. The library writes to them."""
    return {"rope_type": kind, "rope_theta": 10_000.0, **more}


def built(head: str, layers: int = 3, family: str = "ModernBert", **changes: Any) -> Any:
    return small(family, head, layers, **changes)


YARN = rope("yarn", factor=4.0, original_max_position_embeddings=32)


@pytest.mark.parametrize(
    ("family", "head", "changes"),
    [
        ("ModernBert", "Model", {}),
        ("ModernBert", "ForMaskedLM", {"norm_bias": True, "attention_bias": True, "mlp_bias": True}),
        ("ModernBert", "ForSequenceClassification", {"local_attention": 1}),
        ("ModernBert", "ForSequenceClassification", {"classifier_pooling": "mean", "local_attention": 6}),
        ("ModernBert", "ForTokenClassification", {"local_attention": 300}),
        ("ModernBert", "ForQuestionAnswering", {"layer_types": ["sliding_attention"] * 3}),
        ("ModernBert", "ForMultipleChoice", {"layer_types": ["sliding_attention", "full_attention", "full_attention"]}),
        ("ModernBert", "ForMultipleChoice", {"classifier_pooling": "mean", "layer_types": ["full_attention"] * 3}),
        ("ModernBert", "Model", {"rope_parameters": {"full_attention": YARN, "sliding_attention": rope()}}),
        ("ModernBertDecoder", "Model", {}),
        ("ModernBertDecoder", "ForCausalLM", {"local_attention": 2}),
        ("ModernBertDecoder", "ForSequenceClassification", {"local_attention": 300}),
    ],
)
def test_every_configuration_is_the_library(family: str, head: str, changes: dict[str, Any]) -> None:
    assert worst_difference(from_model(built(head, family=family, **changes))) <= FLOAT32


def test_wide_windows_take_several_blocks_and_narrow_ones_the_blocks_that_they_reach() -> None:
    assert (Windows(64, 64).block, Windows(64, 64).before, Windows(64, 64).after) == (64, 1, 1)
    assert (Windows(300, 300).block, Windows(300, 300).before) == (128, 3)
    assert (Windows(63, 0).block, Windows(63, 0).before, Windows(63, 0).after) == (64, 1, 0)
    assert Windows(0, 0).block == 1


@pytest.mark.parametrize(("before", "after"), [(4, 4), (3, 0), (0, 0), (300, 150)])
def test_a_window_holds_the_tokens_that_the_paper_says(before: int, after: int) -> None:
    """Computes softmax attention for each query over the real tokens of its window, written from the definition."""
    windows, chance = Windows(before, after), torch.Generator().manual_seed(0)
    length = 4 * windows.block + windows.block * (before > 100)
    query, key, value = (torch.randn(2, 1, length, 4, generator=chance, dtype=torch.float64) for _ in range(3))
    real = torch.ones(2, length, dtype=torch.bool)
    real[1, length // 2 :] = False
    found, sees = windows.attend(query, key, value, real), windows.sees(real)
    for row in range(2):
        for place in range(0, length, 1 if length < 40 else 37):
            kept = [other for other in range(length) if -before <= other - place <= after and real[row, other]]
            assert bool(sees[row, place]) == bool(kept)
            if kept:
                weights = torch.softmax(key[row, 0, kept] @ query[row, 0, place], dim=0)
                assert (found[row, place] - weights @ value[row, 0, kept]).abs().max() <= ROUNDING


def test_rotations_are_those_of_the_paper() -> None:
    """Su et al. 2021, eq. 34: the pair (x, y) of a position m turns by the angle m theta."""
    config = built("Model", 1).config
    rotary = modernbert_rotary(config)
    tokens = torch.randn(1, 5, 2, 1, 8, generator=torch.Generator().manual_seed(0))
    found = Positions(rotary, "full_attention", 5, 8).turn(tokens)
    for place in range(5):
        for pair in range(4):
            angle = place * 160_000.0 ** (-2 * pair / 8)
            x, y = (float(tokens[0, place, 1, 0, one]) for one in (pair, pair + 4))
            turned = x * math.cos(angle) - y * math.sin(angle), y * math.cos(angle) + x * math.sin(angle)
            assert np.allclose([float(found[0, place, 1, 0, one]) for one in (pair, pair + 4)], turned, atol=1e-6)


def modernbert_rotary(config: Any) -> Any:
    return ModernBertModel(config).rotary_emb


def with_padding(length: int) -> dict[str, Tensor]:
    """Inputs of three rows: without padding, padded on the right, padded on the left."""
    ids = torch.randint(4, VOCABULARY, (3, length), generator=torch.Generator().manual_seed(length))
    mask = torch.ones_like(ids)
    mask[1, length * 2 // 3 :] = mask[2, : length // 3] = 0
    return {"input_ids": ids, "attention_mask": mask}


def propagated(model: Any, given: dict[str, Tensor], label: int, method: str) -> tuple[Tensor, Tensor, Tensor]:
    """The relevance that the papers' steps propagate in float64, each row's logit, and what its softmaxes keep."""
    wide, rows = copy.deepcopy(model).double(), []
    for ids, mask in zip(given["input_ids"], given["attention_mask"], strict=True):
        slow = ModernBert(wide, values_alone=method == "cplrp")
        rows.append((*slow(ids, mask > 0, label), slow.lost))
    relevance, logits, lost = (torch.stack(part).detach() for part in zip(*rows, strict=True))
    return relevance, logits, lost


def check_propagated(relevance: Tensor, residual: Tensor, wanted: tuple[Tensor, Tensor, Tensor], bias: Tensor) -> None:
    """Compares relevance and residual. The residual is the bias of the classifier, the only one, and what softmaxes keep.

    The softmaxes of CP-LRP are constants and keep nothing: relevance and bias are the whole logit.
    """
    scores, logits, lost = wanted
    assert (relevance - scores).abs().max() <= PROPAGATED * scores.abs().max()
    assert (residual - bias - lost).abs().max() <= PROPAGATED * (logits.abs() + scores.abs().sum(-1)).max()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("method", ["attnlrp", "cplrp"])
def test_relevance_is_what_the_papers_steps_propagate(method: str, pooling: str) -> None:
    """The rules, over the lowered model in float64: a full layer and two of windows, padding on either side."""
    model, given = built("ForSequenceClassification", classifier_pooling=pooling), with_padding(21)
    kept = given["attention_mask"][:, 0] > 0 if pooling == "cls" else slice(None)
    given = {name: value[kept] for name, value in given.items()}
    wanted = propagated(model, given, 1, method)
    source = from_model(model)
    program, arrays = Program(source), {name: value.numpy() for name, value in given.items()}
    with frozen(source.module.double()), lowered(program, source.limits) as lowering, METHODS[method].rules():
        program.lowering = lowering
        with vectors_of(source.embedding) as leaves:
            (logits,) = program(*(blocked(source, lowering, name, arrays) for name in source.inputs))
            (gradient,) = torch.autograd.grad(logits[:, 1].sum(), leaves)
    found = (gradient * leaves[0].detach()).sum(-1).flatten(1)[:, :21]
    assert not found[given["attention_mask"] == 0].any()
    check_propagated(found, logits[:, 1].detach() - found.sum(-1), wanted, model.classifier.bias[1].detach())


def test_the_plain_gradient_behind_the_norm_of_the_embeddings_says_something() -> None:
    """Before the norm it would be 0 times the vector, since a norm's answer does not change with the vector's length."""
    model, given = built("ForSequenceClassification"), inputs(built("Model", 1), 21)
    source = from_model(model)
    _, found = autograd(model, given, source.embedding, "gradient")
    _, before = autograd(model, given, method="gradient")
    assert np.abs(before).max() <= 1e-2 * np.abs(found).max()


def test_a_classifier_is_explained_at_lengths_never_traced(tmp_path: Path) -> None:
    model = built("ForSequenceClassification", 2, classifier_pooling="mean")
    bundle = edgexf.export(model, explain=("attnlrp", "cplrp"), output=tmp_path / "out")
    assert "left" in {row["mask"] for row in bundle.manifest.grid["rows"]}
    with edgexf.load(bundle.path) as session:
        for length in (2, 57, 300):
            given = inputs(model, length)
            check(bundle.path, model, given)
            _, wanted = autograd(model, given)
            found = session.run_explain(**{name: value.numpy() for name, value in given.items()})["relevance"]
            assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
        for method in ("attnlrp", "cplrp"):
            padded = with_padding(21)
            arrays = {name: value.numpy() for name, value in padded.items()}
            explained = session.run_explain(**arrays, target=np.float32([[0, 1]] * 3), method=method)
            parts = (torch.from_numpy(explained[name]) for name in ("relevance", "residual"))
            check_propagated(*parts, propagated(model, padded, 1, method), model.classifier.bias[1].detach())


def test_attention_weights_are_read_from_joined_projections(tmp_path: Path) -> None:
    model = built("ForSequenceClassification", 2, max_position_embeddings=12)
    manifest = edgexf.export(model, explain=("attention-rollout",), output=tmp_path / "out").manifest
    assert manifest.methods == ("attention-rollout",)
    assert manifest.grid["worst"] <= 1e-4


def test_a_decoder_answers_and_is_explained_at_lengths_never_traced(tmp_path: Path) -> None:
    model = built("ForCausalLM", 2, "ModernBertDecoder")
    bundle = edgexf.export(model, output=tmp_path / "out")
    for length in (2, 57, 300):
        check(bundle.path, model, inputs(model, length))


def test_a_runtime_takes_padding_on_either_side_and_on_no_other(tmp_path: Path) -> None:
    model = built("ForTokenClassification", 2)
    bundle = edgexf.export(model, output=tmp_path / "out")
    given = {name: value.flip(1) for name, value in inputs(model, 40).items()}
    check(bundle.path, model, given)
    arrays = {name: value.numpy() for name, value in given.items()}
    with edgexf.load(bundle.path) as session:
        assert session.manifest.limits.pads_left
        relevance = session.run_explain(**arrays, position=np.array([0, 20, 39]))["relevance"]
        assert not relevance[arrays["attention_mask"] == 0].any()
        with pytest.raises(InputError, match="a real token, 20 to 39, got 19 in row 1"):
            session.run_explain(**arrays, position=np.array([0, 19, 39]))
        arrays["attention_mask"][0, 7] = 0
        with pytest.raises(InputError, match="zeros on one side, in each row, got another order in row 0"):
            session.run(**arrays)


class Pooled(nn.Module):
    """A mean over all tokens, padding too: a head that reads what stands in a hidden token."""

    def __init__(self) -> None:
        super().__init__()
        self.body = built("Model", 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        found = self.body(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        hidden: Tensor = found.last_hidden_state + sum(found.hidden_states)
        return hidden.mean(dim=1)


def test_a_custom_module_may_read_hidden_tokens(tmp_path: Path) -> None:
    given = inputs(built("Model", 1), 21)
    bundle = edgexf.export(
        Pooled().eval(),
        example_inputs=(given["input_ids"], given["attention_mask"]),
        explain=(),
        output=tmp_path / "out",
    )
    assert bundle.manifest.grid["worst"] <= 1e-4


def test_angles_that_change_with_the_length_are_refused(tmp_path: Path) -> None:
    factors = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "original_max_position_embeddings": 32}
    changed = {"full_attention": rope("longrope", **factors), "sliding_attention": rope()}
    model = built("Model", 1, rope_parameters=changed)
    with pytest.raises(ExportError, match="got 'longrope' for full_attention"):
        edgexf.export(model, output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_decoder_without_its_own_token_in_a_window_is_refused() -> None:
    with pytest.raises(ExportError, match="got local_attention 1, of which"):
        from_model(built("Model", family="ModernBertDecoder", local_attention=1))


def see_one_more(self: Windows, before: int, after: int, right: Callable[..., None]) -> None:
    right(self, before, after + 1)


def forget_who_sees(self: Windows, real: Tensor, right: Callable[..., Tensor]) -> Tensor:
    return torch.ones_like(right(self, real))


def turn_as_the_other_layers(
    self: Positions, rotary: Any, _: str, length: int, width: int, right: Callable[..., None]
) -> None:
    right(self, rotary, "full_attention", length, width)


@pytest.mark.parametrize(
    ("broken", "of", "name"),
    [
        (see_one_more, Windows, "__init__"),
        (forget_who_sees, Windows, "sees"),
        (turn_as_the_other_layers, Positions, "__init__"),
    ],
)
def test_a_lowering_that_is_broken_never_becomes_a_bundle(
    broken: Any, of: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token without a real token in its window shows where a classifier reads the first token, padded on the left."""
    right = getattr(of, name)
    monkeypatch.setattr(of, name, lambda *given: broken(*given, right=right))
    with pytest.raises(VerificationError, match="length"):
        edgexf.export(built("ForSequenceClassification"), explain=(), output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
