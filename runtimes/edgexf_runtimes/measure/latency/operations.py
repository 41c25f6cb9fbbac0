"""The additions and multiplications of the matrix products in a run of a graph, counted from what a profile saw.

In: the events of ONNX Runtime's profiler for one run, which hold the shapes of all inputs and outputs. Out: a `Count` by kind
of number, by the rules of `edgexf.products`.

A bundle says the operations of its graphs by itself (`edgexf.bundle.operations`). This count is for what it does not say: an
older bundle, a graph whose operations are no polynomials of its sizes, and numbers whose kind the device chooses. The events
must come from a session without fused nodes and packed weights, whose shapes the profiler leaves out; see `operators.counted`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from edgexf.products import IN_BYTES, INTEGERS, Count, Shape, multiplications, multiplies

Event = Mapping[str, Any]

# ONNX Runtime's names of element types, as kinds of numbers with one rate each.
KINDS = {"float": "float32", "uint8": INTEGERS, "int8": INTEGERS}
KERNEL = "_kernel_time"


def count(events: Iterable[Event], equations: Mapping[str, str], in_bytes: Collection[str]) -> Count:
    """Counts one run. `equations` are those of the nodes `Einsum`, by name; `in_bytes` are the names of nodes of floats that
    ONNX Runtime runs in bytes.
    """
    found = Counter[str]()
    uncounted: dict[str, None] = {}
    for event in events:
        name, about = event["name"].removesuffix(KERNEL), event["args"]
        operator = about["op_name"]
        if not multiplies(operator):
            continue
        kinds, inputs = split(about["input_type_shape"])
        _, outputs = split(about["output_type_shape"])
        products = multiplications(operator, inputs, outputs, equations.get(name, ""))
        if products is None:
            uncounted[operator] = None
        else:
            whole = operator in IN_BYTES or name in in_bytes
            found[INTEGERS if whole else KINDS.get(kinds[0], kinds[0])] += 2 * products
    return Count(dict(found), tuple(uncounted))


def split(tensors: Iterable[Mapping[str, Shape]]) -> tuple[list[str], list[Shape]]:
    """The element types and the shapes of tensors as the profiler writes them: ``[{"float": [1, 128]}, ...]``."""
    pairs = [pair for tensor in tensors for pair in tensor.items()]
    return [kind for kind, _ in pairs], [shape for _, shape in pairs]
