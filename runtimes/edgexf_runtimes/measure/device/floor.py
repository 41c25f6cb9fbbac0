"""The limit of this device: how many operations of large matrix products a session's threads do in a second.

In: the settings of a session. Out: queries that multiply [1024, 1024] by a constant weight [1024, 1024], to be measured in
the same rounds as the graphs, and the `rates` that follow. A graph's operations over the rate are its floor: no order of its
nodes and no fusion is faster, and the distance to it is what a better graph could win.

A product of a constant weight is what most operations of a transformer are, and ONNX Runtime packs it once. A profile that
does not pack (``edge``) is measured against the packed product too: the floor is the device's, not the profile's.

The graph is a protobuf message of some forty fields (onnx/onnx.proto), written here, as `device.structure` reads it. A file
in the package was the alternative: it hides its sizes, and holds 4 MiB of weights or an operator that makes them. The peak
that a vendor prints was another one: it knows neither this clock, nor these threads, nor this container's limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edgexf.dtypes import FP32
from edgexf.report.latency.measured.facts import Fact
from edgexf_runtimes.device import providers
from edgexf_runtimes.device.asked import CPU, asked
from edgexf_runtimes.device.profiles import Settings

PRODUCT = "product"  # the graph of such a query, beside ``predict`` and the methods
SIDE = 1024
OPERATIONS = 2 * SIDE**3  # of one query
GIGA, MILLI = 1e9, 1e-3
VARINT, BYTES = 0, 2  # kinds of fields on the wire
IR_VERSION, OPSET = 8, 13


@dataclass(frozen=True)
class Kind:
    """A kind of product.

    Attributes:
        operator: of ONNX.
        given, weight, result: the numbers of ONNX's element types: 1 float, 2 uint8, 3 int8, 6 int32.
    """

    operator: str
    given: int
    weight: int
    result: int


KINDS = {"float32": Kind("MatMul", 1, 1, 1), "int8": Kind("MatMulInteger", 2, 3, 6)}
ARRAYS = {1: np.float32, 2: np.uint8, 3: np.int8}


def kinds_for(some: Iterable[str]) -> tuple[str, ...]:
    """The kinds of products in graphs of these dtypes: some products of a quantized graph stay in float32."""
    return tuple(KINDS) if any(dtype != FP32 for dtype in some) else ("float32",)


def products(kinds: Sequence[str], settings: Settings) -> Iterator[tuple[str, Callable[[], object]]]:
    """A query for each kind, by its name, on the threads of a session. None on a provider other than the CPU."""
    if any(one.provider != CPU for one in asked(settings.providers)):
        return
    packed = replace(settings, profile=replace(settings.profile, packs_predict=True))
    for name in kinds:
        with TemporaryDirectory(prefix="edgexf-") as folder:
            path = Path(folder) / "product.onnx"
            path.write_bytes(product(KINDS[name]))
            session = providers.create(path, settings=packed)
        yield name, partial(session.run, None, {"x": numbers(KINDS[name].given)})


def rates(kinds: Iterable[str], lacking: Fact, medians: Mapping[str, Sequence[float]]) -> dict[str, Fact]:
    """10^9 operations a second by kind, from the median milliseconds of each process: the median of the processes. `lacking` is
    the reason for a kind that no process measured.
    """
    return {
        kind: Fact(OPERATIONS / GIGA / (MILLI * median(medians[kind]))) if medians.get(kind) else lacking
        for kind in kinds
    }


def numbers(element: int) -> Any:
    """A matrix of ordinary numbers: products of zeros, and of numbers near the smallest, take other times."""
    chance = np.random.default_rng(0)
    if element == 1:
        return chance.standard_normal((SIDE, SIDE), dtype=np.float32)
    return chance.integers(0, 100, (SIDE, SIDE), dtype=ARRAYS[element])


def product(kind: Kind) -> bytes:
    """The ONNX file of a graph ``y = x w``."""
    weight = b"".join(
        [field(1, SIDE), field(1, SIDE), field(2, kind.weight), field(8, "w"), field(9, numbers(kind.weight).tobytes())]
    )
    node = b"".join([field(1, "x"), field(1, "w"), field(2, "y"), field(3, "product"), field(4, kind.operator)])
    graph = b"".join(
        [field(1, node), field(2, "product"), field(5, weight), field(11, value("x", kind.given)), field(12, value("y", kind.result))]
    )  # fmt: skip
    return field(1, IR_VERSION) + field(7, graph) + field(8, field(1, "") + field(2, OPSET))


def value(name: str, element: int) -> bytes:
    """A square matrix as an input or output (ValueInfoProto)."""
    side = field(1, field(1, SIDE))
    return field(1, name) + field(2, field(1, field(1, element) + field(2, side + side)))


def field(number: int, content: int | str | bytes) -> bytes:
    """A field of a message: a whole number, a text, or bytes, which may be a message."""
    if isinstance(content, int):
        return varint(number << 3 | VARINT) + varint(content)
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def varint(number: int) -> bytes:
    """A whole number in groups of 7 bits, the lowest first."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])
