"""User data for models that read neither text nor bytes: arrays by name, in lines or in files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import small
from shrunk import SHORT
from torch import Tensor, nn

import edgexf
from edgexf.errors import InputError, UsageError
from edgexf.pipeline.quantize_bundle import quantize
from edgexf_runtimes.inputs.labelled import Labelled, read_labelled
from edgexf_runtimes.measure.calibration import stream, whole
from edgexf_runtimes.measure.evaluation import data_of
from edgexf_runtimes.measure.faithfulness import measure

CHANCE = np.random.default_rng(0)
IMAGES = CHANCE.normal(size=(12, 3, 8, 8)).astype(np.float32)


class Pictures(nn.Module):
    """Classifies a picture into five classes by its patches of 4 x 4 pixels with three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.classes = nn.Linear(48, 64), nn.Linear(64, 5)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = pixels.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        return self.classes(self.patch(patches).relu().mean(1))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("pictures") / "bundle"
    return edgexf.export(Pictures().eval(), example_inputs=(torch.zeros(2, 3, 8, 8),), explain=(), output=folder).path


@pytest.fixture(scope="module")
def choices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("choices") / "bundle"
    return edgexf.export(small("Bert", "ForMultipleChoice"), explain=(), output=folder).path


def written(folder: Path, lines: Sequence[dict[str, Any]]) -> Path:
    path = folder / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def saved(folder: Path) -> Path:
    """Writes the pictures to files, and returns a list of these files."""
    for index, image in enumerate(IMAGES):
        np.savez(folder / f"{index}.npz", pixels=image[None])
    path = folder / "files.txt"
    path.write_text("\n".join(f"{index}.npz" for index in range(len(IMAGES))))
    return path


def test_pictures_calibrate_and_judge_a_static_graph(pictures: Path, tmp_path: Path) -> None:
    """Files calibrate the ranges, and lines give the top-1 accuracy.

    The fp32 accuracy is the accuracy of a session of the bundle's fp32 graph.
    """
    with edgexf.load(pictures) as session:
        best = [int(next(iter(session.run(pixels=image[None]).values())).argmax()) for image in IMAGES]
    labels = [column if index % 3 else (column + 1) % 5 for index, column in enumerate(best)]
    lines = [
        {"arrays": {"pixels": [image.tolist()]}, "label": label} for image, label in zip(IMAGES, labels, strict=True)
    ]
    (outcome,) = quantize(
        pictures,
        "int8-static",
        calibration=saved(tmp_path),
        evaluate=written(tmp_path, lines),
        force=True,
        lengths=SHORT,
    )
    assert outcome.fp32_metric == pytest.approx(8 / 12)
    assert outcome.cases == len(IMAGES)
    assert outcome.worst < outcome.tolerance
    assert [layer.products for layer in outcome.layers if not layer.skipped] == [1]  # the head has only 320 weights


def test_a_choice_is_judged_by_its_number(choices: Path, tmp_path: Path) -> None:
    rows = CHANCE.integers(4, 50, size=(6, 1, 3, 9))
    with edgexf.load(choices) as session:
        best = [int(session.run(input_ids=ids)["logits"][0].argmax()) for ids in rows]
        lines = [{"arrays": {"input_ids": ids.tolist()}, "label": label} for ids, label in zip(rows, best, strict=True)]
        data = data_of(session, written(tmp_path, lines))
        assert [case.label for case in data.cases] == best
        assert [row["input_ids"].shape for row in stream(session, tmp_path / "data.jsonl")] == [(1, 3, 9)] * 6
        lines[1]["label"] = 3
        with pytest.raises(InputError, match=r"line 2 of .*: a label must be one of 3 columns"):
            data_of(session, written(tmp_path, lines))
        lines[1]["label"] = "second"
        with pytest.raises(InputError, match="choose among some"):
            data_of(session, written(tmp_path, lines))
    written(tmp_path, [lines[0], *lines[2:]])
    (outcome,) = quantize(choices, "int8", evaluate=tmp_path / "data.jsonl", force=True, lengths=SHORT)
    assert outcome.fp32_metric == 1
    assert outcome.metric is not None


