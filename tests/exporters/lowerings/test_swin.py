"""Swin and Swin V2: images of any height and width, whose windows need padding, a shift, or neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from transformers import SwinConfig, SwinForImageClassification, SwinModel, Swinv2Config, Swinv2ForImageClassification
from transformers.models.swin.modeling_swin import SwinLayer
from transformers.models.swinv2.modeling_swinv2 import Swinv2Layer

import edgexf
from edgexf_exporters.explain.rules import Rules

pytestmark = pytest.mark.slow
TOLERANCE = 1e-4  # of the contract grid
SIZES = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 2], "num_heads": [1, 2], "window_size": 4}
FREE = {"pixel_values": {0: Dim("batch"), 2: Dim("height", min=16, max=20), 3: Dim("width", min=16, max=20)}}
FIXED = {"pixel_values": {0: Dim("batch")}}
# The last stage of an image of 16 x 19 is 4 x 5 tokens: as high as one window, so Swin doesn't shift it.
SHAPES = ((1, 16, 19), (2, 17, 20), (3, 16, 16), (1, 20, 18))


class Pooled(nn.Module):
    """A head of one's own on the tokens of a Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.head = SwinModel(SwinConfig(**SIZES), add_pooling_layer=False), nn.Linear(16, 3)

    def forward(self, pixel_values: Tensor) -> Tensor:
        found: Tensor = self.head(self.base(pixel_values).last_hidden_state.amax(dim=1))
        return found


MODULES: dict[str, Any] = {
    "Swin": lambda: SwinForImageClassification(SwinConfig(**SIZES, num_labels=3)),
    "Swin V2": lambda: Swinv2ForImageClassification(Swinv2Config(**SIZES, num_labels=3)),
    "a custom module": Pooled,
}


def module_of(kind: str) -> nn.Module:
    torch.manual_seed(0)
    module: nn.Module = MODULES[kind]().eval()
    with torch.no_grad():
        for parameter in module.parameters():  # the bias of the distance begins with zeros
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.requires_grad_(False)


def answer(kind: str, image: Tensor) -> Tensor:
    """What a module answers that never saw another image: Swin remembers small ones."""
    found = module_of(kind)(image)
    logits: Tensor = found if isinstance(found, Tensor) else found.logits
    return logits


def difference(found: Any, wanted: Tensor) -> float:
    expected = wanted.detach().numpy()
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(("kind", "method"), [("Swin", "attnlrp"), ("Swin V2", ""), ("a custom module", "")])
def test_windows_fit_an_image_of_any_size(kind: str, method: str, tmp_path: Path) -> None:
    """The library's own code stops to shift for good after a small image; an export calls the model with small ones."""
    module = module_of(kind)
    layers = [layer for layer in module.modules() if isinstance(layer, SwinLayer | Swinv2Layer)]
    before = [(layer.window_size, layer.shift_size) for layer in layers]
    assert {shift for _, shift in before} == {0, 2}
    edgexf.export(
        module,
        example_inputs=(torch.randn(2, 3, 19, 18),),
        dynamic_shapes=FREE,
        output=tmp_path / "bundle",
        explain=(method,) if method else (),
    )
    assert [(layer.window_size, layer.shift_size) for layer in layers] == before
    with edgexf.load(tmp_path / "bundle") as session:
        for batch, height, width in SHAPES:
            image = torch.randn(batch, 3, height, width)
            logits = next(iter(session.run(pixel_values=image.numpy()).values()))
            assert difference(logits, answer(kind, image)) <= TOLERANCE
            if method == "attnlrp":
                with Rules():
                    leaf = image.clone().requires_grad_(True)
                    (gradient,) = torch.autograd.grad(answer(kind, leaf)[:, 2].sum(), leaf)
                target = np.eye(3, dtype=np.float32)[[2] * batch]
                found = session.run_explain(pixel_values=image.numpy(), target=target)
                assert difference(found["relevance"], (gradient * image).sum(dim=1)) <= TOLERANCE


@pytest.mark.parametrize("kind", ["Swin", "Swin V2"])
def test_the_size_of_the_config_is_exported_where_only_the_batch_is_free(kind: str, tmp_path: Path) -> None:
    module = module_of(kind)
    image = torch.randn(3, 3, 32, 32)
    edgexf.export(module, example_inputs=(image[:2],), dynamic_shapes=FIXED, output=tmp_path / "bundle", explain=())
    with edgexf.load(tmp_path / "bundle") as session:
        assert difference(session.run(pixel_values=image.numpy())["logits"], answer(kind, image)) <= TOLERANCE
