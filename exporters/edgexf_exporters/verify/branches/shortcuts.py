"""Looks for inputs on which a custom module goes another way than its trace went, where it asks whether it is traced.

    if not torch.compiler.is_compiling() and (ids == ids[0, 0]).all(): return self.short(ids)    # no trace can follow

In: a source whose module was traced as torch traces it, and the session of its graph. Out: what differs; empty if nothing
differs. Eager code takes a shortcut where values are special, so the inputs are: rows of one id, each special id at the
start, at the end and alone, the same row again and again, zeros, small values and large ones. This is a sample: a condition
that none of these inputs meets is not found, and the bundle says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import onnxruntime as ort

from edgexf.errors import EdgexfError
from edgexf_exporters.source import ModuleInputs, Source
from edgexf_exporters.verify.compare import outputs_compared, reference, run_with
from edgexf_exporters.verify.differences.rounding import Wide, reached
from edgexf_exporters.verify.differences.ties import TIE, Choices
from edgexf_exporters.verify.eager import eager
from edgexf_exporters.verify.grid import Array, Cell, Feeds, batches, lengths

FIRST_IDS = 4  # ids that mean something in most vocabularies: padding, the start, the end, the unknown
MOST_SPECIAL, MOST_VALUES = 12, 16  # how many special ids, and how many values of other integers, are tried
PLACES: dict[str, Any] = {"everywhere": ..., "first": (..., 0), "last": (..., -1)}
FACTORS = (0.0, 1e-4, 1e4)  # of drawn floats
CONSTANTS = (1.0, -1.0)


def shortcut(source: Source, own: ModuleInputs, predict: ort.InferenceSession, tolerance: float) -> str:
    """The name of an output that differs, and where; empty if none differs. What the module refuses is left out."""
    wide = Wide(source, reference)
    for what, feeds in special_inputs(source, own):
        with Choices() if source.has_argmax else nullcontext(Choices()) as met:
            try:
                wanted = eager(source, feeds)
            except EdgexfError:
                raise
            except Exception:  # noqa: BLE001, S112 (a custom module may raise any error at values that it refuses)
                continue
            answer = run_with(predict, feeds)
        if met.closest <= TIE:
            continue  # rounding decides, as in the grid
        found = outputs_compared(source, answer, wanted, source.real(feeds))
        wrong = [one for one in found if not one.difference <= tolerance]
        if wrong and not reached(found, tolerance, *wide.cached(feeds, (), met.made)):
            return f"{wrong[0].name} differs where {what}"
    return ""


def special_inputs(source: Source, own: ModuleInputs) -> Iterator[tuple[str, Feeds]]:
    """Yields inputs, each with what is special about it in words. The shortest inputs come first."""
    signature = own.signature
    for length in lengths(source, 1)[:2]:
        for batch in batches(source):
            drawn = own.draw(Cell(length, batch, "none", 1).sizes(signature), seed=1)
            yield from alike(source, own, drawn)
            for name, array in drawn.items():
                for what, changed in changes(own, name, array):
                    yield f"{name} {what}", {**drawn, name: changed}


def alike(source: Source, own: ModuleInputs, drawn: Feeds) -> Iterator[tuple[str, Feeds]]:
    """Yields the inputs with the first sample in the place of all samples."""
    axes = {tensor.name: source.samples(tensor) for tensor in own.tensors}
    yield (
        "all samples are the same",
        {
            name: array if (axis := axes[name]) is None else np.repeat(array.take([0], axis), array.shape[axis], axis)
            for name, array in drawn.items()
        },
    )


def changes(own: ModuleInputs, name: str, array: Array) -> Iterator[tuple[str, Array]]:
    """Yields changed copies of one input, each with what is special about it. Masks and inputs that count have none."""
    if name in own.signature.below:
        below = own.signature.below[name]
        tried = [*sorted(own.special)[:MOST_SPECIAL], *range(FIRST_IDS), below - 1]
        for value in dict.fromkeys(one for one in tried if 0 <= one < below):
            for where, place in PLACES.items():
                changed = array.copy()
                changed[place] = value
                yield f"is {value} {where}", changed
    elif array.dtype.kind == "f":
        yield from ((f"is multiplied by {factor:g}", array * array.dtype.type(factor)) for factor in FACTORS)
        yield from ((f"is {constant:g} everywhere", np.full_like(array, constant)) for constant in CONSTANTS)
    elif name not in own.real and name not in own.signature.within:
        yield from ((f"is {value} everywhere", np.full_like(array, value)) for value in np.unique(array)[:MOST_VALUES])
