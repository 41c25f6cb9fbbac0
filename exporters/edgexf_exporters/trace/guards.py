"""Where a trace holds: the conditions on sizes under which torch.export took its path through ``forward``.

In: a captured program and the shapes of its inputs. Out: a `Condition` for each question about sizes that the trace
asked, each with the line of the model that asks, and the sizes at which it fails.

    if length % 10 == 0: ...        traced at 97        ->  10, 20, 30, ... are not covered, at model.py:12

torch.export keeps these conditions beside the graph and checks them in Python. Nothing in ONNX checks them. They stand in
three places: the guards of the program's `ShapeEnv`, the ranges of its symbols, and the nodes that assert a condition.
`edgexf_exporters.verify.branches.settle` compares the graph with the model where a condition fails. Two alternatives were
weighed: the ranges of symbols alone, which know no remainders, and a grid of every length.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from types import CodeType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy
import torch
from torch._guards import detect_fake_mode
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._sympy.printers import PythonPrinter

from edgexf.bundle.formula import size_of
from edgexf.errors import ExportError, said_by
from edgexf_exporters.trace.diagnose import BRANCHES, Asked

LAYOUT = "max(1,"  # conditions on how a tensor lies in memory contain ``max(1, size)``
FIXES = "fixed"  # the start of the name of an axis that a trace fixed
FARTHEST = 1 << 31  # no axis is longer
# What a condition may name. torch.sym_float, torch.sym_not and the like also take plain numbers.
KNOWN: dict[str, Any] = {
    "max": max, "min": min, "abs": abs, "int": int, "float": float, "round": round, "math": math, "torch": torch,
    "Where": lambda condition, one, other: one if condition else other,
}  # fmt: skip
Numbers = npt.NDArray[Any]


def pairwise(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *values: reduce(function, values)


def whole(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda value: np.asarray(function(value)).astype(np.int64)


# The same for many sizes at once. What this lacks is computed for each size alone.
ARRAYS: dict[str, Any] = {
    "max": pairwise(np.maximum), "min": pairwise(np.minimum), "abs": np.abs, "int": whole(np.trunc),
    "round": whole(np.round), "float": np.float64, "Where": np.where,
    "math": SimpleNamespace(
        trunc=whole(np.trunc), floor=whole(np.floor), ceil=whole(np.ceil), sqrt=np.sqrt, log2=np.log2, log=np.log,
        exp=np.exp, pow=np.power,
    ),
    "torch": SimpleNamespace(
        sym_float=np.float64, _sym_sqrt=np.sqrt, sym_sqrt=np.sqrt, sym_not=np.logical_not, sym_max=np.maximum,
        sym_min=np.minimum, sym_ite=np.where,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Symbol:
    """Where the size of a symbol stands: axis `axis` of input `place` has `factor` times the symbol plus `plus`."""

    place: int
    axis: int
    factor: int = 1
    plus: int = 0

    def of(self, shapes: Sequence[Sequence[int | str]], sizes: Mapping[str, Any]) -> Any:
        """The symbol's size, a number or an array as the sizes are."""
        return (size_of(shapes[self.place][self.axis], sizes) - self.plus) // self.factor


@dataclass(frozen=True)
class Condition:
    """A condition on sizes under which a trace holds.

    Attributes:
        text: the condition as an expression of Python over symbols.
        symbols: the symbols of the condition, by their names.
        place: the line of the model that asks; may be empty.
        branch: whether code of the model asks, and not an operator of torch.
    """

    text: str
    symbols: Mapping[str, Symbol]
    place: str = ""
    branch: bool = False

    @cached_property
    def hides(self) -> bool:
        """Whether torch set this bound before it traced: a branch on a size of 1 leaves no condition."""
        return bool(re.fullmatch(r"\w+ >= 2", self.text))

    @property
    def fixes(self) -> bool:
        """Whether the condition is that of `fixed_axes`, which no line of the model asks by itself."""
        return self.text.startswith(FIXES)

    def asked_at(self, place: str) -> Condition:
        """The condition as a branch of the model at this line."""
        return replace(self, place=place, branch=bool(place))

    def over(self, shapes: Sequence[Sequence[int | str]]) -> str:
        """The condition over the names of axes, for people."""
        named = {name: str(shapes[one.place][one.axis]) for name, one in self.symbols.items()}
        return re.sub(r"\b[a-z]+\d+\b", lambda found: named.get(found[0], found[0]), self.text)

    @cached_property
    def code(self) -> CodeType:
        return compile(self.text, self.text, "eval")

    def axes(self, shapes: Sequence[Sequence[int | str]], names: Sequence[str]) -> list[str]:
        """The axes, among `names`, on which the condition depends."""
        read = [str(shapes[one.place][one.axis]) for one in self.symbols.values()]
        return [name for name in names if any(name in axis.replace("*", " ").split() for axis in read)]

    def holds(self, shapes: Sequence[Sequence[int | str]], sizes: Mapping[str, Any]) -> Any:
        """Whether the condition holds, for sizes that are numbers or arrays of one shape.

        Raises ExportError for a condition that can't be read.
        """
        values = {name: symbol.of(shapes, sizes) for name, symbol in self.symbols.items()}
        if not any(isinstance(value, np.ndarray) for value in values.values()):
            return self.at(values)
        try:
            with np.errstate(all="ignore"):
                found = np.asarray(eval(self.code, {"__builtins__": ARRAYS, **values}))  # noqa: S307 (torch wrote it)
            if found.dtype == bool:
                return found
        except (NameError, AttributeError, TypeError, ValueError):
            pass  # `and`, `or` and some functions take no arrays: ask for each size
        rows = np.broadcast_arrays(*values.values())
        each = [
            self.at(dict(zip(values, map(int, row), strict=True))) for row in zip(*map(np.ravel, rows), strict=True)
        ]
        return np.array(each, dtype=bool).reshape(rows[0].shape)

    def at(self, values: Mapping[str, int]) -> bool:
        try:
            return bool(eval(self.code, {"__builtins__": KNOWN, **values}))  # noqa: S307 (torch wrote it)
        except (ArithmeticError, ValueError):  # such as a division by a size of 0: it says nothing about this size
            return False
        except (NameError, AttributeError, TypeError) as error:
            raise ExportError(
                f"a condition of the trace must be readable, got `{self.text}`{f' {self.place}' if self.place else ''} ({said_by(error)}); "
                "compute this size in another way, or fix the axis with dynamic_shapes."
            ) from error