PIXELS = IMAGES[:1].tolist()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"arrays": {"pixel": PIXELS}}, "line 2 of data.jsonl: inputs must be the model's"),
        ({"arrays": {"pixels": [[[[1, 2], [3]]]]}}, "equal lengths"),
        ({"arrays": {"pixels": [[["a"]]]}}, "pixels must be finite numbers"),
        ({"arrays": {"pixels": PIXELS[0]}}, "pixels must be float32"),
        ({"arrays": {"pixels": [[[[float("nan")]]]]}}, "pixels must be finite"),
        ({"arrays": []}, "line 2 of data.jsonl"),
        ({"input": "alone.npy"}, "an .npz of them"),
        ({"input": "none.npz"}, "a readable file, got .*none.npz"),
        ({"input": "data.jsonl"}, "an .npz of them"),
        ({"text": "words"}, "takes token ids"),
        ({"arrays": {"pixels": PIXELS}, "label": 5}, "one of the model's"),
        ({"arrays": {"pixels": PIXELS}, "label": -1}, "one of the model's"),
        ({"arrays": {"pixels": PIXELS * 2}, "label": 1}, "got LABEL_1 of 2 rows"),
        ({"arrays": {"pixels": PIXELS}, "label": "cat"}, "one of the model's"),
        ({"arrays": {"pixels": PIXELS}, "label": True}, "whole number"),
    ],
)
def test_arrays_that_do_not_fit_are_a_sentence(
    line: dict[str, Any], sentence: str, pictures: Path, tmp_path: Path
) -> None:
    labelled = {"label": 0} if "label" in line else {}
    np.save(tmp_path / "alone.npy", IMAGES[:1])
    path = written(tmp_path, [{"arrays": {"pixels": PIXELS}, **labelled}, line])
    with edgexf.load(pictures) as session, pytest.raises((InputError, UsageError), match=sentence) as caught:
        data_of(session, path)
    assert "\n" not in str(caught.value)


def test_a_vector_is_no_choice(tmp_path: Path) -> None:
    """Token features have no label.

    A label is also wrong for question answering, because a start alone does not give the place of an answer.
    """
    path = written(tmp_path, [{"input_ids": [5, 6, 7], "label": 1}])
    for head in ("Model", "ForQuestionAnswering"):
        edgexf.export(small("Bert", head), explain=(), output=tmp_path / head)
        with edgexf.load(tmp_path / head) as session, pytest.raises(InputError, match="choose among some"):
            data_of(session, path)


def test_a_number_that_is_the_name_of_another_label_is_ambiguous(tmp_path: Path) -> None:
    path = written(tmp_path, [{"text": "good", "label": 1}])
    with pytest.raises(InputError, match="the name of another"):
        read_labelled(path, ("1", "2", "3"))
    assert read_labelled(path, ("0", "1"))[0].label == "1"


def test_several_rows_and_given_masks_calibrate_as_they_are(tmp_path: Path) -> None:
    edgexf.export(small("Longformer", "Model"), explain=(), max_global=2, output=tmp_path / "bundle")
    ids, chosen = [[5] * 7, [6] * 7], [[0, 0, 1, 0, 0, 0, 0]]
    lines = [{"arrays": {"input_ids": ids}}, {"arrays": {"input_ids": ids[:1], "global_attention_mask": chosen}}]
    with edgexf.load(tmp_path / "bundle") as session:
        both, one = (whole(session, row) for row in stream(session, written(tmp_path, lines)))
    assert both["input_ids"].tolist() == ids
    assert one["input_ids"].shape == (1, 4)  # whole blocks of four
    assert one["global_attention_mask"].tolist() == [chosen[0][:4]]


def test_curves_are_not_drawn_of_ids(linformer: Any) -> None:
    """The curves would belong to an empty text."""
    with edgexf.load(linformer.bundle.path) as session, pytest.raises(UsageError, match="an input of ids"):
        measure(session, [Labelled("a"), Labelled("", arrays={"input_ids": np.array([[257, 5]])})])
