"""What a model answers, and the names of its output columns: labels, or words of the vocabulary.

In: a manifest, and the tokenizer of a text model. Out: a `NamedHead`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgexf import names
from edgexf.bundle.heads import CLASSES, TOKEN_CLASSES, Kind, head_of
from edgexf.bundle.manifest import Manifest, Tensor
from edgexf.errors import UsageError
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
    def kind(self) -> Kind | None:
        """The kind of the first outputs, or None if no known kind fits."""
        found = head_of(self.manifest.variants[0].outputs, self.manifest.samples)
        return None if found is None else found.kind

    @property
    def classifies(self) -> bool:
        """Whether the model gives each input a label, from logits [batch, labels]."""
        return self.kind is CLASSES and bool(self.manifest.labels) and not self.output.varies

    @property
    def tagged(self) -> bool:
        """Whether each token of the input has logits, [batch, sequence, labels or words]."""
        return self.kind is TOKEN_CLASSES and names.SEQUENCE in self.output.shape

    @property
    def columns(self) -> int:
        """The size of the output's last axis. Raises UsageError if the graph does not fix the size."""
        last = self.output.shape[-1]
        if not isinstance(last, int):
            raise UsageError(
                f"an explanation by name needs an output of fixed columns, got {list(self.output.shape)}; call session.run_explain with arrays."
            )
        return last

    def column(self, name: str) -> int:
        """The index of the column of a label, or of a word of the vocabulary. Raises UsageError for an unknown name."""
        labels = self.manifest.labels
        if labels and name in labels:
            return labels.index(name)
        found = None if labels else self.tokenizer().vocabulary().get(name)
        if found is None or found >= self.columns:
            known = f"the model's labels ({', '.join(labels)})" if labels else "the tokens of the model's vocabulary"
            raise UsageError(f"target must be among {known}, got {name}; choose one of them.")
        return found

    def name(self, column: int) -> str:
        """The label or the word of a column."""
        labels = self.manifest.labels
        return labels[column] if labels else self.tokenizer().token(column) or f"id {column}"
