"""What quantizing a bundle did: measured figures and a verdict for each mode, as JSON, Markdown and a table.

In: measurements. Out: `Outcome`s, and ``quantize_config.json``, a JSON object of `schema_version` and `modes`, an outcome
by each mode's name. Ratios of size and time are against the fp32 graph, measured in the same run; below 1 is better.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from edgexf.checks import require, require_text
from edgexf.dtypes import DTYPES
from edgexf.errors import BundleError
from edgexf.names import QUANTIZE_FILE
from edgexf.report.markdown import markdown_table

SCHEMA_VERSION = 1
KEPT, FORCED, REFUSED, PASSED_OVER = "kept", "forced", "refused", "passed over"  # the last: for a smaller one
# Of a layer's answer: sums in float32 differ by 1e-6, rounding to 8 bits by 1e-2. An input half way between two steps may go
# either way; one in a hundred of them would give a tenth of that.
EXACT = 1e-3
SLACK = 1.001  # scales are rounded to float32
SLOWER = "takes"  # how the reason against a slow graph begins


@dataclass(frozen=True)
class ErrorRow:
    """Relative differences from fp32 at one length, over all cases of it."""

    length: int
    cases: int
    mean: float
    worst: float


@dataclass(frozen=True)
class Speed:
    """Time against fp32's at one length: the median over pairs of runs and its 95 % interval."""

    length: int
    pairs: int
    ratio: float
    low: float
    high: float
    fp32_ms: float


@dataclass(frozen=True)
class ExplainRow:
    """How far a method's relevance agrees with fp32's: mean Spearman correlation, mean share of the strongest tokens, and
    whether that is enough for its graph to be kept.
    """

    method: str
    cases: int
    correlation: float | None
    overlap: float | None
    good: bool


@dataclass(frozen=True)
class Layer:
    """What became of a weight. `products`: layers that compute with stored numbers; `rows`: lookups; `reads`: uses that put
    it back to float32. `skipped` says why it was left as it is. `error` and `apart` are those of `edgexf.passes.quantize.layer_check`: what
    it computes against its stored numbers, None where that is not compared, and how far those are from the weight.
    """

    name: str
    shape: tuple[int, ...]
    products: int
    rows: int
    reads: int
    skipped: str
    balanced: bool = False
    error: float | None = None
    apart: float = 0.0

    @property
    def wrong(self) -> str:
        """What is broken about it; empty where nothing is."""
        if self.error is not None and not self.error <= EXACT:
            return f"{self.name} computes otherwise than its stored numbers say, by {self.error:.2g} of its answer where {EXACT:g} is rounding"
        if not self.apart <= SLACK:
            return f"{self.name} is stored {self.apart:.2g} times as far from its weight as rounding leaves it"
        return ""


@dataclass(frozen=True)
class Point:
    """One evaluation of the search: bytes of the predict graph with `kept` weights in float32, and its drop."""

    kept: int
    bytes: int
    drop: float


@dataclass(frozen=True)
class Outcome:
    """A mode on this machine. `drop` is what the metric or the agreement lost, None where nothing asked for it."""

    mode: str
    dtype: str
    verdict: str
    reasons: tuple[str, ...]
    tolerance: float
    unsigned: bool
    bytes: int
    fp32_bytes: int
    errors: tuple[ErrorRow, ...]
    agreement: float
    cases: int
    data: str
    metric: float | None
    fp32_metric: float | None
    drop: float | None
    max_drop: float | None
    speed: tuple[Speed, ...]
    explain: tuple[ExplainRow, ...]
    layers: tuple[Layer, ...]
    curve: tuple[Point, ...]
    evaluations: int
    settings: dict[str, Any]
    machine: dict[str, Any]

    @property
    def size_ratio(self) -> float:
        return self.bytes / self.fp32_bytes

    @property
    def only_slow(self) -> bool:
        """Whether it was forced for no other reason than this machine's clock: another device may be faster with it."""
        return self.verdict == FORCED and all(reason.startswith(SLOWER) for reason in self.reasons)

    @property
    def worst(self) -> float:
        return max(row.worst for row in self.errors)

    @property
    def mean(self) -> float:
        """Over all cases."""
        return sum(row.mean * row.cases for row in self.errors) / sum(row.cases for row in self.errors)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, also of what JSON made of it. TypeError, KeyError or ValueError for anything else."""
        parts = {name: tuple(kind(**row) for row in values[name]) for name, kind in PARTS.items()}
        layers = tuple(replace(layer, shape=tuple(layer.shape)) for layer in parts["layers"])
        found = cls(**{**values, **parts, "layers": layers, "reasons": tuple(values["reasons"])})
        require_text(found)
        for name in ("tolerance", "bytes", "fp32_bytes"):
            number = getattr(found, name)
            require(isinstance(number, int | float) and number > 0, f"{name} must be a number above 0", number)
        return found


PARTS: dict[str, type] = {"errors": ErrorRow, "speed": Speed, "explain": ExplainRow, "layers": Layer, "curve": Point}
HEADER = ("mode", "MB", "size", "worst error", "mean", "agree", "metric", "time", "explain", "verdict")


def cells(outcome: Outcome) -> tuple[str, ...]:
    """A row's cells as `HEADER` names them: sizes and times against fp32."""
    metric = "-" if outcome.metric is None else f"{outcome.fp32_metric:.3f} -> {outcome.metric:.3f}"
    explain = explain_text(outcome.explain[0]) if outcome.explain else "-"
    return (
        outcome.mode,
        f"{outcome.bytes / 1e6:.2f}",
        f"{outcome.size_ratio:.1%}",
        f"{outcome.worst:.1e}",
        f"{outcome.mean:.1e}",
        f"{outcome.agreement:.4f}",
        metric,
        " ".join(f"{row.ratio:.2f}x@{row.length:,}" for row in outcome.speed) or "-",
        explain,
        outcome.verdict,
    )


