"""BERT and its dense relatives: every head against the library, real weights on real sentences, refused models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import minilm
import numpy as np
import onnx
import pytest
import torch
import transformers
from click.testing import CliRunner
from families import DENSE, autograd, check, inputs, small
from safetensors.torch import load_file, save_file
from small import ROOT
from torch import Tensor
from transformers import AutoTokenizer, BertModel

import edgexf
from edgexf import names
from edgexf.bundle.manifest import Limits
from edgexf.cli import main
from edgexf.errors import ExportError, VerificationError
from edgexf.products import ROWS
from edgexf_exporters.lowerings.huggingface import dense
from edgexf_exporters.sources.checkpoint import from_checkpoint, from_model
from edgexf_exporters.verify.eager import answers
from edgexf_exporters.verify.float64 import worst_difference
from edgexf_exporters.verify.graph_checks import quadratic_tensors

pytestmark = pytest.mark.slow  # exports or runs many models

FAMILIES = ("Bert", "DistilBert", "Roberta", "MPNet", "Esm")
RENAMED = ("XLMRoberta", "Camembert")  # RoBERTa under other names
SHIFTED = ("Roberta", "XLMRoberta", "Camembert", "MPNet", "Esm")  # their positions start behind the padding id
TYPED = ("Bert", "Roberta", "XLMRoberta", "Camembert")  # they take token types
HEADS = (
    "Model", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM",
    "ForMultipleChoice",
)  # fmt: skip
ROUNDING = 1e-12  # float64 sums in another order, relative to the largest; eight layers give about 1e-15
SENTENCES = [
    "The cat sleeps on the sofa.",
    "A kitten naps on a couch!",
    "Interest rates rose again this year, and central banks say that they are not done.",
    "No.",
]


def built(family: str, head: str = "Model", **changes: Any) -> Any:
    """Builds a small model of the family with changes to its config."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**{**DENSE, "num_hidden_layers": 1, **changes})
    return getattr(transformers, family + head)(config).eval()


@pytest.mark.parametrize(
    ("family", "head"),
    [*(("Bert", head) for head in HEADS), ("DistilBert", "ForMaskedLM"), ("Roberta", "ForQuestionAnswering"),
     ("Roberta", "ForMultipleChoice"), ("XLMRoberta", "ForTokenClassification"), ("Camembert", "ForMaskedLM"),
     ("MPNet", "Model"), ("Esm", "ForSequenceClassification")],
)  # fmt: skip
def test_every_head_answers_as_the_library_at_lengths_never_traced(family: str, head: str, tmp_path: Path) -> None:
    """Exports through the command line, from a folder that save_pretrained wrote."""
    model = small(family, head)
    model.save_pretrained(tmp_path / "checkpoint")
    out = tmp_path / "out"
    done = CliRunner().invoke(
        main, ["export", "--model", str(tmp_path / "checkpoint"), "--explain", "none", "-o", str(out)]
    )
    assert done.exit_code == 0, done.output
    longest = 128 if family in SHIFTED else 130
    for length in (2, 41, longest):
        check(out, model, inputs(model, length, choices=3 if head == "ForMultipleChoice" else 0))
    with edgexf.load(out) as session:
        limits = session.manifest.limits
    assert limits == Limits(50, 2, longest, 1, 0, "invariant", 2 if family in TYPED else 0)


@pytest.mark.parametrize(
    ("family", "head"),
    [(family, head) for family in (*FAMILIES, *RENAMED) for head in HEADS if hasattr(transformers, family + head)],
)
def test_in_float64_every_lowered_head_is_the_library(family: str, head: str) -> None:
    assert worst_difference(from_model(small(family, head, layers=2))) <= ROUNDING


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("Bert", {"num_attention_heads": 1, "hidden_size": 30}),
        ("Bert", {"num_attention_heads": 32, "num_hidden_layers": 8}),
        ("Bert", {"type_vocab_size": 1, "hidden_act": "relu"}),
        ("Bert", {"type_vocab_size": 5, "pad_token_id": 7, "attn_implementation": "eager"}),
        ("Bert", {"max_position_embeddings": 3}),
        ("Roberta", {"type_vocab_size": 1, "num_hidden_layers": 3}),
        ("Roberta", {"pad_token_id": 0}),
        ("Roberta", {"pad_token_id": 17, "attn_implementation": "eager"}),
        ("XLMRoberta", {"pad_token_id": 17}),
        ("MPNet", {"pad_token_id": 7, "num_attention_heads": 2, "num_hidden_layers": 3}),
        ("Esm", {"position_embedding_type": "absolute", "emb_layer_norm_before": True, "pad_token_id": 17}),
        ("Esm", {"position_embedding_type": "rotary", "num_attention_heads": 2, "pad_token_id": 0}),
        ("DistilBert", {"sinusoidal_pos_embds": True}),
        ("DistilBert", {"activation": "relu", "num_attention_heads": 2, "num_hidden_layers": 3}),
    ],
)
def test_in_float64_every_configuration_is_the_library(family: str, changes: dict[str, Any]) -> None:
    assert worst_difference(from_model(built(family, **changes))) <= ROUNDING


