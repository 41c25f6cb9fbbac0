"""Hugging Face's Nystromformer: the lowering against the paper's matrices, and against the library for single rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from families import TOLERANCE, autograd, inputs, small
from torch import Tensor, nn
from torch.nn import functional as F

import edgexf
from edgexf.bundle.folder import Bundle
from edgexf.bundle.manifest import Limits
from edgexf.cli import main
from edgexf.errors import ExportError, VerificationError
from edgexf.models.full import join_heads, split_heads
from edgexf_exporters.lowerings.huggingface import nystromformer
from edgexf_exporters.lowerings.huggingface.nystromformer import (
    Attention,
    NystromAttention,
    Nystromformer,
    attentions_of,
    defined,
    describe,
)
from edgexf_exporters.lowerings.swap import replaced
from edgexf_exporters.sources.checkpoint import from_model
from edgexf_exporters.verify.float64 import worst_difference
from edgexf_exporters.verify.row_by_row import DEFINITION, MODEL

pytestmark = pytest.mark.slow  # exports or runs many models

ROUNDING = 1e-12  # float64, relative to the largest value
WHOLE = 48  # tokens: the configured length of the small model, in segments of 8
FULL = {"num_landmarks": 64, "segment_means_seq_len": 64}  # full attention, as in the published checkpoint
Sizes = dict[str, Any]


class Oracle(nn.Module):
    """Attention by the paper's n x n matrix for each row, cut to the real tokens, in float64.

    `mask` is the library's additive mask of scores [batch, 1, tokens, tokens], or None without padding.
    """

    def __init__(self, own: Any) -> None:
        super().__init__()
        self.own = own

    def forward(self, hidden: Tensor, mask: Tensor | None, *_: Any) -> tuple[Tensor]:
        tokens = [hidden.shape[1]] * len(hidden) if mask is None else (mask[:, 0, -1] == 0).sum(-1).tolist()
        rows = [self.row(row[:real].double()) for row, real in zip(hidden, tokens, strict=True)]
        return (torch.stack([F.pad(row, (0, 0, 0, hidden.shape[1] - len(row))) for row in rows]).to(hidden.dtype),)

    def row(self, hidden: Tensor) -> Tensor:
        """Returns [tokens, width]. The matrices follow eq. 13 to 17."""
        own, width = self.own, self.own.attention_head_size
        query, key, value = (
            hidden @ part.weight.double().T + part.bias.double() for part in (own.query, own.key, own.value)
        )
        heads = [slice(head * width, (head + 1) * width) for head in range(own.num_attention_heads)]
        if own.num_landmarks == own.seq_len:
            matrices = [softmax(query[:, head] @ key[:, head].T / math.sqrt(width)) for head in heads]
        else:
            matrices = self.matrices([query[:, head] for head in heads], [key[:, head] for head in heads])
        mixed = [matrix @ value[:, head] for matrix, head in zip(matrices, heads, strict=True)]
        kernel = own.conv.weight[:, 0, :, 0].double()  # [heads, kernel]
        near = [self.neighbours(value[:, head], weights) for head, weights in zip(heads, kernel, strict=True)]
        return torch.cat([far + close for far, close in zip(mixed, near, strict=True)], dim=1)

    def matrices(self, queries: list[Tensor], keys: list[Tensor]) -> list[Tensor]:
        size, scale = self.own.seq_len // self.own.num_landmarks, math.sqrt(self.own.attention_head_size)
        starts = range(0, len(queries[0]), size)
        far = [
            [torch.stack([part[at : at + size].mean(0) for at in starts]) for part in parts]
            for parts in (queries, keys)
        ]
        cores = [softmax(query @ key.T / scale) for query, key in zip(*far, strict=True)]
        largest = [core.sum(0).max() for core in cores]
        if self.own.init_option == "original":
            largest = [max(largest)] * len(cores)
        found = []
        for place, core in enumerate(cores):
            inverse, one = core.T / largest[place], torch.eye(len(core), dtype=core.dtype)
            for _ in range(6):
                product = core @ inverse
                inverse = inverse @ (13 * one - product @ (15 * one - product @ (7 * one - product))) / 4
            left = softmax(queries[place] @ far[1][place].T / scale)
            found.append(left @ inverse @ softmax(far[0][place] @ keys[place].T / scale))
        return found

    @staticmethod
    def neighbours(value: Tensor, weights: Tensor) -> Tensor:
        """Returns the weighted sum of each token's neighbours, by a matrix over all pairs of tokens."""
        place = torch.arange(len(value))
        offset = place - place[:, None] + len(weights) // 2
        inside = (offset >= 0) & (offset < len(weights))
        return torch.where(inside, weights[offset.clamp(0, len(weights) - 1)], 0.0) @ value


