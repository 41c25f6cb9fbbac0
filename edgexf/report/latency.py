"""A latency report as plain values, with its JSON and Markdown.

In: the figures that `edgexf bench` measured, or the JSON text of an earlier report. Out: a `LatencyReport`, with a row
for each graph and length. Law: ``LatencyReport.from_json(report.to_json()) == report``.

A figure says little without what was measured and where. Therefore the JSON, the Markdown and the terminal all name the
bundle with its digest, the dtype, the machine, the versions and the date (`about`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from edgexf.checks import require, require_text, wrong_keys
from edgexf.errors import InputError
from edgexf.report.markdown import markdown_table

# Of a latency report; `edgexf.report.explanation` has the version of an explanation. Version 1 named neither the
# bundle's digest, nor the dtype, nor the date.
REPORT_SCHEMA = 2
LATER = {"providers": "cpu", "profile": "balanced"}  # fields that earlier versions lack, and what those measured


@dataclass(frozen=True)
class LengthLatency:
    """The latency of a graph at one length.

    Attributes:
        length: the input length, in bytes for a model of bytes, in tokens for other models.
        runs: the number of timed runs.
        p50_ms: the median time of a run, in milliseconds.
        p90_ms: the 90th percentile, in milliseconds; None after too few runs.
        tokens_per_second: of the median run.
        peak_mib: the peak memory of the process, in MiB; None where the system does not tell it.
        graph: ``predict``, or an explanation method.
    """

    length: int
    runs: int
    p50_ms: float
    p90_ms: float | None
    tokens_per_second: float
    peak_mib: float | None
    graph: str = "predict"


@dataclass(frozen=True)
class LatencyReport:
    """The figures that `edgexf bench` measured.

    Attributes:
        model: the name of the bundle.
        digest: the digest of the bundle's manifest, which lists the hash of every file.
        dtype: the dtype of the graphs that were measured.
        others: the other dtypes that the bundle holds.
        date: when the measurement ended, in UTC by ISO 8601.
        threads: the number of threads of a session.
        machine: facts about the device.
        versions: the version of each package that a session runs.
        load_ms: the median time to create a session in a fresh process, in milliseconds.
        load_runs: the number of fresh processes.
        rows: the latencies.
        providers: where the graphs ran, as short names with options.
        profile: what the session was tuned for.
    """

    model: str
    digest: str
    dtype: str
    others: tuple[str, ...]
    date: str
    threads: int
    machine: dict[str, str]
    versions: dict[str, str]
    load_ms: float
    load_runs: int
    rows: tuple[LengthLatency, ...]
    providers: str = LATER["providers"]
    profile: str = LATER["profile"]

    def to_dict(self) -> dict[str, Any]:
        """All fields; `providers` and `profile` only where they are not the default, since earlier readers don't know
        them.
        """
        usual = {name for name in LATER if getattr(self, name) == LATER[name]}
        fields = {name: value for name, value in asdict(self).items() if name not in usual}
        return {"schema_version": REPORT_SCHEMA, **fields}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The inverse of `to_json`. InputError for any other text, and for another schema version."""
        try:
            values = json.loads(text)
            require(isinstance(values, dict), "a report must be an object", type(values).__name__)
            version = values.pop("schema_version", None)
            require(version == REPORT_SCHEMA, f"schema_version must be {REPORT_SCHEMA}", version)
            values = {**LATER, **values}
            wrong = wrong_keys(cls, values)
            require(not wrong, "keys must be those of a report", wrong)
            rows = tuple(LengthLatency(**row) for row in values["rows"])
            found = cls(**{**values, "others": tuple(values["others"]), "rows": rows})
            require_text(found)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(
                f"a latency report must be what `edgexf bench --json` wrote, got something else ({error}); measure again."
            ) from error
        return found

    def about(self) -> dict[str, str]:
        """What was measured, where and when: names and values as text."""
        others = f" (the bundle also holds {', '.join(self.others)})" if self.others else ""
        return {
            "model": self.model,
            "bundle": self.digest,
            "dtype": self.dtype + others,
            "machine": ", ".join(self.machine[name] for name in ("processor", "system") if name in self.machine),
            "threads": str(self.threads),
            "provider": self.providers,
            "profile": self.profile,
            "versions": ", ".join(f"{package} {version}" for package, version in self.versions.items()),
            "date": self.date,
            "session load": f"{self.load_ms:.0f} ms (median of {self.load_runs} fresh processes)",
        }

    def to_markdown(self) -> str:
        """A list of what was measured, and a table with a row for each graph and length."""
        facts = "".join(f"- {name}: {value}\n" for name, value in self.about().items())
        return facts + "\n" + markdown_table(LATENCY_HEADER, [latency_cells(row) for row in self.rows])


LATENCY_HEADER = ("graph", "length", "runs", "p50 ms", "p90 ms", "tokens/s", "peak MiB")


def latency_cells(row: LengthLatency) -> tuple[str, ...]:
    """The cells of a table row, in the order of `LATENCY_HEADER`."""
    p90 = "-" if row.p90_ms is None else f"{row.p90_ms:.2f}"
    return (
        row.graph,
        f"{row.length:,}",
        str(row.runs),
        f"{row.p50_ms:.2f}",
        p90,
        f"{row.tokens_per_second:,.0f}",
        "-" if row.peak_mib is None else f"{row.peak_mib:.0f}",
    )
