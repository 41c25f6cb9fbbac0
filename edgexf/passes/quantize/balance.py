"""Even out the inputs of a layer before they share one range, if a few inputs are far larger than all others.

    before  x W                                  one outlier of x sets the step of every entry
    after   (x * f) (W / f) + x[J] W[J]          f for each input of the layer, 0 at the few inputs J

The factor f_j = max|W_j|^(1-a) / max|x_j|^a moves range from activations to weights (SmoothQuant, Xiao et al. 2023,
eq. 4). The rows J with the largest products stay in float32 (LLM.int8(), Dettmers et al. 2022, section 3.2). Here these
rows are fixed beforehand, so that a graph of plain operators can hold them.

Both steps are exact up to rounding. The multiplication costs a pass over the inputs, so a sample of the layer's inputs
decides whether balancing pays. An input counts as at least as large as the median input, even if only smaller values of
it were seen, or none. Otherwise its factor would be so large that a single row with a value there takes the whole
range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgexf.passes.quantize import scales

Floats = npt.NDArray[np.float32]
SHARE = 0.5  # a of eq. 4
KEPT = 0.01  # this share of a layer's inputs, rounded up, stays in float32
WORTH = 0.01  # balancing is tried if the relative error of a layer's product is at least this
BETTER = 0.6  # balancing must reduce the error to this share or less


@dataclass(frozen=True)
class ActivationSample:
    """The inputs that a layer multiplied while it was watched.

    Attributes:
        rows: a sample of the rows, float32 [rows, inputs].
        largest: the largest absolute value of each input over all rows, float32 [inputs].
        low: the lowest value of all rows.
        high: the highest value of all rows.
    """

    rows: Floats
    largest: Floats
    low: float
    high: float


@dataclass(frozen=True)
class Balance:
    """How the inputs of a layer are evened out.

    Attributes:
        factor: what each input is multiplied by, float32 [inputs]; 0 at `rows`.
        rows: int64, the inputs whose products stay in float32.
        plain: the relative error of the layer's product without the balance.
        balanced: the relative error of the layer's product with the balance.
    """

    factor: Floats
    rows: npt.NDArray[np.int64]
    plain: float
    balanced: float

    @property
    def inverse(self) -> Floats:
        """1 / factor, 0 at the rows."""
        inverse: Floats = np.divide(1, self.factor, out=np.zeros_like(self.factor), where=self.factor > 0)
        return inverse


def find_balance(seen: ActivationSample, weight: Floats) -> Balance | None:
    """Finds the balance for a layer's product with `weight` [inputs, outputs]; None if balancing does not pay."""
    inputs = seen.rows
    exact = inputs @ weight
    scale = float(np.linalg.norm(exact))
    if scale == 0 or not np.isfinite(scale):
        return None
    plain = float(np.linalg.norm(rounded(inputs, seen.low, seen.high) @ rounded_columns(weight) - exact)) / scale
    if plain < WORTH:
        return None
    tiny = float(np.finfo(np.float32).tiny) ** 0.5
    of_inputs = np.maximum(seen.largest, np.median(seen.largest[seen.largest > 0]))
    of_weight = np.maximum(np.abs(weight).max(axis=1), tiny)
    rows = np.sort(np.argsort(-of_inputs * of_weight, kind="stable")[: int(np.ceil(KEPT * len(of_inputs)))])
    factor = of_weight ** (1 - SHARE) / of_inputs**SHARE
    factor = (factor / np.exp(np.log(factor).mean())).astype(np.float32)
    factor[rows] = 0
    found = Balance(factor, rows.astype(np.int64), plain, 0.0)
    reach = float((seen.largest * factor).max())
    answer = rounded(inputs * factor, -reach, reach) @ rounded_columns(weight * found.inverse[:, None])
    balanced = float(np.linalg.norm(answer + inputs[:, rows] @ weight[rows] - exact)) / scale
    return Balance(factor, found.rows, plain, balanced) if balanced <= BETTER * plain else None


def rounded(inputs: Floats, low: float, high: float) -> Floats:
    """Rounds activations to 8 bits, with one range for all of them."""
    step = (max(high, 0.0) - min(low, 0.0)) / 255 or 1.0
    return np.asarray(np.rint(inputs / step) * step, dtype=np.float32)


def rounded_columns(weight: Floats) -> Floats:
    """Rounds the weight of a layer, [inputs, outputs], to 8 bits with a scale for each output."""
    step = scales.of_layer(weight, axis=1)
    return np.asarray(np.rint(weight / step) * step, dtype=np.float32)
