"""Chooses the graphs and the settings of a session, where the caller leaves them open.

In: what the caller of `edgexf.load` asked for, and a manifest. Out: a `Way`: a dtype, a candidate, settings.

    asked by name > found by `edgexf tune` on this device > preferred by the export for this provider > the usual

A candidate has the same answers as the graph that it stands in for, and passed the same grid. One with operators of ONNX
Runtime's own is preferred where the export was asked for them (``--ops ort-cpu``) and the session runs on their provider.
Where a candidate that nobody named does not open, or answers its golden inputs otherwise than the model, the portable graph
runs in its place, which is logged: here for a session, in `edgexf_runtimes.opening` for an explain graph.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from edgexf.bundle.graphs import ORT_CPU, ORT_CUDA, PORTABLE
from edgexf.bundle.manifest import Manifest
from edgexf.checks import is_choice, require_choice
from edgexf.errors import BundleError, DeviceError
from edgexf.records import Record
from edgexf_runtimes.device.asked import asked
from edgexf_runtimes.device.dtype import allowed
from edgexf_runtimes.device.profiles import Settings, profile_named
from edgexf_runtimes.finite import AUTO
from edgexf_runtimes.remembered import Remembered, warn
from edgexf_runtimes.tuned import Tuned, recalled

Opened = TypeVar("Opened")
OF_PROVIDER = {
    "cpu": ORT_CPU,
    "cuda": ORT_CUDA,
}  # the operators that a session on this provider takes without being asked
LOOKED_UP = (AUTO, "never")


class Way(Record):
    """How a session runs: a dtype, the name of a candidate, settings. `named`: the caller asked for the candidate."""

    dtype: str
    candidate: str
    settings: Settings
    named: bool = False


class Choices(Record):
    """What a caller of `edgexf.load` asked for; ``auto`` and None stand for what is left open.

    Raises UsageError for a `candidate` that is no text, and for another `tuned` than `LOOKED_UP`.
    """

    dtype: str = AUTO
    candidate: str = AUTO
    threads: int | None = None
    profile: str | None = None
    tuned: str = AUTO

    def __post_init__(self) -> None:
        text = isinstance(self.candidate, str)
        require_choice(text, "candidate must be the name of one", self.candidate, "name one of the bundle's, or auto")
        known = is_choice(self.tuned, LOOKED_UP)
        require_choice(known, f"tuned must be one of {', '.join(LOOKED_UP)}", self.tuned, "choose one of them")

    def settled(self, folder: Path, manifest: Manifest, settings: Settings, remembered: Remembered) -> Way:
        """The way to run the bundle. UsageError for a candidate that the bundle does not hold, or not in the dtype.

        Of a dtype that the caller leaves open only those count that a session may take by itself, and that hold the candidate
        if the caller names one.
        """
        provider = asked(settings.providers)[0].provider.name
        found = recalled(folder, manifest, provider, remembered) if self.tuned == AUTO else None
        if self.dtype != AUTO:
            dtype = self.dtype
        else:
            free = allowed(folder, manifest, settings.providers)
            free = [one for one in free if one in self._held(manifest, free)] or free
            dtype = found.dtype if found is not None and found.dtype in free else free[0]
        candidate = self._candidate(manifest, provider, dtype, found)
        if found is not None:
            settings = replace(
                settings,
                threads=found.threads if self.threads is None else self.threads,
                profile=profile_named(found.profile if self.profile is None else self.profile),
            )
        return Way(dtype, candidate, settings, self.candidate != AUTO)

    def _held(self, manifest: Manifest, dtypes: Sequence[str]) -> Collection[str]:
        """The dtypes of the candidate that the caller names; `dtypes` if there is none, or it is the portable one."""
        if self.candidate in (AUTO, PORTABLE):
            return dtypes
        manifest.with_candidate(self.candidate)  # says if there is none
        return {graph.dtype for one in manifest.candidates if one.name == self.candidate for graph in one.graphs}

    def _candidate(self, manifest: Manifest, provider: str, dtype: str, found: Tuned | None) -> str:
        if self.candidate != AUTO:
            held = self._held(manifest, [dtype])
            require_choice(
                dtype in held,
                f"dtype must be one in which the bundle holds the candidate {self.candidate} ({', '.join(sorted(held))})",
                dtype,
                "choose one of them, or another candidate",
            )
            return self.candidate
        if found is not None and found.dtype == dtype:
            return found.candidate
        wanted = OF_PROVIDER.get(provider)
        fitting = (one for one in manifest.candidates if one.preferred and one.ops == wanted and one.in_dtype(dtype))
        return next((one.name for one in fitting), PORTABLE)


def first_that_opens(opened: Callable[[str], Opened], way: Way) -> Opened:
    """The session of the candidate; of the portable graphs where a candidate that nobody named can't run here."""
    try:
        return opened(way.candidate)
    except (BundleError, DeviceError) as error:
        if way.named or way.candidate == PORTABLE:
            raise
        warn("the portable graphs run in place of the candidate %s (%s)", way.candidate, error)
        return opened(PORTABLE)
