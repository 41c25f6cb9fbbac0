"""What an export must know about a model: the module, and the contract of its graphs.

In: a model, by `edgexf_exporters.sources.reference` or `checkpoint`. Out: a `Source`, which tracing, verifying and the
bundle read; none of them looks at the model's class.

    model  ->  Source(module, inputs, outputs, embedding, limits, ...)  ->  graphs, grid, manifest

Two alternatives were weighed. A base class that models inherit would ask users to change theirs. A case
for each kind of model in tracing, verifying and writing is what makes exporters long and hard to extend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from edgexf import names
from edgexf.bundle import manifest as contract
from edgexf.bundle.preprocess import Bytes, Text
from edgexf.bundle.signature import Signature
from edgexf.errors import ExportError
from edgexf_exporters.targets import Target, target_of
from edgexf_exporters.variant import Mixing, Variant

IMAGE = 4  # axes
SHORTEST = 2  # tokens of an input: a text is at least its first and last special token


def nothing(_: nn.Module) -> AbstractContextManager[None]:
    """Around a model that a call does not change."""
    return nullcontext()


def never(_: int) -> bool:
    """Of a model that answers an input of any length."""
    return False


class Values(nn.Module):
    """Stands for an embedding where a model's first input holds values by itself, such as an image's."""

    def forward(self, values: Tensor) -> Tensor:
        return values


@dataclass(frozen=True)
class PerRow:
    """How a model is asked whose answer to a row depends on its batch mates or its padding: for each row alone, without
    padding.

    `fails` tells whether it has no answer to so many tokens; `instead` then surrounds the call, and puts what defines the
    answer in the place of the modules that fail.
    """

    fails: Callable[[int], bool] = never
    instead: Callable[[nn.Module], AbstractContextManager[None]] = nothing


@dataclass(frozen=True)
class Family:
    """What only a family's own file can tell of a model: the longest input in tokens, the padding rule and the switch
    of `Limits`, how it fills in segments, its decoder, what must surround each call of the untouched model, where a
    call changes it or draws random numbers, and whether it must be asked for each row alone.

    `shortest` is the least input, if more than `SHORTEST`. `width`, the values of a token's hidden state (0: the config
    says it), `token_types` and `padding_id` stand in for what the config does not say, `embedding` for the library's own
    from token ids to vectors, where explanations start from another. `has_argmax`: answers hang on discrete choices;
    `provenance` is what the export had to decide for the model.
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
    provenance: Mapping[str, Any] = field(default_factory=dict)


class Drawing(Protocol):
    """Makes inputs by name from the axes' sizes, a seed, and the real tokens of a row by its number and length."""

    def __call__(
        self, sizes: Mapping[str, int], seed: int, padded: Callable[[int, int], int] | None = None
    ) -> dict[str, npt.NDArray[Any]]: ...


@dataclass(frozen=True)
class ModuleInputs:
    """What a module of one's own takes, where a model of text takes token ids and a mask: its inputs in the order of
    ``forward``, their axes, how more of them are made, and what marks a real token in those that are masks, by name.
    """

    tensors: tuple[contract.Tensor, ...]
    signature: Signature
    draw: Drawing
    real: Mapping[str, int]


@dataclass(frozen=True)
class Place:
    """A layer's projections: those that make values, and the one that reads what they become."""

    values: tuple[nn.Module, ...]
    reader: nn.Module
    heads: int


def part(module: nn.Module, path: str) -> Any:
    """What a dotted path of attributes leads to, None where it does not."""
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


def places_of(model: nn.Module, about: Mixing) -> list[Place]:
    """In the order of the layers."""
    found = []
    for module in model.modules():
        values, reader = [part(module, path) for path in about.values], part(module, about.reader)
        if all(isinstance(one, nn.Module) for one in (*values, reader)):
            found.append(Place(tuple(values), reader, int(part(module, about.heads))))
    return found


