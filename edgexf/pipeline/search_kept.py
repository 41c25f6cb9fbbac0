"""Choose which weights are not quantized, so that the drop stays within its budget, with few evaluations.

In: the digests of the weights, the cost of each weight alone, and the drop of a choice. Out: the choice, the curve of
size against drop that the search saw, and the number of evaluations.

Weights are ranked by the error of quantizing each weight alone. The number of kept weights is doubled until the budget
holds. Then the interval between the last two numbers is halved again and again: 2 log2(weights) choices instead of
2^weights.

Two alternatives were weighed. A greedy search that ranks again after each choice takes weights^2 evaluations. Ranking
by the rounding error of the weights takes no evaluations, but it ignores the inputs, whose outliers break a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edgexf.report.quantization import Point

Key = bytes


@dataclass
class Search:
    """The search for the weights to keep.

    Attributes:
        keys: the digests of the weights.
        cost: measures the error of quantizing one weight alone.
        evaluate: measures the bytes and the drop with some weights kept.
        max_drop: the budget of the drop.
        most: the most evaluations of `cost` and `evaluate` together. If there are more weights, some are ranked by the
            cost of a neighbour.
        curve: the points of size against drop. It may begin with known points.
        evaluations: how many evaluations the search has made.
    """

    keys: Sequence[Key]
    cost: Callable[[Key], float]
    evaluate: Callable[[Sequence[Key]], tuple[int, float]]
    max_drop: float
    most: int
    curve: list[Point] = field(default_factory=list)
    evaluations: int = 0

    def run(self) -> tuple[Key, ...]:
        """Returns the weights to keep; none if the budget holds without them."""
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
        """The weights by their cost, the highest cost first."""
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