def conditions(captured: ExportedProgram) -> list[Condition]:
    """The conditions of a captured program, in the order in which the trace asked, each once."""
    shapes = input_shapes(captured)
    mode = detect_fake_mode([node.meta["val"] for node in captured.graph.find_nodes(op="placeholder")])
    if mode is None or mode.shape_env is None:
        return []
    symbols = dict(placed(shapes))
    asked: Mapping[str, Asked] = captured.graph_module.meta.get(BRANCHES, {})
    found: dict[str, Condition] = {}
    for expression in (*asserted(captured), *guards(mode.shape_env), *ranges(captured, symbols)):
        names = sorted(str(symbol) for symbol in expression.free_symbols)
        text = PythonPrinter().doprint(expression)
        if not names or LAYOUT in text or not all(name in symbols for name in names):
            continue
        about = asked.get(str(expression), Asked())
        found.setdefault(text, Condition(text, {name: symbols[name] for name in names}, about.place, about.branch))
    return list(found.values())


def fixed_axes(captured: ExportedProgram, declared: Sequence[Sequence[int | str]]) -> list[Condition]:
    """The conditions of a captured program that fixed axes which have a name in the declared shapes."""
    return [
        Condition(f"{FIXES}{place} == {size}", {f"{FIXES}{place}": Symbol(place, axis)})
        for place, (shape, axes) in enumerate(zip(input_shapes(captured), declared, strict=True))
        for axis, size in enumerate(shape)
        if isinstance(axes[axis], str) and str(size).isdigit()  # a number, or a SymInt that became one
    ]


def input_shapes(captured: ExportedProgram) -> list[Sequence[Any]]:
    nodes = {node.name: node for node in captured.graph.find_nodes(op="placeholder")}
    return [nodes[str(name)].meta["val"].shape for name in captured.graph_signature.user_inputs]


def placed(shapes: Sequence[Sequence[Any]]) -> Iterator[tuple[str, Symbol]]:
    """Yields each symbol of the inputs' sizes with its place; of several places the first that shows the symbol alone."""
    found: dict[str, Symbol] = {}
    for place, shape in enumerate(shapes):
        for axis, size in enumerate(shape):
            if not isinstance(size, torch.SymInt):
                continue
            expression = size.node.expr
            if len(expression.free_symbols) != 1:
                continue
            (symbol,) = expression.free_symbols
            factor, plus = expression.coeff(symbol), expression.subs(symbol, 0)
            if factor.is_integer and plus.is_integer and expression == factor * symbol + plus:
                here = Symbol(place, axis, int(factor), int(plus))
                known = found.get(str(symbol))
                found[str(symbol)] = here if known is None or (known.factor, known.plus) != (1, 0) else known
    yield from found.items()


def guards(sizes: ShapeEnv) -> Iterator[Any]:
    """Yields what the trace asked about sizes and answered with yes."""
    yield from (guard.expr for guard in sizes.guards)


def ranges(captured: ExportedProgram, symbols: Mapping[str, Symbol]) -> Iterator[Any]:
    """Yields the ends of a symbol that a trace bounds, for example by a slice of a table with so many rows.

    torch bounds each free symbol by 2 from below, since a branch on a size of 1 leaves no other trace.
    """
    ends = [(symbol, known) for symbol, known in captured.range_constraints.items() if str(symbol) in symbols]
    yield from (sympy.Le(symbol, int(known.upper), evaluate=False) for symbol, known in ends if known.upper < FARTHEST)
    yield from (sympy.Ge(symbol, int(known.lower), evaluate=False) for symbol, known in ends if known.lower > 1)


def asserted(captured: ExportedProgram) -> Iterator[Any]:
    """Yields what the nodes of the program assert about sizes."""
    for node in captured.graph.find_nodes(op="call_function", target=torch.ops.aten._assert_scalar.default):
        given = node.args[0]
        value = given.meta.get("val") if isinstance(given, torch.fx.Node) else None
        if isinstance(value, torch.SymBool):
            yield value.node.expr
