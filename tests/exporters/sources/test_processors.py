"""The steps of each image processor give the numbers that transformers gives with its PIL backend."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import transformers
from pictures import SIZES, pixels

from edgexf.bundle.steps import size_of, steps_of
from edgexf.errors import InputError
from edgexf_exporters.sources.general.pictures import scaled
from edgexf_exporters.sources.general.pictures import steps_of as steps_by
from edgexf_exporters.sources.general.processors import PROCESSORS, UNSET, named
from edgexf_exporters.sources.general.timm import timm_steps
from edgexf_runtimes.inputs.pixels import pixel_values, seen

TOLERANCE = 1e-5  # of values around 1: what the project promises
BETWEEN = {"shortest_edge": 20, "longest_edge": 40}
# Values of checkpoints beside the defaults: names and numbers of older ones, and options that change the way.
CONFIGS: dict[str, list[dict[str, Any]]] = {
    "ViTImageProcessor": [
        {"size": 32}, {"size": [20, 31], "resample": 3}, {"size": {"shortest_edge": 20}},
        {"size": BETWEEN}, {"do_resize": False, "do_center_crop": True, "crop_size": 24},
        {"size": 24, "do_pad": True, "pad_size": {"height": 30, "width": 28}}, {"size": 24, "do_rescale": False},
        {"size": 24, "do_normalize": False}, {"size": 24, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
        *({"size": 24, "resample": number} for number in range(6)),
    ],
    "DeiTImageProcessor": [{"size": 36, "crop_size": 31}],
    "BeitImageProcessor": [{"size": 36, "crop_size": 31, "do_center_crop": True}],
    "CLIPImageProcessor": [{"size": 24, "crop_size": 24}, {"size": 24, "crop_size": {"height": 20, "width": 40}}],
    "ConvNextImageProcessor": [{"size": 28, "crop_pct": 0.875}, {"size": 384}],
    "EfficientNetImageProcessor": [
        {"size": 28}, {"size": 28, "rescale_offset": True, "rescale_factor": 1 / 127.5, "include_top": False},
    ],
    "MobileNetV2ImageProcessor": [{"size": 40, "crop_size": 32}],
    "MobileViTImageProcessor": [{"size": 28, "crop_size": 32}, {"size": 28, "do_flip_channel_order": False}],
    "LevitImageProcessor": [{"size": 28, "crop_size": 28}, {"size": {"height": 20, "width": 24}}],
    "PoolFormerImageProcessor": [{"size": 28, "crop_size": 28, "crop_pct": 0.95}, {"size": {"height": 20, "width": 28}}],
}  # fmt: skip
CASES = [(name, values) for name in PROCESSORS for values in ({}, *CONFIGS.get(name, []))]


def class_of(name: str) -> Any:
    """The class with the PIL backend."""
    return getattr(transformers, f"{name}Pil")


@pytest.mark.parametrize(("name", "values"), CASES, ids=[f"{name}-{number}" for number, (name, _) in enumerate(CASES)])
def test_a_picture_becomes_the_numbers_of_transformers(name: str, values: dict[str, Any]) -> None:
    """Through the manifest's JSON too: the device reads the steps from there."""
    steps = PROCESSORS[name].steps(values)
    assert steps_of([vars(step) for step in steps]) == steps
    processor = class_of(name)(**values)
    for seed, (height, width) in enumerate(SIZES[: 6 if values else 2]):
        picture = pixels(height, width, seed)
        if values.get("size") == BETWEEN and max(height, width) > 40 * min(height, width):  # no pixel would be left
            with pytest.raises(InputError, match="must keep 1 to"):
                pixel_values(picture, steps)
            continue
        wanted = processor(images=picture, return_tensors="np", input_data_format="channels_last")["pixel_values"][0]
        found = pixel_values(picture, steps)
        assert found.dtype == np.float32
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= TOLERANCE * max(np.abs(wanted).max(), 1)
        assert seen(picture, steps).shape[:2] == found.shape[1:]
        assert size_of(steps) in (None, found.shape[1:])


