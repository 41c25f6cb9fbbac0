"""A config of timm as steps of a bundle, by the formula that timm documents for evaluation.

In: ``pretrained_cfg`` of a config.json. Out: the steps (`edgexf.bundle.steps`).

    scale = floor(input size / crop_pct)
    center   resize the shorter side to scale, crop the middle
    squash   resize both sides to scale, crop the middle

**Untested against timm**, which does not import beside the torch of this export: the rules are those of its documentation
(`timm.data.transforms_factory`, evaluation), with torchvision's rounding of the middle. The crop_mode ``border`` and sides
of different length follow other rules and are refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgexf.bundle.steps import EXACT, FILTERS, SHORTEST, Crop, Normalize, Rescale, Resize
from edgexf_exporters.sources.general.processors import IMAGENET, Steps, numbers

CONFIG = "pretrained_cfg"
CROP_PCT = 0.875  # timm's default
BORDERS = "crop_border_pixels"


def timm_steps(config: Mapping[str, Any]) -> Steps:
    """The steps. ValueError, which says what about the config, for a mode that is refused."""
    channels, height, width = config.get("input_size") or (3, 224, 224)
    mode, share = config.get("crop_mode") or "center", config.get("crop_pct") or CROP_PCT
    interpolation = config.get("interpolation") or "bicubic"
    if channels != 3 or height != width:
        raise ValueError(f"its input_size is {channels} x {height} x {width}")
    if mode not in ("center", "squash") or config.get(BORDERS):
        raise ValueError(f"its crop_mode is {mode}{f' with {BORDERS}' if config.get(BORDERS) else ''}")
    if interpolation not in FILTERS:
        raise ValueError(f"its interpolation is {interpolation}")
    scale = math.floor(height / share)
    size = (scale, scale) if mode == "squash" else (scale,)
    mean, std = (config.get(name) or default for name, default in zip(("mean", "std"), IMAGENET, strict=True))
    return (
        Resize("resize", EXACT if mode == "squash" else SHORTEST, size, interpolation),
        Crop("crop", (height, width), "even"),
        Rescale("rescale", 1 / 255, 0.0),
        Normalize("normalize", numbers(mean), numbers(std)),
    )
