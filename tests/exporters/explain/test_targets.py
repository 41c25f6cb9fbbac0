"""Targets of each head, by arrays and by name, and integrated gradients from the graph to the finished path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients
from click.testing import CliRunner
from families import autograd_of, inputs, small
from small import random_tokens, small_encoder
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

import edgexf
from edgexf.bundle.golden import read
from edgexf.cli import main
from edgexf.errors import ExportError, InputError, UsageError
from edgexf.models.encoder import Encoder
from edgexf.report.explanation import Explanation
from edgexf_runtimes.explain import integrated_gradients
from edgexf_runtimes.measure import golden

pytestmark = pytest.mark.slow  # exports or runs many models

TOLERANCE = 1e-4  # relative to the scale of relevance, as in the contract
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (*SPECIAL, *(f"w{index}" for index in range(45)))
Ids = dict[str, Tensor]


def tokenizer() -> PreTrainedTokenizerFast:
    backend = Backend(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token=SPECIAL[1]))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))  # type: ignore[assignment]
    backend.add_special_tokens(list(SPECIAL))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]", "cls_token": "[CLS]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def arrays(given: Ids) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in given.items()}


def agrees(found: dict[str, Any], value: Tensor, relevance: np.ndarray[Any, Any]) -> None:
    """Asserts that relevance agrees, and that the sum of relevance and residual is the explained value."""
    assert np.abs(found["relevance"] - relevance).max() <= TOLERANCE * np.abs(relevance).max()
    axes = tuple(range(1, relevance.ndim))
    whole = found["relevance"].sum(axis=axes) + found["residual"]
    scale = np.abs(relevance).sum(axis=axes).max() + value.abs().max().item()
    assert np.abs(whole - value.detach().numpy()).max() <= TOLERANCE * scale


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path]]:
    """Returns a function of a head's name: a small BERT with this head and its bundle, exported once."""
    made: dict[str, tuple[Any, Path]] = {}

    def of(head: str) -> tuple[Any, Path]:
        if head not in made:
            model, out = small("Bert", head), tmp_path_factory.mktemp(head) / "out"
            edgexf.export(model, tokenizer=tokenizer(), output=out)
            made[head] = model, out
        return made[head]

    return of


Bundles = Callable[[str], tuple[Any, Path]]


def test_a_tokens_logits_are_explained_at_a_position(bundles: Bundles) -> None:
    model, out = bundles("ForTokenClassification")
    given, position = inputs(model, 37), torch.tensor([30, 11, 0])
    target = torch.tensor([[0.0, 1.0], [1.0, -1.0], [0.0, 0.0]])

    def value(answer: Any) -> Tensor:
        logits = answer.logits[torch.arange(3), position]
        return torch.stack([logits[0, 1], logits[1, 0] - logits[1, 1], logits[2].max()])

    explained, wanted = autograd_of(model, given, value)
    with edgexf.load(out) as session:
        found = session.run_explain(**arrays(given), target=target.numpy(), position=position.numpy())
        agrees(found, explained, wanted)
        for wrong in ([30, 18, 0], [37, 0, 0], [-1, 0, 0], [0, 0]):
            with pytest.raises(InputError, match="position"):
                session.run_explain(**arrays(given), position=wrong)
        with pytest.raises(UsageError, match="position"):
            session.run_explain(**arrays(given))
        with pytest.raises(UsageError, match="target_start"):
            session.run_explain(**arrays(given), position=[0, 0, 0], target_start=np.zeros((3, 37)))
        why = session.explain("w1 w2 w3", "LABEL_1", position=-2)
        assert why.position == 3
        assert why.target == {"LABEL_1": 1.0}
        assert why.prediction is not None
        assert why.prediction.label in ("LABEL_0", "LABEL_1")
        with pytest.raises(UsageError, match="a part of the text"):
            session.explain("w1 w2 w3", position="w9")
        assert session.explain("w1 w2 w3", position="w2 w3").position == 2
        best = max(session.predict("w1 w2 w3", aggregation_strategy="simple"), key=lambda entity: entity["score"])
        assert "w1 w2 w3"[best["start"] :].startswith(
            session.explain("w1 w2 w3").tokens[session.explain("w1 w2 w3").position]
        )
        occluded = session.explain("w1 w2 w3", "LABEL_1", "occlusion", position=-2)
    assert occluded.explained == pytest.approx(why.explained, rel=1e-4)


