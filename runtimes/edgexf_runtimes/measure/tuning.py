"""Finds the fastest way to run a bundle on this device, among those that answer as its model does.

In: a bundle's folder and manifest, and a `Plan`: what the caller fixed. Out: the chosen `Tuned`, and a `Row` for each way
that was tried.

    golden inputs -> graphs -> threads -> profiles -> golden inputs again

Each step begins with the best way so far and changes one thing. The first way is what `edgexf.load` runs by itself. Two
ways run in turns, so that other load slows both of them. A way becomes the best if it is faster beyond doubt: if the upper
end of the 95 % interval of its time / the best way's time is below 1, in the geometric mean over the lengths. So a busy
neighbour does not decide, and of two ways that take equal time the first one stays.

The profiles differ in what idle threads do, so that a way with one thread needs no other profile.

Times are those of the predict graph with batches of one. Explain graphs are not timed; they must pass their golden inputs
too. A way that does not open, answers its golden inputs otherwise than the model, or can't explain by a method of the first
way is left out, and its row says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgexf import names
from edgexf.bundle.graphs import PORTABLE
from edgexf.bundle.manifest import Manifest
from edgexf.checks import require_choice
from edgexf.errors import BundleError, DeviceError, EdgexfError
from edgexf.progress import Progress, unseen
from edgexf.records import Record
from edgexf.report.quantization import Speed
from edgexf_runtimes.candidates import Choices
from edgexf_runtimes.device.dtype import allowed, tolerance
from edgexf_runtimes.device.profiles import BALANCED, PROFILES, Settings, profile_named
from edgexf_runtimes.device.providers import check_available
from edgexf_runtimes.device.session_options import available_threads, threads_of
from edgexf_runtimes.finite import AUTO
from edgexf_runtimes.measure import golden, speed
from edgexf_runtimes.remembered import Remembered
from edgexf_runtimes.session import Session, load
from edgexf_runtimes.tuned import Tuned

TRIED_PROFILES = (BALANCED.name, PROFILES["latency"].name)
FIRST, FASTER, NOT_FASTER, LEFT_OUT = "as load runs it", "faster", "not faster", "left out"
# Threads that spin go on for some 40 ms after a run, and would slow the other session.
REST, RUNS = 0.1, 3
Timing = Callable[[Session, Session, int], Speed]


class Plan(Record):
    """What is tuned, and what the caller fixed. UsageError for a value out of range.

    Attributes:
        lengths: the lengths to time at, moved into the limits of the model.
        providers: those of `edgexf.load`.
        threads, profile: the only number of threads and the only profile; None to try several.
        dtype: the only dtype; ``auto`` to try those that the device may take.
    """

    lengths: tuple[int, ...]
    providers: Any = "cpu"
    threads: int | None = None
    profile: str | None = None
    dtype: str = AUTO

    def __post_init__(self) -> None:
        require_choice(
            bool(self.lengths) and all(isinstance(length, int) and length >= 1 for length in self.lengths),
            "lengths must be whole numbers of at least 1",
            self.lengths,
            "name those that matter, such as (128, 512)",
        )

    @property
    def settings(self) -> Settings:
        """The settings of the first way. UsageError for unknown ones, and for a provider that is lacking."""
        return check_available(Settings(self.threads, self.providers, profile_named(self.profile or BALANCED.name)))

    @property
    def thread_numbers(self) -> list[int]:
        """The numbers of threads to try: powers of 2, and as many as this process may use."""
        if self.threads is not None:
            return [self.threads]
        most = available_threads()
        return sorted({most, *(2**power for power in range(most.bit_length()) if 2**power <= most)})

    @property
    def profiles(self) -> Sequence[str]:
        """The profiles to try."""
        return TRIED_PROFILES if self.profile is None else (self.profile,)


class Row(Record):
    """A way that was tried.

    Attributes:
        way: the way.
        verdict: `FIRST`, `FASTER`, `NOT_FASTER` or `LEFT_OUT`.
        speeds: its times beside those of the best way before it, by length; empty for a way that was not timed. In a
            `Speed`, the figures of fp32 are those of the best way.
        reason: why it was left out.
    """

    way: Tuned
    verdict: str
    speeds: tuple[Speed, ...] = ()
    reason: str = ""

    @property
    def overall(self) -> tuple[float, float, float]:
        """Its time / the best way's: the geometric means over lengths of the medians, and of both ends of their intervals."""
        middle, low = speed.overall(self.speeds)
        return middle, low, highest(self.speeds)


def search(
    folder: Path, manifest: Manifest, plan: Plan, progress: Progress = unseen, timing: Timing | None = None
) -> tuple[Tuned, tuple[Row, ...]]:
    """The fastest way, and all that were tried, in order. The files of the bundle must have the hashes of the manifest.

    Raises UsageError for what the plan asks for and is not there, and DeviceError if no way answers as the model does.
    """
    trials = Trials(folder, manifest, plan, progress, timing or timed)
    trials.graphs(contestants(folder, manifest, plan))
    best = trials.best
    trials.compare("timing threads", [replace(best, threads=number) for number in plan.thread_numbers])
    best = trials.best
    if best.threads > 1:
        trials.compare("timing profiles", [replace(best, profile=name) for name in plan.profiles])
    return trials.confirmed(), tuple(trials.rows)


