"""What a model answers, as its manifest tells it: labels of an input or of tokens, words, an answer's ends, vectors.

In: a manifest, and for a model of text its tokenizer. Out: a `Head`, which names the columns of its first output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgexf import names
from edgexf.bundle.manifest import Manifest, Tensor
from edgexf.errors import UsageError
from edgexf_runtimes.inputs.text import Tokenizer


@dataclass(frozen=True)
class Head:
    """`tokenizer` opens the bundle's, where columns are words of its vocabulary."""

    manifest: Manifest
    tokenizer: Callable[[], Tokenizer]

    @property
    def output(self) -> Tensor:
        return self.manifest.variants[0].outputs[0]

    @property
    def classifies(self) -> bool:
        """Whether an input gets a label, by logits [batch, labels]."""
        return self.output.name == names.LOGITS and bool(self.manifest.labels) and not self.output.varies

    @property
    def tagged(self) -> bool:
        """Whether each token of the input gets logits, [batch, sequence, labels or words]."""
        logits = self.output.name == names.LOGITS and len(self.output.shape) == 3
        return logits and names.SEQUENCE in self.output.shape

    @property
    def columns(self) -> int:
        """The entries of the output's last axis, which a graph fixes."""
        last = self.output.shape[-1]
        if not isinstance(last, int):
            raise UsageError(
                f"an explanation by name needs an output of fixed columns, got {list(self.output.shape)}; call session.run_explain with arrays."
            )
        return last

    def column(self, name: str) -> int:
        """The column of a label, or of a word of the vocabulary. UsageError for one that is unknown."""
        labels = self.manifest.labels
        if labels and name in labels:
            return labels.index(name)
        found = None if labels else self.tokenizer().vocabulary().get(name)
        if found is None or found >= self.columns:
            known = f"the model's labels ({', '.join(labels)})" if labels else "the tokens of the model's vocabulary"
            raise UsageError(f"target must be among {known}, got {name}; choose one of them.")
        return found

    def name(self, column: int) -> str:
        labels = self.manifest.labels
        return labels[column] if labels else self.tokenizer().token(column) or f"id {column}"
