"""Hugging Face's Longformer: the lowering against the library, and its checkpoints from the folder to the device."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import transformers
from click.testing import CliRunner
from families import autograd
from safetensors.torch import load_file, save_file
from small import small_encoder
from torch import Tensor
from transformers import LongformerConfig

import edgexf
from edgexf import names
from edgexf.bundle.folder import Bundle
from edgexf.bundle.manifest import Limits
from edgexf.cli import main
from edgexf.errors import ExportError, InputError, UsageError, VerificationError
from edgexf_exporters.lowerings.huggingface.longformer import Longformer, LongformerAttention, TokenMasks
from edgexf_exporters.sources.checkpoint import from_checkpoint, from_model

pytestmark = pytest.mark.slow  # exports or runs many models

ROUNDING = 5e-6  # float32 sums in another order, relative to the largest; in float64 1e-7 (softmax in float32)
SIZES = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37,
    "max_position_embeddings": 130, "pad_token_id": 1, "bos_token_id": 0, "sep_token_id": 2,
    "type_vocab_size": 1,
}  # fmt: skip
HEADS = {
    "LongformerModel": 2, "LongformerForSequenceClassification": 3, "LongformerForTokenClassification": 5,
    "LongformerForQuestionAnswering": 2, "LongformerForMaskedLM": 2,
}  # fmt: skip


def small(head: str = "LongformerModel", windows: tuple[int, ...] = (8, 16), **sizes: int) -> Any:
    """Builds a model. Weights are larger than the library draws them, so that attention is not nearly uniform."""
    torch.manual_seed(0)
    config = LongformerConfig(**{**SIZES, **sizes}, attention_window=list(windows), num_labels=HEADS[head])
    model = getattr(transformers, head)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def inputs(length: int, most: int, left: bool = False) -> dict[str, Tensor]:
    """Makes inputs of three rows: all, half and one of the tokens are real.

    Each row has global tokens at different positions, as many as fit.
    """
    chance = torch.Generator().manual_seed(length + most)
    real = torch.tensor([length, length // 2, 1])
    mask = (torch.arange(length) < real[:, None]).long()
    mask = mask.flip(1) if left else mask
    ids = torch.where(mask > 0, torch.randint(3, 50, (3, length), generator=chance), 1)
    chosen = torch.zeros_like(ids)
    for row in range(3):
        places = mask[row].nonzero()[:, 0]
        chosen[row, places[torch.randperm(len(places), generator=chance)[: max(most - row, 0)]]] = 1
    return {"input_ids": ids, "attention_mask": mask, "global_attention_mask": chosen}


def limits(max_global: int) -> Limits:
    return Limits(50, 2, 128, 1, max_global, "invariant")


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("most", [0, 1, 3])
@pytest.mark.parametrize("max_global", [3, 9])
@pytest.mark.parametrize("windows", [(8, 16), (4, 4), (4, 24)])
def test_the_lowering_is_the_library(windows: tuple[int, ...], max_global: int, most: int, left: bool) -> None:
    model = small(windows=windows)
    module = Longformer(model, limits(max_global))
    for blocks in (1, 3):
        given = inputs(blocks * module.block, most, left)
        real = given["attention_mask"] > 0
        with torch.no_grad():
            found = module(**given).last_hidden_state
            wanted = model(**given).last_hidden_state
        assert found.isfinite().all()
        assert (found - wanted)[real].abs().max() <= ROUNDING * wanted[real].abs().max()


def test_global_tokens_are_gathered_in_order_and_never_twice() -> None:
    given = inputs(24, 5)
    seen = TokenMasks.of(given["attention_mask"], given["global_attention_mask"], 6)
    for row in range(3):
        chosen = given["global_attention_mask"][row].nonzero()[:, 0]
        assert seen.place[row][seen.taken[row]].tolist() == chosen.tolist()
        assert len(set(seen.place[row].tolist())) == 6


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Exports a classifier from its folder, with an explain graph."""
    folder = tmp_path_factory.mktemp("longformer")
    small("LongformerForSequenceClassification").save_pretrained(folder / "checkpoint")
    return edgexf.export(folder / "checkpoint", output=folder / "out", max_global=3)


def test_no_graph_holds_the_scores_of_all_blocks(exported: Bundle) -> None:
    """Those of the global queries stand outside of the loops."""
    for variant in exported.manifest.variants:
        nodes = onnx.load(exported.path / variant.file, load_external_data=False).graph.node
        found, layers = Counter(node.op_type for node in nodes), int(SIZES["num_hidden_layers"])
        assert (found["Scan"], found["Softmax"]) == (layers * (1 if variant.method == names.PREDICT else 2), layers)