def softmax(scores: Tensor) -> Tensor:
    weights = (scores - scores.max(-1, keepdim=True).values).exp()
    return weights / weights.sum(-1, keepdim=True)


@contextmanager
def by_the_paper(model: nn.Module) -> Iterator[None]:
    with replaced(model, {own: Oracle(own) for own in attentions_of(model)}):
        yield


def limits(model: Any) -> Limits:
    return Limits(50, 2, describe(model).longest, 1, 0, "invariant", 2)


def lowered_answer(model: Any, given: dict[str, Tensor]) -> Tensor:
    """Returns the lowering's output. Pads the inputs to whole segments, as the graph does, and crops the output."""
    module = Nystromformer(model, limits(model))
    length = given["input_ids"].shape[1]
    with torch.no_grad():
        answer: Tensor = module(**{name: F.pad(value, (0, -length % module.block)) for name, value in given.items()})[0]
    return answer[:, :length]


@pytest.mark.parametrize("option", ["original", "exact"])
@pytest.mark.parametrize(
    "sizes",
    [
        {}, {"num_landmarks": 1}, {"num_landmarks": 24}, {"num_landmarks": 5}, {"num_landmarks": 30},
        {"conv_kernel_size": 65}, {"conv_kernel_size": 1}, {"num_attention_heads": 2, "num_landmarks": 3}, FULL,
    ],
)  # fmt: skip
def test_the_lowering_is_the_papers_matrix_for_the_real_tokens_of_each_row(sizes: Sizes, option: str) -> None:
    model = small("Nystromformer", "Model", layers=2, **sizes).double()
    for own in attentions_of(model):
        own.init_option = option
    longest = describe(model).longest
    for length in sorted({2, 7, 8, 9, 17, 29, longest - 1, longest}):
        given = inputs(model, length)
        real = given["attention_mask"] > 0
        found = lowered_answer(model, given)
        with torch.no_grad(), by_the_paper(model):
            wanted = model(**given).last_hidden_state
        assert found.isfinite().all()
        assert (found - wanted)[real].abs().max() <= ROUNDING * wanted[real].abs().max()


@pytest.mark.parametrize(
    ("sizes", "lengths"), [({}, [48]), ({"num_landmarks": 5}, [45]), ({"num_landmarks": 30}, [30]), (FULL, [2, 31, 60])]
)
def test_the_lowering_is_the_library_wherever_it_answers_a_row_alone(sizes: Sizes, lengths: list[int]) -> None:
    model = small("Nystromformer", "Model", layers=2, **sizes).double()
    for length in lengths:
        given = {name: value[:1] for name, value in inputs(model, length).items()}
        with torch.no_grad():
            wanted = model(**given).last_hidden_state
        assert (lowered_answer(model, given) - wanted).abs().max() <= ROUNDING * wanted.abs().max()


@pytest.mark.parametrize("head", ["Model", "ForMultipleChoice", "ForQuestionAnswering"])
@pytest.mark.parametrize("sizes", [{}, FULL])
def test_in_float64_the_grid_differs_by_less_than_rounding(head: str, sizes: Sizes) -> None:
    assert 0 < worst_difference(from_model(small("Nystromformer", head, layers=2, **sizes))) <= ROUNDING


