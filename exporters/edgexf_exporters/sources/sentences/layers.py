"""The layers behind the pooling, with their weights.

In: the record of a module in modules.json, its config, and the place of its weights. Out: a layer from [batch, width] to
[batch, dim].

    Dense       activation(W x + b), and x or W' x beside it with `use_residual`
    LayerNorm   as in torch.nn
    Normalize   x / |x|
    Dropout     nothing: it changes no answer

The length |x| of the *last* Normalize is a constant to gradients. The explained value of an embedding is a cosine, which
divides by the length of the embedding again and so has the same gradient either way. But where an input is compared with
itself, the true gradient of a vector of length 1 along its own direction is 0: nothing would be explained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgexf.errors import ExportError, in_a_sentence

Weights = Callable[[], Mapping[str, Tensor]]
ACTIVATIONS = "torch.nn.modules."  # where the activations of a config may be: a path of torch names its class
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


class Dense(nn.Module):
    """See the module's docstring. `linear` and `residual` have the names of the library's weights."""

    def __init__(self, width: int, dim: int, bias: bool, activation: nn.Module, residual: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(width, dim, bias=bias)
        self.activation = activation
        self.adds = residual
        self.residual = nn.Linear(width, dim, bias=False) if residual and width != dim else None

    def forward(self, value: Tensor) -> Tensor:
        found: Tensor = self.activation(self.linear(value))
        if not self.adds:
            return found
        return found + (value if self.residual is None else self.residual(value))


class Normalize(nn.Module):
    """x / |x|; with `constant`, |x| is a constant to gradients."""

    def __init__(self, constant: bool = False) -> None:
        super().__init__()
        self.constant = constant

    def forward(self, value: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(value, dim=-1, keepdim=True).clamp(min=1e-12)  # as F.normalize
        found: Tensor = value / (length.detach() if self.constant else length)
        return found


class LayerNorm(nn.Module):
    """`norm` has the name of the library's weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, value: Tensor) -> Tensor:
        found: Tensor = self.norm(value)
        return found


def activation_named(path: str) -> nn.Module:
    """The activation of a config. Raises ExportError for one that is no class of torch.nn."""
    name = path.rpartition(".")[2]
    found = getattr(nn, name, None) if path.startswith((ACTIVATIONS, "torch.nn.")) else None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ExportError(
            f"activation_function of a Dense module must be a class of torch.nn, got {path}; "
            "export the model as a module, by its example_inputs."
        )
    with in_a_sentence(f"activation_function {path} must need no settings", "export the model as a module"):
        made: nn.Module = found()
    return made


def dense(config: Mapping[str, Any], width: int) -> nn.Module:
    check_width("Dense", config["in_features"], width)
    activation = activation_named(config.get("activation_function") or "torch.nn.modules.activation.Tanh")
    return Dense(width, config["out_features"], config.get("bias", True), activation, config.get("use_residual", False))


def layer_norm(config: Mapping[str, Any], width: int) -> nn.Module:
    check_width("LayerNorm", config["dimension"], width)
    return LayerNorm(width)


def check_width(kind: str, told: Any, width: int) -> None:
    """Raises ExportError for a layer that is not as wide as what comes before it."""
    if told != width:
        raise ExportError(
            f"a {kind} module must take the {width} values of the module before it, got a config for {told}; save the model again."
        )


LAYERS: dict[str, Callable[[Mapping[str, Any], int], nn.Module]] = {
    "Dense": dense,
    "LayerNorm": layer_norm,
    "Normalize": lambda _, __: Normalize(),
    "Dropout": lambda _, __: nn.Identity(),
}


def loaded(layer: nn.Module, path: Path | None, where: str) -> nn.Module:
    """The layer with the weights of a file. Raises ExportError for weights that do not fit."""
    if not layer.state_dict():
        return layer
    if path is None:
        raise ExportError(
            f"a module must have its weights in {' or '.join(WEIGHT_FILES)}, got none in {where}; save it again."
        )
    with in_a_sentence(f"the weights of {where} must be whole and fit its config", "fetch or save the model again"):
        layer.load_state_dict({name: tensor.float() for name, tensor in read(path).items()})
    return layer.eval()


def read(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file. From a pickle only tensors are loaded."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    found: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return found


def width_after(layer: nn.Module, width: int) -> int:
    """The number of values that a layer gives."""
    return layer.linear.out_features if isinstance(layer, Dense) else width


def chained(layers: list[nn.Module]) -> nn.Sequential:
    """The layers one behind the other. The length in the last Normalize becomes a constant; see the module's docstring."""
    kept = [layer for layer in layers if not isinstance(layer, nn.Identity)]
    if kept and isinstance(kept[-1], Normalize):
        kept[-1] = Normalize(constant=True)
    return nn.Sequential(*kept)


def is_normalised(layers: nn.Sequential) -> bool:
    """Whether an embedding has the length 1."""
    return len(layers) > 0 and isinstance(layers[-1], Normalize)