@dataclass(frozen=True)
class Source:
    """A model to export: one of text, or with `own` any module.

    `module` takes `inputs` by name, and `settings` that are no tensors, and answers with a mapping of `outputs`, or with
    the only one of them; `call_context` surrounds each call of it, `per_row` says how the grid asks it. `embedding` is its
    submodule from token ids to vectors, which explanations start from, or `Values`. `first_id` stands first in every input of the grid, `padding_id` behind the real
    tokens. `limits.block` is 1: the lowering says what it needs. `choices`: a row holds several inputs, of which one is
    chosen. `has_argmax`: its `torch.argmax` decides inside what else is computed. `reason` says why it has no `embedding`.
    `scores` are those of `Manifest`, `files` what the bundle holds besides. `config` becomes config.json,
    `card` the head of README.md. `quiet` silences what its library says.
    """

    name: str
    task: str
    variant: Variant
    module: nn.Module
    embedding: nn.Module | None
    outputs: tuple[contract.Tensor, ...]
    limits: contract.Limits
    labels: tuple[str, ...]
    preprocess: Bytes | Text | None
    first_id: int
    padding_id: int
    globals: contract.Globals | None = None
    segments: contract.Segments | None = None
    decoder: contract.Decoder | None = None
    module_inputs: ModuleInputs | None = None
    multiple_choice: bool = False
    has_argmax: bool = False
    scores: str = "softmax"
    files: Mapping[str, bytes] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    call_context: Callable[[nn.Module], AbstractContextManager[None]] = nothing
    reason: str = ""
    per_row: PerRow | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    quiet: Callable[[], AbstractContextManager[None]] = nullcontext
    card: str = ""

    @cached_property
    def tensors(self) -> tuple[contract.Tensor, ...]:
        """The graph's inputs in order; those of a model of text are int64."""
        if self.module_inputs is not None:
            return self.module_inputs.tensors
        types = (names.TOKEN_TYPE_IDS,) if self.limits.token_types else ()
        row = (names.BATCH, names.CHOICES, names.SEQUENCE) if self.multiple_choice else (names.BATCH, names.SEQUENCE)
        shapes = dict.fromkeys((*self.variant.inputs, *types), row)
        if self.decoder is not None:
            shapes[names.DECODER_INPUT_IDS] = (names.BATCH, names.DECODER_SEQUENCE)
        return tuple(contract.Tensor(name, "int64", shape) for name, shape in shapes.items())

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the graph's inputs in order."""
        return tuple(tensor.name for tensor in self.tensors)

    @cached_property
    def target(self) -> Target | None:
        """What an explanation explains; None where there is nothing, or no embedding to explain it by."""
        if self.embedding is None or (self.multiple_choice and self.per_row is not None):
            return None
        return target_of(
            self.outputs, names.BATCH if self.module_inputs is None else self.module_inputs.signature.samples
        )

    def explained_by(
        self, path: bool = False, weights: bool = False
    ) -> tuple[tuple[contract.Tensor, ...], tuple[contract.Tensor, ...]]:
        """What an explain graph takes and gives besides, `path` for one that integrates along one, `weights` for one that
        gives attention's, where it has any.
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
        """Where its attention mixes tokens by weights, layer by layer; nowhere for one without."""
        about = self.variant.mixing
        return [] if about is None else places_of(self.module, about)

    @property
    def unexplained(self) -> str:
        """Why no explain graph can be made; empty where one can."""
        if self.target is not None:
            return ""
        together = "its choices are answered one by one" if self.multiple_choice and self.per_row is not None else ""
        return self.reason or together or "the head gives neither logits nor vectors"

    def answer(self, inputs: Mapping[str, Tensor], module: nn.Module | None = None) -> dict[str, Tensor]:
        """The outputs by name, of `module` where another one stands in for the source's own."""
        called = module or self.module
        with self.call_context(called):
            found = named_outputs(called(**inputs, **self.settings), self.outputs[0].name)
        return {output.name: found[output.name] for output in self.outputs}

    def real(self, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
        """Which tokens are no padding, [batch, sequence]; of a module of one's own every answer counts."""
        if self.module_inputs is None:
            return inputs[names.ATTENTION_MASK] > 0
        return np.ones(next(iter(inputs.values())).shape[:2], dtype=bool)

    def shown(self, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
        """Which tokens of the first input a mask shows, [batch, sequence], or its pixels: the others have no relevance."""
        if self.mask is None:
            sizes = inputs[self.inputs[0]].shape
            return np.ones([size for axis, size in enumerate(sizes) if axis != self.channels], dtype=bool)
        place, mark = self.mask
        shown: npt.NDArray[np.bool_] = inputs[self.inputs[place]] == mark
        return shown

    @cached_property
    def mask(self) -> tuple[int, int] | None:
        """The place among the inputs of the one that tells real tokens, and what marks them; None without one."""
        marks = {names.ATTENTION_MASK: 1} if self.module_inputs is None else self.module_inputs.real
        places = [
            (place, marks[one.name])
            for place, one in enumerate(self.tensors)
            if one.name in marks and (self.module_inputs is None or one.shape == self.tensors[0].shape)
        ]
        return places[0] if places else None

    @property
    def channels(self) -> int | None:
        """The axis of channels of an image, [samples, channels, height, width]: a pixel's relevance is their sum."""
        return 1 if isinstance(self.embedding, Values) and len(self.tensors[0].shape) == IMAGE else None

    @property
    def row_axis(self) -> int:
        """The axis of samples of the first input."""
        return self.samples(self.tensors[0]) or 0

    def samples(self, tensor: contract.Tensor) -> int | None:
        """The axis of an input or output along which samples are independent."""
        name = names.BATCH if self.module_inputs is None else self.module_inputs.signature.samples
        return tensor.shape.index(name) if name in tensor.shape else None


def named_outputs(found: Any, name: str = names.LOGITS) -> dict[str, Tensor]:
    """What a module answers, by name: a tensor or the first of several is called `name` where it has no own one.

    ExportError for an answer without tensors. What is no tensor, such as a cache, is left out.
    """
    if isinstance(found, Tensor):
        found = {name: found}
    if isinstance(found, list | tuple) and not hasattr(found, "_asdict"):
        found = {name if place == 0 else f"output_{place}": value for place, value in enumerate(found)}
    if not isinstance(found, Mapping):
        values = found._asdict() if hasattr(found, "_asdict") else getattr(found, "__dict__", {})
        found = dict(values)
    tensors = {key: value for key, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ExportError(f"a module must answer with tensors, got {type(found).__name__} without; return some.")
    return tensors


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """The model as it answers on a device: no dropout, weights that are constants. Afterwards it is as before."""
    wanted = {parameter: parameter.requires_grad for parameter in model.parameters()}
    training = {module: module.training for module in model.modules()}
    try:
        model.eval().requires_grad_(False)
        yield
    finally:
        for parameter, gradient in wanted.items():
            parameter.requires_grad_(gradient)
        for module, mode in training.items():
            module.training = mode


@contextmanager
def vectors_of(reader: nn.Module, instead: Tensor | None = None) -> Iterator[list[Tensor]]:
    """For the duration what an embedding hands out are leaves, and listed; `instead` takes the place of the first."""
    leaves: list[Tensor] = []

    def leaf(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        given = output if instead is None or leaves else instead
        leaves.append(given.detach().requires_grad_(True))
        return leaves[-1]

    with reader.register_forward_hook(leaf):
        yield leaves


@contextmanager
def started_from(
    reader: nn.Module, inputs: Mapping[str, Tensor], instead: Tensor | None = None
) -> Iterator[tuple[Mapping[str, Tensor], list[Tensor]]]:
    """The inputs to call a model with, and the leaves that an explanation starts from, as `vectors_of`."""
    if isinstance(reader, Values):
        first, values = next(iter(inputs.items()))
        leaf = (values if instead is None else instead).detach().requires_grad_(True)
        yield {**inputs, first: leaf.clone()}, [leaf]  # a model may write to its input
        return
    with vectors_of(reader, instead) as leaves:
        yield inputs, leaves
