"""The additions and multiplications of the matrix products in a run of a graph, counted from shapes.

In: the events of ONNX Runtime's profiler for one run, which hold the shapes of all inputs and outputs. Out: a `Count` by kind
of number. A product of [m, k] and [k, n] has 2 m k n operations. Everything else (softmax, normalization, moving data) counts
as none: so a floor from this count is too low rather than too high.

The events must come from a session without fused nodes and packed weights, whose shapes the profiler leaves out; see
`operators.counted`. Two alternatives were weighed. Shapes in the graph's file hold names of axes and many unknown sizes, and
to infer the rest takes the package onnx. A polynomial in batch and length that the export writes would serve lengths that
were not measured, and no report shows such lengths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

Shape = Sequence[int]
Event = Mapping[str, Any]

# ONNX Runtime's names of element types, as kinds of numbers with one rate each.
KINDS = {"float": "float32", "uint8": "int8", "int8": "int8"}
KERNEL = "_kernel_time"
# What an operator with products is called, where the table does not hold it.
SIGNS = ("MatMul", "Gemm", "Conv", "Einsum", "Attention", "LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class Count:
    """Operations by kind of number, such as ``float32``, and the operators whose products nobody could count."""

    operations: Mapping[str, int]
    uncounted: tuple[str, ...]


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


# The multiplications by operator; each comes with an addition.
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
    "LSTM": recurrent,
    "GRU": recurrent,
    "RNN": recurrent,
}
# A kernel for 4-bit weights may round its inputs to 8 bits (accuracy_level 4), so the faster product is its limit.
IN_BYTES = ("MatMulNBits",)


def count(events: Iterable[Event], equations: Mapping[str, str], in_bytes: Collection[str]) -> Count:
    """Counts one run. `equations` are those of the nodes `Einsum`, by name; `in_bytes` are the names of nodes of floats that
    ONNX Runtime runs in bytes.
    """
    found = Counter[str]()
    uncounted: dict[str, None] = {}
    for event in events:
        name, about = event["name"].removesuffix(KERNEL), event["args"]
        operator = about["op_name"]
        if not any(sign in operator for sign in SIGNS):
            continue
        kinds, inputs = split(about["input_type_shape"])
        _, outputs = split(about["output_type_shape"])
        if operator == "Einsum":
            products = of_equation(equations.get(name, ""), inputs)
        else:
            products = PRODUCTS[operator](inputs, outputs) if operator in PRODUCTS else None
        if products is None:
            uncounted[operator] = None
        else:
            whole = operator in IN_BYTES or name in in_bytes
            found["int8" if whole else KINDS.get(kinds[0], kinds[0])] += 2 * products
    return Count(dict(found), tuple(uncounted))


def split(tensors: Iterable[Mapping[str, Shape]]) -> tuple[list[str], list[Shape]]:
    """The element types and the shapes of tensors as the profiler writes them: ``[{"float": [1, 128]}, ...]``."""
    pairs = [pair for tensor in tensors for pair in tensor.items()]
    return [kind for kind, _ in pairs], [shape for _, shape in pairs]


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