def test_attention_weights_are_carried_by_values_alone(tmp_path: Path) -> None:
    """Nothing reads the gradients by queries and keys: no loop gives them."""
    bundle = edgexf.export(small(), output=tmp_path / "out", explain="attention-rollout")
    (file,) = (variant.file for variant in bundle.manifest.variants if variant.method != names.PREDICT)
    nodes = onnx.load(bundle.path / file, load_external_data=False).graph.node
    assert {len(node.output) for node in nodes if node.op_type == "Scan"} == {1}


def test_a_checkpoint_is_verified_over_global_sets(exported: Bundle) -> None:
    grid = exported.manifest.grid
    assert grid["worst"] <= 1e-4
    assert {row["globals"] for row in grid["rows"]} == {"none", "first", "scattered"}
    assert exported.manifest.methods == ("attnlrp",)
    assert edgexf.verify(exported.path).passed


@pytest.mark.parametrize("length", [5, 17, 77, 128])
def test_answers_at_lengths_never_traced_are_the_librarys(exported: Bundle, length: int) -> None:
    model, given = small("LongformerForSequenceClassification"), inputs(length, 3)
    with torch.no_grad():
        wanted = model(**given).logits.numpy()
    with edgexf.load(exported.path) as session:
        found = session.run(**{name: value.numpy() for name, value in given.items()})["logits"]
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_without_a_global_mask_the_first_token_is_global(exported: Bundle) -> None:
    given = inputs(40, 0)
    with torch.no_grad():
        wanted = small("LongformerForSequenceClassification")(
            input_ids=given["input_ids"], attention_mask=given["attention_mask"]
        ).logits.numpy()
    with edgexf.load(exported.path) as session:
        found = session.run(input_ids=given["input_ids"].numpy(), attention_mask=given["attention_mask"].numpy())
    assert np.abs(found["logits"] - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_more_global_tokens_than_the_graph_holds_are_refused(exported: Bundle) -> None:
    ids = np.full((1, 10), 7)
    with edgexf.load(exported.path) as session:
        with pytest.raises(InputError, match="at most 3 global tokens, got 4"):
            session.run(input_ids=ids, global_attention_mask=(np.arange(10) < 4)[None].astype(int))
        with pytest.raises(InputError, match="0 to 1, got 2"):
            session.run(input_ids=ids, global_attention_mask=2 * np.ones_like(ids))
        with pytest.raises(InputError, match="shape of input_ids"):
            session.run(input_ids=np.repeat(ids, 3, axis=0), global_attention_mask=np.zeros_like(ids))
        with pytest.raises(UsageError, match="token_type_ids"):
            session.run(input_ids=ids, token_type_ids=ids)
        with pytest.raises(UsageError, match="token ids"):
            session.predict(["text"])


def check_outputs(bundle: Path, model: Any, given: dict[str, Tensor]) -> None:
    """Compares every output on the real tokens, at a length that was never traced."""
    real = (given["attention_mask"] > 0).numpy()
    with torch.no_grad():
        wanted = model(**given)
    with edgexf.load(bundle) as session:
        found = session.run(**{name: value.numpy() for name, value in given.items()})
    for name, output in found.items():
        assert np.abs(output - wanted[name].numpy())[real].max() <= 1e-4 * wanted[name].abs().max()


def test_the_base_model_is_exported_from_memory(tmp_path: Path) -> None:
    model = small()
    manifest = edgexf.export(model, explain=(), output=tmp_path / "out", max_global=3).manifest
    assert manifest.methods == ()
    assert (manifest.task, manifest.labels) == ("feature-extraction", ())
    check_outputs(tmp_path / "out", model, inputs(33, 3))


def forget_the_globals(attention: Tensor, chosen: Tensor, most: int, right: Any = TokenMasks.of) -> TokenMasks:
    seen: TokenMasks = right(attention, chosen, most)
    return TokenMasks(seen.real, seen.real, seen.place, seen.taken)


def test_a_lowering_that_meets_global_tokens_twice_never_becomes_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TokenMasks, "of", staticmethod(forget_the_globals))
    with pytest.raises(VerificationError, match="globals first"):
        edgexf.export(small("LongformerForSequenceClassification"), output=tmp_path / "out", explain=(), max_global=3)
    assert list(tmp_path.iterdir()) == []


def narrow_the_band(self: LongformerAttention, original: Any, right: Any = LongformerAttention.__init__) -> None:
    right(self, original)
    self.band[:, 0] = self.band[:, -1]  # hides the farthest key before each query


