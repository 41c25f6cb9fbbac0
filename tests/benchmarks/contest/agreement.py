"""Whether a contestant answers as the eager model does. In: two answers. Out: why they differ, or an empty text."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MOST = 1e-3  # of the largest value: a contestant that is further off computes another model


def array(answer: Any) -> npt.NDArray[Any]:
    """Logits of a model of the library, of a reference model, or of a session's run."""
    first = answer[0] if isinstance(answer, list) else getattr(answer, "logits", answer)
    return np.asarray(first.detach() if hasattr(first, "detach") else first)


def disagreement(found: Any, wanted: Any) -> str:
    """Why `found` is another answer than `wanted`; empty where they agree within `MOST` of the largest value."""
    one, other = array(found), array(wanted)
    if one.shape != other.shape:
        return f"its answer has shape {list(one.shape)}, and the eager model's {list(other.shape)}"
    if not np.isfinite(one).all():
        return "its answer is not finite"
    worst, largest = float(np.abs(one - other).max()), float(np.abs(other).max())
    return "" if worst <= MOST * largest else f"its answer is wrong by {worst / largest:.2g} of the largest value"
