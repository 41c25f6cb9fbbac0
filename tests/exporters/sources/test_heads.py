"""Every head of LED and BigBird, and multiple choice: from a checkpoint through the command line to outputs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from families import autograd, check, inputs, small
from torch import Tensor, nn

import edgexf
from edgexf import names
from edgexf.bundle.folder import Bundle
from edgexf.bundle.manifest import Decoder, Limits, Segments
from edgexf.cli import main
from edgexf.errors import ExportError, InputError, UsageError, VerificationError
from edgexf_exporters.lowerings.huggingface import bigbird, led
from edgexf_exporters.lowerings.huggingface.bigbird import BigBird, TokenMasks, as_it_was
from edgexf_exporters.lowerings.huggingface.led import DecoderAttention
from edgexf_exporters.lowerings.neighbours import Places
from edgexf_exporters.source import Family
from edgexf_exporters.sources.checkpoint import from_checkpoint, from_model
from edgexf_exporters.verify.behaviour import check_behaviour
from edgexf_exporters.verify.eager import answers
from edgexf_exporters.verify.float64 import worst_difference
from edgexf_exporters.verify.graph_checks import quadratic_tensors

pytestmark = pytest.mark.slow  # exports or runs many models

ROUNDING = 2e-6  # float32 sums in another order, relative to the largest
SWITCH = 72  # up to this length, in tokens, the small BigBird uses full attention


def export(model: Any, folder: Path, *options: str) -> Path:
    """Exports through the command line, from a folder that save_pretrained wrote."""
    model.save_pretrained(folder / "checkpoint")
    done = CliRunner().invoke(
        main,
        ["export", "--model", str(folder / "checkpoint"), "-o", str(folder / "out"), "--explain", "none", *options],
    )
    assert done.exit_code == 0, done.output
    return folder / "out"


@pytest.mark.parametrize("head", ["Model", "ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM"])
def test_bigbird_answers_as_the_library_on_both_sides_of_its_switch(head: str, tmp_path: Path) -> None:
    out = export(small("BigBird", head), tmp_path)
    nodes = [node.op_type for node in onnx.load(out / names.PREDICT_FILE, load_external_data=False).graph.node]
    layers = small("BigBird", head).config.num_hidden_layers
    assert nodes.count("Scan") == layers
    assert nodes.count("Softmax") == layers  # that of the first and the last block
    for length in (2, 41, SWITCH, SWITCH + 1, 131, 160):
        model = small("BigBird", head)  # a new model: a short input switches a model to full attention for good
        check(out, model, inputs(model, length))
    with edgexf.load(out) as session:
        rule = "context" if head == "ForQuestionAnswering" else "zeros"
        assert session.manifest.segments is not None
        assert session.manifest.segments.rule == rule
        assert session.manifest.limits.padding == "to_multiple(8)"
        assert session.manifest.limits.switch == SWITCH
        ids = inputs(model, 100)["input_ids"]
        ids[:, 30] = 3
        found = session.run(input_ids=ids[:1].numpy())
    with torch.no_grad():
        model = small("BigBird", head)
        wanted = model(input_ids=ids[:1])
    name = next(iter(found))
    kept = wanted[name].numpy() > -1e5
    assert np.abs(found[name] - wanted[name].numpy())[kept].max() <= 1e-4 * np.abs(wanted[name].numpy()[kept]).max()


@pytest.mark.parametrize("family", ["BigBird", "Longformer"])
def test_a_choice_is_made_among_rows_of_inputs(family: str, tmp_path: Path) -> None:
    model = small(family, "ForMultipleChoice")
    options = [] if family == "BigBird" else ["--max-global", "3"]
    out = export(model, tmp_path, *options)
    for length, choices in ((17, 2), (90, 4)):
        model = small(family, "ForMultipleChoice")
        check(out, model, inputs(model, length, choices=choices))
    assert CliRunner().invoke(main, ["verify", str(out)]).exit_code == 0
    assert CliRunner().invoke(main, ["bench", str(out), "--lengths", "16"]).exit_code == 0


@pytest.mark.parametrize("head", ["Model", "ForConditionalGeneration", "ForQuestionAnswering"])
def test_led_answers_with_encoder_and_decoder_as_the_library(head: str, tmp_path: Path) -> None:
    model = small("LED", head, layers=2 if head == "Model" else 1)
    out = export(model, tmp_path, "--max-global", "3")
    for length, written in ((2, 1), (17, 2), (77, 9), (128, 40)):
        check(out, model, inputs(model, length, written))
    given = inputs(model, 33)
    with edgexf.load(out) as session:
        assert session.manifest.decoder == Decoder(2, 40)
        found = session.run(input_ids=given["input_ids"][:1].numpy())
        with pytest.raises(InputError, match="decoder_input_ids must have 1 to 40"):
            session.run(input_ids=np.full((1, 41), 7))
    with torch.no_grad():
        wanted = model(input_ids=given["input_ids"][:1])
    for name, output in found.items():
        assert np.abs(output - wanted[name].numpy()).max() <= 1e-4 * wanted[name].abs().max()


def test_an_encoder_alone_is_a_model_too(tmp_path: Path) -> None:
    model = small("LED", "Encoder", layers=2)
    out = export(model, tmp_path, "--max-global", "3")
    for length in (5, 77, 128):
        check(out, model, inputs(model, length))
    assert CliRunner().invoke(main, ["bench", str(out), "--lengths", "16"]).exit_code == 0


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Exports BigBird's classifier from memory, with an explain graph."""
    return edgexf.export(
        small("BigBird", "ForSequenceClassification"), output=tmp_path_factory.mktemp("bigbird") / "out"
    )