def test_a_band_that_is_one_key_too_narrow_never_becomes_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LongformerAttention, "__init__", narrow_the_band)
    with pytest.raises(VerificationError, match="length"):
        edgexf.export(small("LongformerForSequenceClassification"), output=tmp_path / "out", explain=())
    assert list(tmp_path.iterdir()) == []


def state(model: Any) -> tuple[Any, ...]:
    """Returns the modules, modes, gradients and hooks of a model."""
    modules = dict(model.named_modules())
    return (
        modules,
        {name: module.training for name, module in modules.items()},
        {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        {name: len(module._forward_hooks) for name, module in modules.items()},
    )


def half_trained(head: str, **sizes: int) -> Any:
    """Builds a model as a training loop leaves it: in train mode, with a frozen part."""
    model = small(head, **sizes).train()
    model.longformer.embeddings.eval()
    model.longformer.encoder.layer[0].output.dense.weight.requires_grad_(False)
    return model


def test_the_models_own_object_is_untouched_by_an_export_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = half_trained("LongformerForSequenceClassification")
    before = state(model)
    monkeypatch.setattr(Longformer, "forward", lambda *_, **__: 1 / 0)
    with pytest.raises(ExportError, match="ZeroDivisionError"):
        edgexf.export(model, output=tmp_path / "out", explain=())
    assert state(model) == before


def test_a_bfloat16_model_is_exported_from_a_copy() -> None:
    model = small("LongformerForSequenceClassification").to(torch.bfloat16)
    assert from_model(model).module is not model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_more_global_tokens_than_gathered_stay_local() -> None:
    given = inputs(24, 5)
    seen = TokenMasks.of(given["attention_mask"], given["global_attention_mask"], 2)
    assert (seen.local.sum(1) == given["attention_mask"].sum(1) - seen.taken.sum(1)).all()


def test_segments_are_an_input_where_the_model_has_them_and_its_object_is_untouched(tmp_path: Path) -> None:
    """Exports a half-trained masked language model with two token types."""
    model = half_trained("LongformerForMaskedLM", type_vocab_size=2)
    with torch.no_grad():
        model.longformer.embeddings.token_type_embeddings.weight.mul_(3)
    before, weights = state(model), {name: value.clone() for name, value in model.state_dict().items()}
    edgexf.export(model, explain=(), output=tmp_path / "out", max_global=3)
    assert state(model) == before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    model.eval()
    given = inputs(21, 1)
    types = torch.arange(21).expand(3, 21) % 2
    check_outputs(tmp_path / "out", model, {**given, "token_type_ids": types})
    check_outputs(tmp_path / "out", model, given)
    with torch.no_grad():
        one, other = (model(**given, token_type_ids=segments).logits for segments in (types, 0 * types))
    assert (one - other).abs().max() > 0.01 * one.abs().max()
    with edgexf.load(tmp_path / "out") as session, pytest.raises(InputError, match="token_type_ids must be 0 to 1"):
        session.run(input_ids=given["input_ids"].numpy(), token_type_ids=2 * np.ones_like(types.numpy()))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_folders_give_the_same_bytes_and_no_path(tmp_path: Path) -> None:
    """Exports a token classifier whose weights are in several files."""
    model = small("LongformerForTokenClassification")
    for place in ("one", "two"):
        model.save_pretrained(tmp_path / place / "checkpoint", max_shard_size="20KB")
        assert len(list((tmp_path / place / "checkpoint").glob("*.safetensors"))) > 1
        edgexf.export(tmp_path / place / "checkpoint", explain=(), output=tmp_path / place / "out", max_global=3)
    check_outputs(tmp_path / "one" / "out", model, inputs(33, 3))
    one, two = (contents(tmp_path / place / "out") for place in ("one", "two"))
    assert one == two
    assert not any(str(tmp_path).encode() in data for data in one.values())


def test_the_command_line_exports_a_checkpoint_and_times_it(tmp_path: Path) -> None:
    """Exports a model for question answering. The runtime sets its global tokens, as the library does."""
    model = small("LongformerForQuestionAnswering")
    model.save_pretrained(tmp_path / "checkpoint")
    out = str(tmp_path / "out")
    for arguments in (
        ["export", "--model", str(tmp_path / "checkpoint"), "--max-global", "9", "--explain", "none", "-o", out],
        ["verify", out],
        ["bench", out, "--lengths", "16,100"],
    ):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
    given = inputs(40, 0)
    ids, mask = given["input_ids"], given["attention_mask"]
    mask[2, :20], ids[2, :20] = 1, 7
    for row, ends in enumerate(((6, 7, 39), (4, 5, 19), (1, 2, 19))):
        ids[row] = torch.where(ids[row] == 2, 3, ids[row])
        ids[row, list(ends)] = 2
    with torch.no_grad():
        wanted = model(input_ids=ids, attention_mask=mask)
    with edgexf.load(out) as session:
        found = session.run(input_ids=ids.numpy(), attention_mask=mask.numpy())
        ids[1, 4] = 3
        with pytest.raises(InputError, match="3 separators 2"):
            session.run(input_ids=ids.numpy(), attention_mask=mask.numpy())
    real = (mask > 0).numpy()
    for name, output in found.items():
        assert np.abs(output - wanted[name].numpy())[real].max() <= 1e-4 * wanted[name].abs().max()


def test_relevance_at_lengths_never_traced_is_autograds(exported: Bundle) -> None:
    model, given = small("LongformerForSequenceClassification"), inputs(77, 3)
    _, wanted = autograd(model, given)
    with edgexf.load(exported.path) as session:
        found = session.run_explain(**{name: value.numpy() for name, value in given.items()})["relevance"]
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
    assert not found[given["attention_mask"].numpy() == 0].any()


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def change(**values: object) -> Any:
    def apply(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return apply


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (truncate, "whole"),
        (change(hidden_size=64), "of another shape"),
        (change(attention_window=[8]), "fit their config"),
        (change(architectures=["LongformerForMaskedLM"]), "missing: lm_head"),
        (change(architectures=["LongformerForSinging"]), "LongformerForSinging"),
        (change(architectures=["BertModel"]), "model_type longformer"),
        (change(model_type="perfomer"), "perfomer"),
        (change(id2label={"0": "a", "2": "b", "5": "c"}), "id2label"),
        (change(id2label={"0": "a", "1": "b", "2": "a"}), "id2label"),
        (change(id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1}), "classifier"),
        (change(attention_window=[8, 12]), "must run before .* multiple of 8"),
        (change(pad_token_id=None), "pad_token_id"),
        (
            change(model_type="custom", auto_map={"AutoConfig": "code.Config"}),
            "must be in transformers, got custom with code of its own",
        ),
        (lambda folder: (folder / "config.json").unlink(), "must hold config.json, got none"),
        (lambda folder: (folder / "model.safetensors").unlink(), "whole"),
    ],
)
def test_a_broken_checkpoint_is_a_sentence_and_writes_nothing(damage: Any, sentence: str, tmp_path: Path) -> None:
    small("LongformerForSequenceClassification").save_pretrained(tmp_path / "checkpoint")
    damage(tmp_path / "checkpoint")
    with pytest.raises(ExportError, match=sentence) as caught:
        edgexf.export(str(tmp_path / "checkpoint"), output=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_older_files_hold_besides_is_ignored_and_recorded(tmp_path: Path) -> None:
    model = small("LongformerForSequenceClassification")
    model.save_pretrained(tmp_path / "checkpoint")
    path = tmp_path / "checkpoint" / "model.safetensors"
    old = {
        "longformer.embeddings.position_ids": torch.arange(130)[None],
        "longformer.pooler.dense.bias": torch.zeros(32),
    }
    save_file({**load_file(path), **old}, path, metadata={"format": "pt"})
    source = from_checkpoint(str(tmp_path / "checkpoint"))
    assert source.provenance["ignored"] == sorted(old)


def test_labels_that_the_answer_does_not_have_are_refused(tmp_path: Path) -> None:
    model = small("LongformerForSequenceClassification")
    model.config.id2label = {0: "a", 1: "b"}
    with pytest.raises(ExportError, match="config promises"):
        edgexf.export(model, output=tmp_path / "out", explain=())


def test_wrong_choices_are_named(tmp_path: Path) -> None:
    small("LongformerForSequenceClassification").save_pretrained(tmp_path / "checkpoint")
    for choice, named in (
        ({"task": "singing"}, "singing"),
        ({"max_global": 0}, "max_global"),
        ({"max_global": 129}, "1 to 128"),
        ({"variant": "linformer"}, "beside"),
    ):
        with pytest.raises(UsageError, match=named):
            edgexf.export(str(tmp_path / "checkpoint"), output=tmp_path / "out", **choice)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="task"):
        edgexf.export(variant="linformer", task="fill-mask", output=tmp_path / "out")
    with pytest.raises(UsageError, match="beside an encoder"):
        edgexf.export(small_encoder("linformer"), output=tmp_path / "out", max_global=3)
    assert not (tmp_path / "out").exists()
