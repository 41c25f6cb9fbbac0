"""The contract where a custom module branches on sizes: what the trace does not cover is compared, or cut off.

In: a source, its graph, the conditions under which the trace of the graph holds. Out: a `Settled`: the source, with
narrower axes where the graph and the module differ, and sentences that say what was cut off and what was sampled.

    if ids.shape[0] == 100: ...     ->  the graph differs at a batch of 100    ->  batches up to 99
    if n % 2: ... (the same)        ->  the graph agrees at ten even lengths   ->  all lengths, sampled

A region outside a trace stays in the contract if the graph agrees at its ends and at eight drawn sizes. Where the model's
own code asks, one condition may hide another (``n % 2 == 0 and n == 1000``). So the module is traced once more inside such a
region, and the regions outside this trace are looked at as well. Two alternatives were weighed. To compare at every size
takes hours. To refuse each region outside would refuse nearly every module, because most conditions only choose how torch
copies memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import onnxruntime as ort

from edgexf.bundle.signature import Axis, Signature
from edgexf.errors import ExportError, said_by
from edgexf_exporters.capture import own_sizes
from edgexf_exporters.hard_values import KINDS
from edgexf_exporters.source import ModuleInputs, Source
from edgexf_exporters.trace.guards import Condition
from edgexf_exporters.verify.branches.regions import Region, Sizes, allowed, chosen, kept, outside, values
from edgexf_exporters.verify.compare import outputs_compared, reference, run
from edgexf_exporters.verify.differences.rounding import Wide, reached
from edgexf_exporters.verify.differences.ties import TIE, Choices
from edgexf_exporters.verify.eager import eager
from edgexf_exporters.verify.grid import cells

AFFORDABLE = 8192  # values of an input at which graph and model are compared at least; twice the default longest input
FEWEST = 8  # sizes that an axis keeps; a contract of fewer is a refusal
MOST_CUTS = 3  # how often a condition may narrow an axis
TRACES = 8  # more traces of one module

Retrace = Callable[[Sizes], Sequence[Condition] | None]


@dataclass(frozen=True)
class Settled:
    """A source whose contract keeps to what its graph answers.

    Attributes:
        source: the source. Its axes may be narrower than before; its signature then says why.
        wrong: why no contract fits; otherwise empty.
    """

    source: Source
    wrong: str = ""


def settle(
    source: Source, predict: ort.InferenceSession, conditions: Sequence[Condition], retrace: Retrace, tolerance: float
) -> Settled:
    """Narrows the axes of a custom module to where its graph agrees with it; see the module's docstring."""
    own = source.module_inputs
    if own is None or not conditions:
        return Settled(source)
    return Settling(source, own, predict, conditions, retrace, own_sizes(source, own), tolerance).settled()