@pytest.mark.parametrize("length", [2, 57, SWITCH, SWITCH + 1, 155])
def test_bigbirds_relevance_is_autograds_at_lengths_never_traced(classifier: Bundle, length: int) -> None:
    model = small("BigBird", "ForSequenceClassification")
    given = inputs(model, length)
    logits, wanted = autograd(model, given)
    with edgexf.load(classifier.path) as session:
        found = session.run_explain(**{name: value.numpy() for name, value in given.items()})
    assert np.abs(found["logits"] - logits).max() <= 1e-4 * np.abs(logits).max()
    assert np.abs(found["relevance"] - wanted).max() <= 1e-4 * np.abs(wanted).max()
    assert not found["relevance"][given["attention_mask"].numpy() == 0].any()


def test_the_grid_has_both_sides_of_the_switch(classifier: Bundle) -> None:
    rows = classifier.manifest.grid["rows"]
    assert {SWITCH - 1, SWITCH, SWITCH + 1} <= {row["length"] for row in rows}
    assert classifier.manifest.methods == ("attnlrp",)


@pytest.mark.parametrize(
    ("family", "head", "rounding"),
    [("BigBird", "Model", 1e-13), ("LED", "Model", 1e-6), ("Longformer", "Model", 1e-6)],  # a softmax in float32
)
def test_in_float64_a_lowering_differs_by_less_than_rounding(family: str, head: str, rounding: float) -> None:
    source = from_model(small(family, head, layers=2), None if family == "BigBird" else 3)
    assert 0 < worst_difference(source) <= rounding


@pytest.mark.parametrize(("block", "random"), [(8, 2), (4, 1), (5, 3)])
def test_bigbirds_lowering_is_the_library(block: int, random: int) -> None:
    model = small("BigBird", "Model")
    model.config.block_size, model.config.num_random_blocks = block, random
    model = type(model)(model.config).eval()
    about = bigbird.describe(model)
    module = BigBird(model, Limits(50, 2, about.longest, 1, 0, about.padding, 2, about.switch))
    for blocks in (6 + 2 * random, 7 + 2 * random, 12 + random):
        given = inputs(model, blocks * block)
        module.frame = blocks, block
        with torch.no_grad():
            found, wanted = (run(**given).last_hidden_state for run in (module, model))
        real = given["attention_mask"] > 0
        assert (found - wanted)[real].abs().max() <= ROUNDING * wanted[real].abs().max()


