"""The image processors of transformers as steps of a bundle.

In: the values of a preprocessor_config.json, and the name of the processor. Out: the steps (`edgexf.bundle.steps`), in
which defaults of the class and its rules (``crop_pct``, ``include_top``) have become sizes and numbers.

    {"image_processor_type": "ConvNextImageProcessor", "size": 224, "crop_pct": 0.875}
        ->  resize shortest_edge 256, crop 224 x 224, rescale, normalize

A processor is a record in `PROCESSORS`: its defaults, the order of its steps, and its way to a size if it has one of its own.
The records follow the PIL backend of transformers 5.24; a test compares the defaults with the library's. A record of
numbers and not the library's class: the export works where Pillow is not installed, and says what it wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgexf.bundle.steps import (
    BETWEEN,
    CHANNELS,
    EXACT,
    FILTERS,
    SHORTEST,
    Crop,
    Flip,
    Normalize,
    Pad,
    Rescale,
    Resize,
    Step,
)
from edgexf.checks import is_count

Options = Mapping[str, Any]
Steps = tuple[Step, ...]

TYPES = ("image_processor_type", "feature_extractor_type")
HALF, IMAGENET = (0.5,) * 3, ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and std
OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
WARPED = 384  # from this side on ConvNeXT keeps the whole picture and gives up its shape
BILINEAR, BICUBIC = FILTERS.index("bilinear"), FILTERS.index("bicubic")


def mapping_of(size: Any, square: bool) -> dict[str, int]:
    """A size with its names: a number is both sides if `square`, else the shorter one; two are height and width.

    ValueError for a size that is none.
    """
    if isinstance(size, Mapping):
        found = {name: one for name, one in size.items() if one is not None}
    elif isinstance(size, list | tuple):
        found = dict(zip(("height", "width"), size, strict=True))
    else:
        found = {"height": size, "width": size} if square else {"shortest_edge": size}
    if not all(is_count(one, 1) for one in found.values()):
        raise ValueError(f"its size {size!r} is no number of pixels")
    return found


def resize(options: Options) -> Steps:
    """The plain way to a size, whose names say the rule."""
    size = mapping_of(options["size"], options["default_to_square"])
    rules = {("height", "width"): EXACT, ("shortest_edge",): SHORTEST, ("shortest_edge", "longest_edge"): BETWEEN}
    found = next((names for names in rules if set(names) == set(size)), None)
    if found is None:
        raise ValueError(f"its size has the names {', '.join(size)}")
    return (Resize("resize", rules[found], tuple(size[name] for name in found), filter_of(options)),)


def filter_of(options: Options) -> str:
    number = options["resample"]
    if not is_count(number, 0) or number >= len(FILTERS):
        raise ValueError(f"its resample {number!r} is no filter of Pillow")
    return FILTERS[number]


def to_shorter(options: Options, side: int) -> Resize:
    return Resize("resize", SHORTEST, (side,), filter_of(options))


def edge_of(options: Options) -> int:
    size = mapping_of(options["size"], options["default_to_square"])
    if "shortest_edge" not in size:
        raise ValueError("its size has no shortest_edge")
    return size["shortest_edge"]


def convnext_resize(options: Options) -> Steps:
    """Below `WARPED` the shorter side becomes edge / crop_pct, and the middle stays; else both sides become the edge."""
    edge = edge_of(options)
    if edge >= WARPED:
        return (Resize("resize", EXACT, (edge, edge), filter_of(options)),)
    return to_shorter(options, int(edge / options["crop_pct"])), Crop("crop", (edge, edge))


def levit_resize(options: Options) -> Steps:
    """The shorter side becomes 256/224 of the edge."""
    if "shortest_edge" in mapping_of(options["size"], options["default_to_square"]):
        return (to_shorter(options, int(256 / 224 * edge_of(options))),)
    return resize(options)


def poolformer_resize(options: Options) -> Steps:
    """The size is divided by crop_pct; equal sides stand for the shorter side."""
    size, share = mapping_of(options["size"], options["default_to_square"]), options["crop_pct"]
    if share is None:
        return resize(options)
    if set(size) == {"height", "width"} and size["height"] != size["width"]:
        sides = (int(size["height"] / share), int(size["width"] / share))
        return (Resize("resize", EXACT, sides, filter_of(options)),)
    return (to_shorter(options, int(next(iter(size.values())) / share)),)


def sides_of(options: Options, name: str) -> tuple[int, int]:
    size = mapping_of(options[name], True)
    if set(size) != {"height", "width"}:
        raise ValueError(f"its {name} has no height and width")
    return size["height"], size["width"]


def crop(options: Options) -> Steps:
    return (Crop("crop", sides_of(options, "crop_size")),)


def pad(options: Options) -> Steps:
    return (Pad("pad", sides_of(options, "pad_size")),) if options["pad_size"] is not None else ()


def rescale(options: Options) -> Steps:
    return (Rescale("rescale", float(options["rescale_factor"]), -1.0 if options["rescale_offset"] else 0.0),)


def normalize(options: Options) -> Steps:
    return (Normalize("normalize", numbers(options["image_mean"]), numbers(options["image_std"])),)


def divide(options: Options) -> Steps:
    """EfficientNet's second division, by which the numbers that a classifier reads have the variance of its training."""
    return (Normalize("normalize", (0.0,) * CHANNELS, numbers(options["image_std"])),)


def numbers(value: Any) -> tuple[float, ...]:
    """A number for each channel."""
    found = tuple(value) if isinstance(value, list | tuple) else (value,) * CHANNELS
    if len(found) != CHANNELS or not all(type(one) in (int, float) for one in found):
        raise ValueError(f"its mean or std {value!r} is no number for each of {CHANNELS} channels")
    return tuple(map(float, found))