def explain_text(row: ExplainRow) -> str:
    """A dash where no input was long enough to compare."""
    return "-" if row.correlation is None or row.overlap is None else f"{row.correlation:.3f}, {row.overlap:.2f}"


LEGEND = (
    "size and time: against fp32, below 1 is better; errors: largest difference over the largest value; "
    "explain: Spearman correlation with fp32's relevance by the bundle's first method, share of the 5 strongest tokens"
)


def notes(outcome: Outcome) -> list[str]:
    """Sentences below the table: what was measured on what, what was done, and why a verdict is what it is."""
    done = [layer for layer in outcome.layers if not layer.skipped]
    kept = [layer for layer in outcome.layers if layer.skipped]
    found = [f"{outcome.mode}: measured on {outcome.cases} inputs, {outcome.data}"]
    if outcome.unsigned:
        found.append(
            f"{outcome.mode}: this processor adds products of bytes in 16 bits, which would saturate; weights are unsigned instead"
        )
    if done:
        balanced = sum(layer.balanced for layer in done)
        more = f"; {balanced} with balanced inputs" if balanced else ""
        found.append(f"{outcome.mode}: {len(done)} weights quantized, {len(kept)} left in float32{more}")
        exact = [layer.error for layer in done if layer.error is not None]
        if exact and not any(layer.wrong for layer in done):
            found.append(
                f"{outcome.mode}: the layers and lookups of {len(exact)} of them were compared one by one, and compute what their stored numbers say within {max(exact):.0e}"
            )
    found += [f"{outcome.mode}: {layer.name} {list(layer.shape)} {layer.skipped}" for layer in kept]
    found += [
        f"{outcome.mode}: explanations by {row.method} differ from fp32's ({explain_text(row)}), and its graph is left out"
        for row in outcome.explain
        if not row.good
    ]
    found += [
        f"{outcome.mode}: explanations by {row.method} were not compared: no input has enough tokens"
        for row in outcome.explain
        if row.cases == 0
    ]
    measured_as = {dtype.name: dtype.measured_as for dtype in DTYPES}.get(outcome.dtype, "")
    if measured_as:
        found.append(f"{outcome.mode}: {measured_as}")
    found += [f"{outcome.mode}: {reason}" for reason in outcome.reasons]
    return found


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The report: the table, errors by length, the curve of the search, and the notes."""
    parts = [markdown_table(HEADER, [cells(outcome) for outcome in outcomes]), LEGEND + "\n"]
    for outcome in outcomes:
        parts.append("\n".join(f"- {note}" for note in notes(outcome)) + "\n")
        parts.append(markdown_table(*error_table(outcome)))
        if outcome.explain:
            parts.append(markdown_table(*explain_table(outcome)))
        if outcome.curve:
            parts.append(markdown_table(*curve_table(outcome)))
    return "\n".join(parts)


def error_table(outcome: Outcome) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Errors by length."""
    rows: list[tuple[str, ...]] = [
        (f"{row.length:,}", str(row.cases), f"{row.mean:.1e}", f"{row.worst:.1e}") for row in outcome.errors
    ]
    return (f"{outcome.mode}: length", "inputs", "mean error", "worst error"), rows


def explain_table(outcome: Outcome) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """How far each method's relevance agrees with fp32's, and whether its graph was good enough."""
    rows: list[tuple[str, ...]] = [
        (row.method, str(row.cases), explain_text(row), "yes" if row.good else "no") for row in outcome.explain
    ]
    return (f"{outcome.mode}: method", "inputs", "Spearman, overlap", "good enough"), rows


def curve_table(outcome: Outcome) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Size against drop, as the search met it."""
    points = sorted(outcome.curve, key=lambda point: point.kept)
    rows: list[tuple[str, ...]] = [
        (str(point.kept), f"{point.bytes / 1e6:.2f}", f"{point.drop:.4f}") for point in points
    ]
    return (f"{outcome.mode}: weights in float32", "MB", "drop"), rows


def to_json(outcomes: Sequence[Outcome]) -> str:
    """What ``quantize_config.json`` holds."""
    modes = {outcome.mode: outcome.to_dict() for outcome in outcomes}
    return json.dumps({"schema_version": SCHEMA_VERSION, "modes": modes}, indent=1)


def from_json(data: bytes) -> dict[str, Outcome]:
    """The outcomes of a ``quantize_config.json`` by mode. BundleError for anything else."""
    try:
        values = json.loads(data)
        require(values["schema_version"] == SCHEMA_VERSION, f"schema_version must be {SCHEMA_VERSION}", values)
        return {name: Outcome.from_dict(outcome) for name, outcome in values["modes"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(
            f"{QUANTIZE_FILE} must be what `edgexf quantize` wrote, got something else ({str(error)[:200]}); quantize the bundle again."
        ) from error
