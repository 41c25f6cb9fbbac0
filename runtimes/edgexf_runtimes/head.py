"""What a model answers: its kind of head, and whether inputs or tokens get labels.

In: a manifest, and the tokenizer of a text model. Out: a `NamedHead`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgexf import names
from edgexf.bundle.heads import CLASSES, TOKEN_CLASSES, Kind, head_of
from edgexf.bundle.manifest import Manifest, Tensor
from edgexf_runtimes.inputs.text import Tokenizer


@dataclass(frozen=True)
class NamedHead:
    """The head of a bundle.

    Attributes:
        manifest: the bundle's manifest.
        tokenizer: opens the bundle's tokenizer; called only if the columns are words of its vocabulary.
    """

    manifest: Manifest
    tokenizer: Callable[[], Tokenizer]

    @property
    def output(self) -> Tensor:
        return self.manifest.variants[0].outputs[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the outputs that the kind speaks of; of the first output if no known kind fits."""
        return (self.output.name,) if self.kind is None else self.kind.outputs

    @property
    def compared(self) -> Tensor:
        """The output whose columns an explanation names: the first one, or the one vector of each input."""
        outputs = self.manifest.variants[0].outputs
        return outputs[1] if self.pooled else outputs[0]

    @property
    def pooled(self) -> bool:
        """Whether an output is one vector for each input."""
        return self.kind is not None and self.kind.pooled

    @property
    def kind(self) -> Kind | None:
        """The kind of the first outputs, or None if no known kind fits."""
        found = head_of(self.manifest.variants[0].outputs, self.manifest.samples)
        return None if found is None else found.kind

    @property
    def classifies(self) -> bool:
        """Whether the model gives each input a label, from logits [batch, labels]."""
        return self.kind == CLASSES and bool(self.manifest.labels) and not self.output.varies

    @property
    def tagged(self) -> bool:
        """Whether each token of the input has logits, [batch, sequence, labels or words]."""
        return self.kind == TOKEN_CLASSES and names.SEQUENCE in self.output.shape
