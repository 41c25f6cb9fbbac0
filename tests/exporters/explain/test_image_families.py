"""Image classifiers of transformers: every operator has a rule, and what pixels and added parameters get is the whole logit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from image_families import images, small_image_model
from torch import Tensor, nn

from edgexf_exporters.explain.methods import METHODS

ROUNDING = 1e-9  # for float64 sums, with divisions by values near 0
ADDED = ("bias", "position_embeddings", "cls_token", "distillation_token")


def added_by(norm: nn.BatchNorm2d) -> Tensor:
    """What a BatchNorm with the statistics of its training adds to its input times a scale, for each channel."""
    return norm.bias - norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt()  # type: ignore[operator]


@pytest.mark.parametrize("family", ["ViT", "DeiT", "Swin", "ConvNext", "EfficientNet", "MobileNetV2", "ResNet"])
def test_relevance_of_pixels_positions_and_biases_is_the_whole_logit(family: str) -> None:
    """By CP-LRP, whose softmax is a constant: f is the sum of R over pixels plus the sum of added value * df/dvalue."""
    model = small_image_model(family).double().requires_grad_(False)
    added: dict[str, Any] = {name: one for name, one in model.named_parameters() if name.endswith(ADDED)}
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    leaf = images().double().requires_grad_(True)
    for parameter in added.values():
        parameter.requires_grad_(True)
    with METHODS["cplrp"].rules():
        value = model(pixel_values=leaf).logits.max(dim=-1).values.sum()
        pixels, *rest = torch.autograd.grad(value, [leaf, *added.values()], allow_unused=True)
    relevance = (pixels * leaf).sum(dim=1).detach()
    assert relevance.abs().mean() >= 1e-4 * value.abs()  # else the rules would be tested on nothing
    slopes = dict(zip(added, rest, strict=True))
    own = {f"{name}.bias": added_by(part) for name, part in model.named_modules() if part in norms}
    shares = [(own.get(name, one) * slopes[name]).sum() for name, one in added.items() if slopes[name] is not None]
    assert abs(value - relevance.sum() - sum(shares)) <= ROUNDING * sum(share.abs() for share in shares)
