"""What a bundle's `profile.json` says of its graphs: the modules of nodes, and operations as formulas of sizes.

In: the bytes of a graph, the modules of its nodes, and the sizes of the contract. Out: a `GraphProfile`.

    edgexf.passes.modules      keeps the module of each node
    edgexf.passes.operations   counts operations at sizes
    edgexf.bundle.fitted       makes a formula of such counts
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from edgexf import names
from edgexf.bundle.fitted import fitted
from edgexf.bundle.formula import formula, known, size_of
from edgexf.bundle.operations import Operations, Region
from edgexf.bundle.profile import GraphProfile
from edgexf.passes.operations import Products
from edgexf.products import ROWS

if TYPE_CHECKING:
    from edgexf.passes.edges import Edges
    from edgexf_exporters.source import Source

MANY = (
    1 << 12
)  # of what no contract bounds, such as samples: tensors of three such axes still have fewer than 2^63 numbers
Sizes = dict[str, tuple[int, int, int]]


def graph_profile(data: bytes, modules: Mapping[str, str], regions: Iterable[Region]) -> GraphProfile:
    """The profile of a graph. It has no operations where they are no polynomials of the factors of `regions`."""
    products, uncounted = Products(data), dict[str, None]()

    def count(sizes: Mapping[str, int]) -> Mapping[str, int] | None:
        found = products.count({axis: size_of(axis, sizes) for axis in products.axes})
        uncounted.update(dict.fromkeys(found.uncounted))
        return None if found.uncounted else found.operations

    own = [of_axes(region, products.axes) for region in regions]
    told = all(known(axis, region.sizes) for region in own for axis in products.axes)
    operations = fitted(count, own) if told else None
    if operations is None and told and products.loops:
        operations = fitted(count, one_slice(own))
    return GraphProfile(modules, operations, tuple(uncounted))


def of_axes(region: Region, axes: Sequence[str]) -> Region:
    """The region without the axes that a graph does not have."""
    own = {name for axis in axes for name in formula(axis).names}
    factors = tuple(factor for factor in region.factors if set(formula(factor).names) <= own)
    return Region({name: size for name, size in region.sizes.items() if name in own}, factors)


def one_slice(regions: Iterable[Region]) -> list[Region]:
    """The regions up to one slice of full attention. Beyond, slices have one size, whose sum is no polynomial of the length: a
    device counts the operations of a longer input itself.
    """
    found = []
    for region in regions:
        least, most, step = region.sizes.get(names.SEQUENCE, (1, 1, 1))
        if least <= ROWS:
            found.append(Region({**region.sizes, names.SEQUENCE: (least, min(most, ROWS), step)}, region.factors))
    return found


def regions_of(source: Source, edges: Edges, step: int = 1) -> list[Region]:
    """The sizes of the inputs of a source's graphs. Operations are polynomials of these sizes, or of their blocks.

    What is rounded to blocks is what `edgexf.passes.edges` rounds. Modules may round the length to a `step` by themselves,
    while the rest of the graph does not.
    """
    free = dict.fromkeys((names.BATCH, names.CHOICES, names.STEPS), (1, MANY, 1))
    if source.module_inputs is not None:
        own = {axis.name: (axis.least, axis.most, axis.step) for axis in source.signature.axes}
        return [Region({names.STEPS: free[names.STEPS], **own}, tuple({names.STEPS: 0, **own}))]
    decoder = {} if source.decoder is None else {names.DECODER_SEQUENCE: (1, source.decoder.max_length, 1)}
    least, most, length, block = source.limits.min_length, source.limits.max_length, names.SEQUENCE, edges.block
    tokens = [(least, most, f"({length} + {block - 1}) // {block}" if block > 1 else length)]
    rounded = (f"({length} + {step - 1}) // {step}",) if step > block else ()
    if edges.switch >= least:
        tokens = [(least, edges.switch, f"({length} + 1) // 2"), (edges.switch + 1, most, tokens[0][2])]
    return [
        Region({**free, **decoder, length: (first, last, 1)}, (*free, *decoder, factor, *rounded))
        for first, last, factor in tokens
        if first <= last
    ]


def regions_in(operations: Operations | None) -> list[Region]:
    """The sizes for which another graph of the same inputs has formulas."""
    return [] if operations is None else [part.region for part in operations.parts]
