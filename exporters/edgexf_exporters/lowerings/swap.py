"""Swap known modules for export-safe ones, for the duration of an export.

In: a model. Inside the ``with`` block, lowered modules that share the model's weights stand in for its attentions and
for the modules of `SUPPORT`. After the block, also after an error, the model holds the same module objects as before.

Two alternatives were weighed. A deep copy also leaves the user's object alone, but doubles the memory of a large model.
Patching `forward` of the classes changes every model in the process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from edgexf.bundle.manifest import Limits
from edgexf_exporters import VARIANTS
from edgexf_exporters.variant import Variant, load

# Further modules that export better in another form: (original, lowering).
SUPPORT = (
    ("edgexf.models.encoder:Positions", "edgexf_exporters.lowerings.reference.positions:SplitPositions"),
    (
        "transformers.models.led.modeling_led:LEDDecoderAttention",
        "edgexf_exporters.lowerings.huggingface.led:DecoderAttention",
    ),
    ("torch.nn.modules.transformer:TransformerEncoder", "edgexf_exporters.lowerings.packages.torch_nn:Encoder"),
    ("torch.nn.modules.transformer:TransformerDecoder", "edgexf_exporters.lowerings.packages.torch_nn:Decoder"),
    ("linformer.reversible:ReversibleSequence", "edgexf_exporters.lowerings.packages.linformer:Reversible"),
    ("reformer_pytorch.reversible:ReversibleSequence", "edgexf_exporters.lowerings.packages.reformer_stack:Reversible"),
    ("reformer_pytorch.reformer_pytorch:Chunk", "edgexf_exporters.lowerings.packages.reformer_stack:Whole"),
    ("reformer_pytorch.autopadder:Autopadder", "edgexf_exporters.lowerings.packages.reformer_stack:Autopadder"),
    (
        "transformers.models.funnel.modeling_funnel:FunnelDecoder",
        "edgexf_exporters.lowerings.huggingface.funnel:Decoder",
    ),
)


def class_name(module: nn.Module) -> str:
    return f"{type(module).__module__}:{type(module).__qualname__}"


def variants_in(model: nn.Module) -> list[Variant]:
    """The variants whose attention occurs in `model`, in the order of `VARIANTS`."""
    present = {class_name(module) for module in model.modules()}
    return [variant for variant in VARIANTS if variant.lowers in present]


@contextmanager
def replaced(model: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> Iterator[None]:
    """Replaces modules of `model` at every place where they occur: a module may have several holders."""
    places = [
        (holder, name, part)
        for holder in list(model.modules())
        for name, part in holder._modules.items()  # named_children lists a shared module only once
        if part is not None and part in replacements
    ]
    try:
        for holder, name, part in places:
            setattr(holder, name, replacements[part])
        yield
    finally:
        for holder, name, part in places:
            setattr(holder, name, part)


@dataclass(frozen=True)
class Lowered:
    """What the lowered modules ask for.

    Attributes:
        block: lengths must be multiples of this number of tokens.
        variable_block_modules: the modules that take blocks of any size; their attribute `frame` holds the number of
            blocks and the tokens of a block.
        padding_mark: the value of ``attention_mask`` behind the end of an input.
    """

    block: int
    variable_block_modules: tuple[Any, ...]
    padding_mark: int = 0

    @property
    def variable_block(self) -> bool:
        """Whether the size of a block is free."""
        return bool(self.variable_block_modules)

    @property
    def blocked(self) -> bool:
        """Whether inputs are traced as [..., blocks, block]."""
        return self.block > 1 or self.variable_block


@contextmanager
def lowered(model: nn.Module, limits: Limits) -> Iterator[Lowered]:
    """Lowers the known modules of `model` for the duration."""
    lowerings = {variant.lowers: variant.lowering for variant in VARIANTS} | dict(SUPPORT)
    replacements = {
        module: load(lowerings[class_name(module)])(module, limits)
        for module in model.modules()
        if class_name(module) in lowerings
    }
    with replaced(model, replacements):
        modules: list[Any] = list(replacements.values())
        variable = tuple(module for module in modules if hasattr(module, "frame"))
        padding_mark = min((getattr(module, "padding_mark", 0) for module in modules), default=0)
        yield Lowered(math.lcm(*(module.block for module in modules)), variable, padding_mark)
