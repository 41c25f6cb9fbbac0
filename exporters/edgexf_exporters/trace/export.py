"""torch.export and its translation to ONNX: the only module that calls torch's exporter.

In: a module over tensors of whole blocks. Out: an `ExportedProgram` with dynamic batch and length, and an
`onnx.ModelProto`. The exporter leaves stack traces in it, which `edgexf.passes.tidy` drops.

    module(int64 [batch, blocks, block], ...)  ->  ExportedProgram  ->  ONNX

Two alternatives were weighed for lengths that are no multiple of the block. Padding inside the traced code yields
guards that torch.export rejects. Padding in every layer copies each tensor in each layer. So lengths are multiples
here, and `edgexf.passes.edges` pads once at the start of the graph.

`translate` calls the steps of `torch.onnx.export`, not the function: the function gathers all translations anew for each
graph, and `edgexf_exporters.trace.prepare` does its first step in less time. These steps are private, so edgexf pins the
minor version of torch.

Inputs come in blocks, and the model flattens them. If torch only knew that a length is a multiple of the block, it
would leave length // block unsimplified, and each layer would nest this expression once more. Guards grew tenfold with
a second layer, and the guards of six layers were not done after ten minutes.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import signature

import onnx
import torch
from onnxscript.version_converter import convert_version
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.onnx._internal.exporter._core import _exported_program_to_onnx_program as to_onnx
from torch.onnx._internal.exporter._ir_passes import rename_inputs, rename_outputs

from edgexf import names
from edgexf.errors import EdgexfError, ExportError, in_a_sentence, said_by
from edgexf_exporters.trace.deadline import Deadline
from edgexf_exporters.trace.diagnose import BRANCHES, of_error, watching, way_out
from edgexf_exporters.trace.eager.free_sizes import FreeSizes
from edgexf_exporters.trace.eager.python_builtins import eager_builtins
from edgexf_exporters.trace.eager.swallowed import noticed
from edgexf_exporters.trace.eager.text_of_sizes import texts_refused
from edgexf_exporters.trace.marks import unmarked
from edgexf_exporters.trace.operators.refused import place_of, refuse
from edgexf_exporters.trace.prepare import average_whole, prepared, reshape_attended, translations, write_to_new
from edgexf_exporters.trace.retrace import REMEDY, without_stacks
from edgexf_exporters.trace.simplify import simplify

Axes = Mapping[int, object]
BLOCKS_TRACED = 7  # the length of an example in blocks: several, so that torch specialises nothing to this number
BLOCK_TRACED = 11  # the tokens of a block in an example, if the size of a block is free
# Sizes that differ from each other: while a reverse pass is traced, equal sizes of inputs become one size.
BATCH_TRACED, CHOICES_TRACED, DECODER_TRACED = 3, 5, 13
TOKENS_TRACED = 97  # the length of an example if the block is a single token: a prime, for code that pads to multiples
STEPS_TRACED = 17  # the points of a path in an example
ANY = 1 << 16


@dataclass(frozen=True)
class Traced:
    """An axis of the example.

    Attributes:
        size: the size of the axis in the example.
        dimension: the dimension that the axis stands for; None for an axis of fixed size.
    """

    size: int
    dimension: object = None


def dynamic_axes(
    block: int, shortest: int, longest: int, decoder: int, fixed: Collection[int], variable_block: bool
) -> dict[str, tuple[Traced, ...]]:
    """The parts of each dynamic axis, by the name of the axis.

    The axis of tokens has two parts, blocks and the tokens of a block, or one part if a block is a single token. In the
    example no free axis has the size of another free axis, `block`, or a size of `fixed`.

    Args:
        block: the number of tokens in a block.
        shortest: the smallest length, in tokens.
        longest: the largest length, in tokens.
        decoder: the largest number of tokens that a decoder reads.
        fixed: the sizes of the axes that do not vary.
        variable_block: the size of a block is free.
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
        tokens = (Traced(longest),)  # torch has no free axis with a single size
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
    """Captures the module as an aten graph.

    Raises ExportError where shapes or control flow depend on values, also where the model catches the error of it, or
    where an operator has no form in ONNX; the error names the line of the model.
    """
    by_name = signature(module.forward).bind(*(dict(axes) for axes in shapes)).arguments  # *args are one argument
    deadline = Deadline(module)
    with (
        watching(module, deadline.check) as witness,
        without_stacks(),
        eager_builtins(module),
        texts_refused(module),
        noticed(module, example),
        FreeSizes(),
        deadline.checked(),
    ):
        try:
            program = torch.export.export(module, example, dynamic_shapes=dict(by_name), strict=False)
        except EdgexfError:
            raise
        except Exception as error:
            fixed = FIXED_SIZE.search(str(error))
            place = witness.at.get(fixed.group(1), "") if fixed else of_error(error, module)
            said = f"a size became the number {fixed.group(1)}" if fixed else said_by(error)
            raise ExportError(
                f"a model must trace with dynamic batch and length, got {said}{f', {place}' if place else ''}; "
                f"{way_out(place, REMEDY) if is_of_a_size(error) else REMEDY}."
            ) from error
    refuse(program.graph_module, module, example)
    write_to_new(program.graph_module)
    average_whole(program.graph_module)
    reshape_attended(program.graph_module)
    program.graph_module.meta[BRANCHES] = witness.asked
    program.graph_module.meta[PLACE] = partial(place_of, module, example)
    return program


