"""Which weights to keep in float32 so that a drop stays within its budget, with few evaluations.

In: the weights' names, how much each one alone costs, and the drop of a choice. Out: the choice, the curve of size against
drop that the search met, and how many evaluations it took.

Weights are ranked by the error that quantizing each one alone causes. The number kept is doubled until the budget holds,
and then halved between the last two: 2 log2(weights) choices instead of 2^weights. Two alternatives were weighed: a
greedy search that ranks anew after each choice takes weights^2 evaluations; ranking by the weights' own rounding error
takes none, but knows nothing of the inputs, whose outliers are what breaks a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edgexf.report.quantization import Point

Key = bytes


@dataclass
class Search:
    """`cost` measures one weight alone; `evaluate` gives bytes and drop with some weights kept. `most` bounds both
    together: weights beyond it are ranked by their neighbours' cost. The `curve` may begin with points that are known.
    """

    keys: Sequence[Key]
    cost: Callable[[Key], float]
    evaluate: Callable[[Sequence[Key]], tuple[int, float]]
    max_drop: float
    most: int
    curve: list[Point] = field(default_factory=list)
    evaluations: int = 0

    def run(self) -> tuple[Key, ...]:
        """The weights to keep, none where the budget holds without."""
        known = [point.drop for point in self.curve if point.kept == 0]
        if known[0] <= self.max_drop if known else self.holds(()):
            return ()
        order = self.ranked()
        good, bad = len(order), 0
        count = 1
        while count < good and not self.holds(order[:count]):
            bad, count = count, 2 * count
        good = min(count, good)
        while good - bad > 1 and self.evaluations < self.most:
            middle = (good + bad) // 2
            if self.holds(order[:middle]):
                good = middle
            else:
                bad = middle
        return tuple(order[:good])

    def holds(self, kept: Sequence[Key]) -> bool:
        size, drop = self.evaluate(kept)
        self.evaluations += 1
        self.curve.append(Point(len(kept), size, drop))
        return drop <= self.max_drop

    def ranked(self) -> list[Key]:
        """The weights by their cost, the worst first."""
        reserve = 2 * len(self.keys).bit_length() + 2
        step = -(-len(self.keys) // max(self.most - reserve, 1))
        costs: list[float] = []
        for place, key in enumerate(self.keys):
            if place % step == 0:
                costs.append(self.cost(key))
                self.evaluations += 1
            else:
                costs.append(costs[-1])
        return [self.keys[place] for place in sorted(range(len(self.keys)), key=lambda place: -costs[place])]
