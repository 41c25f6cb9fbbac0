"""Runs a custom module to find out what an export must know about it.

In: a module, and `Draws` that make inputs of its examples' sizes. Out: the answers to questions: which embedding reads
the ids, which values the module understands, which of its axes vary and how far, along which axis samples are
independent. `sources.modules.module` asks them in order, and gives the probe the `Draws` that know more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgexf.bundle.signature import Axis, Within
from edgexf.errors import EdgexfError, ExportError, UsageError, in_a_sentence
from edgexf_exporters.answers import named_outputs
from edgexf_exporters.hard_values import KINDS
from edgexf_exporters.lowerings.padded import chosen_tokens
from edgexf_exporters.lowerings.swap import library_models
from edgexf_exporters.sources.calls import surrounding
from edgexf_exporters.sources.modules.axes import Shapes, Sizes, is_whole, uses
from edgexf_exporters.sources.modules.examples import LEVELS, Array, Draws, is_choice, is_mask, marks
from edgexf_exporters.sources.modules.lookups import Lookups
from edgexf_exporters.trace.export import ANY

LONGEST = 4096  # tokens, unless the examples or the user say more: the grid runs the module at its longest input
SQUARE = 512  # the same where every input holds the axis twice: the work of such a module may grow with its third power
SHORTEST = 2
SAME = 1e-5  # the largest relative difference that counts as no change of an answer
Answer = Mapping[str, Array]


class Probe:
    """Runs a module.

    Attributes:
        module: the module, `frozen` and in float32.
        draws: makes inputs. It learns about ids, masks and the names of axes while the probe is asked.
        settings: the arguments of ``forward`` that are no tensors, by name.
        around: makes the context of each call of the module.
        first: the answer to the first call, which is that of the examples; None before.
    """

    def __init__(self, module: nn.Module, draws: Draws, settings: Mapping[str, Any]) -> None:
        self.module = module
        self.draws = draws
        self.settings = settings
        self.around = surrounding(module)
        self.first: Answer | None = None

    def answer(self, inputs: Mapping[str, Array]) -> Answer:
        return self.called({name: torch.from_numpy(array.copy()) for name, array in inputs.items()})

    def called(self, inputs: Mapping[str, Tensor]) -> Answer:
        with torch.no_grad(), self.around(self.module):
            found = self.module(**inputs, **self.settings)
        answer = {
            name: output.detach().numpy()
            for name, output in named_outputs(found, taken=tuple(self.draws.examples)).items()
        }
        if self.first is None:  # a copy, since a module may return what it writes to later
            self.first = {name: array.copy() for name, array in answer.items()}
        return answer

    def answers(self, sizes: Sizes, shapes: Shapes | None = None, draws: Draws | None = None) -> bool:
        """Whether the module answers inputs of these sizes, with a value in each output. No axis has a size below 0."""
        draws = draws or (self.draws if shapes is None else replace(self.draws, shapes=shapes))
        if any(size < 0 for name in draws.examples for size in draws.shapes.sizes(name, sizes)):
            return False  # an axis of `n - 3`, at a length of 2
        return self.takes(draws(sizes, seed=1))

    def takes(self, inputs: Mapping[str, Array]) -> bool:
        """Whether the module answers these inputs, with a value in each output."""
        try:
            answer = self.answer(inputs)
        except EdgexfError:
            raise
        except Exception:  # noqa: BLE001 (a custom module may raise any error at a length that it refuses)
            return False
        return all(array.size for array in answer.values())

    def finite(self, sizes: Sizes, draws: Draws, seed: int = 1) -> bool:
        """Whether the module answers with finite values only."""
        try:
            answer = self.answer(draws(sizes, seed))
        except EdgexfError:
            raise
        except Exception:  # noqa: BLE001 (a custom module may raise any error at a value that it refuses)
            return False
        return all(bool(np.isfinite(array).all()) for array in answer.values())

    def readers(self) -> dict[str, list[nn.Embedding]]:
        """The embeddings that read an input, by the name of the input.

        Raises ExportError if the module does not answer its examples, or answers them differently at a second call.
        """
        inputs = {name: tensor.cpu().clone() for name, tensor in self.draws.examples.items()}
        with in_a_sentence("a module must answer its example inputs", "call it with them, and mend what it says"):
            first, found = self.watched(inputs)
        again = self.answer({name: tensor.cpu().numpy() for name, tensor in self.draws.examples.items()})
        changed = [name for name in first if not np.array_equal(first[name], again[name], equal_nan=True)]
        if changed:
            raise ExportError(
                f"a module must answer the same inputs alike, got another {changed[0]} at the second call; "
                "take out what draws random numbers or remembers calls."
            )
        return {name: self.that_follow(name, readers, inputs) for name, readers in found.items()}

    def that_follow(self, name: str, readers: list[nn.Embedding], inputs: Mapping[str, Tensor]) -> list[nn.Embedding]:
        """The embeddings that still read an input when it holds other values; all of them if none does.

        An example of zeros also has the values of token types, and 0, 1, 2, ... those of positions.
        """
        if min(reader.num_embeddings for reader in readers) < 2:
            return readers
        other = torch.randint(0, 2, inputs[name].shape, generator=torch.Generator().manual_seed(1))
        try:
            _, found = self.watched({**inputs, name: other.to(inputs[name].dtype)})
        except EdgexfError:
            raise
        except Exception:  # noqa: BLE001 (a custom module may raise any error at ids that it refuses)
            return readers
        return [reader for reader in found.get(name, ()) if reader in readers] or readers

    def watched(self, inputs: Mapping[str, Tensor]) -> tuple[Answer, dict[str, list[nn.Embedding]]]:
        """The answer to inputs, and the embeddings that read the values of an input, by the name of the input."""
        padding = {part for model, *_ in library_models(self.module) for part in model.modules()}
        with Lookups(self.module) as lookups:
            answer = self.called(inputs)
        found: dict[str, list[nn.Embedding]] = {}
        for reader, ids in lookups.seen:
            for name in read_by(ids, inputs, pads=reader in padding):
                found.setdefault(name, [])
                found[name] += [] if reader in found[name] else [reader]
        return answer, found

    def global_tokens(self) -> int:
        """The largest number of global tokens that a row of the examples has in a library model inside the module."""
        counts = [0]

        def count(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            chosen = chosen_tokens(signature(model.forward).bind(*args, **kwargs).arguments)
            counts.extend([] if chosen is None else chosen.sum(dim=-1).flatten().tolist())

        models = [model for model, variant, _ in library_models(self.module) if variant.globals]
        hooks = [model.register_forward_pre_hook(count, with_kwargs=True) for model in models]
        try:
            if models:
                with in_a_sentence(
                    "a module must answer its example inputs", "call it with them, and mend what it says"
                ):
                    self.called({name: tensor.cpu().clone() for name, tensor in self.draws.examples.items()})
        finally:
            for hook in hooks:
                hook.remove()
        return max(counts)

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

    def large(self) -> frozenset[str]:
        """The inputs of floats that may all be large: the module answers them with finite values."""
        names = frozenset(name for name, tensor in self.draws.examples.items() if tensor.is_floating_point())
        far = replace(self.draws, large=names)
        return names if names and self.finite(self.draws.shapes.examples, far, KINDS.index("large")) else frozenset()

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
        inputs = known(shorter, seed=1)
        return most > 0 and self.takes(inputs) and not self.takes({**inputs, name: np.full_like(inputs[name], most)})

    def lengths_of_values(self, sizes: Sizes) -> set[tuple[str, int]]:
        """The axes of the outputs that are shorter if every row is: their names and places.

        `pad_packed_sequence` answers as many times as the longest row has, whatever the inputs have. A module that refuses
        short rows has no such axis.
        """
        draws = self.draws
        if not (draws.real or draws.within):
            return set()
        inputs = draws(sizes, seed=1, padded=lambda _, length: max(length // 2, 1))
        for name, one in draws.within.items():
            inputs[name] = np.minimum(inputs[name], max(one.most(sizes) // 2, one.least)).astype(inputs[name].dtype)
        if not self.takes(inputs):
            return set()
        whole, short = self.answer(draws(sizes, seed=1)), self.answer(inputs)
        return {
            (name, place)
            for name in whole.keys() & short.keys()
            for place, (size, other) in enumerate(zip(whole[name].shape, short[name].shape, strict=False))
            if size != other
        }

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

    def range(self, symbol: str, samples: str, max_length: int | None = None) -> Axis:
        """The sizes of an axis at which the module answers a single sample, with the other axes as in the examples.

        No size is over `max_length`, nor over `LONGEST` without it. The axis of samples is not tried. Raises UsageError for a `max_length` below the
        examples or below the user's own bounds, and ExportError for bounds of the user that the module does not answer.
        """
        shapes = self.draws.shapes
        size = shapes.examples[symbol]
        if symbol == samples:
            return Axis(symbol, shapes.least.get(symbol, 1) or 1, shapes.most.get(symbol, ANY), 1)
        held = [row.count(symbol) for row in shapes.axes.values() if symbol in row]
        twice = bool(held) and min(held) > 1
        top = shapes.most.get(symbol, max(SQUARE if twice else LONGEST, size))
        if max_length is not None:
            needed = max(size, shapes.least.get(symbol, 1))
            if max_length < needed:
                raise UsageError(
                    f"max_length must be at least the length of the example inputs and of the min of dynamic_shapes, got {max_length} for {needed}; give shorter inputs, or a larger one."
                )
            top = min(top, max_length) if twice or symbol in shapes.most else max_length

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
            asked = top if asked is not None and bound == "max" else asked
            if asked is not None and abs(asked - found) >= step:
                raise ExportError(
                    f"a module must answer within the bounds that its caller gives, got no answer beyond {found} for the {bound} of {asked}; "
                    "give bounds that it answers."
                )
        return Axis(symbol, least, most, step)


def read_by(ids: Tensor, inputs: Mapping[str, Tensor], pads: bool) -> list[str]:
    """The names of the inputs that an embedding reads.

    They are the inputs with the same memory as `ids`. If the memory was copied, it is the input with the same values,
    unless several inputs have these values. With `pads` a library may pad the ids at the end, and the longest input counts.
    """
    whole = {name: tensor for name, tensor in inputs.items() if is_whole(tensor) and not is_choice(name)}
    same = [
        name for name, tensor in whole.items() if tensor.data_ptr() == ids.data_ptr() and tensor.numel() == ids.numel()
    ]
    begin = {
        name: tensor.shape[-1:]
        for name, tensor in whole.items()
        if begins_with(ids, tensor) and (pads or tensor.shape == ids.shape)
    }
    equal = [name for name, length in begin.items() if length == max(begin.values())]
    return same or (equal if len(equal) == 1 else [])


def begins_with(ids: Tensor, given: Tensor) -> bool:
    """Whether each row of `ids` begins with the row of `given`."""
    if ids.ndim != given.ndim or ids.shape[:-1] != given.shape[:-1] or ids.shape[-1:] < given.shape[-1:]:
        return False
    return torch.equal(ids[..., : given.shape[-1]].long(), given.long()) if ids.ndim else torch.equal(ids, given)


def padding_ids(readers: Mapping[str, Sequence[nn.Embedding]]) -> dict[str, int]:
    """The id of padding, by the name of the input, where an embedding that reads the input names it."""
    known = {name: [one.padding_idx for one in found if one.padding_idx is not None] for name, found in readers.items()}
    return {name: found[0] for name, found in known.items() if found}


def unchanged(first: Array, second: Array, most: float = SAME) -> bool:
    """Whether two answers differ by at most `most` of the largest value."""
    if first.shape != second.shape:  # a length that depends on values
        return False
    first, second = first.astype(np.float64), second.astype(np.float64)  # also for integers and booleans
    finite = np.isfinite(first) & np.isfinite(second)
    if not np.array_equal(first[~finite], second[~finite], equal_nan=True):
        return False
    scale = max(float(np.abs(first[finite]).max(initial=0.0)), 1e-30)
    return bool(np.abs(first[finite] - second[finite]).max(initial=0.0) <= most * scale)


def longest(works: Any, good: int, top: int, step: int) -> int:
    """The greatest length at which the module answers, by bisection between `good` and `top` steps."""
    if top <= good or works(top * step):
        return max(top, good) * step
    bad = top
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if works(middle * step) else (good, middle)
    return good * step
