"""Several explanations of one input side by side, and how far they agree.

In: explanations of the same tokens, by several methods, of several targets or from several models. Out: a `Comparison`,
with a name for each explanation and two figures for each pair. The literature compares methods by these figures
(Krishna et al. 2022, "The Disagreement Problem in Explainable Machine Learning", section 4): the rank correlation of
the scores, and the number of strongest tokens in common. Both figures use ranks alone, because the raw scores of two
methods have different scales.

Agreement is no proof: two methods may agree and both be wrong. The figures say where a reader should look twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from edgexf.errors import UsageError
from edgexf.report.characters import visible
from edgexf.report.explanation import Explanation
from edgexf.report.ranks import spearman, strongest
from edgexf.report.relevance import target_text


@dataclass(frozen=True)
class Agreement:
    """How far two explanations of a comparison agree.

    Attributes:
        first, second: the indices of the two explanations.
        correlation: Spearman's rank correlation of the scores; None if all scores of one explanation are equal.
        common: how many of the strongest tokens the two explanations share.
        strongest: how many tokens with the largest |score| are compared: at most ten, and none whose score is 0.
    """

    first: int
    second: int
    correlation: float | None
    common: int
    strongest: int


@dataclass(frozen=True, eq=False)
class Comparison:
    """At least two explanations of one input. UsageError for fewer, and for different inputs or tokens."""

    explanations: tuple[Explanation, ...]

    def __post_init__(self) -> None:
        if len(self.explanations) < 2:
            raise UsageError(
                f"a comparison needs at least two explanations, got {len(self.explanations)}; add a method or a target."
            )
        first = self.explanations[0]
        for other in self.explanations[1:]:
            if (other.tokens, other.offsets, other.data) != (first.tokens, first.offsets, first.data):
                raise UsageError(
                    f"explanations side by side must be of the same input and tokens, got {visible(first.input)} and {visible(other.input)}, which differ; compare them one by one."
                )

    @property
    def several_models(self) -> bool:
        return len({explanation.model_sha256 for explanation in self.explanations}) > 1

    @property
    def labels(self) -> tuple[str, ...]:
        """A short name for each explanation: its method, what else differs, and a number for equal names."""
        parts = [
            [visible(one.method) for one in self.explanations],
            [target_text(one.target) for one in self.explanations],
            ["" if one.position is None else f"token {one.position}" for one in self.explanations],
            [visible(one.model) for one in self.explanations],
        ]
        telling = [part for place, part in enumerate(parts) if place == 0 or len(set(part)) > 1]
        names = [", ".join(filter(None, values)) for values in zip(*telling, strict=True)]
        return tuple(
            f"{name} ({names[:place].count(name) + 1})" if names.count(name) > 1 else name
            for place, name in enumerate(names)
        )

    @property
    def agreements(self) -> tuple[Agreement, ...]:
        """The agreement of every pair of explanations, in order."""
        scores = [explanation.scores.astype(np.float64) for explanation in self.explanations]
        found = []
        for first, second in combinations(range(len(scores)), 2):
            one, other = strongest(scores[first]), strongest(scores[second])
            correlation = spearman(scores[first], scores[second])
            found.append(Agreement(first, second, correlation, len(one & other), max(len(one), len(other))))
        return tuple(found)

    def to_html(self) -> str:
        """One self-contained HTML page; see `edgexf.report.html.comparison`."""
        from edgexf.report.html.comparison import comparison_page

        return comparison_page(self)

    def save_html(self, path: Path) -> None:
        path.write_text(self.to_html(), encoding="utf-8")


def agreement_text(agreement: Agreement) -> str:
    """Both figures as short text: ``+0.83, 7 of 10``."""
    correlation = "-" if agreement.correlation is None else f"{agreement.correlation:+.2f}"
    return f"{correlation}, {agreement.common} of {agreement.strongest}"
