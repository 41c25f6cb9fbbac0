"""Images and other values as inputs: relevance for each pixel of a custom module, by every method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient
from propagation import through_layers
from torch import Tensor, nn
from torch.export import Dim

import edgexf
from edgexf.errors import InputError
from edgexf_exporters.explain import reverse
from edgexf_exporters.explain.methods import METHODS

pytestmark = pytest.mark.slow  # exports or runs many models

TOLERANCE = 1e-4  # as in the contract
IN_FLOAT32 = 1e-5  # some hundred roundings of 6e-8
METHODS_OF_IMAGES = ("gradient", "attnlrp", "integrated-gradients")


class Gate(nn.Module):
    """A squeeze-and-excitation gate (Hu et al. 2018, section 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, 3, 1)
        self.excite = nn.Conv2d(3, channels, 1)

    def forward(self, values: Tensor) -> Tensor:
        means = nn.functional.adaptive_avg_pool2d(values, 1)
        return values * torch.sigmoid(self.excite(nn.functional.silu(self.squeeze(means))))


class Convolutions(nn.Module):
    """The parts of image classifiers: strides 1 and 2, batch norm, max and average pooling, a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.SiLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.BatchNorm2d(8, affine=False),
            nn.ReLU(),
            Gate(8),
            nn.AvgPool2d(2),
            nn.Conv2d(8, 6, 1),
            nn.AdaptiveAvgPool2d(1),
        )
        self.head = nn.Linear(6, 4)

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.head(self.body(pixel_values).flatten(1))


def convolutions() -> Convolutions:
    torch.manual_seed(0)
    module = Convolutions()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = torch.randn_like(part.running_mean)
            part.running_var = torch.rand_like(part.running_var) + 0.5
    return module.eval()


def images(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, 3, 36, 32, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("images") / "out"
    return edgexf.export(convolutions(), example_inputs=images(2), output=output, explain=METHODS_OF_IMAGES).path


def test_a_pixels_relevance_is_captums(bundle: Path) -> None:
    given, module = images(5, seed=1), convolutions()
    target = torch.tensor([2, 0, 1, 3, 3])
    wanted = InputXGradient(module).attribute(given.requires_grad_(True), target=target).sum(dim=1)
    with edgexf.load(bundle) as session:
        found = session.run_explain(
            pixel_values=given.detach().numpy(), target=np.eye(4, dtype=np.float32)[target], method="gradient"
        )
    assert found["relevance"].shape == (5, 36, 32)
    assert np.abs(found["relevance"] - wanted.detach().numpy()).max() <= TOLERANCE * wanted.abs().max()


def test_the_rules_of_convolutions_are_the_eager_models(bundle: Path) -> None:
    given, module = images(3, seed=2), convolutions().requires_grad_(False)
    leaf = given.clone().requires_grad_(True)
    with METHODS["attnlrp"].rules():
        explained = module(leaf).max(dim=-1).values
        (gradient,) = torch.autograd.grad(explained.sum(), leaf)
    wanted = (gradient * given).sum(dim=1).numpy()
    with edgexf.load(bundle) as session:
        found = session.run_explain(pixel_values=given.numpy(), method="attnlrp")
        other = session.run_explain(pixel_values=images(3, seed=3).numpy(), method="attnlrp")
    assert np.abs(found["relevance"] - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    assert np.abs(found["relevance"].sum(axis=(1, 2)) + found["residual"] - explained.detach().numpy()).max() <= 1e-4
    assert np.abs(other["relevance"] - wanted).max() > 0.1 * np.abs(wanted).max()


def test_a_pixels_relevance_is_what_the_papers_steps_propagate(bundle: Path) -> None:
    """In float64 by the rules, and in float32 in the graph."""
    given, module = images(3, seed=5), convolutions().double().requires_grad_(False)
    leaf = given.double().requires_grad_(True)
    with METHODS["attnlrp"].rules():
        (gradient,) = torch.autograd.grad(module(leaf)[:, 2].sum(), leaf)
    wanted, logit = through_layers([*module.body, nn.Flatten(), module.head], given.double(), 2)
    assert (gradient * given - wanted).abs().max() <= 1e-9 * wanted.abs().max()
    with edgexf.load(bundle) as session:
        target = np.eye(4, dtype=np.float32)[[2, 2, 2]]
        found = session.run_explain(pixel_values=given.numpy(), target=target, method="attnlrp")
    pixels = wanted.sum(dim=1).numpy()
    assert np.abs(found["relevance"] - pixels).max() <= IN_FLOAT32 * np.abs(pixels).max()
    assert (
        np.abs(found["residual"] - (logit.numpy() - pixels.sum(axis=(1, 2)))).max() <= IN_FLOAT32 * np.abs(pixels).sum()
    )


class Patches(nn.Module):
    """The vectors of the patches of an image, as many as the pixels are not."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(3, 4, 8, stride=8)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        return {"last_hidden_state": self.project(pixel_values).flatten(2).transpose(1, 2)}


