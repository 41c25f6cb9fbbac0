"""The results of quantizing a bundle: measured figures and a verdict for each mode, as JSON, Markdown and a table.

In: measurements. Out: `Outcome`s, and ``quantize_config.json``: a JSON object with `schema_version` and `modes`, which
maps the name of each mode to its outcome. Ratios of size and time compare with the fp32 graph, measured in the same
run. A JSON ratio is this graph's over fp32's; texts turn that of times into a speed, above 1 is faster.
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
KEPT, FORCED, REFUSED, PASSED_OVER = "kept", "forced", "refused", "passed over"  # the last: another mode is smaller
# The largest relative error of an exact layer. Sums in float32 differ by 1e-6, rounding to 8 bits by 1e-2. An input
# half way between two steps may go either way; if one in a hundred goes the other way, the error is a tenth of 1e-2.
EXACT = 1e-3
SLACK = 1.001  # of `Layer.apart`: scales are rounded to float32
# How the reason against a slow graph begins; the second in reports of earlier versions.
SLOWER = ("is slower", "takes")


@dataclass(frozen=True)
class ErrorRow:
    """The relative differences from fp32 at one length.

    Attributes:
        length: the input length, in tokens; one row may stand for the lengths up to a power of two.
        cases: the number of inputs of that length.
        mean: the mean difference over these inputs.
        worst: the largest difference.
    """

    length: int
    cases: int
    mean: float
    worst: float


@dataclass(frozen=True)
class Speed:
    """The time of a quantized graph relative to fp32 at one length.

    Attributes:
        length: the input length, in bytes for a model of bytes, in tokens for other models.
        pairs: the number of pairs of runs.
        ratio: the median of the time ratio over the pairs.
        low, high: the ends of the 95 % interval of the median.
        fp32_ms: the median time of fp32, in milliseconds.
    """

    length: int
    pairs: int
    ratio: float
    low: float
    high: float
    fp32_ms: float


@dataclass(frozen=True)
class ExplainRow:
    """How far the relevance by one method agrees with the relevance in fp32.

    Attributes:
        method: the explanation method.
        cases: the number of compared rows.
        correlation: the mean Spearman correlation; None if no row could be compared.
        overlap: the mean share of the strongest tokens in common; None if no row could be compared.
        good: whether the agreement is enough to keep the explain graph.
    """

    method: str
    cases: int
    correlation: float | None
    overlap: float | None
    good: bool


@dataclass(frozen=True)
class Layer:
    """What quantizing did to one weight of the predict graph.

    Attributes:
        name: the name of the weight.
        shape: the shape of the weight.
        products: the number of layers that compute with the stored numbers.
        rows: the number of lookups in the stored numbers.
        reads: the number of uses that unpack the whole weight.
        skipped: why the weight was not quantized; empty for a quantized weight.
        balanced: whether its inputs were balanced; see `edgexf.passes.quantize.balance`.
        error: the relative difference between the outputs of its layers and what the stored numbers give; None if no
            use can be compared. See `edgexf.passes.quantize.layer_check`.
        apart: the largest distance of a stored number from the weight, in units of the most that rounding leaves. See
            `edgexf.passes.quantize.layer_check`.
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
        """A sentence on what is wrong with the stored weight; empty if nothing is."""
        if self.error is not None and not self.error <= EXACT:
            return f"{self.name} computes otherwise than its stored numbers say, by {self.error:.2g} of its answer where {EXACT:g} is rounding"
        if not self.apart <= SLACK:
            return f"{self.name} is stored {self.apart:.2g} times as far from its weight as rounding leaves it"
        return ""


@dataclass(frozen=True)
class Point:
    """One evaluation of the search for weights to keep.

    Attributes:
        kept: the number of weights that are not quantized.
        bytes: the size of the predict graph.
        drop: the drop of that graph; see `Outcome`.
    """

    kept: int
    bytes: int
    drop: float


