"""The token whose answer is explained, for models that answer at each token, and the tokens of a part of a text.

In: a predictor, an input, and a position as a caller names it. Out: the index of a token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from edgexf.bundle.heads import task_named
from edgexf.errors import UsageError, quoted
from edgexf_runtimes.inputs.convert import is_whole

if TYPE_CHECKING:
    from edgexf_runtimes.decoding import Prepared
    from edgexf_runtimes.inputs.text import Encoded
    from edgexf_runtimes.predictor import Predictor


def tokens_at(given: Prepared, window: Encoded, part: str, what: str) -> tuple[int, int]:
    """The places of the first and the last token of a part of the text; of a pair, a part of its second text.

    UsageError for a part that the text does not hold.
    """
    texts = (given.raw.text,) if isinstance(given.raw.text, str) else given.raw.text or ()
    start = texts[-1].find(part) if texts and part else -1
    spans = window.places.spans
    inside = (window.places.texts == len(texts) - 1) & (spans[:, 0] < start + len(part)) & (spans[:, 1] > start)
    places = np.flatnonzero(inside)
    if start < 0 or not len(places):
        raise UsageError(
            f"{what} must be a part of the text that the model read, got {quoted(part)}; copy it from there."
        )
    return int(places[0]), int(places[-1])


def place(predictor: Predictor, given: Prepared, position: int | str | None) -> int:
    """The index of the token whose answer is explained.

    A negative `position` counts from the end. A text is a part of the input, whose first token is meant. By default, it is
    the only mask token for a fill-mask model, the last token for a text-generation model, and the first token of the surest
    entity for token classification. Raises UsageError for a position outside the input, and if there is no default.
    """
    (window,) = given.windows
    count = len(window.ids)
    task = task_named(predictor.manifest.task)
    by_default = "" if task is None else task.default_position
    if position is None:
        found = DEFAULTS[by_default](predictor, given)
        if found is None:
            raise UsageError(
                "an explanation of a model that answers at each token needs a position, got none; say which token's answer to explain."
            )
        return found
    if isinstance(position, str):
        return tokens_at(given, window, position, "position")[0]
    if not is_whole(position) or not -count <= position < count:
        raise UsageError(
            f"position must be a token's place, {-count} to {count - 1}, or a part of the text, got {quoted(position)}; choose one."
        )
    return int(position) % count


def only_mask(predictor: Predictor, given: Prepared) -> int | None:
    """The place of the only mask token."""
    masks = np.flatnonzero(given.windows[0].ids == predictor.baseline(None).token_id)
    return int(masks[0]) if len(masks) == 1 else None


def surest_entity(predictor: Predictor, given: Prepared) -> int | None:
    """The place of the first token of the entity with the best score; None for a text without entities."""
    task = predictor.task(aggregation_strategy="simple")
    (entities,) = predictor.answers(task, [[given]])
    if not entities:
        return None
    start = max(entities, key=lambda entity: entity["score"])["start"]
    places = given.windows[0].places
    return int(np.flatnonzero((places.texts == 0) & (places.spans[:, 1] > start))[0])


# How a task chooses the token if the caller names none, by `Task.default_position`.
DEFAULTS: dict[str, Callable[[Predictor, Prepared], int | None]] = {
    "": lambda _predictor, _given: None,
    "mask": only_mask,
    "last": lambda _predictor, given: len(given.windows[0].ids) - 1,
    "entity": surest_entity,
}
