"""A model of images from a checkpoint reads pictures: from the file to labels and relevance, through one small export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from click.testing import CliRunner
from image_families import PIXELS, images, small_image_model
from pictures import SIZES, pixels, saved
from PIL import Image as Pillow
from torch import Tensor, nn
from torch.export import Dim

import edgexf
from edgexf import names
from edgexf.bundle.preprocess import Image
from edgexf.cli import main
from edgexf.errors import InputError, UsageError
from edgexf.report.picture import PictureExplanation
from edgexf_exporters.source import Source
from edgexf_exporters.sources.general.pictures import with_pictures
from edgexf_exporters.sources.modules.module import from_module
from edgexf_runtimes import Session

SCORE = 1e-4  # of a probability: what the project promises beside transformers' pipeline
VIT = {"image_processor_type": "ViTImageProcessor", "size": PIXELS}


@pytest.fixture(scope="module")
def model() -> Any:
    """Of one layer, whose export takes two thirds of the time of two."""
    return small_image_model("ViT", num_hidden_layers=1)


class Small(nn.Module):
    """Reads images of one size."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 8, 8)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        return {"logits": self.layer(pixel_values).mean(dim=(2, 3))}


@pytest.fixture(scope="module")
def source() -> Source:
    """Without a processor."""
    return from_module(Small(), {"pixel_values": images()}, {"pixel_values": {0: Dim.DYNAMIC}})