def flip(_: Options) -> Steps:
    return (Flip("flip"),)


PLAIN = ("resize", "center_crop", "rescale", "normalize", "pad")
MAKE: Mapping[str, tuple[str, Callable[[Options], Steps]]] = {  # a step by name: the option that wants it, what makes it
    "center_crop": ("do_center_crop", crop), "rescale": ("do_rescale", rescale), "normalize": ("do_normalize", normalize),
    "pad": ("do_pad", pad), "divide": ("include_top", divide), "flip": ("do_flip_channel_order", flip),
}  # fmt: skip
UNSET: Options = {
    "default_to_square": True, "do_center_crop": None, "crop_size": None, "do_pad": None, "pad_size": None,
    "rescale_factor": 1 / 255, "rescale_offset": False, "include_top": False, "do_flip_channel_order": False,
    "do_resize": True, "do_rescale": True, "do_normalize": True, "resample": BICUBIC,
}  # fmt: skip


@dataclass(frozen=True)
class Processor:
    """An image processor.

    Attributes:
        defaults: what the class sets and a config may leave out, beside `UNSET`.
        order: its steps, by their names in `MAKE`, and ``resize``.
        resize: the steps to a size.
    """

    defaults: Options = field(default_factory=dict)
    order: tuple[str, ...] = PLAIN
    resize: Callable[[Options], Steps] = resize

    def steps(self, values: Options) -> Steps:
        """The steps for the values of a config. ValueError, which says what about them, for values of a wrong kind."""
        options = {**UNSET, **self.defaults, **values}
        found: list[Step] = []
        for name in self.order:
            wanted, make = ("do_resize", self.resize) if name == "resize" else MAKE[name]
            found += make(options) if options[wanted] else ()
        return tuple(found)


def mean_and_std(mean: Any, std: Any) -> dict[str, Any]:
    return {"image_mean": mean, "image_std": std}


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


STANDARD = mean_and_std(HALF, HALF)
OF_EDGE = {"size": {"shortest_edge": 224}, "default_to_square": False, "do_center_crop": True, "crop_size": square(224)}
OF_MOBILENET = {**STANDARD, **OF_EDGE, "size": {"shortest_edge": 256}, "resample": BILINEAR}
OF_CLIP = {**mean_and_std(*OPENAI), **OF_EDGE}
NO_PAD = PLAIN[:-1]
PROCESSORS: Mapping[str, Processor] = {
    "ViTImageProcessor": Processor({**STANDARD, "size": square(224), "resample": BILINEAR}),
    "DeiTImageProcessor": Processor(
        {**STANDARD, "size": square(256), "do_center_crop": True, "crop_size": square(224)}
    ),
    "BeitImageProcessor": Processor({**STANDARD, "size": square(224), "crop_size": square(224)}, NO_PAD),
    "BitImageProcessor": Processor(OF_CLIP),
    "CLIPImageProcessor": Processor(OF_CLIP),
    "ChineseCLIPImageProcessor": Processor(OF_CLIP),
    "BlipImageProcessor": Processor({**mean_and_std(*OPENAI), "size": square(384)}),
    "SiglipImageProcessor": Processor({**STANDARD, "size": square(224), "default_to_square": False}),
    "PvtImageProcessor": Processor({**mean_and_std(*IMAGENET), "size": square(224)}),
    "SegformerImageProcessor": Processor(
        {**mean_and_std(*IMAGENET), "size": square(512), "resample": BILINEAR}, ("resize", "rescale", "normalize")
    ),
    "ConvNextImageProcessor": Processor(
        {**STANDARD, "size": {"shortest_edge": 384}, "default_to_square": False, "crop_pct": 224 / 256},
        NO_PAD, convnext_resize,
    ),
    "EfficientNetImageProcessor": Processor(
        {**STANDARD, "size": square(346), "crop_size": square(289), "include_top": True}, (*NO_PAD, "divide")
    ),
    "MobileNetV1ImageProcessor": Processor(OF_MOBILENET),
    "MobileNetV2ImageProcessor": Processor(OF_MOBILENET, NO_PAD),
    # It never normalizes, whatever its config says.
    "MobileViTImageProcessor": Processor(
        {**STANDARD, **OF_EDGE, "crop_size": square(256), "do_normalize": None, "do_flip_channel_order": True},
        ("resize", "rescale", "center_crop", "flip"),
    ),
    "LevitImageProcessor": Processor({**mean_and_std(*IMAGENET), **OF_EDGE}, PLAIN, levit_resize),
    "PoolFormerImageProcessor": Processor(
        {**mean_and_std(*IMAGENET), **OF_EDGE, "crop_pct": 0.9}, PLAIN, poolformer_resize
    ),
}  # fmt: skip


def named(values: Options, model_type: str) -> str:
    """The name of the image processor, as transformers finds it: by the config, else by the type of the model.

    Its backends and its older versions have further names for it. Empty if nothing names one.
    """
    said = next((values[key] for key in TYPES if isinstance(values.get(key), str)), None) or by_model(model_type)
    base = said.removesuffix("Pil").removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
    return "" if base == "ImageProcessor" else base


def by_model(model_type: str) -> str:
    """The image processor that transformers has for a type of model; empty if it has none."""
    from transformers.models.auto import image_processing_auto

    found = vars(image_processing_auto)["IMAGE_PROCESSOR_MAPPING_NAMES"].get(model_type) or {}
    return found.get("pil") or found.get("torchvision") or ""
