"""A module of one's own as a source: any `torch.nn.Module`, from example inputs.

In: a module and inputs that it answers. Out: a `Source` whose graphs take the inputs of its ``forward`` by
name and in order.

    examples -> shapes: which axes vary -> the module is run: along which axis samples are independent, at
    which lengths it answers, which embedding reads the ids, what it answers with

Known attentions inside are lowered, all else is traced as it is. Two alternatives were weighed. A
description that the user writes is one more thing to get wrong. Ranges from the guards of torch.export
miss what no guard sees: a table of positions that is read by arange ends somewhere, and only running it tells where.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from edgexf import names
from edgexf.bundle import manifest as contract
from edgexf.bundle.heads import CLASSES, head_of
from edgexf.bundle.signature import Axis, Signature
from edgexf.errors import EdgexfError, ExportError, in_a_sentence, said_by
from edgexf_exporters.lowerings.fixed_random import SEED
from edgexf_exporters.lowerings.swap import variants_in
from edgexf_exporters.source import ModuleInputs, Source, Values, frozen, named_outputs, started_from
from edgexf_exporters.sources.axes import Sizes, is_whole, shapes_of
from edgexf_exporters.sources.calls import arguments, in_float32, surrounding
from edgexf_exporters.sources.examples import Array, Draws, is_mask, marks
from edgexf_exporters.targets import Target, target_of
from edgexf_exporters.trace.export import ANY
from edgexf_exporters.variant import Variant

LONGEST = 4096  # where neither the module nor the user says more: the grid runs the module at its longest input
SHORTEST = 2
RESERVED = {
    names.TARGET,
    names.POSITION,
    names.TARGET_START,
    names.TARGET_END,
    names.RELEVANCE,
    names.RESIDUAL,
    "method",
}
SAME = 1e-5  # relative: what counts as no change of an answer
Answer = Mapping[str, Array]


def from_module(
    module: nn.Module, example_inputs: Any, dynamic_shapes: Any = None, origin: Mapping[str, Any] | None = None
) -> Source:
    """A module and its example inputs: a tensor, a tuple in the order of ``forward``, or a dictionary by name.

    UsageError for examples that don't fit ``forward``, ExportError for a module that does not answer them.
    """
    examples, settings = arguments(module, example_inputs)
    module = in_float32(module)
    with frozen(module):
        probe = Probe(module, Draws(examples, shapes_of(examples, dynamic_shapes)), settings)
        source = probe.source()
    return replace(source, provenance={**(origin or {"source": "a module in memory"}), **source.provenance})


MODULE = Variant("module", "as it is", "", "", "", padding="none", subquadratic=False, family="module")


class Probe:
    """What running a module tells about it."""

    def __init__(self, module: nn.Module, draws: Draws, settings: Mapping[str, Any]) -> None:
        self.module = module
        self.draws = draws
        self.settings = settings
        self.around = surrounding(module)

    def source(self) -> Source:
        shapes, examples = self.draws.shapes, self.draws.examples
        readers = self.readers()
        below = {name: min(reader.num_embeddings for reader in found) for name, found in readers.items()}
        masks = {
            name: marks(name, tensor)
            for name, tensor in examples.items()
            if name not in below and is_mask(name, tensor, shapes.axes[name])
        }
        self.draws = replace(self.draws, below=below, real=masks)
        samples = self.samples()
        masks = {name: mark for name, mark in masks.items() if shapes.axes[name][0] == samples}
        self.draws = replace(self.draws, real=masks)
        ranges = {symbol: self.range(symbol, samples) for symbol in shapes.symbols}
        stuck = [symbol for symbol, axis in ranges.items() if axis.least == axis.most and symbol != samples]
        shapes = shapes.fixed(stuck)
        named = shapes.renamed(samples)
        new = dict(zip(shapes.symbols, named.symbols, strict=True))
        axes = tuple(replace(ranges[symbol], name=name) for symbol, name in new.items())
        self.draws = replace(self.draws, shapes=named)
        only = {name: found[0] for name, found in readers.items() if len(found) == 1}
        return self.described(Signature(axes, below, new.get(samples, "")), only)

    def described(self, signature: Signature, readers: Mapping[str, nn.Embedding]) -> Source:
        """What is known now, as a source."""
        tensors, outputs = self.tensors(), self.outputs(signature)
        first, found = tensors[0], variants_in(self.module)
        length = next((axis for axis in signature.axes if axis.name != signature.samples), Axis("", 1, 1, 1))
        head = head_of(outputs, signature.samples)
        classes = head.columns if head is not None and head.kind is CLASSES else 0
        reader = self.reader(signature, readers)
        reason = self.unexplained(reader, target_of(outputs, signature.samples))
        return Source(
            name=type(self.module).__name__.lower(),
            task="module",
            variant=replace(MODULE, attention=", ".join(variant.name for variant in found) or "as it is"),
            module=self.module,
            embedding=None if reason else reader,
            outputs=outputs,
            limits=contract.Limits(signature.below.get(first.name, 1), length.least, length.most, 1, 0, "none"),
            labels=tuple(f"LABEL_{index}" for index in range(classes if isinstance(classes, int) else 0)),
            preprocess=None,
            first_id=0,
            padding_id=0,
            module_inputs=ModuleInputs(tensors, signature, self.draws, self.draws.real),
            has_argmax=any(variant.has_argmax for variant in found),
            settings=self.settings,
            call_context=self.around,
            reason=reason,
            config={"architectures": [type(self.module).__name__]},
            provenance={
                "architecture": f"{type(self.module).__module__}.{type(self.module).__qualname__}",
                **({"seed": SEED} if any(variant.call_context for variant in found) else {}),
            },
        )

    def reader(self, signature: Signature, readers: Mapping[str, nn.Embedding]) -> nn.Module | None:
        """What an explanation starts from: the embedding of token ids [samples, tokens], or the first input's own values."""
        first = self.tensors()[0]
        if signature.samples not in first.shape:
            return None
        if first.dtype == "float32":
            return Values()
        rows = len(first.shape) == 2 and all(isinstance(axis, str) for axis in first.shape)
        return readers.get(first.name) if rows else None

    def unexplained(self, reader: nn.Module | None, target: Target | None) -> str:
        """Why no explanation can be compiled; empty where one can."""
        taken = sorted({tensor.name for tensor in self.tensors()} & RESERVED)
        if taken:
            return f"its inputs have names that an explanation needs ({', '.join(taken)})"
        if target is None:
            return "its first answer is no logits, of each sample or each token"
        if reader is None:
            return "its first input is neither values of samples nor token ids of samples and tokens that one embedding reads"
        inputs = {
            name: torch.from_numpy(array) for name, array in self.draws(self.draws.shapes.examples, seed=1).items()
        }
        try:
            with started_from(reader, inputs) as (given, leaves), self.around(self.module):
                outputs = named_outputs(self.module(**given, **self.settings))
            torch.autograd.grad(next(iter(outputs.values())).sum(), leaves)
        except Exception as error:  # noqa: BLE001 (a foreign module fails in its own way; the reason is told)
            return f"its eager model has no gradient ({said_by(error)})"
        return "" if len(leaves) == 1 else f"its embedding reads {len(leaves)} times"

    def answer(self, inputs: Mapping[str, Array]) -> Answer:
        return self.called({name: torch.from_numpy(array.copy()) for name, array in inputs.items()})

    def called(self, inputs: Mapping[str, Tensor]) -> Answer:
        with torch.no_grad(), self.around(self.module):
            found = self.module(**inputs, **self.settings)
        parts = (
            found.items() if isinstance(found, Mapping) else enumerate(found) if isinstance(found, list | tuple) else ()
        )
        inside = [
            str(name)
            for name, value in parts
            if isinstance(value, list | tuple | dict) and any(isinstance(leaf, Tensor) for leaf in tree_leaves(value))
        ]
        if inside:
            raise ExportError(
                f"an answer must be tensors by name or in a row, got tensors inside {', '.join(inside)}; return each by itself."
            )
        return {name: output.detach().numpy() for name, output in named_outputs(found).items()}

    def answers(self, sizes: Sizes) -> bool:
        """Whether the module answers inputs of these sizes."""
        try:
            self.answer(self.draws(sizes, seed=1))
        except EdgexfError:
            raise
        except Exception:  # noqa: BLE001 (a foreign module refuses a length in its own way; that it does is the finding)
            return False
        return True

    def readers(self) -> dict[str, list[nn.Embedding]]:
        """The embeddings that read an input, by the input's name. ExportError where the module does not answer its
        examples, or answers them anew in another way.
        """
        inputs = {name: tensor.cpu().clone() for name, tensor in self.draws.examples.items()}
        seen: list[tuple[nn.Embedding, Tensor]] = []

        def note(reader: nn.Module, given: tuple[Any, ...]) -> None:
            if isinstance(reader, nn.Embedding) and given:
                seen.append((reader, given[0]))

        parts = [part for part in self.module.modules() if isinstance(part, nn.Embedding)]
        hooks = [part.register_forward_pre_hook(note) for part in parts]
        try:
            with in_a_sentence("a module must answer its example inputs", "call it with them, and mend what it says"):
                first = self.called(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        again = self.answer({name: tensor.cpu().numpy() for name, tensor in self.draws.examples.items()})
        changed = [name for name in first if not np.array_equal(first[name], again[name], equal_nan=True)]
        if changed:
            raise ExportError(
                f"a module must answer the same inputs alike, got another {changed[0]} at the second call; "
                "take out what draws random numbers or remembers calls."
            )
        found: dict[str, list[nn.Embedding]] = {}
        for reader, ids in seen:
            for name in read_by(ids, inputs):
                found.setdefault(name, [])
                found[name] += [] if reader in found[name] else [reader]
        return found

    def samples(self) -> str:
        """The symbol along which answers are independent, empty if none is; of several the first that has no end."""
        shapes = self.draws.shapes
        found = [symbol for symbol in shapes.symbols if self.independent(symbol)]
        endless = (
            symbol for symbol in found if self.answers({**shapes.examples, symbol: shapes.most.get(symbol, LONGEST)})
        )
        return found[0] if len(found) == 1 else next(endless, "")

    def independent(self, symbol: str) -> bool:
        """Whether other inputs at one place of an axis leave the answers at all other places as they are."""
        size = max(self.draws.shapes.examples[symbol], 2)
        sizes = {**self.draws.shapes.examples, symbol: size}
        if not self.answers(sizes):
            return False
        one, two = self.draws(sizes, seed=1), self.draws(sizes, seed=2)
        first = self.answer(one)
        for place in (0, size - 1):
            mixed = {name: self.exchanged(name, one[name], two[name], symbol, place) for name in one}
            second = self.answer(mixed)
            kept = [other for other in range(size) if other != place]
            if not any(
                unchanged(first[name].take(kept, axis), second[name].take(kept, axis))
                for name in first
                for axis, length in enumerate(first[name].shape)
                if length == size
            ):
                return False
        return True

    def exchanged(self, name: str, one: Array, two: Array, symbol: str, place: int) -> Array:
        """`one` with the entries of `two` at a place of the axis."""
        found = one.copy()
        for axis, called in enumerate(self.draws.shapes.axes[name]):
            if called == symbol and name not in self.draws.real:
                index = (slice(None),) * axis + (place,)
                found[index] = two[index]
        return found

    def range(self, symbol: str, samples: str) -> Axis:
        """Where the module answers along an axis: one sample, other axes as in the examples."""
        shapes = self.draws.shapes
        size = shapes.examples[symbol]
        if symbol == samples:
            return Axis(symbol, shapes.least.get(symbol, 1) or 1, shapes.most.get(symbol, ANY), 1)
        top = shapes.most.get(symbol, max(LONGEST, size))

        def works(length: int) -> bool:
            one = {samples: shapes.least.get(samples, 1)} if samples else {}
            return length > 0 and self.answers({**shapes.examples, **one, symbol: length})

        steps = (step for step in range(1, size + 1) if size % step == 0)
        step = next((step for step in steps if works(size + step) or works(size - step)), 0)
        if step == 0:
            return Axis(symbol, size, size, 1)
        most = longest(works, size // step, top // step, step)
        wanted = shapes.least.get(symbol, SHORTEST if samples else 1)
        short = (-(-length // step) * step for length in (wanted, *(1 << power for power in range(1, 12))))
        least = next((length for length in short if wanted <= length <= size and works(length)), size)
        for bound, found in (("max", most), ("min", least)):
            asked = (shapes.most if bound == "max" else shapes.least).get(symbol)
            if asked is not None and abs(asked - found) >= step:
                raise ExportError(
                    f"a module must answer within the bounds that dynamic_shapes give, got no answer beyond {found} for the {bound} of {asked}; "
                    "give bounds that it answers."
                )
        return Axis(symbol, least, most, step)

    def tensors(self) -> tuple[contract.Tensor, ...]:
        """The inputs in order."""
        return tuple(
            contract.Tensor(name, str(tensor.dtype).removeprefix("torch."), self.draws.shapes.axes[name])
            for name, tensor in self.draws.examples.items()
        )

    def outputs(self, signature: Signature) -> tuple[contract.Tensor, ...]:
        """Names and axes of what the module answers: an axis is a symbol's where its size follows it. ExportError where
        axes or names can't be told apart.
        """
        sizes = [distinct(signature.axes, turn) for turn in (0, 1)]
        with in_a_sentence(
            f"a module must answer when its axes change together (here {sizes[0]}, {sizes[1]})",
            "fix an axis with dynamic_shapes, or mend what depends on two of them",
        ):
            first, second = (self.answer(self.draws(chosen, seed=1)) for chosen in sizes)
        found = []
        for name, array in first.items():
            shape: list[int | str] = []
            for axis, pair in enumerate(zip(array.shape, second[name].shape, strict=True)):
                follows = [symbol for symbol in sizes[0] if pair == (sizes[0][symbol], sizes[1][symbol])]
                shape.append(pair[0] if pair[0] == pair[1] else follows[0] if follows else f"{name}_{axis}")
            if name in self.draws.examples or 0 in shape:
                raise ExportError(
                    f"an answer must hold values and have a name that no input has, got {name} {shape}; return it by another name, or leave it out."
                )
            found.append(contract.Tensor(name, str(array.dtype), tuple(shape)))
        return tuple(found)


def read_by(ids: Tensor, inputs: Mapping[str, Tensor]) -> list[str]:
    """The input that an embedding reads: by its memory, or, where that was copied, by values that no other input has."""
    whole = {name: tensor for name, tensor in inputs.items() if is_whole(tensor)}
    same = [
        name for name, tensor in whole.items() if tensor.data_ptr() == ids.data_ptr() and tensor.numel() == ids.numel()
    ]
    equal = [
        name for name, tensor in whole.items() if tensor.shape == ids.shape and torch.equal(tensor.long(), ids.long())
    ]
    return same or (equal if len(equal) == 1 else [])


def distinct(axes: Sequence[Axis], turn: int) -> dict[str, int]:
    """A size for each axis, different from each other and in each turn; of an axis with few sizes those at its ends."""
    found: dict[str, int] = {}
    for axis in axes:
        start = -(-(11 + 7 * turn) // axis.step) * axis.step
        sizes = (
            *range(start, start + 40 * axis.step, axis.step),
            *range(-(-axis.least // axis.step) * axis.step, axis.most + 1, axis.step)[:40],
        )
        fits = [size for size in sizes if axis.allows(size) and size not in found.values()]
        if len(fits) <= turn:
            raise ExportError(
                f"axes that vary must have room to be told apart, got {axis.name} with {axis.least} to {axis.most}; fix it with dynamic_shapes."
            )
        found[axis.name] = fits[turn] if start > axis.most else fits[0]
    return found


def unchanged(first: Array, second: Array) -> bool:
    first, second = first.astype(np.float64), second.astype(np.float64)  # also whole numbers and truth values
    scale = max(float(np.abs(first).max(initial=0.0)), 1e-30)
    return bool(np.abs(first - second).max(initial=0.0) <= SAME * scale)


def longest(works: Any, good: int, top: int, step: int) -> int:
    """The greatest length at which the module answers, by halving: from `good` to `top` steps."""
    if top <= good or works(top * step):
        return max(top, good) * step
    bad = top
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if works(middle * step) else (good, middle)
    return good * step
