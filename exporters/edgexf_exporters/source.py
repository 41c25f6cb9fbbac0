"""What an export must know about a model: the module, and the contract of its graphs.

In: a model, by `edgexf_exporters.reference` or `checkpoint`. Out: a `Source`, which tracing, verifying and the
bundle read; none of them looks at the model's class.

    model  ->  Source(module, inputs, outputs, embedding, limits, ...)  ->  graphs, grid, manifest

Two alternatives were weighed. A base class that models inherit would ask users to change theirs. A case
for each kind of model in tracing, verifying and writing is what makes exporters long and hard to extend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from edgexf import manifest as contract
from edgexf import names
from edgexf_exporters.variant import Variant

SHORTEST = 2  # tokens of an input: a text is at least its first and last special token


def nothing(_: nn.Module) -> AbstractContextManager[None]:
    """Around a model that a call does not change."""
    return nullcontext()


@dataclass(frozen=True)
class Family:
    """What only a family's own file can tell of a model: the longest input in tokens, the padding rule and the switch
    of `Limits`, how it fills in segments, its decoder, and what must surround each call of the untouched model, where a
    call changes it.

    `shortest` is the least input, if more than `SHORTEST`. `token_types` and `padding_id` stand in for what the config
    does not say, `embedding` for the library's own from token ids to vectors, where explanations start from another.
    """

    longest: int
    padding: str = "invariant"
    switch: int = 0
    segments: contract.Segments = field(default_factory=lambda: contract.Segments("zeros", -1))
    decoder: contract.Decoder | None = None
    around: Callable[[nn.Module], AbstractContextManager[None]] = nothing
    shortest: int = SHORTEST
    token_types: int = 1
    padding_id: int | None = None
    embedding: nn.Module | None = None


@dataclass(frozen=True)
class Source:
    """A model to export.

    `module` takes `inputs` by name, and `settings` that are no tensors, and answers with a mapping of `outputs`, or with
    the only one of them; `around` surrounds each call of it. `embedding` is its submodule from token ids to vectors,
    which explanations start from. `first_id` stands first in every input of the grid, `padding_id` behind the real
    tokens. `limits.block` is 1: the lowering says what it needs. `choices`: a row holds several inputs, of which one is
    chosen. `scores` are those of `Manifest`, `files` what the bundle holds besides. `config` becomes config.json,
    `card` the head of README.md. `quiet` silences what its library says.
    """

    name: str
    task: str
    variant: Variant
    module: nn.Module
    embedding: nn.Module
    outputs: tuple[contract.Tensor, ...]
    limits: contract.Limits
    labels: tuple[str, ...]
    preprocess: contract.Bytes | contract.Text | None
    first_id: int
    padding_id: int
    globals: contract.Globals | None = None
    segments: contract.Segments | None = None
    decoder: contract.Decoder | None = None
    choices: bool = False
    scores: str = "softmax"
    files: Mapping[str, bytes] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    around: Callable[[nn.Module], AbstractContextManager[None]] = nothing
    config: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    quiet: Callable[[], AbstractContextManager[None]] = nullcontext
    card: str = ""

    @property
    def tensors(self) -> tuple[contract.Tensor, ...]:
        """The graph's inputs in order, all of them int64."""
        types = (names.TOKEN_TYPE_IDS,) if self.limits.token_types else ()
        row = (names.BATCH, names.CHOICES, names.SEQUENCE) if self.choices else (names.BATCH, names.SEQUENCE)
        shapes = dict.fromkeys((*self.variant.inputs, *types), row)
        if self.decoder is not None:
            shapes[names.DECODER_INPUT_IDS] = (names.BATCH, names.DECODER_SEQUENCE)
        return tuple(contract.Tensor(name, "int64", shape) for name, shape in shapes.items())

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the graph's inputs in order."""
        return tuple(tensor.name for tensor in self.tensors)

    @property
    def explained(self) -> tuple[tuple[contract.Tensor, ...], tuple[contract.Tensor, ...]]:
        """What an explain graph takes and gives besides."""
        tokens = (names.BATCH, names.SEQUENCE)
        return (contract.Tensor(names.TARGET, "float32", (names.BATCH, self.classes or 1)),), (
            contract.Tensor(names.RELEVANCE, "float32", tokens),
            contract.Tensor(names.RESIDUAL, "float32", tokens[:1]),
        )

    @property
    def classes(self) -> int | None:
        """Columns of ``logits`` [batch, classes]; None where the model gives no such thing, and can't be explained yet."""
        first = self.outputs[0]
        classifies = first.name == names.LOGITS and len(first.shape) == 2 and not first.varies
        return len(self.labels) if classifies else None

    def answer(self, inputs: Mapping[str, Tensor], module: nn.Module | None = None) -> dict[str, Tensor]:
        """The outputs by name, of `module` where another one stands in for the source's own."""
        called = module or self.module
        with self.around(called):
            found = called(**inputs, **self.settings)
        if isinstance(found, Tensor):
            found = {self.outputs[0].name: found}
        return {output.name: found[output.name] for output in self.outputs}
