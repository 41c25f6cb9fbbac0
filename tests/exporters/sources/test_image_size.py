"""The size of images that a caller chooses for a model of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from families import TOLERANCE, small
from image_families import PIXELS, small_image_model
from torch import Tensor

import edgexf
from edgexf.cli import main
from edgexf.errors import EdgexfError, UsageError
from edgexf_exporters.sources.checkpoint import from_model
from edgexf_exporters.sources.general import model as general
from edgexf_exporters.sources.general.inputs import Maker
from edgexf_exporters.sources.tokenizer import Longest

WORDS = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}


class OneSize(transformers.ViTForImageClassification):
    """Takes no word to interpolate the positions of patches."""

    def forward(self, pixel_values: Tensor) -> Any:
        return super().forward(pixel_values)


@pytest.mark.slow
@pytest.mark.parametrize("explain", [(), ("attnlrp",)])
def test_positions_of_patches_are_interpolated(explain: tuple[str, ...], tmp_path: Path) -> None:
    """As the library does it when it is asked to. The larger side of a range has four times the patches of the config."""
    model = small_image_model("ViT")
    size = (16, 64) if explain == () else 48
    bundle = edgexf.export(model, image_size=size, explain=explain, output=tmp_path / "out")
    assert bundle.manifest.methods == explain
    with edgexf.load(bundle.path) as session:
        for height, width in ((16, 64), (64, 23), (32, 32)) if explain == () else ((48, 48),):
            images = torch.randn(2, 3, height, width)
            with torch.no_grad():
                wanted = model(pixel_values=images, interpolate_pos_encoding=True).logits.numpy()
            found = session.run(pixel_values=images.numpy())["logits"]
            assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


@pytest.mark.slow
def test_height_and_width_vary_where_a_range_is_named(tmp_path: Path) -> None:
    model = small_image_model("ResNet")
    model.save_pretrained(tmp_path / "model")
    options = ["--image-size", "20-72", "--explain", "none", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, ["export", "--model", str(tmp_path / "model"), *options])
    assert done.exit_code == 0, done.output
    assert "tokens" not in done.output
    with edgexf.load(tmp_path / "out") as session:
        assert (session.manifest.task, len(session.manifest.labels)) == ("image-classification", 3)
        for height, width in ((20, 72), (72, 20), (45, 46)):
            images = torch.randn(2, 3, height, width)
            with torch.no_grad():
                wanted = model(pixel_values=images).logits.numpy()
            found = session.run(pixel_values=images.numpy())["logits"]
            assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()
        for side in (19, 73):
            with pytest.raises(EdgexfError, match="20 to 72"):
                session.run(pixel_values=torch.zeros(1, 3, 40, side).numpy())


def test_one_number_is_another_fixed_size() -> None:
    source = from_model(small_image_model("ConvNext"), image_size=48)
    assert source.module_inputs is not None
    assert source.module_inputs.tensors[0].shape == ("batch_size", 3, 48, 48)
    assert source.config["image_size"] == 48


def test_a_range_is_kept_whole_whatever_bounds_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word of config or tokenizer a text is tried up to `UNTOLD` tokens. Pixels are no tokens."""
    monkeypatch.setattr(general, "UNTOLD", Longest(20, "a test"))
    source = from_model(small_image_model("ResNet"), image_size=(24, 40))
    assert source.module_inputs is not None
    assert {(axis.least, axis.most) for axis in source.module_inputs.signature.axes[:2]} == {(24, 40)}


@pytest.mark.parametrize(
    ("size", "side"), [(None, 32), (48, 48), ((24, 64), 32), ((40, 100), 64), ((33, 35), 34), ((20, 31), 24)]
)
def test_an_example_has_the_size_of_the_config_or_one_that_most_patches_divide(
    size: int | tuple[int, int] | None, side: int
) -> None:
    assert Maker(small_image_model("ResNet"), {}, size).pixels() == (side, side)


@pytest.mark.parametrize(
    ("family", "size", "match"),
    [
        ("OneSize", (PIXELS // 2, PIXELS), f"can't vary by themselves, got 16 to 32; write {PIXELS}"),
        ("OneSize", 2 * PIXELS, "OneSize: .* doesn't match model"),
        ("ConvNext", (8, 64), "got no answer beyond"),
        ("Bert", 32, "a model of images, got it for BertForSequenceClassification"),
        ("Electra", 32, "image_size is that of an image, got it for a model that reads input_ids"),
    ],
)
def test_a_size_that_a_model_does_not_take_is_refused(family: str, size: int | tuple[int, int], match: str) -> None:
    if family == "Electra":  # goes the general way
        model = transformers.ElectraModel(transformers.ElectraConfig(**WORDS)).eval()
    elif family == "OneSize":
        model = OneSize(small_image_model("ViT").config).eval()
    else:
        model = small("Bert", "ForSequenceClassification") if family == "Bert" else small_image_model(family)
    with pytest.raises(EdgexfError, match=match):
        from_model(model, image_size=size)


@pytest.mark.parametrize(
    "size", [0, -3, 2.5, True, (64, 32), (32, 32), (8, 16, 32), (), (48,), "32", 16_385, (8, 10**10)]
)
def test_what_is_no_size_is_refused(size: object) -> None:
    with pytest.raises(
        UsageError, match="image_size must be a number of pixels up to 16,384, or the least and the most"
    ):
        edgexf.export(small_image_model("ResNet"), image_size=size)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", ".", "--image-size", "big"), "--image-size must be pixels, or least and most of them, got 'big'"),
        (("--model", ".", "--image-size", "32-"), "got '32-'"),
        (("--model", ".", "--image-size", "16-" + 5000 * "9"), "write 384 or 160-320"),
        (("--variant", "linformer", "--image-size", "32"), "that of a model of transformers"),
    ],
)
def test_what_is_no_size_at_the_prompt_is_one_sentence(options: tuple[str, ...], words: str) -> None:
    done = CliRunner().invoke(main, ["export", *options])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert words in done.output