def test_an_answer_is_explained_by_its_ends(bundles: Bundles) -> None:
    model, out = bundles("ForQuestionAnswering")
    given = inputs(model, 37)
    starts, ends = torch.zeros(3, 37), torch.zeros(3, 37)
    starts[0, 4], ends[0, 9], ends[1, 3] = 1, 1, 2  # row 1: only an end; row 2: its only token by default

    def value(answer: Any) -> Tensor:
        start, end = answer.start_logits, answer.end_logits
        return torch.stack([start[0, 4] + end[0, 9], 2 * end[1, 3], start[2, 0] + end[2, 0]])

    explained, wanted = autograd_of(model, given, value)
    with edgexf.load(out) as session:
        found = session.run_explain(**arrays(given), target_start=starts.numpy(), target_end=ends.numpy())
        agrees(found, explained, wanted)
        why = session.explain(("w1 w2", "w3 w4 w5"), {"start": 4, "end": 5})
        assert set(why.target) == {"start at w3 (4)", "end at w4 (5)"}
        best = session.explain(("w1 w2", "w3 w4 w5"))
        assert best.explained >= why.explained
        assert best.explained == pytest.approx(float(best.scores.sum()) + best.residual, rel=1e-4)
        named = session.explain(("w1 w2", "w3 w4 w5"), "w4 w5")
        assert set(named.target) == {"start at w4 (5)", "end at w5 (6)"}
        for wrong in ({"start": 99}, {"middle": 1}, "w1", {}):
            with pytest.raises(UsageError, match=r"start and end|part of the text"):
                session.explain(("w1 w2", "w3 w4 w5"), wrong)


def test_a_vector_is_explained_by_what_it_is_similar_to(bundles: Bundles) -> None:
    model, out = bundles("Model")
    given, direction = inputs(model, 37), torch.randn(32, generator=torch.Generator().manual_seed(0))
    real = given["attention_mask"][:, :, None]

    def value(answer: Any) -> Tensor:
        mean = (answer.last_hidden_state * real).sum(1) / real.sum(1)
        return mean @ direction / (mean.norm(dim=-1).detach() * direction.norm())  # the rules keep a norm constant

    explained, wanted = autograd_of(model, given, value)
    with edgexf.load(out) as session:
        found = session.run_explain(**arrays(given), target=direction.repeat(3, 1).numpy())
        agrees(found, explained, wanted)
        same = session.explain("w1 w2 w3", "w1 w2 w3")
        itself = session.explain("w1 w2 w3")
        other = session.explain("w1 w2 w3", "w9 w8")
    assert same.prediction is None
    assert same.explained == pytest.approx(1, abs=1e-5)
    assert itself.explained == pytest.approx(1, abs=1e-5)
    assert other.target == {"w9 w8": 1.0}
    assert other.explained < 0.999
    assert Explanation.from_json(other.to_json()).prediction is None
    assert "w9 w8" in other.to_html()


def test_a_choice_is_explained_among_the_others(bundles: Bundles) -> None:
    model, out = bundles("ForMultipleChoice")
    given = inputs(model, 23, choices=3)
    target = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, -1.0], [0.0, 0.0, 2.0]])
    explained, wanted = autograd_of(model, given, lambda answer: (answer.logits * target).sum(-1))
    with edgexf.load(out) as session:
        found = session.run_explain(**arrays(given), target=target.numpy())
    assert found["relevance"].shape == (3, 3, 23)
    agrees(found, explained, wanted.reshape(3, 3, 23))


