"""Two texts, and what the tokens of each add to how alike they are.

In: explanations of two texts, each of whose targets is the embedding of the other. Out: a `Similarity`, which views show
side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgexf.errors import UsageError
from edgexf.report.characters import visible
from edgexf.report.explanation import Explanation

SIDES = ("first text", "second text")


@dataclass(frozen=True, eq=False)
class Similarity:
    """The explanations of both texts: of the first, of the second, and so on for each method.

    UsageError for explanations without a partner.
    """

    explanations: tuple[Explanation, ...]

    def __post_init__(self) -> None:
        if not self.explanations or len(self.explanations) % 2:
            raise UsageError(
                f"a similarity needs an explanation of each text, got {len(self.explanations)}; explain both."
            )

    @property
    def several_models(self) -> bool:
        return False

    @property
    def cosine(self) -> float:
        """How alike the texts are."""
        return self.explanations[0].explained

    @property
    def labels(self) -> tuple[str, ...]:
        """A short name for each explanation: its side, and its method if there are several."""
        several = len(self.explanations) > len(SIDES)
        return tuple(
            f"{SIDES[place % 2]}, {visible(one.method)}" if several else SIDES[place % 2]
            for place, one in enumerate(self.explanations)
        )
