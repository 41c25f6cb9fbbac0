"""The contract where a model branches on sizes: what the trace does not cover is compared, or cut off.

In: a source, its graph, the conditions under which the trace of the graph holds. Out: a `Settled`: the source, with
narrower axes where the graph and the module differ, and sentences that say what was cut off and what was sampled.

    if ids.shape[0] == 100: ...     ->  the graph differs at a batch of 100    ->  batches up to 99
    if n % 2: ... (the same)        ->  the graph agrees at ten even lengths   ->  all lengths, sampled

A region outside a trace stays in the contract if the graph agrees at its ends and at eight drawn sizes. Where the model's
own code asks, one condition may hide another (``n % 2 == 0 and n == 1000``). So the module is traced once more inside such a
region, and the regions outside this trace are looked at as well. Two alternatives were weighed. To compare at every size
takes hours. To refuse each region outside would refuse nearly every module, because most conditions only choose how torch
copies memory.

A model of text bounds its length alone: its manifest has no bound for a batch, so a branch on the batch is a refusal. The
trace of a library model in whole blocks has conditions on blocks, which are read at the padded lengths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import onnxruntime as ort

from edgexf import names
from edgexf.bundle.manifest import Limits
from edgexf.bundle.preprocess import Bytes
from edgexf.bundle.signature import NARROWED, SAMPLED, Axis, Signature
from edgexf.errors import ExportError, said_by
from edgexf_exporters.capture import usual_sizes
from edgexf_exporters.graphs import Graphs
from edgexf_exporters.hard_values import KINDS, USUAL
from edgexf_exporters.source import Source
from edgexf_exporters.trace.diagnose import way_out
from edgexf_exporters.trace.guards import Condition, Symbol
from edgexf_exporters.verify.branches.regions import Region, Shapes, Sizes, allowed, chosen, kept, outside, values
from edgexf_exporters.verify.compare import outputs_compared, reference, run
from edgexf_exporters.verify.differences.rounding import Wide, reached
from edgexf_exporters.verify.differences.ties import TIE, Choices
from edgexf_exporters.verify.grid import cells, drawn

AFFORDABLE = 8192  # values of an input at which graph and model are compared at least; twice the default longest input
AFFORDABLE_TOKENS = 1024  # the same for a model of text, where its longest input is no longer: BERT takes seconds
FEWEST = 8  # sizes that an axis keeps; a contract of fewer is a refusal
MOST_CUTS = 3  # how often a condition may narrow an axis
TRACES = 8  # more traces of one module

Retrace = Callable[[Sizes], Sequence[Condition] | None]


@dataclass(frozen=True)
class Settled:
    """A source whose contract keeps to what its graph answers.

    Attributes:
        source: the source. Its axes may be narrower than before; its signature, or the provenance of a model of text,
            then says why.
        wrong: why no contract fits; otherwise empty.
    """

    source: Source
    wrong: str = ""


def settle(
    source: Source, predict: ort.InferenceSession, graphs: Graphs, retrace: Retrace, tolerance: float
) -> Settled:
    """Narrows the axes of a source to where its graph agrees with its model; see the module's docstring."""
    return Settling(source, predict, graphs, retrace, tolerance).settled() if graphs.guards else Settled(source)


def shapes_of(source: Source, block: int, blocked: bool) -> Shapes:
    """The shapes of the inputs of a trace. `blocked` says whether their tokens come in blocks of `block` tokens."""
    blocks = (f"({names.SEQUENCE} + {block - 1}) // {block}", block) if blocked else (names.SEQUENCE,)
    return [
        [part for axis in tensor.shape for part in (blocks if axis == names.SEQUENCE else (axis,))]
        for tensor in source.tensors
    ]