@pytest.fixture(scope="module")
def exported(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    model.save_pretrained(folder / "model")
    kept = {**VIT, "resample": 2, "name_or_path": str(folder)}
    (folder / "model" / names.PROCESSOR_FILE).write_text(json.dumps(kept))
    return edgexf.export(str(folder / "model"), output=folder / "bundle").path


@pytest.fixture(scope="module")
def session(exported: Path) -> Iterator[Session]:
    with edgexf.load(exported) as opened:
        yield opened


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    found = [folder / f"{number}.png" for number in range(len(SIZES))]
    for number, (height, width) in enumerate(SIZES):
        found[number].write_bytes(saved(Pillow.fromarray(pixels(height, width, number)), "PNG"))
    return found


def test_the_bundle_carries_the_processor_without_paths(exported: Path) -> None:
    found = edgexf.bundle.read(exported)
    assert isinstance(found.preprocess, Image)
    assert found.preprocess.patch == 8
    assert found.provenance[names.PICTURES] == "as ViTImageProcessor reads them"
    assert json.loads((exported / names.PROCESSOR_FILE).read_text()) == {**VIT, "resample": 2}
    assert "session.predict([given])" in (exported / "README.md").read_text()
    assert "edgexf run . picture.png" in (exported / "README.md").read_text()


def test_answers_are_those_of_the_pipeline(session: Session, model: Any, files: list[Path]) -> None:
    processor = transformers.ViTImageProcessorPil(size=PIXELS)
    pipeline = transformers.pipeline("image-classification", model=model, image_processor=processor)
    found = session.predict(files)
    for mine, theirs in zip(found, pipeline([str(file) for file in files]), strict=True):
        assert [one["label"] for one in mine] == [one["label"] for one in theirs]
        assert [one["score"] for one in mine] == pytest.approx([one["score"] for one in theirs], abs=SCORE)
    assert len(session.predict(files[0], top_k=1)) == 1


def test_every_kind_of_picture_gets_the_same_answer(session: Session, files: list[Path]) -> None:
    file = files[0]
    array = np.asarray(Pillow.open(file))
    sources = [file, str(file), file.read_bytes(), Pillow.open(file), array, session.read(file)]
    first, *others = [session.predict(one).top for one in sources]
    assert all(other == first for other in others)
    assert [one.label for one in session.predict(np.stack([array, array]))] == [first[0][0]] * 2
    assert [one.label for one in session.stream([array, file])] == [first[0][0]] * 2


def test_pictures_run_together_as_they_run_alone(session: Session, files: list[Path]) -> None:
    together = session.predict(files * 2)
    assert {one.batch for one in together} == {8, 4}  # 12 pictures, at most 8 in a run
    for file, one in zip(files * 2, together, strict=True):
        assert one.score == pytest.approx(session.predict(file).score, abs=1e-5)  # the contract's bound for a batch
    assert session.encode(files)["pixel_values"].shape == (len(files), 3, PIXELS, PIXELS)


def test_relevance_of_patches_is_that_of_their_pixels(session: Session, files: list[Path]) -> None:
    why = session.explain(files[0])
    assert isinstance(why, PictureExplanation)
    found = session.run_explain(session.encode(files[0]))
    patches = found["relevance"][0].reshape(4, 8, 4, 8).sum(axis=(1, 3))
    assert why.scores == pytest.approx(patches, abs=1e-6)  # sums of 64 numbers in float32, here in float64
    assert why.explained == pytest.approx(found["logits"].max(), rel=1e-4)
    assert why.pixels.shape == (PIXELS, PIXELS, 3)
    assert PictureExplanation.from_json(why.to_json()) == why
    assert why.prediction is not None
    other = session.explain(files[0], why.prediction.top[-1][0])
    assert not np.allclose(other.scores, why.scores)
    assert not np.allclose(session.explain(files[1]).scores, why.scores)


def test_a_bad_picture_or_option_is_an_error_of_one_sentence(session: Session, files: list[Path]) -> None:
    for wrong, kind, words in (
        (b"none", InputError, "a picture that Pillow reads"),
        (pixels(2, 2).astype(float), InputError, "uint8 [height, width, 3]"),
        (3, UsageError, "pictures must be a path"),
    ):
        with pytest.raises(kind) as caught:
            session.predict(wrong)
        assert words in str(caught.value)
    with pytest.raises(UsageError, match="a stride is for models that read text"):
        session.predict(files[0], stride=3)
    with pytest.raises(UsageError, match="which reads pictures"):
        session.explain(files[0], method="occlusion")


def test_the_command_line_reads_pictures(exported: Path, files: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(files[0].read_bytes()[:60])
    done = CliRunner().invoke(main, ["run", str(exported), str(files[0]), str(bad), str(files[1])])
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 1
    assert [line["input"] for line in lines] == [str(files[0]), str(files[1])]
    assert done.stderr.count("must be whole") == 1
    page = tmp_path / "page.html"
    done = CliRunner().invoke(main, ["explain", str(exported), str(files[0]), "--html", str(page), "--json"])
    assert done.exit_code == 0, done.output
    assert PictureExplanation.from_json(done.stdout).input == str(files[0])
    assert "data:image/png" in page.read_text()
    done = CliRunner().invoke(
        main, ["explain", str(exported), str(files[0]), "--target", "LABEL_1", "--target", "LABEL_2"]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.count("cells of 8 x 8 pixels") == 2
    for command in ("run", "explain"):
        done = CliRunner().invoke(main, [command, str(exported), "--text", str(files[0])])
        assert done.exit_code == 2
        assert "--text is for models that read text" in done.output


def test_arrays_stay_an_input(exported: Path, session: Session, files: list[Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **session.encode(files[:2]))
    done = CliRunner().invoke(main, ["run", str(exported), str(tmp_path / "a.npz")])
    assert done.exit_code == 0, done.output
    assert np.shape(json.loads(done.stdout)["outputs"]["logits"]) == (2, 3)


@pytest.mark.parametrize(
    ("processor", "words"),
    [
        ({}, f"the model has no {names.PROCESSOR_FILE}"),
        ({"image_processor_type": "DonutImageProcessor"}, "does not know the image processor DonutImageProcessor"),
        ({**VIT, "size": 48}, r"pictures must become \[32, 32\]"),
        ({**VIT, "size": {"shortest_edge": 32}}, "each of its own size"),
        ({**VIT, "image_std": [0, 1, 1]}, "std must not be 0"),
    ],
)
def test_a_model_without_a_known_processor_takes_arrays_and_says_why(
    source: Source, processor: dict[str, Any], words: str
) -> None:
    found = with_pictures(source, processor, None)
    assert found.preprocess is None
    assert str(found.provenance[names.PICTURES]).startswith("not read: ")
    with pytest.raises(InputError, match=words):
        raise InputError(found.provenance[names.PICTURES])
    assert (names.PROCESSOR_FILE in found.files) == bool(processor)


def test_a_chosen_size_of_images_scales_the_processor(source: Source) -> None:
    shape = (names.BATCH, 3, 48, 48)
    assert source.module_inputs is not None
    larger = replace(source.module_inputs, tensors=(replace(source.tensors[0], shape=shape),))
    found = with_pictures(replace(source, module_inputs=larger), VIT, 48)
    assert isinstance(found.preprocess, Image)
    assert found.preprocess.steps[0].size == (48, 48)  # type: ignore[union-attr]
    assert found.provenance[names.PICTURES] == "as ViTImageProcessor reads them, with sizes scaled to 48"