@dataclass
class Settling:
    """The work of `settle`, with what it found out so far.

    `traced` holds the conditions of further traces by the sizes of their examples, `compared` what is wrong at the sizes
    that were compared.
    """

    source: Source
    own: ModuleInputs
    predict: ort.InferenceSession
    conditions: Sequence[Condition]
    retrace: Retrace
    usual: Sizes
    tolerance: float
    traced: dict[tuple[int, ...], Sequence[Condition] | None] = field(default_factory=dict)
    compared: dict[tuple[int, ...], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shapes = [tensor.shape for tensor in self.own.tensors]
        self.wide = Wide(self.source, reference)
        in_grid = [cell.sizes(self.own.signature) for cell in cells(self.source, 1, "quick")]
        self.affordable = max(AFFORDABLE, *(int(values(self.shapes, sizes)) for sizes in in_grid))

    def settled(self) -> Settled:
        signature, narrowed, cuts = self.own.signature, list[str](), Counter[str]()
        while True:
            sampled: dict[str, str] = {}
            wrong = next(self.wrong(signature, outside(self.conditions), sampled), None)
            if wrong is None:
                return Settled(self.narrower(signature, narrowed, tuple(sampled.values())))
            region, said = wrong
            axis = self.narrowed(signature, region)
            cuts[region.condition.text] += 1
            if axis is None or cuts[region.condition.text] > MOST_CUTS:
                return Settled(self.source, f"{said}; export each way by its own dynamic_shapes")
            narrowed.append(f"{axis.name} from {axis.least:,} to {axis.most:,}, since {said}")
            axes = tuple(axis if one.name == axis.name else one for one in signature.axes)
            signature = replace(signature, axes=axes)

    def wrong(
        self, signature: Signature, regions: Sequence[Region], sampled: dict[str, str]
    ) -> Iterator[tuple[Region, str]]:
        """Yields the regions in which graph and module differ, each with a clause that says so.

        Notes in `sampled`, by the line of the model, which regions were compared at some of their sizes. Where the model's
        own code asks, a second trace inside a region says which of its sizes go the same way.
        """
        for region in regions:
            sizes, count = self.chosen(signature, region)
            if not count:
                continue
            near, inside = None, None
            if region.condition.branch or region.condition.hides:
                near, inside = self.conditions_in(sizes)
            inside = inside and [one.asked_at(region.condition.place) if one.fixes else one for one in inside]
            covered = Region((*region.literals, *((condition, True) for condition in inside or ())), region.near)
            yield from self.differing(signature, covered, sampled)
            if inside is not None:
                yield from self.wrong(signature, outside(inside, region.literals, near), sampled)

    def chosen(self, signature: Signature, region: Region) -> tuple[list[Sizes], int]:
        return chosen(region, self.shapes, signature, self.usual, self.affordable)

    def differing(self, signature: Signature, region: Region, sampled: dict[str, str]) -> Iterator[tuple[Region, str]]:
        """Yields the region with a clause if graph and module differ in it."""
        sizes, count = self.chosen(signature, region)
        place, branch = region.condition.place, region.condition.branch
        where = place or f"where {region.condition.over(self.shapes)} does not hold"
        if branch and count and not sizes:
            yield region, f"the module branches {where}, at sizes too large to compare"
        for one in sizes:
            differs = self.difference(one)
            if differs:
                at = ", ".join(f"{name} is {size}" for name, size in one.items())
                yield region, f"{differs} where {at}, since forward goes another way there, {where}"
                return
        if branch and len(sizes) < count:
            sampled.setdefault(place, f"{where}: {len(sizes)} sizes of {count:,} that the trace does not cover")

    def conditions_in(self, sizes: Sequence[Sizes]) -> tuple[Sizes | None, Sequence[Condition] | None]:
        """The sizes and the conditions of a trace at one of these sizes; None where it can't be traced, or where enough
        was traced.
        """
        if not sizes:
            return None, None
        chosen = max(sizes, key=lambda one: sum(size > 1 for size in one.values()))  # torch takes a size of 1 for fixed
        key = tuple(chosen.values())
        if key not in self.traced and len(self.traced) < TRACES:
            found = self.retrace(chosen)
            same = found is not None and all(bool(one.holds(self.shapes, chosen)) for one in found)
            self.traced[key] = found if same else None
        return chosen, self.traced.get(key)

    def difference(self, sizes: Sizes) -> str:
        """What is wrong at these sizes; empty where graph and module agree."""
        key = tuple(sizes.values())
        if key not in self.compared:
            self.compared[key] = self.compare(sizes, seed=len(KINDS) * len(self.compared))  # of usual values
        return self.compared[key]

    def compare(self, sizes: Sizes, seed: int) -> str:
        source = self.source
        feeds = self.own.draw(sizes, seed=seed)
        with Choices() if source.has_argmax else nullcontext(Choices()) as met:
            try:
                wanted = eager(source, feeds)
            except Exception as error:  # noqa: BLE001 (a custom module may raise any error; the reason is reported)
                return f"the module fails ({said_by(error)})"
        try:
            answer = run(self.predict, feeds)
        except ExportError:
            return "the graph fails"
        if met.closest <= TIE:
            return ""  # a tie, which rounding decides; only in the grid does the model repeat the graph's choice
        compared = outputs_compared(source, answer, wanted, source.real(feeds))
        wrong = [one for one in compared if not one.difference <= self.tolerance]
        if wrong and not reached(compared, self.tolerance, *self.wide.cached(feeds, (), met.made)):
            return f"{wrong[0].name} differs"
        return ""

    def narrowed(self, signature: Signature, region: Region) -> Axis | None:
        """An axis of which the region takes a part, without this part; None if too little would be left."""
        axes = sorted(region.axes(self.shapes, signature), key=lambda axis: axis.name != signature.samples)
        for axis in axes:
            ends = kept(region, self.shapes, signature, self.usual, axis.name)
            if ends is None:
                continue
            smaller = replace(axis, least=ends[0], most=ends[1])
            enough = axis.name == signature.samples or len(allowed(smaller)) >= FEWEST
            if enough and smaller.allows(self.own.examples.get(axis.name, self.usual[axis.name])):
                return smaller
        return None

    def narrower(self, signature: Signature, narrowed: Sequence[str], sampled: tuple[str, ...]) -> Source:
        """The source with these axes."""
        signature = replace(signature, narrowed=tuple(narrowed), sampled=sampled)
        own, limits = replace(self.own, signature=signature), self.source.limits
        length = next((axis for axis in signature.axes if axis.name != signature.samples), None)
        if length is not None:
            limits = replace(
                limits,
                min_length=max(limits.min_length, length.least),
                max_length=min(limits.max_length, length.most),
            )
        return replace(self.source, module_inputs=own, limits=limits)
