"""What the file of a graph says of its nodes, read without the package onnx.

In: the path of a graph. Out: the equations of its nodes `Einsum`, the names of the nodes between bytes, and of those that
compute sizes: those ONNX Runtime may keep on the CPU on purpose beside a provider with memory of its own.

The rule for sizes is that of ONNX Runtime (`GetCpuPreferredNodes` in core/framework/fallback_cpu_capability.cc): a node whose inputs
are on the CPU already. These are the outputs of `Shape` and `Size`, constants of at most 100 numbers, inputs of the graph,
and outputs of other such nodes. So a `Gather` that picks a size is one, and a `Gather` that reads weights is none.

The file is a protobuf message (onnx/onnx.proto); only the fields that are named here are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

SMALL = 100  # numbers of a constant
STARTS = ("Shape", "Size")
DEQUANTIZE = "DequantizeLinear"
GRAPH = 7  # field of ModelProto
NODE, INITIALIZER, INPUT = 1, 5, 11  # fields of GraphProto
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_TYPE, ATTRIBUTE = 1, 2, 3, 4, 5  # fields of NodeProto
ATTRIBUTE_NAME, ATTRIBUTE_TEXT = 1, 4  # fields of AttributeProto
DIMS, TENSOR_NAME = 1, 8  # fields of TensorProto
VALUE_NAME = 1  # field of ValueInfoProto
VARINT, LONG, BYTES, SHORT = 0, 1, 2, 5  # kinds of fields on the wire
WIDTH = {LONG: 8, SHORT: 4}  # bytes


@dataclass(frozen=True)
class Node:
    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def varint(data: memoryview, place: int) -> tuple[int, int]:
    """A whole number in groups of 7 bits, and the place behind it."""
    found = shift = 0
    while True:
        byte = data[place]
        found |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return found, place


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The number and the value of each field of a message."""
    place = 0
    while place < len(data):
        key, place = varint(data, place)
        kind = key & 7
        if kind == VARINT:
            value, place = varint(data, place)
            yield key >> 3, value
            continue
        size, place = varint(data, place) if kind == BYTES else (WIDTH[kind], place)
        yield key >> 3, data[place : place + size]
        place += size


def parts(data: memoryview, number: int) -> Iterator[memoryview]:
    """The messages, texts and bytes in the fields of one number."""
    for field, value in fields(data):
        if field == number and isinstance(value, memoryview):
            yield value


def texts(data: memoryview, number: int) -> tuple[str, ...]:
    return tuple(bytes(part).decode() for part in parts(data, number))


def count(tensor: memoryview) -> int:
    """The numbers that a tensor holds. Its sizes stand one in a field each, or all in one."""
    sizes = []
    for field, value in fields(tensor):
        if field == DIMS and isinstance(value, int):
            sizes.append(value)
        elif field == DIMS and isinstance(value, memoryview):
            place = 0
            while place < len(value):
                size, place = varint(value, place)
                sizes.append(size)
    return prod(sizes)


def node_of(data: memoryview) -> Node:
    name, operator = ("".join(texts(data, field)) for field in (NODE_NAME, NODE_TYPE))
    return Node(name, operator, texts(data, NODE_INPUT), texts(data, NODE_OUTPUT))


def equations(path: Path) -> dict[str, str]:
    """The equation of each node `Einsum` of the graph at `path`, by its name. Nodes inside of `If` and `Loop` are left out."""
    (graph,) = parts(memoryview(path.read_bytes()), GRAPH)
    found = {}
    for data in parts(graph, NODE):
        for attribute in parts(data, ATTRIBUTE):
            if texts(attribute, ATTRIBUTE_NAME) == ("equation",):
                found[node_of(data).name] = "".join(texts(attribute, ATTRIBUTE_TEXT))
    return found


def between_bytes(path: Path) -> set[str]:
    """The names of the nodes whose first two inputs are dequantized bytes: ONNX Runtime runs a product of them in bytes."""
    (graph,) = parts(memoryview(path.read_bytes()), GRAPH)
    nodes = [node_of(data) for data in parts(graph, NODE)]
    floats = {name for node in nodes if node.operator == DEQUANTIZE for name in node.outputs}
    return {node.name for node in nodes if len(node.inputs) > 1 and floats.issuperset(node.inputs[:2])}


def of_sizes(path: Path) -> dict[str, bool]:
    """Whether each node of the graph at `path` computes sizes, by its name. Nodes inside of `If` and `Loop` are left out."""
    (graph,) = parts(memoryview(path.read_bytes()), GRAPH)
    given = {"", *(name for value in parts(graph, INPUT) for name in texts(value, VALUE_NAME))}
    for tensor in parts(graph, INITIALIZER):
        if count(tensor) <= SMALL:
            given.update(texts(tensor, TENSOR_NAME))
        else:
            given.difference_update(texts(tensor, TENSOR_NAME))  # an initializer may be an input too
    found = {}
    for node in map(node_of, parts(graph, NODE)):  # in topological order
        found[node.name] = node.operator in STARTS or given.issuperset(node.inputs)
        if found[node.name]:
            given.update(node.outputs)
    return found
