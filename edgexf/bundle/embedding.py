"""How texts become embeddings: the part of a manifest that says what the output `sentence_embedding` leaves to a reader.

In: keyword arguments. Out: frozen values that were checked for kind and range. The graph pools, and applies what stands
behind the pooling. A reader puts the prompt before the text, marks it where it is not pooled, and cuts the embedding.
"""

from __future__ import annotations

from edgexf.checks import is_count, require
from edgexf.records import Record

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")


class Embedding(Record):
    """How texts become embeddings: what `sentence_embedding` leaves to a reader.

    Attributes:
        prompts: texts that stand before an input, by name.
        default_prompt: the name of the prompt of a caller who names none; empty for no prompt.
        include_prompt: the tokens of a prompt are pooled too. If not, a reader marks them in ``attention_mask`` by
            `names.PROMPT_MARK`: the model reads them, and the pooling leaves them out.
        normalised: an embedding has the length 1.
        dimensions: the number of leading values that a caller gets who names none; 0 for all.
        similarity: how two embeddings are compared: a name of `SIMILARITIES`.
    """

    prompts: dict[str, str]
    default_prompt: str = ""
    include_prompt: bool = True
    normalised: bool = False
    dimensions: int = 0
    similarity: str = "cosine"

    def __post_init__(self) -> None:
        texts = isinstance(self.prompts, dict) and all(
            isinstance(one, str) for pair in self.prompts.items() for one in pair
        )
        require(texts, "prompts must be texts by name", self.prompts)
        known = self.default_prompt == "" or self.default_prompt in self.prompts
        require(known, "default_prompt must be the name of a prompt, or empty", self.default_prompt)
        for name in ("include_prompt", "normalised"):
            require(isinstance(getattr(self, name), bool), f"{name} must be true or false", getattr(self, name))
        require(is_count(self.dimensions, 0), "dimensions must be a whole number of at least 0", self.dimensions)
        require(
            self.similarity in SIMILARITIES, f"similarity must be one of {', '.join(SIMILARITIES)}", self.similarity
        )
