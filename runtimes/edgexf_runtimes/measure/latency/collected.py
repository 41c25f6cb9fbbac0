"""A bundle that is being measured, and what was measured of it so far.

In: what `edgexf_runtimes.measure.latency.bench` finds. Out: a `Bench`, which `assemble` makes a report of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgexf.bundle.manifest import Manifest
from edgexf.errors import BundleError
from edgexf.report.latency.measured.breakdown import Breakdown
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.inputs import Inputs
from edgexf.report.latency.measured.loadgen import Driven
from edgexf.report.latency.measured.quality import Quality
from edgexf.report.latency.measured.rows import Configuration
from edgexf_runtimes.measure.evaluation import Data
from edgexf_runtimes.measure.latency.plan import Plan
from edgexf_runtimes.measure.latency.rounds import Opening, Part
from edgexf_runtimes.measure.processes.cold import FEWEST, ColdStart

Place = tuple[str, str, int]  # graph, dtype, length


@dataclass
class Bench:
    """A bundle that is being measured.

    Attributes:
        path: of the bundle.
        plan: with dtypes in place of ``auto``.
        manifest, digest: of the bundle. Where a candidate runs, the manifest has its graphs.
        wanted: the configurations.
        opening: arguments of `edgexf.load` but ``dtype``.
        inputs: what is measured, for the report.
        hardware: facts of the device that depend on the session: the counters of joules, and the GPU where it has one.
        lacks: the quantities of a budget that are not measured here, with the reasons.
        data: the inputs on which quality is judged; None for the golden inputs.
        parts: the samples so far.
        starts: cold starts so far.
        breakdowns: those so far.
        quality: of each dtype; empty before it is judged.
        driven: what LoadGen said so far.
    """

    path: Path
    plan: Plan
    manifest: Manifest
    digest: str
    wanted: list[Configuration]
    opening: Opening
    inputs: Inputs
    hardware: Mapping[str, Fact]
    lacks: Mapping[str, str]
    data: Data | None = None
    parts: list[Part] = field(default_factory=list)
    starts: list[tuple[Place, ColdStart]] = field(default_factory=list)
    breakdowns: list[Breakdown] = field(default_factory=list)
    quality: list[Quality] = field(default_factory=list)
    driven: list[Driven] = field(default_factory=list)

    def places(self) -> list[Place]:
        """What to start in fresh processes: each graph, dtype and length, and the first length of each graph and dtype until
        there are enough.
        """
        found: list[Place] = []
        for graph, dtype in dict.fromkeys((of.graph, of.dtype) for of in self.wanted):
            lengths = sorted({of.length for of in self.wanted if (of.graph, of.dtype) == (graph, dtype)})
            found += [(graph, dtype, length) for length in [lengths[0]] * (FEWEST - 1) + lengths]
        return found

    def check(self, digest: str) -> None:
        """Raises BundleError for the digest of another bundle."""
        if digest != self.digest:
            raise BundleError(
                f"a bundle must stay the same while it is measured, got {self.path} with digest {self.digest[:12]}, then {digest[:12]}; measure it again."
            )