def test_robertas_positions_count_real_ids_alone() -> None:
    """A padding id between other ids takes no position, regardless of its mask.

    The contract grid has no such inputs.
    """
    model = built("Roberta").double()
    given = inputs(model, 40)
    given["input_ids"][:, [3, 4, 20]] = model.config.pad_token_id
    lowered = dense.Encoder(model, Limits(50, 2, 128, 1, 0, "invariant"))
    with torch.no_grad():
        found, wanted = (run(**given).last_hidden_state for run in (lowered, model))
        changed = lowered(**{**given, "input_ids": inputs(model, 40)["input_ids"]}).last_hidden_state
    real = given["attention_mask"] > 0
    assert (found - wanted)[real].abs().max() <= ROUNDING * wanted[real].abs().max()
    assert (changed - wanted)[0, 30].abs().max() > 1e-3


def test_attention_is_the_papers_equation() -> None:
    """Computes Vaswani et al. 2017, eq. 1, for each query and head over the real keys."""
    chance = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 7, 12, generator=chance, dtype=torch.float64) for _ in range(3))
    mask = torch.tensor([[1] * 7, [1, 0, 1, 1, 0, 0, 0]])
    found = dense.mixed(query, key, value, 3, mask)
    for row in range(2):
        seen = mask[row] > 0
        for place in range(7):
            for head in (slice(0, 4), slice(4, 8), slice(8, 12)):
                scores = [float(query[row, place, head] @ other) / math.sqrt(4) for other in key[row, seen, head]]
                weights = np.exp(scores) / np.exp(scores).sum()
                wanted = weights @ value[row, seen, head].numpy()
                assert np.abs(found[row, place, head].numpy() - wanted).max() <= ROUNDING


@pytest.mark.parametrize("family", FAMILIES)
def test_relevance_is_autograds_and_the_model_stays_as_it_was(family: str, tmp_path: Path) -> None:
    model = small(family, "ForSequenceClassification").train()
    model.config.problem_type = "single_label_classification"
    modules, config = dict(model.named_modules()), model.config.to_dict()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    bundle = edgexf.export(model, output=tmp_path / "out")
    assert (dict(model.named_modules()), model.config.to_dict()) == (modules, config)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    model.eval()
    with edgexf.load(bundle.path) as session:
        for length in (2, 57, 128):
            given = inputs(model, length)
            logits, wanted = autograd(model, given)
            found = session.run_explain(**{name: value.numpy() for name, value in given.items()})
            assert np.abs(found["logits"] - logits).max() <= 1e-4 * np.abs(logits).max()
            assert np.abs(found["relevance"] - wanted).max() <= 1e-4 * np.abs(wanted).max()
            assert not found["relevance"][given["attention_mask"].numpy() == 0].any()


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "Esm"])
def test_a_long_model_never_holds_all_pairs_of_tokens(family: str, tmp_path: Path) -> None:
    changes = {"position_embedding_type": "rotary", "pad_token_id": 1} if family == "Esm" else {}
    model = built(family, "ForSequenceClassification", max_position_embeddings=dense.LONG + 100, **changes)
    bundle = edgexf.export(model, output=tmp_path / "out")
    assert any(row["length"] == ROWS + 1 for row in bundle.manifest.grid["rows"])
    for variant in bundle.manifest.variants:
        path = bundle.path / variant.file
        assert "Scan" in {node.op_type for node in onnx.load(path, load_external_data=False).graph.node}
        inputs = [one for one in variant.inputs if one.dtype == "int64"]
        if variant.method == names.PREDICT:
            assert quadratic_tensors(path, inputs, ROWS, bundle.manifest.limits) == ""


