"""An explanation as plain values, and its JSON. An application can store an explanation and show it later.

In: the values that the runtime computed, or the JSON text of an earlier explanation. Out: an `Explanation`, or JSON.
Law: ``Explanation.from_json(why.to_json())`` has the values of ``why``, to the last bit of every number.

The JSON key `data` holds the bytes of the input, as text if they are UTF-8 and in base64 if they are not; `encoding`
says which. Each score has the digits that tell its float32 from every other float32. `words` is for other readers
only: it follows from the other keys, so `from_json` does not use it.

Reading is strict. `from_json` refuses another schema version, an unknown or a missing key, and a value of the wrong
kind: a page that shows half of what a newer edgexf wrote would be silently wrong. Pickle would be shorter, but it runs
code from the file.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf.checks import is_count, require
from edgexf.errors import EdgexfError, InputError, quoted
from edgexf.report.prediction import score_text
from edgexf.report.reading import check_keys, listed, of_kind, offsets_of
from edgexf.report.scored import Scored, other_values, parsed, shared
from edgexf.report.words import Word, words_of

SCHEMA_VERSION = 3  # version 2 named no date, machine and true label; version 1 had no `data`, so no view can show it
READ_VERSIONS = (2, SCHEMA_VERSION)


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanation(Scored):
    """Why a model answered as it did: one signed, raw score for each token of the input.

    ValueError for values that don't fit each other, EdgexfError for a number that is not finite.

    Attributes:
        scores: float32 [tokens].
        data: the bytes of the input.
        tokens: the tokens of the input as text.
        offsets: the [start, end) of each token in `data`; (0, 0) for the class token and every special token of a
            tokenizer.
        position: the token whose logits are explained; None for a model with one answer to its input.

    The other attributes are those of `Scored`.
    """

    data: bytes
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    position: int | None = None

    def __post_init__(self) -> None:
        count = len(self.tokens)
        require(len(self.offsets) == count, f"offsets must be {count}, one a token", len(self.offsets))
        require(self.scores.shape == (count,), f"scores must be {count}, one a token", self.scores.shape)
        for start, end in self.offsets:
            require(0 <= start <= end <= len(self.data), "offsets must lie in data", (start, end))
        super().__post_init__()
        placed = self.position is None or (is_count(self.position, 0) and self.position < count)
        require(placed, "position must be the place of a token", self.position)

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words with the sums of their scores; see `edgexf.report.words` for what counts as a word."""
        return words_of(self.data, self.offsets, self.scores.tolist())

    def to_dict(self) -> dict[str, Any]:
        """The values of the JSON; see the module's docstring."""
        return {
            "schema_version": SCHEMA_VERSION,
            **self.shared_values(),
            **data_values(self.data),
            "tokens": list(self.tokens),
            "offsets": [list(offset) for offset in self.offsets],
            "words": [[word.text, word.start, word.end, score_text(word.score)] for word in self.words],
        }

    @staticmethod
    def from_json(text: str | bytes) -> Explanation:
        """The inverse of `to_json`. InputError for any other text, and for another schema version."""
        return from_text(text)

    def to_html(self) -> str:
        """One self-contained HTML page; see `edgexf.report.html.explanation`."""
        from edgexf.report.html.explanation import explanation_page

        return explanation_page(self)


def data_values(data: bytes) -> dict[str, str]:
    try:
        return {"encoding": "utf-8", "data": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"encoding": "base64", "data": b64encode(data).decode("ascii")}


def from_text(text: str | bytes) -> Explanation:
    """Reads the JSON of an explanation. InputError for any other text."""
    values = parsed(text)
    found = values.get("schema_version") if isinstance(values, dict) else None
    if type(found) is not int or found not in READ_VERSIONS:
        raise InputError(
            f"schema_version of an explanation must be {' or '.join(map(str, READ_VERSIONS))}, got {quoted(found)}; explain the input again, or read it with the edgexf that wrote it."
        )
    try:
        return Explanation(**restored(values if found == SCHEMA_VERSION else renewed(values)))
    except (TypeError, ValueError, KeyError, OverflowError, EdgexfError) as error:
        raise other_values(error) from error


def renewed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of version 2 as those of today."""
    prediction = values.get("prediction")
    added = {"prediction": {"batch": 1, **prediction}} if isinstance(prediction, dict) else {}
    return {"date": "", "machine": "", "truth": "", **values, **added}


def restored(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Explanation`. ValueError for wrong keys, and for values of the wrong kind."""
    check_keys(Explanation, values, {"schema_version", "encoding", "words"})
    listed(values["words"], None)
    return {
        **shared(values),
        "scores": scores_of(values["scores"]),
        "data": data_of(values),
        "tokens": tuple(listed(values["tokens"], None, str)),
        "offsets": offsets_of(values["offsets"]),
        "position": values["position"],
    }


def scores_of(values: Any) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, which `Explanation` refuses
        return np.array(listed(values, None, int, float), dtype=np.float32)


def data_of(values: Mapping[str, Any]) -> bytes:
    data, encoding = of_kind(values, "data", str), values["encoding"]
    require(encoding in ("utf-8", "base64"), "encoding must be utf-8 or base64", encoding)
    return b64decode(data, validate=True) if encoding == "base64" else data.encode("utf-8")