def is_of_a_size(error: Exception) -> bool:
    """Whether a trace stopped since a size is no number: it became one, or a function of Python takes numbers alone."""
    return bool(FIXED_SIZE.search(str(error))) or "SymInt" in str(error)


FIXED_SIZE = re.compile(r"specialized it to be a constant \((\d+)\)")


NOISY = ("torch.onnx", "onnx_ir", "onnxscript")


@contextmanager
def quiet() -> Iterator[None]:
    """Silences notices of the exporter that a user need not act on (decomposed operators, constants that stay)."""
    loggers = [logging.getLogger(name) for name in NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


UNTRANSLATED = re.compile(r"No ONNX function found for <OpOverload\(op='(?:aten|prims)\.(\w+)'")
TRANSLATING = re.compile(r"call_function\[target=(?:torch\.ops\.\w+\.)?([\w.]+?)(?:\.\w+)?\]")
PLACE = "edgexf_place"  # where a captured program keeps a function from names of operators to the line that calls one


@contextmanager
def translated_whole(program: ExportedProgram) -> Iterator[None]:
    """Turns what the translation raises into an ExportError. It names the operator that has no translation, and the line."""
    try:
        with in_a_sentence(
            "every operator of a model must have a translation to ONNX",
            "lower the module that holds the one that this names",
        ):
            yield
    except ExportError as error:
        missing = UNTRANSLATED.search(str(error))
        meant = missing or next((found for text in causes(error) if (found := TRANSLATING.search(text))), None)
        if meant is None:
            raise
        if "complex" in str(error):
            raise ExportError(
                f"every operator of a model must have a form in ONNX, got {meant.group(1)} of complex numbers; write it with real numbers, "
                "or lower the module that holds it."
            ) from error
        place = program.graph_module.meta.get(PLACE, lambda _: "")([meant.group(1)])
        why = "" if missing else f" ({said_by(error)})"
        raise ExportError(
            f"every operator of a model must have a form in ONNX, got {meant.group(1)}{why}{f' {place}' if place else ''}; "
            "write it with operators that ONNX has, or lower the module that holds it."
        ) from error


def causes(error: BaseException) -> Iterator[str]:
    """Yields what the causes of an error say, the outermost first."""
    seen = error.__cause__
    while seen is not None:
        yield str(seen)
        seen = seen.__cause__


def translate(program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str], opset: int) -> onnx.ModelProto:
    """Translates the program to ONNX. `inputs` and `outputs` are the names, in order.

    Initializers are inside the model. Raises ExportError where an operator has no translation.
    """
    with quiet(), translated_whole(program):
        translated = to_onnx(prepared(unmarked(program), opset), registry=translations(opset))
        convert_version(translated.model, opset, fallback=True)
        rename_inputs(translated.model, inputs)
        rename_outputs(translated.model, outputs)
        simplify(translated.model)
        return translated.model_proto
