"""The additions and multiplications of a graph's matrix products, as formulas of the sizes of its inputs.

In: JSON of a profile. Out: `Operations`, which tell the number at any size of the contract. Law:
``Operations.from_list(operations.to_list()) == operations``.

    {"sizes": {"batch_size": [1, 4096, 1], "sequence_length": [129, 4097, 1]},
     "factors": ["batch_size", "(sequence_length + 63) // 64"],
     "terms": {"float32": [[12582912, 1, 1], [40, 1, 0]]}}

reads: from 129 to 4,097 tokens, 12,582,912 * batch_size * blocks + 40 * batch_size operations between numbers of float32. The
factors are formulas of single sizes (`edgexf.bundle.formula`): a graph that rounds a length up to blocks has floor divisions
in them, and no others. A model that computes in another way up to some length has several such parts.

A formula with floor divisions anywhere was the alternative. It needs a reader of expressions on the device, where this is a
sum of products.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Self

from edgexf.bundle.formula import formula
from edgexf.checks import is_count, require
from edgexf.errors import BundleError, quoted
from edgexf.records import Record

LARGEST = 2**63  # what a coefficient and a size are below
HIGHEST = 4  # an exponent
MOST = 4096  # terms


class Region(Record):
    """Sizes of inputs, and what operations are polynomials of there.

    Attributes:
        sizes: by the name of an axis, its least and its largest size, and the step between sizes.
        factors: formulas of an axis each.
    """

    sizes: dict[str, tuple[int, int, int]]
    factors: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, size in self.sizes.items():
            counts = len(size) == 3 and all(is_count(one, 1) and one < LARGEST for one in size) and size[0] <= size[1]
            require(isinstance(name, str) and counts, "sizes must go from one to another by a step", (name, size))
        known = all(isinstance(one, str) and set(formula(one).names) <= set(self.sizes) for one in self.factors)
        require(known, "factors must be formulas of the sizes", self.factors)

    def holds(self, sizes: Mapping[str, int]) -> bool:
        return all(
            name in sizes and least <= sizes[name] <= most and sizes[name] % step == 0
            for name, (least, most, step) in self.sizes.items()
        )

    def values(self, sizes: Mapping[str, int]) -> list[int]:
        """The factors at sizes."""
        return [formula(factor).at(sizes) for factor in self.factors]


class Part(Record):
    """The operations in a region.

    Attributes:
        region: where it holds.
        terms: by kind of number, the terms of a polynomial: the coefficient, then the exponent of each factor.
    """

    region: Region
    terms: dict[str, tuple[tuple[int, ...], ...]]

    def __post_init__(self) -> None:
        for kind, terms in self.terms.items():
            require(isinstance(kind, str) and len(terms) <= MOST, "terms must be those of a kind of number", kind)
            for term in terms:
                numbers = len(term) == len(self.region.factors) + 1 and all(type(number) is int for number in term)
                small = numbers and abs(term[0]) < LARGEST and all(0 <= power <= HIGHEST for power in term[1:])
                require(small, "a term must be a coefficient and an exponent for each factor", term)

    def sums(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """What the polynomials give, by kind of number."""
        values = self.region.values(sizes)
        return {
            kind: sum(
                term[0] * prod(value**power for value, power in zip(values, term[1:], strict=True)) for term in terms
            )
            for kind, terms in self.terms.items()
        }

    def at(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The operations by kind of number. BundleError where they are none that a graph could have."""
        found = self.sums(sizes)
        if not all(0 <= number < LARGEST for number in found.values()):
            raise BundleError(
                f"operations of a graph must be at least 0, in 63 bits, got {quoted(found)} at {quoted(dict(sizes))}; export the bundle again."
            )
        return found


class Operations(Record):
    """The operations of a graph."""

    parts: tuple[Part, ...]

    def at(self, sizes: Mapping[str, int]) -> dict[str, int] | None:
        """The operations by kind of number for inputs of these sizes; None outside of all regions."""
        found = next((part for part in self.parts if part.region.holds(sizes)), None)
        return None if found is None else found.at(sizes)

    def to_list(self) -> list[dict[str, Any]]:
        return [
            {
                "sizes": {name: list(size) for name, size in part.region.sizes.items()},
                "factors": list(part.region.factors),
                "terms": {kind: [list(term) for term in terms] for kind, terms in part.terms.items()},
            }
            for part in self.parts
        ]

    @classmethod
    def from_list(cls, values: Any) -> Self:
        """Raises ValueError, TypeError, KeyError or AttributeError for anything else."""
        require(isinstance(values, list), "operations must be a list", values)
        return cls(tuple(map(part_of, values)))


def part_of(values: Any) -> Part:
    require(set(values) == {"sizes", "factors", "terms"}, "a part must hold sizes, factors and terms", sorted(values))
    region = Region({name: tuple(size) for name, size in values["sizes"].items()}, tuple(values["factors"]))
    return Part(region, {kind: tuple(map(tuple, terms)) for kind, terms in values["terms"].items()})