def contestants(folder: Path, manifest: Manifest, plan: Plan) -> list[Tuned]:
    """The graphs to try, in the settings of the first way: what `edgexf.load` runs by itself, then for each dtype that the
    device may take the portable graphs and the candidates that predict in it.
    """
    settings = plan.settings
    usual = Choices(plan.dtype, tuned="never").settled(folder, manifest, settings, Remembered())
    manifest.graph(names.PREDICT, usual.dtype)
    dtypes = allowed(folder, manifest, plan.providers) if plan.dtype == AUTO else [plan.dtype]
    of_dtypes = [
        (dtype, name)
        for dtype in dtypes
        for name in (PORTABLE, *(one.name for one in manifest.candidates if predicts(one.graphs, dtype)))
    ]
    threads, profile = threads_of(settings), settings.profile.name
    return [
        Tuned(dtype, name, threads, profile)
        for dtype, name in dict.fromkeys([(usual.dtype, usual.candidate), *of_dtypes])
    ]


def predicts(graphs: Sequence[Any], dtype: str) -> bool:
    return any((graph.method, graph.dtype) == (names.PREDICT, dtype) for graph in graphs)


class Trials:
    """Tries ways to run a bundle, one after another.

    Attributes:
        rows: the ways so far.
        bests: those that were the best, the last one is.
    """

    def __init__(self, folder: Path, manifest: Manifest, plan: Plan, progress: Progress, timing: Timing) -> None:
        self._folder, self._manifest, self._plan = folder, manifest, plan
        self._progress, self._timing = progress, timing
        self._lengths = speed.lengths(manifest, plan.lengths)
        self._methods: tuple[str, ...] = ()  # of the first way
        self.rows: list[Row] = []
        self.bests: list[Tuned] = []

    @property
    def best(self) -> Tuned:
        return self.bests[-1]

    def graphs(self, ways: Sequence[Tuned]) -> None:
        """Compares the ways that answer as the model does, the first of which is the best until another one is faster."""
        agreeing = []
        with self._progress(len(ways), "checking golden outputs") as advance:
            for way in ways:
                if self._agrees(way):
                    agreeing.append(way)
                advance(1)
        if not agreeing:
            raise self._refused()
        self.bests.append(agreeing[0])
        self.rows.append(Row(agreeing[0], FIRST))
        self.compare("timing graphs", agreeing)

    def compare(self, what: str, ways: Sequence[Tuned]) -> None:
        """Times each way but the best one against the best one so far, and keeps the faster one."""
        others = [way for way in ways if way != self.best]
        with self._progress(len(others) * len(self._lengths), what) as advance:
            for way in others:
                row = self._timed(way, advance)
                self.rows.append(row)
                if row.verdict == FASTER:
                    self.bests.append(way)

    def confirmed(self) -> Tuned:
        """The best way whose golden outputs agree in its own settings too."""
        for way in reversed(self.bests):
            if self._agrees(way):
                return way
        raise self._refused()

    def _timed(self, way: Tuned, advance: Callable[[int], None]) -> Row:
        try:
            with self._opened(self.best) as best, self._opened(way) as other:
                speeds = tuple(self._at(best, other, length, advance) for length in self._lengths)
        except EdgexfError as error:
            return Row(way, LEFT_OUT, (), str(error))
        return Row(way, FASTER if highest(speeds) < 1 else NOT_FASTER, speeds)

    def _at(self, best: Session, other: Session, length: int, advance: Callable[[int], None]) -> Speed:
        found = self._timing(best, other, length)
        advance(1)
        return found

    def _agrees(self, way: Tuned) -> bool:
        reason = self._disagreement(way)
        if reason:
            self.rows.append(Row(way, LEFT_OUT, (), reason))
        return not reason

    def _disagreement(self, way: Tuned) -> str:
        """What is wrong with a way's golden outputs by all of its graphs; empty if nothing is."""
        limit = tolerance(self._folder, self._manifest, way.dtype)
        try:
            with self._opened(way) as session:
                lost = self._lost(session)
                if lost:
                    return f"holds no graph of {', '.join(lost)}"
                wrong = [row for row in golden.check(session) if not row.passes(limit)]
        except EdgexfError as error:
            return str(error)
        if not wrong:
            return ""
        worst = max(wrong, key=lambda row: max(row.over(limit).values()))
        said = ", ".join(f"{found:.2g} in {name}" for name, found in worst.over(limit).items())
        return f"differs from the model by {said} of {worst.cell}, where {limit:g} is allowed"

    def _lost(self, session: Session) -> list[str]:
        """The explanation methods of the first way that a session lacks."""
        self._methods = self._methods or session.manifest.methods
        return [method for method in self._methods if method not in session.manifest.methods]

    @contextmanager
    def _opened(self, way: Tuned) -> Iterator[Session]:
        """A session that runs in this way. Nothing is looked up, and nothing is checked: hashes and golden outputs were."""
        with load(
            self._folder, way.dtype, way.threads, self._plan.providers, "never",
            profile=way.profile, candidate=way.candidate, tuned="never", check="never", nan="flag",
        ) as session:  # fmt: skip
            if session.whole.digest != self._manifest.digest:
                raise BundleError("a bundle must stay the same while it is tuned, got another one; tune it again.")
            yield session

    def _refused(self) -> DeviceError:
        reasons = "; ".join(f"{row.way}: {row.reason.rstrip('.')}" for row in self.rows if row.verdict == LEFT_OUT)
        return DeviceError(
            f"a bundle to tune must have graphs that answer as its model does on this device, got none ({reasons}); choose another provider or dtype."
        )


def highest(speeds: Sequence[Speed]) -> float:
    """The geometric mean over lengths of the upper ends of the intervals."""
    return speed.geometric_mean([one.high for one in speeds])


def timed(best: Session, other: Session, length: int) -> Speed:
    """The time of a session relative to the best one's. Where threads spin, each turn has a rest, and a run to wake them."""
    if best.settings.profile.spins or other.settings.profile.spins:
        return speed.paired_timing(best, other, length, REST, RUNS)
    return speed.paired_timing(best, other, length)
