"""Images of sizes that were never traced: positions that are interpolated to the grid of patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F
from transformers import DeiTConfig, DeiTForImageClassification, Dinov2Config, Dinov2Model

import edgexf
from edgexf.errors import EdgexfError
from edgexf_exporters.explain.rules import Rules
from edgexf_exporters.hooks import frozen
from edgexf_exporters.trace.export import capture, translate

TOLERANCE = 1e-4  # of the contract grid
SIZES = {"pixel_values": {0: Dim("batch"), 2: Dim("height", min=8, max=40), 3: Dim("width", min=8, max=40)}}
SHAPES = ((1, 9, 39), (3, 32, 32), (2, 37, 15))  # other proportions, and sizes that are no multiple of a patch


WAYS: tuple[dict[str, Any], ...] = (
    {"mode": "bicubic", "align_corners": False},
    {"mode": "bicubic", "align_corners": True},
    {"mode": "bicubic", "antialias": True},
    {"mode": "bilinear"},
    {"mode": "nearest"},
)


class Patches(nn.Module):
    """Positions of a 6 x 6 grid, resized to the grid of the image in each of `WAYS`, then attention over the patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.positions = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.randn(len(WAYS), 1, 16, 6, 6))
        self.attention, self.head = nn.MultiheadAttention(16, 2, batch_first=True), nn.Linear(16, 3)

    def forward(self, pixel_values: Tensor) -> Tensor:
        patches = self.patch(pixel_values)
        for positions, way in zip(self.positions, WAYS, strict=True):
            patches = patches + F.interpolate(positions, size=patches.shape[-2:], **way)
        tokens = patches.flatten(2).transpose(1, 2)
        found: Tensor = self.head((tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]).mean(dim=1))
        return found


class Resized(nn.Module):
    """DeiT at any size of an image."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
        self.model = DeiTForImageClassification(DeiTConfig(**sizes, image_size=32, patch_size=4, num_labels=3))

    def forward(self, pixel_values: Tensor) -> Tensor:
        logits: Tensor = self.model(pixel_values, interpolate_pos_encoding=True).logits
        return logits


class Cubic(nn.Module):
    """DINOv2, which always resizes its positions. Nothing reads what it pools, so torch leaves dead nodes in its trace."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        self.model = Dinov2Model(Dinov2Config(**sizes, image_size=32, patch_size=4))

    def forward(self, pixel_values: Tensor) -> Tensor:
        features: Tensor = self.model(pixel_values).last_hidden_state
        return features


MODULES = {"patches": Patches, "DeiT": Resized, "DINOv2": Cubic}


def module_of(kind: str) -> nn.Module:
    torch.manual_seed(0)
    module = MODULES[kind]().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def difference(found: Any, wanted: Tensor) -> float:
    expected = wanted.detach().numpy()
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("kind", MODULES)
def test_positions_are_interpolated_to_any_image(kind: str, tmp_path: Path) -> None:
    module, explained = module_of(kind), kind == "patches"
    edgexf.export(
        module,
        example_inputs=(torch.randn(2, 3, 40, 36),),
        dynamic_shapes=SIZES,
        output=tmp_path / "bundle",
        explain=("attnlrp",) if explained else (),
    )
    with edgexf.load(tmp_path / "bundle") as session, frozen(module):
        for batch, height, width in SHAPES:
            image = torch.randn(batch, 3, height, width)
            assert difference(session.run(pixel_values=image.numpy())["logits"], module(image)) <= TOLERANCE
            if explained:
                with Rules():
                    leaf = image.clone().requires_grad_(True)
                    (gradient,) = torch.autograd.grad(module(leaf)[:, 2].sum(), leaf)
                target = np.eye(3, dtype=np.float32)[[2] * batch]
                found = session.run_explain(pixel_values=image.numpy(), target=target)
                assert difference(found["relevance"], (gradient * image).sum(dim=1)) <= TOLERANCE


class Windows(nn.Module):
    """Pads to whole windows where a size asks for it, as Swin does: another path for each case."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        height = pixel_values.shape[2]
        if height % 8 != 0:
            pixel_values = F.pad(pixel_values, (0, 0, 0, 8 - height % 8))
        return pixel_values.unflatten(2, (-1, 8)).square().mean(dim=(2, 3, 4))


def test_a_branch_on_a_size_is_refused_with_the_sizes_of_the_other_path(tmp_path: Path) -> None:
    with pytest.raises(EdgexfError, match=r"height is \d+.*forward goes another way there.*dynamic_shapes"):
        edgexf.export(
            Windows(),
            example_inputs=(torch.randn(2, 3, 40, 36),),
            dynamic_shapes=SIZES,
            output=tmp_path / "bundle",
            explain=(),
        )


class Scaled(nn.Module):
    def __init__(self, way: dict[str, Any]) -> None:
        super().__init__()
        self.way = way

    def forward(self, image: Tensor) -> Tensor:
        return F.interpolate(image, **self.way)


@pytest.mark.parametrize("axes", [1, 3])
def test_a_factor_of_one_or_three_axes_gives_the_size_and_the_entries_of_pytorch(axes: int) -> None:
    module = Scaled({"mode": "linear" if axes == 1 else "trilinear", "scale_factor": 0.7})
    free: Any = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC},)
    model = translate(capture(module, (torch.randn(3, 2, 24, *[5] * (axes - 1)),), free), ["image"], ["found"], 20)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for width in (14, 21, 90, 170):
        image = torch.randn(1, 2, width, *[5] * (axes - 1))
        assert difference(session.run(None, {"image": image.numpy()})[0], module(image)) <= TOLERANCE


@pytest.mark.parametrize("align", [True, False])
def test_corners_may_be_aligned_with_a_factor(align: bool) -> None:
    module = Scaled({"mode": "bilinear", "scale_factor": 0.7, "align_corners": align})
    free: Any = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    model = translate(capture(module, (torch.randn(3, 2, 24, 41),), free), ["image"], ["found"], 20)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for width in (14, 90):
        image = torch.randn(1, 2, 13, width)
        assert difference(session.run(None, {"image": image.numpy()})[0], module(image)) <= TOLERANCE


@pytest.mark.parametrize("recompute", [None, True])
@pytest.mark.parametrize("factor", [0.6, 0.7, 1.7, 2])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
def test_a_scale_factor_gives_the_size_and_the_entries_of_pytorch(
    mode: str, factor: float, recompute: bool | None
) -> None:
    """At 90 the product with 0.7 is below 63 in float64, and 63 in float32, in which Resize of ONNX computes."""
    module = Scaled({"mode": mode, "scale_factor": factor, "recompute_scale_factor": recompute})
    free: Any = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    model = translate(capture(module, (torch.randn(3, 2, 24, 41),), free), ["image"], ["found"], 20)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    nearest = mode.startswith("nearest")
    for width in (14, 17, 21, 23, 90, 170):
        image = torch.randn(1, 2, 13, width)
        (found,) = session.run(None, {"image": image.numpy()})
        assert difference(found, module(image)) <= (0 if nearest else TOLERANCE)