def test_a_short_input_leaves_the_model_as_it_was() -> None:
    model = small("BigBird", "Model")
    modules, kinds = dict(model.named_modules()), kinds_of(model)
    with torch.no_grad(), as_it_was(model):
        model(**inputs(model, 9))
        assert kinds_of(model) == {"original_full"}
    assert (dict(model.named_modules()), kinds_of(model)) == (modules, kinds)


def kinds_of(model: nn.Module) -> set[str]:
    return {module.attention_type for module in model.modules() if hasattr(module, "attention_type")}


def test_a_model_that_was_turned_to_full_attention_is_refused(tmp_path: Path) -> None:
    model = small("BigBird", "Model")
    with torch.no_grad():
        model(**inputs(model, 9))
    with pytest.raises(ExportError, match="original_full"):
        edgexf.export(model, explain=(), output=tmp_path / "out")


@pytest.mark.parametrize(
    ("family", "head", "changes", "sentence"),
    [
        ("BigBird", "Model", {"pad_token_id": None}, "pad_token_id"),
        ("LED", "Model", {"pad_token_id": None}, "pad_token_id"),
        ("BigBird", "Model", {"max_position_embeddings": 1}, "positions for 2"),
        ("LED", "Model", {"attention_window": [256]}, "positions for 2"),
        ("BigBird", "ForQuestionAnswering", {"sep_token_id": None}, "sep_token_id"),
    ],
)
def test_a_config_that_leaves_no_contract_is_a_sentence(
    family: str, head: str, changes: dict[str, Any], sentence: str
) -> None:
    model = small(family, head)
    for name, value in changes.items():
        setattr(model.config, name, value)
    with pytest.raises(ExportError, match=sentence):
        from_model(model)


@pytest.mark.parametrize(
    ("family", "changes", "sizes"),
    [
        ("Longformer", {"attention_window": [6]}, {}),
        ("BigBird", {"block_size": 1, "num_random_blocks": 1, "max_position_embeddings": 64}, {}),
    ],
)
def test_blocks_as_small_as_the_examples_batch_are_explained_too(
    family: str, changes: dict[str, Any], sizes: dict[str, int], tmp_path: Path
) -> None:
    model = small(family, "ForSequenceClassification")
    for name, value in changes.items():
        setattr(model.config, name, value)
    model = type(model)(model.config).eval()
    manifest = edgexf.export(model, output=tmp_path / "out", **sizes).manifest
    assert manifest.grid["worst"] <= 1e-4
    assert manifest.methods == ("attnlrp",)


