"""The multiplications of operators that multiply matrices, from the shapes of their inputs and outputs.

In: shapes of whole numbers. Out: multiplications, each of which comes with an addition. Standard library only.

A product of [m, k] and [k, n] has m k n multiplications. Everything else (softmax, normalization, moving data) counts as none:
so a floor from this count is too low rather than too high. Who counts: `edgexf.passes.operations` on a graph, before any
device has it, and `edgexf_runtimes.measure.latency.operations` on what a profile saw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

Shape = Sequence[int]

# What an operator with products is called, where the table does not hold it.
SIGNS = ("MatMul", "Gemm", "Conv", "Einsum", "Attention", "LSTM", "GRU", "RNN")
INTEGERS = "int8"  # the kind of products of bytes
# A kernel for 4-bit weights may round its inputs to 8 bits (accuracy_level 4), so the faster product is its limit.
IN_BYTES = ("MatMulNBits",)
EINSUM = "Einsum"
ROWS = 256  # the queries of a slice, where a graph computes full attention a slice at a time


@dataclass(frozen=True)
class Count:
    """Operations by kind of number, such as ``float32``, and the operators whose products nobody could count."""

    operations: Mapping[str, int]
    uncounted: tuple[str, ...]


def multiplies(operator: str) -> bool:
    """Whether an operator has products, counted or not."""
    return any(sign in operator for sign in SIGNS)


def multiplications(operator: str, inputs: Sequence[Shape], outputs: Sequence[Shape], equation: str = "") -> int | None:
    """The multiplications of a node; None where nobody can count them. `equation` is that of an `Einsum`."""
    if operator == EINSUM:
        return of_equation(equation, inputs)
    return PRODUCTS[operator](inputs, outputs) if operator in PRODUCTS else None


def rows_by_columns(inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """[..., m, k] x [..., k, n], also where one is a vector."""
    return prod(outputs[0]) * inputs[0][-1]


def gemm(inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """[m, k] x [k, n], the first one perhaps transposed."""
    return prod(inputs[0]) * outputs[0][-1]


def convolution(weight: int) -> Callable[[Sequence[Shape], Sequence[Shape]], int]:
    """[channels out, channels in / groups, kernel...] for each output; `weight` is its place among the inputs."""
    return lambda inputs, outputs: prod(outputs[0]) * prod(inputs[weight][1:])


def transposed_convolution(inputs: Sequence[Shape], _: Sequence[Shape]) -> int:
    """[channels in, channels out / groups, kernel...] for each input."""
    return prod(inputs[0]) * prod(inputs[1][1:])


def attention(inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Queries by keys, and weights by values: each number of the queries and of the output meets each key."""
    return inputs[1][-2] * (prod(inputs[0]) + prod(outputs[0]))


def recurrent(inputs: Sequence[Shape], _: Sequence[Shape]) -> int:
    """[steps, batch, inputs], with weights of the inputs and of the state, for all gates and directions."""
    steps, batch = inputs[0][:2]
    return steps * batch * (prod(inputs[1]) + prod(inputs[2]))


PRODUCTS: dict[str, Callable[[Sequence[Shape], Sequence[Shape]], int]] = {
    "MatMul": rows_by_columns,
    "MatMulInteger": rows_by_columns,
    "QLinearMatMul": rows_by_columns,
    "MatMulNBits": rows_by_columns,
    "Gemm": gemm,
    "Conv": convolution(1),
    "ConvInteger": convolution(1),
    "QLinearConv": convolution(3),
    "ConvTranspose": transposed_convolution,
    "Attention": attention,
    "MultiHeadAttention": attention,
    "LSTM": recurrent,
    "GRU": recurrent,
    "RNN": recurrent,
}


def of_equation(equation: str, inputs: Sequence[Shape]) -> int | None:
    """The multiplications of ``bij,bjk->bik``: one for each value of all letters. None where it has not two terms of letters."""
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len(terms) != 2 or not all(
        term.isalpha() and len(term) == len(shape) for term, shape in zip(terms, inputs, strict=True)
    ):
        return None
    sizes = {letter: 1 for letter in equation if letter.isalpha()}
    for term, shape in zip(terms, inputs, strict=True):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(sizes[letter], size)
    return prod(sizes.values())
