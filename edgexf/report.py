"""Results as plain values: predictions, explanations and latency reports, and their JSON and Markdown.

In: what the runtime measured. Out: text. The JSON of an explanation is in `edgexf.explanation_json`, its HTML page in
`edgexf.page`, the coloured terminal view in `edgexf.terminal`; several of one input are a `Comparison` of
`edgexf.comparison`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf.checks import is_count, require
from edgexf.errors import EdgexfError
from edgexf.names import SHARES
from edgexf.words import Word, words_of

REPORT_SCHEMA = 1  # of a latency report; that of an explanation is in `edgexf.explanation_json`


def score_text(value: float) -> float:
    """A score with the digits that float32 carries."""
    return float(f"{value:.7g}")


@dataclass(frozen=True)
class Prediction:
    """An answer. `score` and `top` are the model's scores, best first, which are `probabilities` where it tells classes
    apart; `ms` is this input's share of its batch's time. Of an input in several `windows` they are the mean logits'
    scores.
    """

    input: str
    label: str
    score: float
    top: tuple[tuple[str, float], ...]
    truncated: bool
    ms: float
    windows: int = 1
    probabilities: bool = True

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        del values["probabilities"]  # one answer for a whole model, which its manifest gives
        if self.windows == 1:
            del values["windows"]
        return {
            **values,
            "score": round(self.score, 6),
            "top": [[label, round(score, 6)] for label, score in self.top],
            "ms": round(self.ms, 3),
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict())


@dataclass(frozen=True, eq=False)
class Features:
    """What a model without labels of inputs answers: its `outputs`, without padding, for each of the `tokens`.

    `offsets` are the tokens' [start, end) in the input's bytes.
    """

    input: str
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    outputs: dict[str, npt.NDArray[np.float32]]
    truncated: bool
    ms: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "input": self.input,
            "tokens": list(self.tokens),
            "offsets": [list(offset) for offset in self.offsets],
            "outputs": {name: rounded(array.tolist()) for name, array in self.outputs.items()},
            "truncated": self.truncated,
            "ms": round(self.ms, 3),
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict())


def rounded(values: Any) -> Any:
    """Nested lists of numbers with the digits that float32 carries."""
    return [rounded(value) for value in values] if isinstance(values, list) else score_text(values)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model answered as it did: one signed, raw score for each token of the input.

    `tokens` are the input's tokens as text and `offsets` their [start, end) in the bytes of `data`; the
    class token, or every special token of a tokenizer, has the offset (0, 0). `scores` is float32 [tokens].
    `target` maps labels to their weight in the explained value, `explained` is that value and `residual` what the
    scores leave of it: explained = sum(scores) + residual, in logits; see `of_shares`. `position` is the token whose logits are
    explained, None for a model with one answer to its input. `prediction` is None for a model that gives no label.
    `model_sha256` is the digest of the bundle's manifest, and with it of every file in the bundle; `graph_sha256` that
    of the graph that answered. `truncated`: the input goes on behind what the model read. `baseline` names what stood
    in for a token that is left out, empty for a method that leaves none out. `settings` are a method's own, as JSON has
    values: its seed, its samples, its error.
    ValueError for parts that don't fit each other, EdgexfError for a score that is no finite number.
    """

    input: str
    data: bytes
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    scores: npt.NDArray[np.float32]
    target: dict[str, float]
    explained: float
    residual: float
    method: str
    prediction: Prediction | None
    model: str
    model_sha256: str
    graph_sha256: str
    ms: float
    truncated: bool
    baseline: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    position: int | None = None

    def __post_init__(self) -> None:
        count = len(self.tokens)
        require(len(self.offsets) == count, f"offsets must be {count}, one a token", len(self.offsets))
        require(self.scores.shape == (count,), f"scores must be {count}, one a token", self.scores.shape)
        for start, end in self.offsets:
            require(0 <= start <= end <= len(self.data), "offsets must lie in data", (start, end))
        numbers = [self.explained, self.residual, self.ms, *self.target.values(), *self.scores.tolist()]
        if not np.isfinite(numbers).all():
            raise EdgexfError(
                f"scores must be finite numbers, got others from {self.method} of {self.model}; explain by another method."
            )
        placed = self.position is None or (is_count(self.position, 0) and self.position < count)
        require(placed, "position must be the place of a token", self.position)

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The scores summed over words; see `edgexf.words` for what a word is, and what belongs to none."""
        return words_of(self.data, self.offsets, self.scores.tolist())

    @property
    def total(self) -> float:
        """The sum of the scores, in float64."""
        return float(self.scores.sum(dtype=float))

    @property
    def of_shares(self) -> bool:
        """Whether scores are shares of attention: they sum to 1, speak neither for nor against, and leave no residual."""
        return self.method in SHARES

    def to_dict(self) -> dict[str, Any]:
        """See `edgexf.explanation_json`."""
        from edgexf.explanation_json import to_values

        return to_values(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), allow_nan=False)

    @staticmethod
    def from_json(text: str | bytes) -> Explanation:
        """The inverse of `to_json`. InputError for anything else, and for another version of the schema."""
        from edgexf.explanation_json import from_text

        return from_text(text)

    def to_html(self) -> str:
        """One self-contained page; see `edgexf.page`."""
        from edgexf.page import explanation_page

        return explanation_page(self)

    def save_html(self, path: Path) -> None:
        path.write_text(self.to_html(), encoding="utf-8")


@dataclass(frozen=True)
class LengthLatency:
    """Latency of a `graph` at one length: milliseconds, tokens a second of the median run, and the process's MiB of memory
    at its peak.

    `p90_ms` is None when there were too few runs for it.
    """

    length: int
    runs: int
    p50_ms: float
    p90_ms: float | None
    tokens_per_second: float
    peak_mib: float
    graph: str = "predict"


@dataclass(frozen=True)
class LatencyReport:
    """What `edgexf bench` measured; `load_ms` is the median of creating a session in a fresh process."""

    model: str
    threads: int
    machine: dict[str, str]
    load_ms: float
    load_runs: int
    rows: tuple[LengthLatency, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"schema_version": REPORT_SCHEMA, **asdict(self)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1)

    def to_markdown(self) -> str:
        """A table, a row a length."""
        rows = [latency_cells(row) for row in self.rows]
        return markdown_table(LATENCY_HEADER, rows)


LATENCY_HEADER = ("graph", "length", "runs", "p50 ms", "p90 ms", "tokens/s", "peak MiB")


def latency_cells(row: LengthLatency) -> tuple[str, ...]:
    """A row's cells as `LATENCY_HEADER` names them."""
    p90 = "-" if row.p90_ms is None else f"{row.p90_ms:.2f}"
    return (
        row.graph,
        f"{row.length:,}",
        str(row.runs),
        f"{row.p50_ms:.2f}",
        p90,
        f"{row.tokens_per_second:,.0f}",
        f"{row.peak_mib:.0f}",
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns but the first are right-aligned."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
