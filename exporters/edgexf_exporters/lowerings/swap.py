"""Swap known modules for export-safe ones, for the duration of an export.

In: a model. Inside the ``with`` block, lowered modules that share the model's weights stand in for its attentions and
for the modules of `SUPPORT`. After the block, also after an error, the model holds the same module objects as before.
Around code of the user, a library model that needs whole blocks is padded by itself (`edgexf_exporters.lowerings.padded`).

Two alternatives were weighed. A deep copy also leaves the user's object alone, but doubles the memory of a large model.
Patching `forward` of the classes changes every model in the process.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from edgexf.bundle.manifest import Limits
from edgexf.errors import ExportError
from edgexf_exporters import VARIANTS
from edgexf_exporters.lowerings.padded import Padded, Padding, Plain
from edgexf_exporters.source import Family
from edgexf_exporters.variant import Variant, load

# Further modules that export better in another form: (original, lowering).
SUPPORT = (
    ("edgexf.models.encoder:Positions", "edgexf_exporters.lowerings.reference.positions:SplitPositions"),
    ("edgexf.models.encoder:Context", "edgexf_exporters.lowerings.reference.context:GatheredContext"),
    (
        "transformers.models.led.modeling_led:LEDDecoderAttention",
        "edgexf_exporters.lowerings.huggingface.led:DecoderAttention",
    ),
    (
        "transformers.models.bigbird_pegasus.modeling_bigbird_pegasus:BigBirdPegasusDecoder",
        "edgexf_exporters.lowerings.huggingface.bigbird_pegasus:Decoder",
    ),
    ("torch.nn.modules.transformer:TransformerEncoder", "edgexf_exporters.lowerings.packages.torch_nn:Encoder"),
    ("torch.nn.modules.transformer:TransformerDecoder", "edgexf_exporters.lowerings.packages.torch_nn:Decoder"),
    ("torch.nn.modules.rnn:LSTM", "edgexf_exporters.lowerings.packages.torch_rnn:Recurrent"),
    ("torch.nn.modules.rnn:GRU", "edgexf_exporters.lowerings.packages.torch_rnn:Recurrent"),
    ("torch.nn.modules.rnn:RNN", "edgexf_exporters.lowerings.packages.torch_rnn:Recurrent"),
    ("linformer.reversible:ReversibleSequence", "edgexf_exporters.lowerings.packages.linformer:Reversible"),
    ("reformer_pytorch.reversible:ReversibleSequence", "edgexf_exporters.lowerings.packages.reformer_stack:Reversible"),
    ("reformer_pytorch.reformer_pytorch:Chunk", "edgexf_exporters.lowerings.packages.reformer_stack:Whole"),
    ("reformer_pytorch.autopadder:Autopadder", "edgexf_exporters.lowerings.packages.reformer_stack:Autopadder"),
    (
        "transformers.models.funnel.modeling_funnel:FunnelDecoder",
        "edgexf_exporters.lowerings.huggingface.funnel:Decoder",
    ),
    (
        "transformers.models.swin.modeling_swin:SwinPatchEmbeddings",
        "edgexf_exporters.lowerings.huggingface.swin:Patches",
    ),
    (
        "transformers.models.swin.modeling_swin:SwinPatchMerging",
        "edgexf_exporters.lowerings.huggingface.swin:Merging",
    ),
    (
        "transformers.models.swinv2.modeling_swinv2:Swinv2PatchEmbeddings",
        "edgexf_exporters.lowerings.huggingface.swin:Patches",
    ),
    (
        "transformers.models.swinv2.modeling_swinv2:Swinv2PatchMerging",
        "edgexf_exporters.lowerings.huggingface.swin:Merging",
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
        inner_block: the tokens of the blocks that modules cut by themselves, whatever the length is.
    """

    block: int
    variable_block_modules: tuple[Any, ...]
    padding_mark: int = 0
    inner_block: int = 1

    @classmethod
    def of(cls, modules: Iterable[Any]) -> Lowered:
        """What these lowered modules ask for together."""
        modules = list(modules)
        variable = tuple(module for module in modules if hasattr(module, "frame"))
        padding_mark = min((getattr(module, "padding_mark", 0) for module in modules), default=0)
        block = math.lcm(*(module.block for module in modules))
        inner_block = math.lcm(*(getattr(module, "inner_block", 1) for module in modules))
        return cls(block, variable, padding_mark, inner_block)

    @property
    def step(self) -> int:
        """The number of tokens at whose multiples the model meets another number of blocks."""
        return math.lcm(self.block, self.inner_block)

    @property
    def variable_block(self) -> bool:
        """Whether the size of a block is free."""
        return bool(self.variable_block_modules)

    @property
    def blocked(self) -> bool:
        """Whether inputs are traced as [..., blocks, block]."""
        return self.block > 1 or self.variable_block


@contextmanager
def lowered(model: nn.Module, limits: Limits, inside: bool = False) -> Iterator[Lowered]:
    """Lowers the known modules of `model` for the duration.

    With `inside`, each library model that needs whole blocks is padded by itself, wherever it is in `model`.
    """
    lowerings = {variant.lowers: variant.lowering for variant in VARIANTS} | dict(SUPPORT)
    replacements: dict[nn.Module, nn.Module] = {
        module: load(lowerings[class_name(module)])(module, limits)
        for module in model.modules()
        if class_name(module) in lowerings
    }
    standing = stand_ins(model, replacements, limits) if inside else {}
    covered = {part for holder in standing for part in holder.modules()}
    with ExitStack() as entered, replaced(model, {**replacements, **standing}):
        for context in filter(None, {getattr(type(new), "trace_context", None) for new in replacements.values()}):
            entered.enter_context(context())
        yield Lowered.of(new for old, new in replacements.items() if old not in covered)


def library_models(model: nn.Module) -> Iterator[tuple[nn.Module, Variant, Family]]:
    """The library models that `model` holds and that are padded where lengths need padding.

    Raises ExportError for a model that its family does not export.
    """
    holders = {variant.pads: variant for variant in VARIANTS if variant.pads}
    for module in model.modules():
        variant = holders.get(class_name(module))
        if variant is not None:
            yield module, variant, load(variant.describe)(module)


def stand_ins(
    model: nn.Module, replacements: Mapping[nn.Module, nn.Module], limits: Limits
) -> dict[nn.Module, nn.Module]:
    """What stands in for each library model inside a custom module: a `Padded` if lengths need padding, else a `Plain`."""
    found: dict[nn.Module, nn.Module] = {}
    for module, variant, about in library_models(model):
        asked = Lowered.of(replacements[part] for part in module.modules() if part in replacements)
        if asked.blocked:
            config: Any = module.config
            padding = Padding(
                asked.block,
                about.switch if asked.variable_block else 0,
                asked.variable_block_modules,
                asked.padding_mark,
                config.pad_token_id or 0 if about.padding_id is None else about.padding_id,
                limits.max_global if variant.globals else 0,
                about.strides,
                about.needs_real,
            )
            found[module] = Padded(module, replacements.get(module, module), padding)
    families = {variant.lowers for variant in VARIANTS if variant.describe}
    for module, new in replacements.items():
        whole = any(module in holder.modules() for holder in found)
        if class_name(module) in families and not whole and new.block == 1:  # else the caller sees that it needs blocks
            found[module] = Plain(module, new, is_exported(module))
    return found


def is_exported(module: nn.Module) -> bool:
    """Whether the family of a library model exports it, and not only models of the same class."""
    describe = next(variant.describe for variant in VARIANTS if variant.lowers == class_name(module))
    try:
        load(describe)(module)
    except ExportError:
        return False
    return True
