"""What an export must know about a model: the module, and the contract of its graphs.

In: an encoder of `edgexf.models`. Out: a `Source`, which tracing, verifying and the bundle read; none of
them looks at the model's class.

    encoder  ->  Source(module, inputs, outputs, embedding, limits, ...)  ->  graphs, grid, manifest

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


@dataclass(frozen=True)
class Source:
    """A model to export.

    `module` takes `inputs` by name and answers with a mapping of `outputs`, or with
    the only one of them. `embedding` is its submodule from token ids to vectors, which explanations start from.
    `first_id` stands first in every input of the grid, `padding_id` behind the real tokens. `limits.block` is 1:
    the lowering says what it needs. `config` becomes config.json, `card` the head of README.md. `quiet` silences what its library says while it runs.
    """

    name: str
    task: str
    variant: Variant
    module: nn.Module
    embedding: nn.Module
    outputs: tuple[contract.Tensor, ...]
    limits: contract.Limits
    labels: tuple[str, ...]
    preprocess: contract.Bytes | None
    globals: contract.Globals | None
    first_id: int
    padding_id: int
    config: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    quiet: Callable[[], AbstractContextManager[None]] = nullcontext
    card: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The graph's inputs in order, int64 [batch, sequence] each."""
        types = (names.TOKEN_TYPE_IDS,) if self.limits.token_types else ()
        return (*self.variant.inputs, *types)

    @property
    def classes(self) -> int | None:
        """Columns of ``logits`` [batch, classes]; None where the model gives no such thing, and can't be explained yet."""
        first = self.outputs[0]
        classifies = first.name == names.LOGITS and len(first.shape) == 2
        return len(self.labels) if classifies else None

    def answer(self, inputs: Mapping[str, Tensor], module: nn.Module | None = None) -> dict[str, Tensor]:
        """The outputs by name, of `module` where another one stands in for the source's own."""
        found = (module or self.module)(**inputs)
        if isinstance(found, Tensor):
            found = {self.outputs[0].name: found}
        return {output.name: found[output.name] for output in self.outputs}
