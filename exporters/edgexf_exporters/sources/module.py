"""A custom module as a source: any `torch.nn.Module`, from example inputs.

In: a module and inputs that it answers. Out: a `Source` whose graphs take the inputs of ``forward`` by name and in
order.

    examples -> shapes: which axes vary
             -> runs of the module: which embedding reads the ids, along which axis samples are independent, at which
                lengths the module answers, what it answers with
             -> Source

Known attentions inside the module are lowered, everything else is traced as it is. Two alternatives were weighed. A
description that the user writes is one more thing to get wrong. Ranges from the guards of torch.export miss what no
guard sees: a table of positions that arange reads ends somewhere, and only a run of the module shows where.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgexf import names
from edgexf.bundle import manifest as contract
from edgexf.bundle.heads import CLASSES, head_of
from edgexf.bundle.signature import Axis, Signature, Within
from edgexf.errors import EdgexfError, ExportError, in_a_sentence, said_by
from edgexf_exporters.hooks import frozen, started_from
from edgexf_exporters.lowerings.fixed_random import SEED
from edgexf_exporters.lowerings.swap import variants_in
from edgexf_exporters.source import ModuleInputs, Source, Values, named_outputs
from edgexf_exporters.sources.axes import Shapes, Sizes, is_whole, shapes_of, uses
from edgexf_exporters.sources.calls import arguments, in_float32, surrounding
from edgexf_exporters.sources.examples import LEVELS, Array, Draws, is_mask, marks
from edgexf_exporters.sources.outputs import declared, plain, sizes_apart, sizes_near
from edgexf_exporters.sources.relations import related
from edgexf_exporters.targets import Target, target_of
from edgexf_exporters.trace.export import ANY
from edgexf_exporters.variant import Variant

LONGEST = 4096  # tokens, unless the examples or the user say more: the grid runs the module at its longest input
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
SAME = 1e-5  # the largest relative difference that counts as no change of an answer
Answer = Mapping[str, Array]


def from_module(
    module: nn.Module, example_inputs: Any, dynamic_shapes: Any = None, origin: Mapping[str, Any] | None = None
) -> Source:
    """The source of a custom module.

    `example_inputs` are a tensor, a tuple in the order of ``forward``, or a dictionary by name.

    Raises UsageError for examples that don't fit ``forward``, and ExportError for a module that does not answer them.
    """
    examples, settings = arguments(module, example_inputs)
    module = in_float32(module)
    with frozen(module):
        probe = Probe(module, Draws(examples, shapes_of(examples, dynamic_shapes)), settings)
        source = probe.source()
    return replace(source, provenance={**(origin or {"source": "a module in memory"}), **source.provenance})


MODULE = Variant("module", "as it is", "", "", "", padding="none", subquadratic=False, family="module")


class Probe:
    """Runs a module to find out what a `Source` must say about it.

    Attributes:
        module: the module, `frozen` and in float32.
        draws: makes inputs. It learns about ids, masks and the names of axes while the probe runs.
        settings: the arguments of ``forward`` that are no tensors, by name.
        around: makes the context of each call of the module.
    """

    def __init__(self, module: nn.Module, draws: Draws, settings: Mapping[str, Any]) -> None:
        self.module = module
        self.draws = draws
        self.settings = settings
        self.around = surrounding(module)

    def source(self) -> Source:
        readers = self.readers()
        below = {name: min(reader.num_embeddings for reader in found) for name, found in readers.items()}
        self.draws = replace(self.draws, below=below)
        self.draws = replace(self.draws, real=self.masks())
        self.draws = replace(self.draws, levels=self.levels())
        shapes, stuck = related(self.draws.shapes, lambda shapes, sizes: self.answers(sizes, shapes))
        self.draws = replace(self.draws, shapes=shapes.fixed(stuck))
        self.draws = replace(self.draws, real=self.masks())
        self.draws = replace(self.draws, within=self.within())
        samples = self.samples()
        real = {name: mark for name, mark in self.draws.real.items() if self.draws.shapes.axes[name][0] == samples}
        self.draws = replace(self.draws, real=real)
        ranges = {symbol: self.range(symbol, samples) for symbol in self.draws.shapes.symbols}
        still = [symbol for symbol, axis in ranges.items() if axis.least == axis.most and symbol != samples]
        shapes = self.draws.shapes.fixed(still)
        called = shapes.names(samples)
        within = {
            name: replace(one, axis=called[one.axis]) for name, one in self.draws.within.items() if one.axis in called
        }
        self.draws = replace(self.draws, shapes=shapes.named(called), within=within)
        axes = tuple(replace(ranges[symbol], name=name) for symbol, name in called.items())
        only = {name: found[0] for name, found in readers.items() if len(found) == 1}
        frozen_to = {name: repr(value) for name, value in self.settings.items()}
        signature = Signature(axes, below, called.get(samples, ""), within, self.fixed(), frozen_to)
        return self.described(signature, only)

    def masks(self) -> dict[str, int]:
        """The value that marks a real token, by the name of each input that is a mask."""
        return {
            name: marks(name, tensor)
            for name, tensor in self.draws.examples.items()
            if name not in self.draws.below and is_mask(name, tensor, self.draws.shapes.axes[name])
        }

    def levels(self) -> dict[str, str]:
        """The first of `LEVELS` at which the module answers with finite values, by the name of each input."""
        found: dict[str, str] = {}
        draws, sizes = self.draws, self.draws.shapes.examples
        usual = self.finite(sizes, draws)
        for name in draws.examples:
            tried = (level for level in LEVELS if self.finite(sizes, replace(draws, levels={**found, name: level})))
            found[name] = next(tried, LEVELS[-1]) if usual else LEVELS[0]
        return found

    def finite(self, sizes: Sizes, draws: Draws) -> bool:
        """Whether the module answers with finite values only."""
        try:
            answer = self.answer(draws(sizes, seed=1))
        except EdgexfError:
            raise
        except Exception:  # noqa: BLE001 (a custom module may raise any error at a value that it refuses)
            return False
        return all(bool(np.isfinite(array).all()) for array in answer.values())

    def within(self) -> dict[str, Within]:
        """The range of each input that counts along an axis, such as the lengths of rows, by the name of the input.

        The largest value of an example is the size of the axis, or the module refuses such values where the axis is
        shorter.
        """
        found: dict[str, Within] = {}
        for name, tensor in self.draws.examples.items():
            if is_whole(tensor) and tensor.numel() and name not in {**self.draws.below, **self.draws.real}:
                counted = next((one for one in self.counts(name, tensor) if self.counts_along(name, one)), None)
                found |= {} if counted is None else {name: counted}
        return found

    def counts(self, name: str, tensor: Tensor) -> list[Within]:
        """Guesses along which axis an input counts, from its values in the example."""
        shapes, least, most = self.draws.shapes, int(tensor.min()), int(tensor.max())
        sizes = {symbol: shapes.examples[symbol] for symbol in shapes.symbols if symbol not in shapes.axes[name]}
        full = [Within(symbol, min(1, least), 0) for symbol, size in sizes.items() if size == most > 1 and least >= 0]
        rest = [Within(symbol, min(1, least), 1) for symbol, size in sizes.items() if 0 <= least <= most < size]
        return [*full, *rest]

    def counts_along(self, name: str, guess: Within) -> bool:
        """Whether an input counts along the axis of a guess."""
        size, most = self.draws.shapes.examples[guess.axis], int(self.draws.examples[name].max())
        known = replace(self.draws, within={**self.draws.within, name: guess})
        if guess.short == 0:
            return self.answers({**self.draws.shapes.examples, guess.axis: size + 1}, draws=known)
        shorter = {**self.draws.shapes.examples, guess.axis: max(most, 1)}
        return most > 0 and not self.answers(shorter) and self.answers(shorter, draws=known)

    def fixed(self) -> tuple[str, ...]:
        """The axes that could have varied but don't, in words: all fixed axes, but the features at the end of floats."""
        return tuple(
            f"{name} axis {place} at {axis}"
            for name, row in self.draws.shapes.axes.items()
            for place, axis in enumerate(row)
            if isinstance(axis, int) and axis > 1 and (is_whole(self.draws.examples[name]) or place < len(row) - 1)
        )

    def described(self, signature: Signature, readers: Mapping[str, nn.Embedding]) -> Source:
        """The source, from what the probe knows at the end."""
        tensors, outputs = self.tensors(), self.outputs(signature)
        first, found = tensors[0], variants_in(self.module)
        length = next((axis for axis in signature.axes if axis.name != signature.samples), Axis("", 1, 1, 1))
        head = head_of(outputs, signature.samples)
        classes = head.columns if head is not None and head.kind == CLASSES else 0
        reader = self.reader(signature, readers)
        axes = [axis.name for axis in signature.axes]
        reason = self.unexplained(reader, target_of(outputs, signature.samples, axes))
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
        """The module from which an explanation starts; None without a first input that an explanation can start from.

        It is the embedding that reads the token ids [samples, tokens], or `Values` if the first input is float32.
        """
        first = self.tensors()[0]
        if signature.samples not in first.shape:
            return None
        if first.dtype == "float32":
            return Values()
        rows = len(first.shape) == 2 and all(isinstance(axis, str) for axis in first.shape)
        return readers.get(first.name) if rows else None

    def unexplained(self, reader: nn.Module | None, target: Target | None) -> str:
        """Why no explanation can be compiled; empty if it can be compiled."""
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
        except Exception as error:  # noqa: BLE001 (a custom module may raise any error; the reason is reported)
            return f"its eager model has no gradient ({said_by(error)})"
        return "" if len(leaves) == 1 else f"its embedding reads {len(leaves)} times"

    def answer(self, inputs: Mapping[str, Array]) -> Answer:
        return self.called({name: torch.from_numpy(array.copy()) for name, array in inputs.items()})

    def called(self, inputs: Mapping[str, Tensor]) -> Answer:
        with torch.no_grad(), self.around(self.module):
            found = self.module(**inputs, **self.settings)
        return {
            name: output.detach().numpy()
            for name, output in named_outputs(found, taken=tuple(self.draws.examples)).items()
        }

    def answers(self, sizes: Sizes, shapes: Shapes | None = None, draws: Draws | None = None) -> bool:
        """Whether the module answers inputs of these sizes, with a value in each output."""
        draws = draws or (self.draws if shapes is None else replace(self.draws, shapes=shapes))
        try:
            answer = self.answer(draws(sizes, seed=1))
        except EdgexfError:
            raise
        except Exception:  # noqa: BLE001 (a custom module may raise any error at a length that it refuses)
            return False
        return all(array.size for array in answer.values())

    def readers(self) -> dict[str, list[nn.Embedding]]:
        """The embeddings that read an input, by the name of the input.

        Raises ExportError if the module does not answer its examples, or answers them differently at a second call.
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
        """The symbol along which samples are independent; empty if there is no such symbol.

        Of several symbols it is the first one without an end: the module answers at the user's maximum or at `LONGEST`.
        """
        shapes = self.draws.shapes
        found = [symbol for symbol in shapes.symbols if self.independent(symbol)]
        endless = (
            symbol for symbol in found if self.answers({**shapes.examples, symbol: shapes.most.get(symbol, LONGEST)})
        )
        return found[0] if len(found) == 1 else next(endless, "")

    def independent(self, symbol: str) -> bool:
        """Whether a change of the inputs at one place of an axis leaves the answers at all other places as they are."""
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
        """A copy of `one` with the entries of `two` at one place of an axis. A mask keeps its entries."""
        found = one.copy()
        for axis, called in enumerate(self.draws.shapes.axes[name]):
            if called == symbol and name not in self.draws.real:
                index = (slice(None),) * axis + (place,)
                found[index] = two[index]
        return found

    def range(self, symbol: str, samples: str) -> Axis:
        """The sizes of an axis at which the module answers a single sample, with the other axes as in the examples.

        The axis of samples is not tried. Raises ExportError for bounds of the user that the module does not answer.
        """
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
        derived = any(uses(axis, symbol) and axis != symbol for row in shapes.axes.values() for axis in row)
        wanted = shapes.least.get(symbol, 1 if derived or symbol in shapes.own or not samples else SHORTEST)
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
        """The inputs of the module, in order."""
        return tuple(
            contract.Tensor(name, str(tensor.dtype).removeprefix("torch."), self.draws.shapes.axes[name])
            for name, tensor in self.draws.examples.items()
        )

    def outputs(self, signature: Signature) -> tuple[contract.Tensor, ...]:
        """The outputs of the module: their names, dtypes and axes.

        Raises ExportError where axes can't be told apart, and for outputs whose number changes with the sizes.
        """
        axes = signature.axes
        runs = self.runs(sizes_apart(axes))
        first = runs[0][1]

        def shown(name: str, place: int) -> list[tuple[Sizes, int]]:
            return [(sizes, answer[name].shape[place]) for sizes, answer in runs]

        if any(plain(axes, shown(name, place)) is None for name in first for place in range(first[name].ndim)):
            runs += self.runs(sizes_near(axes, signature.samples), first)
        return tuple(
            contract.Tensor(
                name,
                str(array.dtype),
                tuple(declared(name, place, axes, shown(name, place)) for place in range(array.ndim)),
            )
            for name, array in first.items()
        )

    def runs(self, chosen: Sequence[Sizes], first: Answer | None = None) -> list[tuple[Sizes, Answer]]:
        """The answers at some sizes. They must hold the same outputs as `first`, or as each other."""
        found: list[tuple[Sizes, Answer]] = []
        for sizes in chosen:
            with in_a_sentence(
                f"a module must answer when its axes change together (here {sizes})",
                "fix an axis with dynamic_shapes, or mend what depends on two of them",
            ):
                found.append((sizes, self.answer(self.draws(sizes, seed=1))))
            first = first or found[0][1]
            if kinds(found[-1][1]) != kinds(first):
                raise ExportError(
                    f"a module must answer with the same outputs at all sizes ({', '.join(first)}), got others at {dict(sizes)}; "
                    "fix an axis with dynamic_shapes, or return the same outputs."
                )
        return found


def kinds(answer: Answer) -> dict[str, tuple[str, int]]:
    """The dtype and the number of axes of each output."""
    return {name: (str(array.dtype), array.ndim) for name, array in answer.items()}


def read_by(ids: Tensor, inputs: Mapping[str, Tensor]) -> list[str]:
    """The names of the inputs that an embedding reads.

    They are the inputs with the same memory as `ids`. If the memory was copied, it is the input with the same values,
    unless several inputs have these values.
    """
    whole = {name: tensor for name, tensor in inputs.items() if is_whole(tensor)}
    same = [
        name for name, tensor in whole.items() if tensor.data_ptr() == ids.data_ptr() and tensor.numel() == ids.numel()
    ]
    equal = [
        name for name, tensor in whole.items() if tensor.shape == ids.shape and torch.equal(tensor.long(), ids.long())
    ]
    return same or (equal if len(equal) == 1 else [])


def unchanged(first: Array, second: Array) -> bool:
    first, second = first.astype(np.float64), second.astype(np.float64)  # also for integers and booleans
    finite = np.isfinite(first) & np.isfinite(second)
    if not np.array_equal(first[~finite], second[~finite], equal_nan=True):
        return False
    scale = max(float(np.abs(first[finite]).max(initial=0.0)), 1e-30)
    return bool(np.abs(first[finite] - second[finite]).max(initial=0.0) <= SAME * scale)


def longest(works: Any, good: int, top: int, step: int) -> int:
    """The greatest length at which the module answers, by bisection between `good` and `top` steps."""
    if top <= good or works(top * step):
        return max(top, good) * step
    bad = top
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if works(middle * step) else (good, middle)
    return good * step