@dataclass
class Settling:
    """The work of `settle`, with what it found out so far.

    `traced` holds the conditions of further traces by the sizes of their examples, `compared` what is wrong at the sizes
    that were compared, `found` the sizes to compare of a region and axes.
    """

    source: Source
    predict: ort.InferenceSession
    graphs: Graphs
    retrace: Retrace
    tolerance: float
    traced: dict[tuple[int, ...], Sequence[Condition] | None] = field(default_factory=dict)
    compared: dict[tuple[int, ...], str] = field(default_factory=dict)
    found: dict[tuple[object, ...], tuple[list[Sizes], int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        source = self.source
        self.usual = usual_sizes(source)
        self.shapes: Shapes = shapes_of(source, self.graphs.block, self.graphs.block > 1 or self.graphs.variable_block)
        self.wide = Wide(source, reference)
        if source.module_inputs is None:
            self.shapes = [*self.shapes, (names.SEQUENCE,)]  # a whole length is affordable, however long a block is
            self.affordable = max(AFFORDABLE_TOKENS, source.limits.max_length)
        else:
            in_grid = [cell.sizes(source.signature) for cell in cells(source, 1, "quick")]
            self.affordable = max(AFFORDABLE, *(int(values(self.shapes, sizes)) for sizes in in_grid))

    @property
    def known(self) -> list[tuple[Condition, bool]]:
        """What holds in each region: the lengths in blocks of the trace. Up to the switch an input has two blocks of half
        its length (`edgexf.passes.edges`), and the grid compares the lengths around a block and around the switch.
        """
        length = {"length": Symbol(-1, 0)}
        return (
            [(Condition(f"length > {self.source.limits.switch}", length), True)] if self.graphs.variable_block else []
        )

    @property
    def remedy(self) -> str:
        if self.source.module_inputs is None:
            return "branch on no size, or give example_inputs: as a custom module the model may keep to fewer sizes"
        return "export each way by its own dynamic_shapes"

    def settled(self) -> Settled:
        signature, narrowed, cuts = self.source.signature, list[str](), Counter[str]()
        while True:
            sampled: dict[str, str] = {}
            wrong = next(self.wrong(signature, outside(self.graphs.guards, self.known), sampled), None)
            if wrong is None:
                return Settled(self.narrower(signature, narrowed, tuple(sampled.values())))
            region, said = wrong
            axis = self.narrowed(signature, region)
            cuts[region.condition.text] += 1
            if axis is None or cuts[region.condition.text] > MOST_CUTS:
                cut_off = "trunc" in region.condition.text  # int(x) asked, not an if
                return Settled(self.source, f"{said}; {way_out(said, self.remedy) if cut_off else self.remedy}")
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
        literals = ((one.text, *one.symbols.items(), one.branch, holds) for one, holds in region.literals)
        key = (*literals, *region.near.items(), signature.axes)
        if key not in self.found:
            self.found[key] = chosen(region, self.shapes, signature, self.usual, self.affordable)
        return self.found[key]

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
            self.compared[key] = self.compare(sizes, seed=len(KINDS) * len(self.compared) + USUAL)
        return self.compared[key]

    def compare(self, sizes: Sizes, seed: int) -> str:
        source = self.source
        feeds = drawn(source, sizes, seed)
        with Choices() if source.has_argmax else nullcontext(Choices()) as met:
            try:
                wanted = reference(source, feeds)
            except Exception as error:  # noqa: BLE001 (code of the user may raise any error; the reason is reported)
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
        own = self.source.module_inputs
        axes = sorted(region.axes(self.shapes, signature), key=lambda axis: axis.name != signature.samples)
        for axis in axes:
            if own is None and axis.name != names.SEQUENCE:
                continue  # the manifest of a model of text has no bound for it
            ends = kept(region, self.shapes, signature, self.usual, axis.name)
            if ends is None:
                continue
            smaller = replace(axis, least=ends[0], most=ends[1])
            enough = axis.name == signature.samples or len(allowed(smaller)) >= FEWEST
            if enough and smaller.allows({**self.usual, **({} if own is None else own.examples)}[axis.name]):
                return smaller
        return None

    def narrower(self, signature: Signature, narrowed: Sequence[str], sampled: tuple[str, ...]) -> Source:
        """The source with these axes. A model of text says in its provenance what a custom module says in its signature."""
        source = self.source
        length = next((axis for axis in signature.axes if axis.name != signature.samples), None)
        limits = source.limits if length is None else within(source.limits, length)
        if source.module_inputs is not None:
            signature = replace(signature, narrowed=tuple(narrowed), sampled=sampled)
            return replace(source, module_inputs=replace(source.module_inputs, signature=signature), limits=limits)
        text = source.preprocess
        if isinstance(text, Bytes):
            text = replace(text, max_bytes=min(text.max_bytes, limits.max_length - 1))  # one token is that of the class
        said = {name: list(lines) for name, lines in ((NARROWED, narrowed), (SAMPLED, sampled)) if lines}
        return replace(source, limits=limits, preprocess=text, provenance={**source.provenance, **said})


def within(limits: Limits, length: Axis) -> Limits:
    """The limits, with lengths that an axis of tokens has."""
    most = min(limits.max_length, length.most)
    return replace(
        limits, min_length=max(limits.min_length, length.least), max_length=most, switch=min(limits.switch, most)
    )
