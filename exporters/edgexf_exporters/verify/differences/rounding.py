"""Rounding or error: judges what exceeds the tolerance by the same model in float64.

In: an answer of a graph, the eager answer in float32, and the inputs of both. Out: whether the difference is rounding,
and the tolerance that it asks for.

    error of the graph against float64  <=  2 x error of eager float32 against float64        ->  rounding

A rounding error is a draw by chance. Where the graph is further than twice the error of eager float32, that error may
be a lucky draw, so four more are drawn: the same model in float32, with each weight moved by one unit in its last place,
against the moved model in float64. The largest of the five errors counts. That is how Monte Carlo arithmetic finds the
digits that rounding leaves (Parker 1997). Without these draws a DistilBERT with weights six times as large was refused.

A relevance may cancel almost wholly, and then eager float32 itself is far from the truth, often further than the graph.
A fixed tolerance refuses such a graph, and a larger one would let wrong graphs pass. The difference of two such answers
is at most three errors of eager float32, which is the tolerance that a device must keep (`edgexf.bundle.golden`).

Where eager float32 is further than `WORST` from the truth, or answers no number, nothing counts as rounding: a graph that is
wrong could not be told from a right one.

Two alternatives were weighed. float64 for every cell doubles the time of an export. Other random inputs for such a cell
choose what is compared by its result.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from edgexf_exporters.hooks import frozen
from edgexf_exporters.source import Source
from edgexf_exporters.verify.differences.ties import Choices

Array = npt.NDArray[Any]
Feeds = dict[str, Array]
Answers = Callable[[], Mapping[str, Array] | None]
Draws = Callable[[], Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]]]
MORE = 4  # more draws of the error of eager float32, where the first is too small
MOST = 2  # errors of eager float32 that an error of the graph may have
WORST = (
    1e-2  # the largest error of eager float32; a model that is further from the truth answers nothing to compare with
)


@dataclass(frozen=True)
class Compared:
    """An answer of a graph beside the eager answer.

    Attributes:
        part: what the answer is: ``outputs``, ``relevance`` or ``residual``.
        name: the name of the eager answer.
        found: what the graph answers.
        wanted: what the eager model answers in float32.
        measure: takes an answer and the right answer, and gives their relative difference.
    """

    part: str
    name: str
    found: Array
    wanted: Array
    measure: Callable[[Array, Array], float]

    @cached_property
    def difference(self) -> float:
        return self.measure(self.found, self.wanted)


class InFloat64(TorchFunctionMode):
    """Gives float64 to what asks for float32, such as the softmax of a Longformer, whatever the dtype of its weights."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        function = Tensor.double if function is Tensor.float else function
        named = {name: wider(value) for name, value in (kwargs or {}).items()}
        return function(*map(wider, args), **named)


def wider(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


class Wide:
    """A source in float64. It is made when it is asked for the first time: most exports never ask.

    `ask` takes a source, inputs and methods, and answers as `edgexf_exporters.verify.eager.eager` does.
    """

    def __init__(self, source: Source, ask: Callable[[Source, Feeds, Sequence[str]], Feeds]) -> None:
        self.narrow = source
        self.ask = ask

    @cached_property
    def source(self) -> Source:
        return with_module(self.narrow, copy.deepcopy(self.narrow.module).double())

    def answers(self, feeds: Feeds, methods: Sequence[str], made: Sequence[Array]) -> Feeds | None:
        """The answers in float64. `made` are the choices of the model in float32, which it repeats if they are ties.

        None where it must choose differently, and for a model that does not run in float64, such as one with constants
        in float32: such a model has no better answer than its own.
        """
        given = {
            name: array.astype(np.float64) if array.dtype == np.float32 else array for name, array in feeds.items()
        }
        try:
            with frozen(self.source.module), InFloat64(), Choices(made) as met:
                found = self.ask(self.source, given, methods)
        except (RuntimeError, TypeError, ValueError):  # torch's errors for operands of two dtypes
            return None
        return found if repeated(met, made) else None

    def cached(self, feeds: Feeds, methods: Sequence[str], made: Sequence[Array]) -> tuple[Answers, Draws]:
        """`answers` and `draws` for `reached`, each computed once, when it is asked for."""
        return cache(partial(self.answers, feeds, methods, made)), cache(partial(self.draws, feeds, methods, made))

    def draws(self, feeds: Feeds, methods: Sequence[str], made: Sequence[Array]) -> list[tuple[Feeds, Feeds]]:
        """The answers of moved models in float32, each beside the answers of the same model in float64.

        A moved model that chooses differently is left out.
        """
        found = []
        for seed in range(MORE):
            source = with_module(self.narrow, moved(self.narrow.module, seed))
            with Choices(made) as met:
                narrow = self.ask(source, feeds, methods)
            right = Wide(source, self.ask).answers(feeds, methods, made)
            if right is not None and repeated(met, made):
                found.append((narrow, right))
        return found


def with_module(source: Source, module: torch.nn.Module) -> Source:
    """The source with a copy of its module."""
    parts = {part: path for path, part in source.module.named_modules()}
    start = source.embedding
    return replace(source, module=module, embedding=module.get_submodule(parts[start]) if start in parts else start)


def moved(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """A copy whose weights in float32 are each moved by one unit in the last place, up or down by chance."""
    chance = torch.Generator().manual_seed(seed)
    copied = copy.deepcopy(module)
    with torch.no_grad():
        for weight in copied.parameters():
            if weight.dtype == torch.float32:
                up = torch.rand(weight.shape, generator=chance) < 0.5
                weight.copy_(weight.nextafter(torch.where(up, torch.inf, -torch.inf)))
    return copied


def repeated(met: Choices, made: Sequence[Array]) -> bool:
    """Whether a model made these choices again."""
    return len(met.made) == len(made) and all(map(np.array_equal, met.made, made))


def reached(
    compared: Iterable[Compared],
    tolerance: float,
    wide: Answers,
    draws: Draws,
) -> dict[str, float]:
    """The tolerance that each part asks for, where a difference exceeds `tolerance` by rounding alone.

    Empty if one of them is no rounding. `wide` gives the answers in float64, `draws` more answers in float32, each
    beside the right ones.
    """
    found: dict[str, float] = {}
    for one in compared:
        if one.difference <= tolerance:
            continue
        right = wide()
        if right is None:
            return {}
        own, error = one.measure(one.wanted, right[one.name]), one.measure(one.found, right[one.name])
        if not own <= WORST:
            return {}
        if error > MOST * own:
            own = max([own, *(one.measure(narrow[one.name], true[one.name]) for narrow, true in draws())])
        if not own <= WORST or not error <= MOST * own:
            return {}
        found[one.part] = max(found.get(one.part, 0.0), (MOST + 1) * own)
    return found