@pytest.mark.parametrize("name", PROCESSORS)
def test_defaults_are_those_of_the_class(name: str) -> None:
    cls, mine = class_of(name), {**UNSET, **PROCESSORS[name].defaults}
    for option, value in mine.items():
        if not hasattr(cls, option):
            assert option not in PROCESSORS[name].defaults
            continue
        theirs = getattr(cls, option)
        if option in ("image_mean", "image_std"):
            assert tuple(theirs) == value
        elif isinstance(theirs, bool | None):
            assert bool(theirs) == bool(value)
        elif option != "crop_size" or mine["do_center_crop"]:
            assert theirs == value


def test_a_processor_has_many_names() -> None:
    for said in ("ViTImageProcessor", "ViTImageProcessorFast", "ViTImageProcessorPil", "ViTFeatureExtractor"):
        assert named({"image_processor_type": said}, "") == "ViTImageProcessor"
    assert named({"feature_extractor_type": "ConvNextFeatureExtractor"}, "resnet") == "ConvNextImageProcessor"
    assert named({}, "swin") == "ViTImageProcessor"  # by the type of the model, as in transformers
    assert named({}, "bert") == ""


def test_most_image_classifiers_of_transformers_have_a_known_processor() -> None:
    """The others are listed here: what they do has no record yet."""
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    others = {kind for kind in auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES if named({}, kind) not in PROCESSORS}
    assert others == {
        "donut-swin", "imagegpt", "perceiver", "pp_lcnet", "shieldgemma2", "siglip2", "textnet",
        "timm_wrapper",  # by its pretrained_cfg
        "dinov2_with_registers", "hgnet_v2",  # transformers names none; a checkpoint may
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"image_processor_type": "DonutImageProcessor"}, "does not know the image processor DonutImageProcessor"),
        (
            {"image_processor_type": "ViTImageProcessor", "size": {"longest_edge": 30}},
            "size has the names longest_edge",
        ),
        ({"image_processor_type": "ViTImageProcessor", "size": "large"}, "'large' is no number of pixels"),
        ({"image_processor_type": "ViTImageProcessor", "resample": 9}, "9 is no filter of Pillow"),
        ({"image_processor_type": "ViTImageProcessor", "image_mean": [0.5]}, "no number for each of 3 channels"),
        ({"image_processor_type": "ViTImageProcessor", "do_center_crop": True}, "None is no number of pixels"),
        ({"image_processor_type": "ViTImageProcessor", "rescale_factor": None}, "not known"),
        ({"image_processor_type": "ConvNextImageProcessor", "size": 224, "crop_pct": "all"}, "not known"),
        ({"pretrained_cfg": {"crop_mode": "border"}}, "crop_mode is border"),
        ({"pretrained_cfg": {"input_size": [1, 28, 28]}}, "input_size is 1 x 28 x 28"),
    ],
)
def test_what_is_not_known_is_said(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        steps_by(values, "vit")


def test_a_narrow_picture_does_not_fill_the_memory() -> None:
    """Its shorter side becomes 224 pixels, and the longer one 13 millions."""
    with pytest.raises(InputError, match="must keep 1 to"):
        pixel_values(np.zeros((1, 60_000, 3), np.uint8), PROCESSORS["CLIPImageProcessor"].steps({}))


def test_sizes_follow_a_chosen_size_of_images() -> None:
    """The share that a crop leaves stays the same."""
    steps = PROCESSORS["MobileNetV2ImageProcessor"].steps(scaled({}, 448 / 224, "MobileNetV2ImageProcessor"))
    assert [step.size for step in steps[:2]] == [(512,), (448, 448)]


def test_configs_of_timm_follow_their_documented_formula() -> None:
    """floor(size / crop_pct) for the shorter side, then the middle, whose half is rounded to even as in torchvision."""
    config = {
        "input_size": [3, 30, 30],
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    resize, crop, _, normalize = timm_steps(config)
    assert (resize.rule, resize.size, resize.filter) == ("shortest_edge", (33,), "bicubic")
    assert (crop.size, crop.half) == ((30, 30), "even")
    assert normalize.mean == (0.5, 0.5, 0.5)
    picture = np.arange(33, dtype=np.uint8)[:, None, None].repeat(33, 1).repeat(3, 2)
    assert seen(picture, (crop,))[0, 0, 0] == 2  # round((33 - 30) / 2)
    assert timm_steps({**config, "crop_mode": "squash"})[0].size == (33, 33)