def test_a_word_that_is_filled_in_is_explained_by_its_text(bundles: Bundles) -> None:
    model, out = bundles("ForMaskedLM")
    with edgexf.load(out) as session:
        why = session.explain("w1 [MASK] w3", "w7")
        assert why.position == 2
        ids = torch.tensor([[2, 6, 4, 8, 3]])
        explained, wanted = autograd_of(
            model, {"input_ids": ids}, lambda answer: answer.logits[:, 2, WORDS.index("w7")]
        )
        assert why.explained == pytest.approx(explained.item(), rel=1e-4)
        assert np.abs(why.scores - wanted[0]).max() <= TOLERANCE * np.abs(wanted).max()
        with pytest.raises(UsageError, match="vocabulary"):
            session.explain("w1 [MASK] w3", "never")
        with pytest.raises(UsageError, match="position"):
            session.explain("w1 [MASK] [MASK]")


def test_what_is_written_is_explained_by_its_source(tmp_path: Path) -> None:
    """LED: relevance of the source tokens for a word that the decoder writes."""
    model = small("LED", "ForConditionalGeneration")
    edgexf.export(model, output=tmp_path / "out", max_global=3)
    given = inputs(model, 33, written=6)
    position, target = [5, 0, 3], np.zeros((3, 50), dtype=np.float32)
    target[:, 7] = 1
    embedding = model.get_encoder().embed_tokens
    explained, wanted = autograd_of(model, given, lambda answer: answer.logits[range(3), position, 7], embedding)
    with edgexf.load(tmp_path / "out") as session:
        found = session.run_explain(**arrays(given), target=target, position=position)
        agrees(found, explained, wanted)
        with pytest.raises(InputError, match="position"):
            session.run_explain(**arrays(given), target=target, position=[6, 0, 0])


class Classify(nn.Module):
    """A model that captum can call: from embeddings to the logit of one class."""

    def __init__(self, encoder: Encoder, mask: Tensor, label: int) -> None:
        super().__init__()
        self.encoder, self.mask, self.label = encoder, mask, label

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.encoder.classify(embeddings, self.mask[:1].expand(len(embeddings), -1))[:, self.label]


@pytest.fixture(scope="module")
def integrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, Path]:
    encoder = small_encoder("transformer", layers=1).eval()
    out = tmp_path_factory.mktemp("integrated") / "out"
    edgexf.export(encoder, output=out, explain=("integrated-gradients", "gradient"))
    return encoder, out