def test_a_model_of_two_positions_is_a_model_too(tmp_path: Path) -> None:
    """torch has no dynamic axis with only one possible size."""
    manifest = edgexf.export(built("Bert", max_position_embeddings=2), explain=(), output=tmp_path / "out").manifest
    assert (manifest.limits.min_length, manifest.limits.max_length) == (2, 2)
    assert manifest.grid["worst"] <= 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_no_answer_of_the_library(family: str) -> None:
    """The manifest's `invariant` promises this, to 1e-5 of the scale, as for the batch mates of a sample."""
    source = from_model(small(family, "Model", layers=2))
    given = {name: tensor[:1] for name, tensor in inputs(source.module, 23).items()}
    padded = {name: torch.nn.functional.pad(tensor, (0, 60)) for name, tensor in given.items()}
    padded["input_ids"][:, 23:] = source.padding_id
    alone, beside = (answers(source, values)["last_hidden_state"][:, :23] for values in (given, padded))
    assert np.abs(alone - beside).max() <= 1e-5 * np.abs(alone).max()


@pytest.mark.parametrize(
    ("family", "head", "changes", "sentence"),
    [
        ("Bert", "Model", {"is_decoder": True}, "both directions"),
        ("Bert", "Model", {"is_decoder": True, "add_cross_attention": True}, "both directions"),
        ("Roberta", "ForTokenClassification", {"is_decoder": True}, "both directions"),
        ("Bert", "Model", {"position_embedding_type": "relative_key"}, "absolute, got .* 'relative_key'"),
        (
            "Esm",
            "Model",
            {"position_embedding_type": "relative_key", "pad_token_id": 1},
            "rotary, got .* 'relative_key'",
        ),
        ("Bert", "Model", {"max_position_embeddings": 1}, "positions for 2"),
        ("Roberta", "Model", {"max_position_embeddings": 3}, "positions for 2"),
        ("DistilBert", "Model", {"pad_token_id": None}, "pad_token_id"),
        ("Bert", "Model", {"chunk_size_feed_forward": 2}, "chunk size 2"),
    ],
)
def test_what_cannot_be_exported_is_a_sentence(
    family: str, head: str, changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=sentence) as caught:
        edgexf.export(built(family, head, **changes), output=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("family", "head", "answered"),
    [
        ("Bert", "ForSequenceClassification", False),
        ("Bert", "ForMultipleChoice", False),
        ("Roberta", "ForMultipleChoice", False),
        ("Bert", "Model", True),
    ],
)
def test_a_pooler_may_be_missing_only_where_no_answer_comes_through_it(
    family: str, head: str, answered: bool, tmp_path: Path
) -> None:
    """The library would fill a missing pooler with random weights."""
    small(family, head).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(path).items() if "pooler" not in name}
    save_file(kept, path, metadata={"format": "pt"})
    if answered:
        assert from_checkpoint(str(tmp_path)).provenance["ignored"] == ["pooler.dense.bias", "pooler.dense.weight"]
    else:
        with pytest.raises(ExportError, match=r"missing: .*pooler"):
            from_checkpoint(str(tmp_path))


def test_layers_that_the_config_does_not_name_are_refused_where_a_task_is_chosen_too(tmp_path: Path) -> None:
    """DistilBERT's part for the layers has another name than BERT's. The extra layers belong to no other head."""
    small("DistilBert", "Model").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = load_file(path)
    more = {name.replace(".0.", ".1."): tensor.clone() for name, tensor in whole.items() if ".0." in name}
    save_file({**whole, **more}, path, metadata={"format": "pt"})
    with pytest.raises(ExportError, match=r"extra: transformer\.layer\.1"):
        from_checkpoint(str(tmp_path), task="feature-extraction")


def see_padding(*projected: Any, right: Any = dense.mixed, **_: Any) -> Tensor:
    *others, mask = projected
    found: Tensor = right(*others, torch.ones_like(mask))
    return found


def forget_the_scale(query: Tensor, *others: Any, right: Any = dense.mixed, **_: Any) -> Tensor:
    found: Tensor = right(query * 2, *others)
    return found


