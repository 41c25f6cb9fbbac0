"""torch.export and its translation to ONNX: the only module that calls `torch.onnx.export`.

In: a module over aligned tensors. Out: an `ExportedProgram` with dynamic batch and length, and an
`onnx.ModelProto` without the exporting machine's paths.

    module(int64 [batch, blocks, block], ...)  ->  ExportedProgram  ->  ONNX

Two alternatives were weighed for lengths that are no multiple of the block. Padding inside the traced
code yields guards that torch.export rejects. Padding in every layer copies each tensor in each layer.
So lengths are multiples here, and `edgexf.passes.edges` pads once where the graph begins. Inputs come in
blocks and are flattened, because a length that is only known to be a multiple leaves length // block
unsimplified, and each layer nests it once more: guards grew tenfold with a second layer, and those of six layers were not done after ten minutes.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from inspect import signature

import onnx
import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.export import Dim, ExportedProgram
from torch.onnx._internal.exporter._registration import ONNXRegistry

from edgexf import names
from edgexf.errors import EdgexfError, ExportError, in_a_sentence, said_by
from edgexf_exporters.trace.diagnose import of_error, watching
from edgexf_exporters.trace.marks import unmarked
from edgexf_exporters.trace.simplify import simplify

Axes = Mapping[int, object]
BLOCKS_TRACED = 7  # an example's length in blocks: several, so that nothing is specialised to it
BLOCK_TRACED = 11  # tokens of a block whose size is free
# Sizes that differ from each other: while a reverse pass is traced, equal sizes of inputs become one size.
BATCH_TRACED, CHOICES_TRACED, DECODER_TRACED = 3, 5, 13
TOKENS_TRACED = 96  # an example's length where the block is a single token
STEPS_TRACED = 17  # of a path
ANY = 1 << 16
DROPPED = {torch.ops.aten._assert_tensor_metadata.default}  # what the exporter itself leaves out


@dataclass(frozen=True)
class Traced:
    """An axis of the example, and the dimension that it stands for; None for one of fixed size."""

    size: int
    dimension: object = None


def dynamic_axes(
    block: int, shortest: int, longest: int, decoder: int, fixed: Collection[int], variable_block: bool
) -> dict[str, tuple[Traced, ...]]:
    """The axes by name. That of the tokens becomes two, blocks and the tokens of a block, whose size is free if `variable_block`,
    `shortest` to `longest` tokens; a decoder reads up to `decoder` tokens. No free axis has as many entries as a fixed one, `block` or one of `fixed`.
    """
    taken = {block, *fixed}

    def unlike(size: int, step: int = 1) -> int:
        while size in taken:
            size += step
        taken.add(size)
        return size

    most = max(-(-longest // block), BLOCKS_TRACED + 1)
    tokens: tuple[Traced, ...]
    if variable_block:
        blocks, each = Dim("blocks", min=4, max=most), Dim("block", min=2, max=max(longest, BLOCK_TRACED + 1))
        tokens = Traced(unlike(BLOCKS_TRACED), blocks), Traced(unlike(BLOCK_TRACED), each)
    elif block == 1 and longest == shortest:
        tokens = (Traced(longest),)  # torch knows no free axis of a single size
    elif block == 1:
        tokens = (Traced(unlike(min(TOKENS_TRACED, longest), -1), Dim(names.SEQUENCE, min=shortest, max=longest)),)
    else:
        tokens = Traced(unlike(BLOCKS_TRACED), Dim("blocks", min=-(-shortest // block), max=most)), Traced(block)
    written = unlike(DECODER_TRACED)
    return {
        names.BATCH: (Traced(unlike(BATCH_TRACED), Dim(names.BATCH, min=1, max=ANY)),),
        names.CHOICES: (Traced(unlike(CHOICES_TRACED), Dim(names.CHOICES, min=1, max=ANY)),),
        names.SEQUENCE: tokens,
        names.STEPS: (Traced(unlike(STEPS_TRACED), Dim(names.STEPS, min=1, max=ANY)),),
        names.DECODER_SEQUENCE: (Traced(written, Dim(names.DECODER_SEQUENCE, min=2, max=max(decoder, written))),),
    }


def capture(module: nn.Module, example: tuple[Tensor, ...], shapes: Sequence[Axes]) -> ExportedProgram:
    """The module as an aten graph. ExportError where its shapes or control flow depend on values; it names the line."""
    by_name = signature(module.forward).bind(*(dict(axes) for axes in shapes)).arguments  # *args are one argument
    with watching(module) as witness:
        try:
            return torch.export.export(module, example, dynamic_shapes=dict(by_name), strict=False)
        except EdgexfError:
            raise
        except Exception as error:
            fixed = FIXED_SIZE.search(str(error))
            place = witness.at.get(fixed.group(1), "") if fixed else of_error(error, module)
            said = f"a size became the number {fixed.group(1)}" if fixed else said_by(error)
            raise ExportError(
                f"a model must trace with dynamic batch and length, got {said}{f', {place}' if place else ''}; {REMEDY}."
            ) from error


FIXED_SIZE = re.compile(r"specialized it to be a constant \((\d+)\)")
REMEDY = (
    "compute with tensors instead of asking for values or looping over a length, "
    "lower the module, or fix the axis with dynamic_shapes"
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences notices of the exporter that ask nothing of a user (decomposed operators, deprecated fields)."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@cache
def translations(opset: int) -> ONNXRegistry:
    """What torch can translate, to look it up: a third of a second each time that it is gathered."""
    return ONNXRegistry.from_torchlib(opset)


def decomposed(program: ExportedProgram, opset: int) -> ExportedProgram:
    """The program itself, told to stay as it is where each of its operators has a translation: decomposing it would trace it
    once more, a third of an export's time.
    """
    registry = translations(opset)
    operators = {node.target for node in program.graph.nodes if isinstance(node.target, OpOverload)} - DROPPED
    if all(registry.is_registered(operator) and not operator._schema.is_mutable for operator in operators):
        program.run_decompositions = lambda *_, **__: program
    return program


def translate(program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str], opset: int) -> onnx.ModelProto:
    """The program in ONNX, its inputs and outputs named in order, initializers inside.

    ExportError where an operator has no translation.
    """
    with (
        quiet(),
        in_a_sentence(
            "every operator of a model must have a translation to ONNX",
            "lower the module that holds the one that this names",
        ),
    ):
        translated = torch.onnx.export(
            decomposed(unmarked(program), opset),
            (),
            dynamo=True,
            verbose=False,
            optimize=False,
            opset_version=opset,
            input_names=list(inputs),
            output_names=list(outputs),
            external_data=False,
        )
    if translated is None:
        raise ExportError(
            "torch.onnx.export must return a program, got None; this edgexf needs the torch that it pins."
        )
    simplify(translated.model)
    return translated.model_proto