def test_gradients_of_the_graph_are_captums(integrated: tuple[Encoder, Path]) -> None:
    """Compares with captum's InputXGradient, and with IntegratedGradients at the same points of the same path."""
    encoder, out = integrated
    ids, label = random_tokens(1, 77), 1
    baseline = torch.full_like(ids, 32)
    model = Classify(encoder, torch.ones_like(ids), label)
    vectors, start = encoder.tokens(ids).detach(), encoder.tokens(baseline).detach()
    points = (np.arange(20) + 0.5) / 20
    plain = InputXGradient(model).attribute(vectors.requires_grad_(True)).sum(-1).detach().numpy()
    path = IntegratedGradients(model).attribute(vectors, start, n_steps=20, method="riemann_middle").sum(-1)
    target = np.eye(3, dtype=np.float32)[[label]]
    with edgexf.load(out) as session:
        found = session.run_explain(
            input_ids=ids.numpy(), target=target, baseline=baseline.numpy(), path=points, method="integrated-gradients"
        )
        ends = session.run_explain(
            input_ids=ids.numpy(), target=target, baseline=baseline.numpy(), path=[0, 1], method="integrated-gradients"
        )
        times_input = session.run_explain(input_ids=ids.numpy(), target=target, method="gradient")
    assert np.abs(times_input["relevance"] - plain).max() <= TOLERANCE * np.abs(plain).max()
    wanted = path.detach().numpy()
    assert np.abs(found["relevance"] - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    with torch.no_grad():
        at_input, at_baseline = (model(given).item() for given in (vectors, start))
    assert ends["path_values"][0] == pytest.approx([at_baseline, at_input], rel=1e-4)
    assert found["path_values"].shape == (1, 20)
    assert found["residual"][0] + found["relevance"].sum() == pytest.approx(at_input, rel=1e-4)


def test_a_path_is_refined_until_the_scores_are_complete(
    integrated: tuple[Encoder, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b"def f(x):\n    return x\n" * 3
    monkeypatch.setattr(integrated_gradients, "COMPLETE", 1e-3)  # a small model is within 5 % at once
    with edgexf.load(integrated[1]) as session:
        fine = session.explain(text, method="integrated-gradients")
        coarse = session.explain(text, method="integrated-gradients", time_limit=1e-6)
        other = session.explain(text, method="integrated-gradients", baseline="x")
        given = {"input_ids": [[257, *text]], "baseline": [[257, *[256] * len(text)]]}
        steps = fine.settings["steps"]
        ends, inner = (
            session.run_explain(**given, path=path, method="integrated-gradients")
            for path in ([0, 1], np.arange(1, steps) / steps)
        )
        value = ends["path_values"][0, 0]
        with pytest.raises(UsageError, match="span"):
            session.explain(text, method="integrated-gradients", span=3)
        for wrong in ({"path": [2.0]}, {"path": []}, {"baseline": [[0]]}, {"baseline": [[999] * (1 + len(text))]}):
            given = {"baseline": [[257] * (1 + len(text))], "path": [0.5], **wrong}
            with pytest.raises(InputError, match=next(iter(wrong))):
                session.run_explain(input_ids=[[257, *text]], method="integrated-gradients", **given)
    assert fine.settings["complete"] is True
    assert fine.settings["completeness"] <= 1e-3 < coarse.settings["completeness"]
    assert coarse.settings["complete"] is False
    assert coarse.settings["steps"] == 4 < steps <= 256
    assert fine.explained - float(value) == pytest.approx(float(fine.scores.sum()), rel=1.1e-3)
    trapezoids = (ends["relevance"] + (steps - 1) * inner["relevance"])[0] / steps
    assert np.abs(fine.scores - trapezoids).max() <= TOLERANCE * np.abs(trapezoids).max()
    assert "256" in fine.baseline
    assert "x" in other.baseline
    assert not np.allclose(other.scores, fine.scores)
    assert fine.scores[0] == 0  # the baseline keeps the class token


def test_golden_outputs_hold_the_values_along_a_path(integrated: tuple[Encoder, Path]) -> None:
    with edgexf.load(integrated[1]) as session:
        cells = read(session.path / "golden.npz")
        assert max(golden.check_cell(session, cell, tensors).worst for cell, tensors in cells.items()) <= TOLERANCE
        cell, tensors = next(iter(cells.items()))
        moved = golden.check_cell(session, cell, {**tensors, "path_values": tensors["path_values"] + 0.1})
    assert moved.residual > TOLERANCE >= moved.relevance


class Hyperbolic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embed(ids).sinh().mean(1))


def test_an_operator_without_a_rule_leaves_a_bundle_that_predicts_and_says_why(tmp_path: Path) -> None:
    torch.manual_seed(0)
    examples = (torch.randint(0, 30, (2, 16)),)
    bundle = edgexf.export(Hyperbolic().eval(), example_inputs=examples, output=tmp_path / "out")
    assert bundle.manifest.methods == ()
    assert "sinh without" in bundle.manifest.provenance["unexplained"]
    with pytest.raises(ExportError, match="sinh without"):
        edgexf.export(Hyperbolic().eval(), example_inputs=examples, output=tmp_path / "other", explain="attnlrp")
    assert not (tmp_path / "other").exists()
    edgexf.export(Hyperbolic().eval(), example_inputs=examples, output=tmp_path / "plain", explain="gradient")


def test_the_command_line_explains_integrated_gradients(integrated: tuple[Encoder, Path], tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"hello world\n")
    done = CliRunner().invoke(
        main,
        ["explain", str(integrated[1]), str(tmp_path / "input"), "--method", "integrated-gradients", "--budget", "8", "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert Explanation.from_json(done.output).settings["steps"] <= 8
