"""Quality beside speed: how far the answers of each dtype agree with fp32, or with the eager model, on this device.

In: what `edgexf bench` compared, or its JSON. Out: a `Quality` for each dtype.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from edgexf.checks import require
from edgexf.report.reading import check_keys, listed, number, of_kind

FP32_HERE, EAGER = "fp32 on this device", "the eager model"
# What the mean of equal errors may be over them: rounding takes it some ulps of 2^-52 above, the more the more inputs there are.
ROUNDING = 1 + 1e-9
QUALITY_HEADER = (
    "quality of",
    "against",
    "inputs",
    "mean error",
    "worst error",
    "same answers",
    "right",
    "explanations",
)


@dataclass(frozen=True)
class Explained:
    """How far the explanations by one method agree with those of fp32.

    Attributes:
        method: the explanation method.
        cases: the rows that were compared.
        correlation: the mean Spearman correlation of the ranks; None if no row could be compared.
        overlap: the mean share of the strongest tokens in common; None likewise.
    """

    method: str
    cases: int
    correlation: float | None
    overlap: float | None

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        check_keys(cls, values)
        correlation, overlap = share_of(values, "correlation", -1), share_of(values, "overlap")
        return cls(of_kind(values, "method", str), of_kind(values, "cases", int), correlation, overlap)


@dataclass(frozen=True)
class Quality:
    """The answers of one dtype.

    Attributes:
        dtype: of the graphs.
        reference: what they are compared with, `FP32_HERE` or `EAGER`.
        data: the name of the file of inputs, or what else they are.
        cases: the inputs.
        error: the mean relative difference of the outputs over the inputs.
        worst: the largest one.
        agreement: the mean share of equal answers; None against the eager model, whose golden inputs are random.
        accuracy: the share of right answers; None without labels.
        reference_accuracy: that of the reference; None likewise.
        explanations: against fp32, for a dtype other than fp32.
    """

    dtype: str
    reference: str
    data: str
    cases: int
    error: float
    worst: float
    agreement: float | None = None
    accuracy: float | None = None
    reference_accuracy: float | None = None
    explanations: tuple[Explained, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        check_keys(cls, values)
        dtype, reference, data = (of_kind(values, name, str) for name in ("dtype", "reference", "data"))
        cases, error, worst = of_kind(values, "cases", int), number(values["error"]), number(values["worst"])
        kept = 0 <= error <= ROUNDING * worst
        require(cases >= 1 and kept, "a quality must have inputs and errors", (cases, error, worst))
        agreement, right, reference_right = (
            share_of(values, name) for name in ("agreement", "accuracy", "reference_accuracy")
        )
        explained = tuple(map(Explained.from_dict, listed(values["explanations"], None)))
        return cls(dtype, reference, data, cases, error, worst, agreement, right, reference_right, explained)

    def cells(self) -> tuple[str, ...]:
        """The cells of a table row, in the order of `QUALITY_HEADER`."""
        right = shown(self.accuracy) + (
            "" if self.accuracy is None else f" (reference {shown(self.reference_accuracy)})"
        )
        alike = "; ".join(
            f"{one.method} {one.correlation:.3f}" for one in self.explanations if one.correlation is not None
        )
        return (
            f"{self.dtype} on {self.data}", self.reference, f"{self.cases:,}", f"{self.error:.2g}", f"{self.worst:.2g}",
            shown(self.agreement), right, alike or "-",
        )  # fmt: skip


def share_of(values: Any, name: str, least: float = 0) -> float | None:
    if values[name] is None:
        return None
    require(least <= number(values[name]) <= 1, f"{name} must be a share", values[name])
    return number(values[name])


def shown(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