@dataclass(frozen=True)
class Outcome:
    """The measured figures and the verdict of a mode on this machine.

    Attributes:
        mode: the name of the mode.
        dtype: the name of the dtype that the mode makes; see `edgexf.dtypes`.
        verdict: `KEPT`, `FORCED`, `REFUSED` or `PASSED_OVER`.
        reasons: every reason against the dtype.
        tolerance: the largest relative difference from fp32 that the mode allows.
        unsigned: whether no processor saturates the sums of products of bytes. In reports of an older edgexf: whether
            weights are unsigned, which had the same effect.
        bytes: the size of the files of the dtype.
        fp32_bytes: the size of the same graphs in fp32, with their weights.
        errors: the relative differences from fp32 by length.
        agreement: the mean share of answers that agree with fp32.
        cases: the number of inputs behind `agreement`.
        data: the name of the data.
        metric: the accuracy; None without labels.
        fp32_metric: the accuracy in fp32; None without labels.
        drop: the loss of the metric, or of the agreement without labels; None if there was no budget for it.
        max_drop: the budget of the drop.
        speed: the time ratios by length.
        explain: the agreement of explanations by method.
        layers: what became of each weight.
        curve: the evaluations of the search.
        evaluations: how often the search measured a graph.
        settings: the calibration data and method, if the mode took any.
        machine: facts about the device, and the version of edgexf.
    """

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
        """Whether a forced dtype was only too slow on this machine; it may be faster on another device."""
        return self.verdict == FORCED and all(reason.startswith(SLOWER) for reason in self.reasons)

    @property
    def worst(self) -> float:
        return max(row.worst for row in self.errors)

    @property
    def mean(self) -> float:
        """The mean relative difference from fp32 over all cases."""
        return sum(row.mean * row.cases for row in self.errors) / sum(row.cases for row in self.errors)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, also after JSON. TypeError, KeyError or ValueError for other values."""
        parts = {name: tuple(kind(**row) for row in values[name]) for name, kind in PARTS.items()}
        layers = tuple(replace(layer, shape=tuple(layer.shape)) for layer in parts["layers"])
        found = cls(**{**values, **parts, "layers": layers, "reasons": tuple(values["reasons"])})
        require_text(found)
        for name in ("tolerance", "bytes", "fp32_bytes"):
            number = getattr(found, name)
            require(isinstance(number, int | float) and number > 0, f"{name} must be a number above 0", number)
        return found


PARTS: dict[str, type] = {"errors": ErrorRow, "speed": Speed, "explain": ExplainRow, "layers": Layer, "curve": Point}
HEADER = ("mode", "MB", "size", "worst error", "mean", "agree", "metric", "speed", "explain", "verdict")


def cells(outcome: Outcome) -> tuple[str, ...]:
    """The cells of a table row, in the order of `HEADER`; sizes and speeds are relative to fp32."""
    metric = "-" if outcome.metric is None else f"{outcome.fp32_metric:.3f} -> {outcome.metric:.3f}"
    explain = explain_text(outcome.explain[0]) if outcome.explain else "-"
    return (
        outcome.mode,
        f"{outcome.bytes / 1e6:.2f}",
        f"{outcome.size_ratio:.2f}x",
        f"{outcome.worst:.1e}",
        f"{outcome.mean:.1e}",
        f"{outcome.agreement:.4f}",
        metric,
        by_length(outcome.speed),
        explain,
        outcome.verdict,
    )


def by_length(speed: Sequence[Speed]) -> str:
    """The speed at each length, in times of fp32's: above 1 is faster."""
    return ", ".join(f"{1 / row.ratio:.2f}x@{row.length:,}" for row in speed) or "-"


def explain_text(row: ExplainRow) -> str:
    """The correlation and the overlap as text; a dash if no input was long enough to compare."""
    return "-" if row.correlation is None or row.overlap is None else f"{row.correlation:.3f}, {row.overlap:.2f}"


LEGEND = (
    "size and speed: in times of fp32's, so a size below 1 is smaller and a speed above 1 is faster; errors: largest difference over the largest value; "
    "explain: Spearman correlation with fp32's relevance by the bundle's first method, share of the 5 strongest tokens"
)


def notes(outcome: Outcome) -> list[str]:
    """The sentences below the table: the data, the weights, the explanations, and the reasons of the verdict."""
    done = [layer for layer in outcome.layers if not layer.skipped]
    kept = [layer for layer in outcome.layers if layer.skipped]
    found = [f"{outcome.mode}: measured on {outcome.cases} inputs, {outcome.data}"]
    if done:
        balanced = sum(layer.balanced for layer in done)
        more = f"; {balanced} with balanced inputs" if balanced else ""
        found.append(f"{outcome.mode}: {len(done)} of {len(done) + len(kept)} weights quantized{more}")
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
    """The report in Markdown: the table, and by mode the notes, errors by length, explanations and search curve."""
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
    """The errors by length: header and rows."""
    rows: list[tuple[str, ...]] = [
        (f"{row.length:,}", str(row.cases), f"{row.mean:.1e}", f"{row.worst:.1e}") for row in outcome.errors
    ]
    return (f"{outcome.mode}: length", "inputs", "mean error", "worst error"), rows


def explain_table(outcome: Outcome) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """How far the relevance by each method agrees with fp32, and whether that is good enough: header and rows."""
    rows: list[tuple[str, ...]] = [
        (row.method, str(row.cases), explain_text(row), "yes" if row.good else "no") for row in outcome.explain
    ]
    return (f"{outcome.mode}: method", "inputs", "Spearman, overlap", "good enough"), rows


def curve_table(outcome: Outcome) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Size and drop at each point that the search evaluated: header and rows."""
    points = sorted(outcome.curve, key=lambda point: point.kept)
    rows: list[tuple[str, ...]] = [
        (str(point.kept), f"{point.bytes / 1e6:.2f}", f"{point.drop:.4f}") for point in points
    ]
    return (f"{outcome.mode}: weights not quantized", "MB", "drop"), rows


def to_json(outcomes: Sequence[Outcome]) -> str:
    """The text of ``quantize_config.json``."""
    modes = {outcome.mode: outcome.to_dict() for outcome in outcomes}
    return json.dumps({"schema_version": SCHEMA_VERSION, "modes": modes}, indent=1)


def from_json(data: bytes) -> dict[str, Outcome]:
    """The outcomes in a ``quantize_config.json``, by mode. BundleError for any other content."""
    try:
        values = json.loads(data)
        require(values["schema_version"] == SCHEMA_VERSION, f"schema_version must be {SCHEMA_VERSION}", values)
        return {name: Outcome.from_dict(outcome) for name, outcome in values["modes"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(
            f"{QUANTIZE_FILE} must be what `edgexf quantize` wrote, got something else ({str(error)[:200]}); quantize the bundle again."
        ) from error