class Dependent:
    """A session whose logits change with the number of rows, by less than the library subtracts from barred logits."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in self.source.inputs]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name=output.name) for output in self.source.outputs]

    def run(self, names: list[str], feeds: dict[str, Any], _: Any) -> list[Any]:
        answer = answers(self.source, {name: torch.from_numpy(array) for name, array in feeds.items()})
        return [answer[name] + np.float32(0.1 * (len(feeds["input_ids"]) - 1)) for name in names]


def test_a_dependence_on_batch_mates_is_seen_beside_barred_logits() -> None:
    source = from_model(small("BigBird", "ForQuestionAnswering"))
    found = check_behaviour(source, 8, Dependent(source), {})  # type: ignore[arg-type]
    assert "changes with the batch" in found["a sample is independent of its batch mates"]


def test_where_no_length_can_grow_nothing_is_said_of_growth() -> None:
    limits = Limits(50, 2, 768, 64, 0, "to_multiple(64)", 2, 704)
    assert quadratic_tensors(Path("nowhere"), (), 64, limits) is None
    with pytest.raises(Exception, match="nowhere"):
        quadratic_tensors(Path("nowhere"), (), 64, replace(limits, max_length=1344))


def forget_the_random_blocks(
    mask: Tensor, hidden: Tensor, config: Any, frame: Any, right: Any = TokenMasks.of
) -> TokenMasks:
    found: TokenMasks = right(mask, hidden, config, frame)
    counted = torch.arange(found.inner.shape[-1]) < frame[1]
    more = torch.where(counted, math.log(1 + config.num_random_blocks), 0.0)
    return replace(found, inner=found.inner - more)


def forget_the_switch(model: Any, right: Any = bigbird.describe) -> Family:
    about = right(model)
    return Family(
        about.longest, about.padding, about.switch - 1, Segments("zeros", -1), call_context=about.call_context
    )


def read_the_next_block_twice(*given: Any, right: Any = Places.of) -> Places:
    """In place of the previous one."""
    found: Places = right(*given)
    window = found.near.shape[-1] // 3
    first, _, own, behind = found.keys.split((found.shared, window, window, window), dim=-1)
    return replace(found, keys=torch.cat((first, behind, own, behind), dim=-1))


def forget_the_decoders_mask(
    self: DecoderAttention, *inputs: Any, right: Any = DecoderAttention.forward, **named: Any
) -> Any:
    return right(self, *inputs, **{**named, "attention_mask": None})


def see_padding(mask: Tensor, *given: Any, right: Any = TokenMasks.of) -> TokenMasks:
    found: TokenMasks = right(torch.ones_like(mask), *given)
    return found


@pytest.mark.parametrize(
    ("family", "head", "place", "name", "broken"),
    [
        ("BigBird", "Model", TokenMasks, "of", forget_the_random_blocks),
        ("BigBird", "Model", bigbird, "describe", forget_the_switch),
        ("BigBird", "Model", Places, "of", read_the_next_block_twice),
        ("BigBird", "Model", TokenMasks, "of", see_padding),
        ("LED", "Model", DecoderAttention, "forward", forget_the_decoders_mask),
    ],
)
def test_a_lowering_that_is_broken_never_becomes_a_bundle(
    family: str, head: str, place: Any, name: str, broken: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, broken)
    with pytest.raises(VerificationError, match="length"):
        edgexf.export(small(family, head), explain=(), output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_lowering_that_forgets_its_global_tokens_never_becomes_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = led.TokenMasks.of
    monkeypatch.setattr(led.TokenMasks, "of", staticmethod(lambda mask, chosen, most: seen(mask, 0 * chosen, most)))
    with pytest.raises(VerificationError, match="globals first"):
        edgexf.export(small("LED", "Encoder"), explain=(), output=tmp_path / "out", max_global=3)


def test_weights_of_another_head_are_left_out_where_a_task_is_chosen(tmp_path: Path) -> None:
    """The published BigBird is such a checkpoint: it was saved with its pretraining heads."""
    small("BigBird", "ForPreTraining").save_pretrained(tmp_path / "checkpoint")
    bundle = edgexf.export(str(tmp_path / "checkpoint"), task="fill-mask", explain=(), output=tmp_path / "out")
    assert any("seq_relationship" in name for name in bundle.manifest.provenance["ignored"])
    with pytest.raises(UsageError, match="max_global"):
        edgexf.export(str(tmp_path / "checkpoint"), task="fill-mask", output=tmp_path / "other", max_global=2)


def test_a_hub_cache_of_links_is_read_and_a_broken_one_is_a_sentence(tmp_path: Path) -> None:
    """A snapshot folder holds links to blobs.

    Links are never allowed in a bundle, but they are harmless in a checkpoint, which is only read.
    """
    small("LED", "Model").save_pretrained(tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    for blob in (tmp_path / "blobs").iterdir():
        (tmp_path / "snapshot" / blob.name).symlink_to(blob)
    source = from_checkpoint(str(tmp_path / "snapshot"))
    assert (source.variant.name, source.task) == ("hf-led", "feature-extraction")
    (tmp_path / "blobs" / "model.safetensors").unlink()
    with pytest.raises(ExportError) as caught:
        edgexf.export(tmp_path / "snapshot", output=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