def forget_distances_and_turns(*projected: Any, right: Any = dense.mixed, **_: Any) -> Tensor:
    found: Tensor = right(*projected[:5])
    return found


def forget_the_last_token(*projected: Any, right: Any = dense.mixed, **_: Any) -> Tensor:
    *others, mask = projected
    found: Tensor = right(*others, mask * (mask.cumsum(1) < mask.sum(1, keepdim=True)))
    return found


def swap_queries_and_keys(query: Tensor, key: Tensor, *others: Any, right: Any = dense.mixed, **_: Any) -> Tensor:
    found: Tensor = right(key, query, *others)
    return found


@pytest.mark.parametrize(
    ("family", "broken"),
    [
        *(("Bert", broken) for broken in (see_padding, forget_the_scale, forget_the_last_token, swap_queries_and_keys)),
        ("DistilBert", see_padding),
        ("MPNet", forget_distances_and_turns),
        ("Esm", forget_distances_and_turns),
    ],
)
def test_a_lowering_that_is_broken_never_becomes_a_bundle(
    family: str, broken: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense, "mixed", broken)
    model = small(family, "Model")
    modules = dict(model.named_modules())
    with pytest.raises(VerificationError, match="length"):
        edgexf.export(model, explain=(), output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert dict(model.named_modules()) == modules


def test_a_lowering_without_token_types_never_becomes_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = dense.Encoder.forward
    monkeypatch.setattr(
        dense.Encoder, "forward", lambda self, input_ids, attention_mask, **_: right(self, input_ids, attention_mask)
    )
    with pytest.raises(VerificationError, match="length"):
        edgexf.export(small("Roberta", "Model"), explain=(), output=tmp_path / "out")


@pytest.fixture(scope="module")
def sentence_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports the published all-MiniLM-L6-v2 through the command line."""
    out = tmp_path_factory.mktemp("minilm") / "out"
    done = CliRunner().invoke(main, ["export", "--model", str(minilm.source()), "--explain", "none", "-o", str(out)])
    assert done.exit_code == 0, done.output
    return out


def pooled(hidden: Any, mask: Any) -> Any:
    """Returns sentence embeddings [rows, width]: the mean over real tokens, normalized to length 1.

    Reimers and Gurevych 2019, section 3.
    """
    mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def test_real_sentences_have_the_eager_models_features_and_embeddings(sentence_model: Path) -> None:
    """Transformers tokenizes for the eager model, the bundle tokenizes for the graph."""
    eager = BertModel.from_pretrained(minilm.source()).eval()
    given = AutoTokenizer.from_pretrained(minilm.source())(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        wanted = eager(**given).last_hidden_state.numpy()
    with edgexf.load(sentence_model) as session:
        arrays = session.encode(SENTENCES)
        together = session.run(**arrays)["last_hidden_state"]
        alone = [answer.outputs["last_hidden_state"] for answer in session.predict(SENTENCES)]
    assert {name: array.tolist() for name, array in arrays.items()} == {
        name: tensor.tolist() for name, tensor in given.items()
    }
    mask = arrays["attention_mask"]
    assert np.abs(together - wanted)[mask > 0].max() <= 1e-4
    assert all(np.abs(one - row[: len(one)]).max() <= 1e-4 for one, row in zip(alone, wanted, strict=True))
    embeddings, reference = pooled(together, mask), pooled(wanted, mask)
    assert np.abs(embeddings - reference).max() <= 1e-5  # the vectors have length 1
    cosine = embeddings @ embeddings.T
    assert cosine[0, 1] > cosine[0, 2] + 0.3  # a cat and a kitten are more similar than a cat and interest rates


@pytest.mark.parametrize("tokens", [2, 130, 512])  # sentence_bert_config.json says 256
def test_a_long_text_and_a_pair_are_read_as_the_library_reads_them(sentence_model: Path, tokens: int) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")[: 5 * tokens]
    eager = BertModel.from_pretrained(minilm.source()).eval()
    tokenizer = AutoTokenizer.from_pretrained(minilm.source())
    given = tokenizer("What is this?", text, truncation="only_second", max_length=256, return_tensors="pt")
    with torch.no_grad():
        wanted = eager(**given).last_hidden_state[0].numpy()
    with edgexf.load(sentence_model) as session:
        (answer,) = session.predict([("What is this?", text)], truncate=True)
    found = answer.outputs["last_hidden_state"]
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-4
