"""Find the fastest way to run a bundle on this device, and remember it beside the bundle, without torch.

    bundle on disk -> hashes -> candidates, dtypes and settings in turns -> the fastest that agrees -> <bundle>.tuned.json

This module only composes: `edgexf_runtimes.measure.tuning` decides what is tried and what counts as faster, and
`edgexf_runtimes.tuned` where it is remembered. `edgexf.load` then takes it where its caller leaves a choice open.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf import bundle
from edgexf.checks import each
from edgexf.errors import UsageError, quoted
from edgexf.progress import Progress, unseen

if TYPE_CHECKING:
    from edgexf.report.quantization import Speed
    from edgexf_runtimes.measure.tuning import Row, Timing
    from edgexf_runtimes.tuned import Tuned

LENGTHS = (128, 512, 4096)


@dataclass(frozen=True)
class Tuning:
    """What `tune` found.

    Attributes:
        chosen: the fastest way to run the bundle.
        rows: the ways that were tried, in order.
        file: where the fastest one is remembered.
    """

    chosen: Tuned
    rows: tuple[Row, ...]
    file: Path

    def to_dict(self) -> dict[str, Any]:
        """The values for JSON."""
        return {"chosen": asdict(self.chosen), "file": str(self.file), "tried": tried(self.rows)}


def tune(
    path: str | os.PathLike[str],
    *,
    lengths: Sequence[int] = LENGTHS,
    providers: Any = "cpu",
    threads: int | None = None,
    profile: str | None = None,
    dtype: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress = unseen,
    timing: Timing | None = None,
) -> Tuning:
    """Finds the fastest way to run a bundle on this device that still agrees with its golden outputs, and remembers it.

    `lengths` are those to time at, in bytes for a model of bytes and in tokens for others; each is moved into the limits
    of the model. `providers`, `threads`, `profile`, `dtype` and `cache` are those of `edgexf.load`; what is left out is
    tried. `timing` takes the time of `edgexf_runtimes.measure.speed.paired_timing`. Nothing is written into the bundle.

    Raises BundleError for a bundle that was changed, UsageError for a choice that is not there and for a place that can't
    be written, and DeviceError if no graph answers as the model does.
    """
    from edgexf_runtimes import tuned
    from edgexf_runtimes.device.asked import asked
    from edgexf_runtimes.device.device import now
    from edgexf_runtimes.finite import AUTO
    from edgexf_runtimes.measure.tuning import Plan, search
    from edgexf_runtimes.remembered import Remembered

    folder, remembered, listed = Path(path), Remembered(cache), each(lengths)
    if listed is None:
        raise UsageError(f"lengths must be a list of numbers, got {quoted(lengths)}; write [{quoted(lengths)}].")
    plan = Plan(tuple(listed), providers, threads, profile, dtype or AUTO)
    provider = asked(plan.settings.providers)[0].provider.name
    manifest = bundle.read(folder)
    tuned.check_place(folder, manifest.digest, provider, remembered)
    chosen, rows = search(folder, manifest, plan, progress, timing)
    measured = {"date": now(), "lengths": list(plan.lengths), "tried": tried(rows)}
    found = tuned.TunedFile(manifest.digest, tuned.device(), provider, chosen, measured)
    return Tuning(chosen, rows, tuned.note(folder, remembered, found))


def forget(path: str | os.PathLike[str], cache: str | os.PathLike[str] | None = None) -> list[Path]:
    """Removes what `tune` remembered for a bundle, beside it and in the folder of `cache`. Returns the files that are gone."""
    from edgexf_runtimes import tuned
    from edgexf_runtimes.remembered import Remembered

    return tuned.forget(Path(path), bundle.read(Path(path), verify=False).digest, Remembered(cache))


def tried(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows for JSON."""
    return [
        {
            **asdict(row.way),
            "verdict": row.verdict,
            "reason": row.reason,
            "times": [figures(one) for one in row.speeds],
        }
        for row in rows
    ]


def figures(one: Speed) -> dict[str, float]:
    """The figures of a length for JSON; times in milliseconds, and the ratio with its 95 % interval."""
    return {
        "length": one.length, "pairs": one.pairs, "ms": one.fp32_ms * one.ratio, "best_ms": one.fp32_ms,
        "ratio": one.ratio, "low": one.low, "high": one.high,
    }  # fmt: skip