def test_the_mean_vector_of_patches_is_explained_by_pixel(tmp_path: Path) -> None:
    given, axes = images(2), {"pixel_values": {0: Dim("batch")}}
    output = tmp_path / "out"
    edgexf.export(Patches().eval(), example_inputs=given, dynamic_shapes=axes, explain=("attnlrp",), output=output)
    with edgexf.load(output) as session:
        assert session.run_explain(pixel_values=given.numpy())["relevance"].any(axis=0).sum() == 32 * 32


def test_a_path_from_a_black_image_is_complete(bundle: Path) -> None:
    given = images(2, seed=4).numpy()
    path = np.arange(64, dtype=np.float32) / 63
    with edgexf.load(bundle) as session:
        found = session.run_explain(
            pixel_values=given, method="integrated-gradients", baseline=np.zeros_like(given), path=path
        )
        with pytest.raises(InputError, match="baseline must be finite float32"):
            session.run_explain(pixel_values=given, method="integrated-gradients", path=path)
    change = found["residual"] + found["relevance"].sum(axis=(1, 2)) - found["path_values"][:, 0]
    assert np.abs(found["relevance"].sum(axis=(1, 2)) / change - 1).max() <= 0.05


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize(("groups", "dilation", "padding"), [(4, 1, 2), (2, 2, 1), (1, 1, 0)])
def test_the_reverse_of_a_convolution_is_autograds(
    groups: int, dilation: int, padding: int, stride: tuple[int, int]
) -> None:
    chance = torch.Generator().manual_seed(0)
    given = torch.randn(2, 4, 20, 3, dtype=torch.float64, generator=chance, requires_grad=True)
    weight = torch.randn(8, 4 // groups, 5, 1, dtype=torch.float64, generator=chance)
    sizes = list(stride), [padding, 0], [dilation, 1]
    answer = nn.functional.conv2d(given, weight, None, *sizes, groups)
    gradient = torch.randn(answer.shape, dtype=torch.float64, generator=chance)
    (wanted,) = torch.autograd.grad(answer, given, gradient)
    found, *_ = reverse.convolution_backward(
        gradient, given, weight, None, *sizes, False, [0, 0], groups, [True, False, False]
    )
    assert (found - wanted).abs().max() <= 1e-12 * wanted.abs().max()


def test_a_single_number_of_a_convolution_stands_for_both_axes() -> None:
    """So torch writes ``padding="valid"``."""
    given, weight = torch.randn(1, 2, 5, 6), torch.randn(4, 2, 3, 3)
    gradient = torch.randn(1, 4, 2, 2)
    rest = False, [0], 1, [True, False, False]
    wanted, *_ = reverse.convolution_backward(gradient, given, weight, None, [2, 2], [0, 0], [1, 1], *rest)
    found, *_ = reverse.convolution_backward(gradient, given, weight, None, [2], [0], [1], *rest)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("kernel", "stride", "settings"),
    [
        ([3], [], {}),
        ([3, 2], [2, 1], {"padding": [1]}),
        ([3], [2], {"padding": [1], "count_include_pad": False}),
        ([4, 3], [3], {"padding": [2, 1], "ceil_mode": True}),
        ([3], [2], {"padding": [1], "ceil_mode": True, "count_include_pad": False}),
        ([3], [2], {"padding": [1], "ceil_mode": True, "divisor_override": 5}),
        ([40], [], {"ceil_mode": True}),
    ],
)
def test_the_reverse_of_a_mean_is_autograds(kernel: list[int], stride: list[int], settings: dict[str, Any]) -> None:
    chance = torch.Generator().manual_seed(0)
    given = torch.randn(2, 3, 8, 9, dtype=torch.float64, generator=chance, requires_grad=True)
    every = {"padding": [0], "ceil_mode": False, "count_include_pad": True, "divisor_override": None, **settings}
    answer = torch.ops.aten.avg_pool2d(given, kernel, stride, *every.values())
    gradient = torch.randn(answer.shape, dtype=torch.float64, generator=chance)
    (wanted,) = torch.autograd.grad(answer, given, gradient)
    found = reverse.mean_pool_backward(gradient, given, kernel, stride, *every.values())
    assert (found - wanted).abs().max() <= 1e-12 * wanted.abs().max()
