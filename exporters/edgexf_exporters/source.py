"""What an export must know about a model: the module, and the contract of its graphs.

In: a model, by way of `edgexf_exporters.sources`. Out: a `Source`. Tracing, verification and the bundle read the
`Source`; none of them looks at the class of the model.

    model  ->  Source(module, inputs, outputs, embedding, limits, ...)  ->  graphs, grid, manifest

Two alternatives were weighed. With a base class that models inherit, users would have to change their models. A case
for each kind of model in tracing, verification and writing is what makes exporters long and hard to extend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from edgexf import names
from edgexf.bundle import manifest as contract
from edgexf.bundle.embedding import Embedding
from edgexf.bundle.preprocess import Bytes, Image, Text
from edgexf.bundle.signature import Axis, Signature
from edgexf_exporters.answers import named_outputs
from edgexf_exporters.own_code import has_own_code
from edgexf_exporters.targets import Target, target_of
from edgexf_exporters.trace.export import ANY
from edgexf_exporters.variant import Mixing, Variant

IMAGE = 4  # the number of axes of an image
SHORTEST = 2  # tokens of the shortest input: a text has at least its first and its last special token


def nothing(_: nn.Module) -> AbstractContextManager[None]:
    """The context of a call that needs nothing around it."""
    return nullcontext()


def never(_: int) -> bool:
    """Says that the model has an answer to an input of any length."""
    return False


class Values(nn.Module):
    """Stands in for the embedding of a model whose first input already holds values, such as an image."""

    def forward(self, values: Tensor) -> Tensor:
        return values


@dataclass(frozen=True)
class PerRow:
    """How the grid asks for each row alone, without padding.

    It is for a model whose answer to a row depends on the batch mates or on the padding of the row.

    Attributes:
        fails: takes a number of tokens, and tells whether the model has no answer to a row with so many tokens.
        instead: makes the context of a call that would fail. The context replaces the modules that fail by modules that
            define the answer.
    """

    fails: Callable[[int], bool] = never
    instead: Callable[[nn.Module], AbstractContextManager[None]] = nothing


@dataclass(frozen=True)
class Family:
    """What only the file of a transformers family knows about a model.

    Attributes:
        longest: the length of the longest input, in tokens.
        padding: the padding rule of `Limits`.
        switch: the switch of `Limits`.
        segments: how the model fills in segments.
        decoder: the limits of the decoder; None for a model without a decoder.
        call_context: makes the context that must surround each call of the untouched model, for example where a call
            changes the model or draws random numbers.
        per_row: how the grid asks for each row alone; None for a model that may be asked for whole batches.
        shortest: the length of the shortest input, in tokens; at least `SHORTEST`.
        width: the number of values of a token's hidden state; 0 if the config says it.
        token_types: the number of token types, if the config does not say it.
        padding_id: the id of the padding token, if the config does not say it.
        embedding: the module from token ids to vectors from which explanations start; None for the library's input
            embedding.
        has_argmax: the answers depend on discrete choices.
        strides: how many tokens a row of each hidden state stands for; empty if it is one token in all of them.
        needs_real: a row without real tokens has no answer.
        pads_left: padding may also stand before the tokens.
        sliced: full attention is computed a slice of `edgexf.products.ROWS` queries at a time.
        provenance: what the export had to decide for the model.
    """

    longest: int
    padding: str = "invariant"
    switch: int = 0
    segments: contract.Segments = field(default_factory=lambda: contract.Segments("zeros", -1))
    decoder: contract.Decoder | None = None
    call_context: Callable[[nn.Module], AbstractContextManager[None]] = nothing
    per_row: PerRow | None = None
    shortest: int = SHORTEST
    width: int = 0
    token_types: int = 1
    padding_id: int | None = None
    embedding: nn.Module | None = None
    has_argmax: bool = False
    strides: tuple[int, ...] = ()
    needs_real: bool = False
    pads_left: bool = False
    sliced: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)


class Drawing(Protocol):
    """Makes inputs by name from the sizes of the axes and a seed.

    `padded` takes the number of a row and its length, and gives the number of its real tokens. Without `padded` all
    tokens are real.
    """

    def __call__(
        self, sizes: Mapping[str, int], seed: int, padded: Callable[[int, int], int] | None = None
    ) -> dict[str, npt.NDArray[Any]]: ...


@dataclass(frozen=True)
class ModuleInputs:
    """What a custom module takes, where a model of text takes token ids and a mask.

    Attributes:
        tensors: the inputs, in the order of ``forward``.
        signature: the axes of the inputs.
        draw: makes further inputs.
        real: for each input that is a mask, the value that marks a real token, by the name of the input.
        max_global: how many tokens of a row the module may make global in a library model that it holds.
        special: the ids that mean something other than a token of a text.
        examples: the size of each axis in the example inputs.
        large: the inputs that some draws make unusually large (`edgexf_exporters.hard_values`).
    """

    tensors: tuple[contract.Tensor, ...]
    signature: Signature
    draw: Drawing
    real: Mapping[str, int]
    max_global: int = 1
    special: frozenset[int] = frozenset()
    examples: Mapping[str, int] = field(default_factory=dict)
    large: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Place:
    """The projections of a layer between which its attention weights act.

    Attributes:
        values: the value projections, whose outputs the weights mix.
        reader: the output projection, which reads the mixed values.
        heads: the number of attention heads.
    """

    values: tuple[nn.Module, ...]
    reader: nn.Module
    heads: int


def part(module: nn.Module, path: str) -> Any:
    """Follows a dotted path of attributes from `module`. None where the path leads nowhere."""
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


def places_of(model: nn.Module, about: Mixing) -> list[Place]:
    """The place of each layer that has the projections of `about`, in the order of the layers."""
    found = []
    for module in model.modules():
        values, reader = [part(module, path) for path in about.values], part(module, about.reader)
        if all(isinstance(one, nn.Module) for one in (*values, reader)):
            found.append(Place(tuple(values), reader, int(part(module, about.heads))))
    return found


@dataclass(frozen=True)
class Source:
    """A model to export: a model of text, or with `module_inputs` any module.

    Attributes:
        name: the name of the model.
        task: what the model is used for.
        variant: the record of the model's attention.
        module: the model. It takes `inputs` by name and `settings`. It answers with a mapping that holds `outputs`, or
            with the tensor itself if there is one output.
        embedding: the submodule from token ids to vectors, from which explanations start. `Values` if the first input
            holds values; None if nothing can be explained.
        outputs: the outputs of the graph, in order.
        limits: what an input must keep to. `limits.block` is 1: the lowering says which block it needs.
        labels: the names of the classes; empty if they have no names.
        preprocess: how bytes, text or a picture becomes inputs; None for a model that takes arrays.
        first_id: the id of the first token of every input of the grid.
        padding_id: the id of the tokens behind the real tokens.
        globals, segments, decoder: as in `Manifest`.
        module_inputs: what a custom module takes; None for a model of text.
        multiple_choice: a row holds several inputs, and the model chooses one of them.
        has_argmax: a `torch.argmax` inside the module decides what else is computed.
        scores: as in `Manifest`.
        sentences: how texts become embeddings, for a model that gives ``sentence_embedding``.
        files: the further files of the bundle, such as tokenizer.json, by path.
        settings: arguments of the module that are no tensors, by name.
        call_context: makes the context that surrounds each call of the module.
        reason: why `embedding` is None; otherwise empty.
        per_row: how the grid asks for each row alone; None for a model that may be asked for whole batches.
        sliced: as in `Family`.
        defined: `call_context` replaces a part of the module that answers too few inputs by its definition.
        config: the values of config.json.
        provenance: where the model comes from, for the manifest.
        quiet: makes a context that silences the model's library.
        card: the head of README.md.
    """

    name: str
    task: str
    variant: Variant
    module: nn.Module
    embedding: nn.Module | None
    outputs: tuple[contract.Tensor, ...]
    limits: contract.Limits
    labels: tuple[str, ...]
    preprocess: Bytes | Text | Image | None
    first_id: int
    padding_id: int
    globals: contract.Globals | None = None
    segments: contract.Segments | None = None
    decoder: contract.Decoder | None = None
    module_inputs: ModuleInputs | None = None
    multiple_choice: bool = False
    has_argmax: bool = False
    scores: str = "softmax"
    sentences: Embedding | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    call_context: Callable[[nn.Module], AbstractContextManager[None]] = nothing
    reason: str = ""
    per_row: PerRow | None = None
    sliced: bool = False
    defined: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    quiet: Callable[[], AbstractContextManager[None]] = nullcontext
    card: str = ""

    @cached_property
    def tensors(self) -> tuple[contract.Tensor, ...]:
        """The inputs of the graph, in order. The inputs of a model of text are int64."""
        if self.module_inputs is not None:
            return self.module_inputs.tensors
        types = (names.TOKEN_TYPE_IDS,) if self.limits.token_types else ()
        row = (names.BATCH, names.CHOICES, names.SEQUENCE) if self.multiple_choice else (names.BATCH, names.SEQUENCE)
        shapes = dict.fromkeys((*self.variant.inputs, *types), row)
        if self.decoder is not None:
            shapes[names.DECODER_INPUT_IDS] = (names.BATCH, names.DECODER_SEQUENCE)
        return tuple(contract.Tensor(name, "int64", shape) for name, shape in shapes.items())

    @cached_property
    def signature(self) -> Signature:
        """The axes of the inputs and their sizes. The axis behind that of samples is the axis of tokens."""
        if self.module_inputs is not None:
            return self.module_inputs.signature
        ends = {
            names.BATCH: (1, ANY),
            names.SEQUENCE: (self.limits.min_length, self.limits.max_length),
            names.CHOICES: (1, ANY),
            names.DECODER_SEQUENCE: (1, 1 if self.decoder is None else self.decoder.max_length),
        }
        present = {axis for tensor in self.tensors for axis in tensor.shape}
        axes = tuple(Axis(name, *ends[name], 1) for name in ends if name in present)
        return Signature(axes, {}, names.BATCH)

    @cached_property
    def own_code(self) -> bool:
        """Whether code of the user runs in the model, which may branch on sizes.

        It does in a custom module, and in a library model with a class, a ``forward`` or a hook of the user.
        """
        return self.module_inputs is not None or any(map(has_own_code, self.module.modules()))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs of the graph, in order."""
        return tuple(tensor.name for tensor in self.tensors)

    @cached_property
    def target(self) -> Target | None:
        """What an explanation explains. None where `unexplained` gives a reason, such as a missing embedding."""
        if self.embedding is None or (self.multiple_choice and self.per_row is not None):
            return None
        if self.module_inputs is None:
            return target_of(self.outputs, names.BATCH)
        signature = self.module_inputs.signature
        return target_of(self.outputs, signature.samples, [axis.name for axis in signature.axes])

    def explained_by(
        self, path: bool = False, weights: bool = False
    ) -> tuple[tuple[contract.Tensor, ...], tuple[contract.Tensor, ...]]:
        """The inputs and the outputs that an explain graph has besides those of the predict graph.

        `path` is for a method that integrates along a path. `weights` is for a method that also gives the attention
        weights, where the model has such weights.
        """
        tokens = self.tensors[0]
        place = self.samples(tokens)
        samples = () if place is None else (tokens.shape[place],)
        takes = () if self.target is None else self.target.head.targets
        scored = tuple(size for axis, size in enumerate(tokens.shape) if axis != self.channels)
        gives: list[tuple[str, tuple[int | str, ...]]] = [(names.RELEVANCE, scored), (names.RESIDUAL, samples)]
        if path:
            takes += (
                contract.Tensor(names.BASELINE, tokens.dtype, tokens.shape),
                contract.Tensor(names.PATH, "float32", (names.STEPS,)),
            )
            gives.append((names.PATH_VALUES, (*samples, names.STEPS)))
        if weights and self.mixing:
            layers = len(self.mixing), self.mixing[0].heads
            gives.append((names.ATTENTION, (*tokens.shape[:-1], *layers, tokens.shape[-1])))
        return takes, tuple(contract.Tensor(name, "float32", shape) for name, shape in gives)

    @property
    def mixing(self) -> list[Place]:
        """Where attention mixes tokens by weights, layer by layer; empty for a model without such weights."""
        about = self.variant.mixing
        return [] if about is None else places_of(self.module, about)

    @property
    def unexplained(self) -> str:
        """Why no explain graph can be made; empty if it can be made."""
        if self.target is not None:
            return ""
        together = "its choices are answered one by one" if self.multiple_choice and self.per_row is not None else ""
        return self.reason or together or "the head gives neither logits nor vectors"

    def answer(self, inputs: Mapping[str, Tensor], module: nn.Module | None = None) -> dict[str, Tensor]:
        """Calls the source's module, or `module` in its place. Returns the outputs by name."""
        called = module or self.module
        with self.call_context(called):
            taken = () if self.module_inputs is None else self.inputs
            found = named_outputs(called(**inputs, **self.settings), self.outputs[0].name, taken)
        return {output.name: found[output.name] for output in self.outputs}

    def real(self, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
        """Which tokens are no padding, bool [batch, sequence]; all of a custom module, of which every answer is compared."""
        if self.module_inputs is None:
            return inputs[names.ATTENTION_MASK] > 0
        return np.ones(next(iter(inputs.values())).shape[:2], dtype=bool)

    def shown(self, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
        """Which tokens or pixels of the first input the mask shows; all of them without a mask.

        The result is bool, in the shape of the first input without channels. Hidden tokens have no relevance.
        """
        if self.mask is None:
            sizes = inputs[self.inputs[0]].shape
            return np.ones([size for axis, size in enumerate(sizes) if axis != self.channels], dtype=bool)
        place, marks = self.mask
        return np.isin(inputs[self.inputs[place]], marks)

    @cached_property
    def mask(self) -> tuple[int, tuple[int, ...]] | None:
        """The place of the mask among the inputs, and the values that mark real tokens in it. None without a mask."""
        marks = {names.ATTENTION_MASK: 1} if self.module_inputs is None else self.module_inputs.real
        prompt = (names.PROMPT_MARK,) if self.sentences is not None and not self.sentences.include_prompt else ()
        places = [
            (place, (marks[one.name], *prompt))
            for place, one in enumerate(self.tensors)
            if one.name in marks and (self.module_inputs is None or one.shape == self.tensors[0].shape)
        ]
        return places[0] if places else None

    @property
    def channels(self) -> int | None:
        """The axis of channels of an image [samples, channels, height, width]; None for other inputs.

        The relevance of a pixel is the sum over its channels.
        """
        return 1 if isinstance(self.embedding, Values) and len(self.tensors[0].shape) == IMAGE else None

    @property
    def row_axis(self) -> int:
        """The axis of samples of the first input; 0 if it has no such axis."""
        return self.samples(self.tensors[0]) or 0

    def samples(self, tensor: contract.Tensor) -> int | None:
        """The axis of an input or output along which samples are independent; None if it has no such axis."""
        name = names.BATCH if self.module_inputs is None else self.module_inputs.signature.samples
        return tensor.shape.index(name) if name in tensor.shape else None