def test_a_landmark_without_a_real_token_is_as_if_it_were_not_there() -> None:
    own = NystromAttention(attentions_of(small("Nystromformer", "Model").double())[0])
    kernel = torch.rand(2, 4, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(-1)
    found = own.inverse(F.pad(kernel, (0, 2, 0, 2)))
    assert torch.equal(found, F.pad(found[..., :4, :4], (0, 2, 0, 2)))
    assert (found[..., :4, :4] - own.inverse(kernel)).abs().max() <= ROUNDING * found.abs().max()


def test_what_the_library_answers_to_a_row_depends_on_the_others_and_on_padding() -> None:
    """Therefore the reference outputs come from the library on each row alone.

    The library even mixes shorter rows if their lengths add up to one configured length.
    """
    model = small("Nystromformer", "Model")
    for length in (WHOLE, WHOLE // 3):
        ids = torch.randint(4, 50, (3, length), generator=torch.Generator().manual_seed(length))
        with torch.no_grad():
            together = model(input_ids=ids).last_hidden_state
            with defined(model):
                alone = torch.cat([model(input_ids=row).last_hidden_state for row in ids.split(1)])
        assert (together - alone).abs().max() > 1e-3 * alone.abs().max()
    full = small("Nystromformer", "Model", **FULL)
    given = inputs(full, 30)
    with torch.no_grad():
        padded = full(**given).last_hidden_state[1, :15]
        alone = full(input_ids=given["input_ids"][1:2, :15], token_type_ids=given["token_type_ids"][1:2, :15])[0][0]
    assert (padded - alone).abs().max() > 1e-2 * alone.abs().max()


NO_EXPLANATION = ("--explain", "none")


def export(model: Any, folder: Path, *options: str) -> Path:
    """Exports through the command line, from a folder that save_pretrained wrote."""
    model.save_pretrained(folder / "checkpoint")
    done = CliRunner().invoke(
        main, ["export", "--model", str(folder / "checkpoint"), "-o", str(folder / "out"), *(options or NO_EXPLANATION)]
    )
    assert done.exit_code == 0, done.output
    assert ("against" in done.output) == (DEFINITION in done.output)
    return folder / "out"


def check(bundle: Path, model: Any, given: dict[str, Tensor]) -> None:
    """Compares every output on the real tokens with the library under the paper's attention."""
    with edgexf.load(bundle) as session:
        found = session.run(**{name: tensor.numpy() for name, tensor in given.items()})
        tokens = {output.name for output in session.manifest.variants[0].outputs if output.has_tokens}
    with torch.no_grad(), by_the_paper(model):
        wanted = model(**given)
    real = (given["attention_mask"] > 0).numpy()
    for name, output in found.items():
        reference = wanted[name].numpy()
        assert output.shape == reference.shape
        assert np.isfinite(output).all()
        kept = (output[real], reference[real]) if name in tokens else (output, reference)
        assert np.abs(kept[0] - kept[1]).max() <= TOLERANCE * np.abs(kept[1]).max()


@pytest.mark.parametrize("head", ["Model", "ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM"])
def test_a_head_answers_at_lengths_never_traced(head: str, tmp_path: Path) -> None:
    model = small("Nystromformer", head)
    out = export(model, tmp_path)
    for length in (2, 13, 40, WHOLE):
        check(out, model, inputs(model, length))


def test_a_choice_is_made_among_rows_of_inputs(tmp_path: Path) -> None:
    model = small("Nystromformer", "ForMultipleChoice")
    out = export(model, tmp_path)
    for length, choices in ((17, 2), (WHOLE, 4)):
        check(out, model, inputs(model, length, choices=choices))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Exports a model from memory with an explain graph. Checks that the export leaves the model object unchanged."""
    model = small("Nystromformer", "ForSequenceClassification").train()
    model.nystromformer.embeddings.eval()
    before, weights = state(model), {name: value.clone() for name, value in model.state_dict().items()}
    made = edgexf.export(model, explain="gradient", output=tmp_path_factory.mktemp("nystromformer") / "out")
    assert state(model) == before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    return made


def state(model: Any) -> tuple[Any, ...]:
    """Returns the modules, modes, gradients and hooks of a model."""
    modules = dict(model.named_modules())
    return (
        modules,
        {name: module.training for name, module in modules.items()},
        {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        {name: len(module._forward_hooks) for name, module in modules.items()},
    )


@pytest.mark.parametrize("length", [2, 13, 40, WHOLE])
def test_relevance_at_lengths_never_traced_is_autograds(classifier: Bundle, length: int) -> None:
    model = small("Nystromformer", "ForSequenceClassification")
    given = inputs(model, length)
    with by_the_paper(model):
        logits, wanted = autograd(model, given, method="gradient")
    with edgexf.load(classifier.path) as session:
        found = session.run_explain(**{name: value.numpy() for name, value in given.items()})
    assert np.abs(found["logits"] - logits).max() <= TOLERANCE * np.abs(logits).max()
    assert np.abs(found["relevance"] - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    assert not found["relevance"][given["attention_mask"].numpy() == 0].any()


def test_padding_and_batch_mates_change_nothing(classifier: Bundle) -> None:
    with edgexf.load(classifier.path) as session:
        given = {name: value.numpy() for name, value in inputs(small("Nystromformer", "Model"), 30).items()}
        together = session.run(**given)["logits"]
        alone = session.run(**{name: value[1:2, :15] for name, value in given.items()})["logits"]
    assert np.abs(together[1:2] - alone).max() <= 1e-5 * np.abs(alone).max()


def test_the_grid_says_which_cells_the_library_itself_answers(classifier: Bundle) -> None:
    manifest = classifier.manifest
    itself = [row for row in manifest.grid["rows"] if row["against"] == MODEL]
    assert {(row["length"], row["mask"]) for row in itself} == {(WHOLE, "none")}
    assert {row["against"] for row in manifest.grid["rows"]} == {MODEL, DEFINITION}
    assert manifest.grid["checks"]["the model itself answers a part of the grid"] == ""
    assert manifest.limits == Limits(50, 2, WHOLE, 8, 0, "invariant", 2)
    assert "| definition |" in (classifier.path / "README.md").read_text()


def test_a_model_of_full_attention_is_the_library_in_every_cell(tmp_path: Path) -> None:
    """The model has full attention, as the published checkpoint has, and an explain graph."""
    model = small("Nystromformer", "ForSequenceClassification", **FULL)
    out = export(model, tmp_path, "--explain", "gradient")
    for length in (2, 41, 60):
        check(out, model, inputs(model, length))
    with edgexf.load(out) as session:
        manifest = session.manifest
        found = session.run_explain(**{name: value.numpy() for name, value in inputs(model, 41).items()})
    assert {row["against"] for row in manifest.grid["rows"]} == {MODEL}
    assert (manifest.limits.max_length, manifest.limits.switch, manifest.limits.block) == (60, 60, 1)
    with by_the_paper(model):
        _, wanted = autograd(model, inputs(model, 41), method="gradient")
    assert np.abs(found["relevance"] - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def count_padding(self: NystromAttention, tokens: Tensor, right: Any = NystromAttention.sums) -> Tensor:
    found: Tensor = right(self, tokens)
    return torch.full_like(found, self.block) if tokens.shape[1] == 1 else found


def look_at_batch_mates(self: NystromAttention, own: Any, right: Any = NystromAttention.__init__) -> None:
    right(self, own)
    self.maximum_over = (0, 1, 2)  # type: ignore[assignment]


def forget_the_mask(self: NystromAttention, *given: Tensor, right: Any = NystromAttention.mixed) -> Tensor:
    found: Tensor = right(self, *given[:3], torch.ones_like(given[3]))
    return found


def let_padding_into_the_convolution(
    self: Attention, hidden: Tensor, real: Tensor, right: Any = Attention.forward
) -> Tensor:
    own = self.original
    behind = split_heads(own.value(hidden), own.num_attention_heads) * ~real[:, None, :, None]
    found: Tensor = right(self, hidden, real) + join_heads(own.conv(behind))
    return found


@pytest.mark.parametrize(
    ("place", "name", "broken"),
    [
        (NystromAttention, "sums", count_padding),
        (NystromAttention, "__init__", look_at_batch_mates),
        (NystromAttention, "mixed", forget_the_mask),
        (Attention, "forward", let_padding_into_the_convolution),
        (nystromformer, "STEPS", 5),
    ],
)
def test_a_lowering_that_is_broken_never_becomes_a_bundle(
    place: Any, name: str, broken: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, broken)
    with pytest.raises(VerificationError, match="length"):
        edgexf.export(small("Nystromformer", "Model"), explain=(), output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_definition_is_taken_out_again_after_a_failure() -> None:
    model = small("Nystromformer", "Model")
    before = state(model)
    with pytest.raises(ZeroDivisionError), defined(model):
        1 / 0  # noqa: B018 (any failure)
    assert state(model) == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"conv_kernel_size": 4}, "conv_kernel_size must be odd"),
        ({"num_landmarks": 49}, "49 landmarks over 48 tokens"),
        ({"num_landmarks": 0}, "0 landmarks over 48 tokens"),
        ({"max_position_embeddings": 47}, "47 positions"),
        ({"pad_token_id": None}, "pad_token_id"),
    ],
)
def test_a_config_that_leaves_no_contract_is_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence) as caught:
        from_model(small("Nystromformer", "Model", **changes))
    assert "\n" not in str(caught.value)


def test_layers_of_different_landmarks_are_a_sentence() -> None:
    model = small("Nystromformer", "Model", layers=2)
    attentions_of(model)[1].num_landmarks = 3
    with pytest.raises(ExportError, match="one num_landmarks"):
        from_model(model)
