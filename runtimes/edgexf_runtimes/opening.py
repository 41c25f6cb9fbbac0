"""Opens a graph of a bundle for the first time: on the provider that was asked for, and right on this device.

In: a bundle's folder and manifest, and the settings of a session. Out: ONNX Runtime sessions.

A graph that was not verified on this device answers its golden inputs before anything else: at `edgexf.load` the predict
graph, at its first use an explain graph. What counts as verified:

- fp32 on cpu, of operators of the ONNX standard. The export verified it there, and processors differ by rounding, far
  below the tolerance.
- Another dtype on cpu, on a processor like the one that measured it: of the same name and with the same instruction
  sets. Kernels for fewer bits differ, and sums of files of an older edgexf may saturate on another one.
- Nothing on another provider, and no candidate with operators of ONNX Runtime's own, which no standard describes: another
  version may compute them in another way. Nor a candidate in another dtype than fp32, which was compared on few inputs.

A check that passed is remembered (`edgexf_runtimes.remembered`) with the provider, its options, the version of onnxruntime,
the driver and the processor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from edgexf import names
from edgexf.bundle.graphs import PORTABLE
from edgexf.bundle.manifest import Graph, Manifest
from edgexf.checks import is_choice
from edgexf.dtypes import FP32
from edgexf.errors import BundleError, DeviceError, UsageError, quoted
from edgexf.records import Record
from edgexf_runtimes.calls.call import Call
from edgexf_runtimes.calls.forking import opening
from edgexf_runtimes.device import providers
from edgexf_runtimes.device.asked import CPU, asked
from edgexf_runtimes.device.device import processor
from edgexf_runtimes.device.dtype import modes, tolerance
from edgexf_runtimes.device.profiles import Settings
from edgexf_runtimes.remembered import OnDisk, Remembered, bundle_key, warn

if TYPE_CHECKING:
    from edgexf_runtimes.device.placement import Placement
    from edgexf_runtimes.golden import GoldenRow

CHECKS = ("golden", "never")
DRIVER = Path("/proc/driver/nvidia/version")


class Checks(Record):
    """What is checked when a graph opens.

    Attributes:
        golden: ``golden`` to run the golden inputs where the graph was not verified, or ``never``.
        remembered: what was checked before.
        on_disk: the folder as it was before the manifest was read.
        portable: the manifest with the portable graphs, one of which stands in for an explain graph of a candidate that can't
            run here; None if the caller named the candidate.
    """

    golden: str = "never"
    remembered: Remembered = field(default_factory=Remembered)
    on_disk: OnDisk | None = None
    portable: Manifest | None = None

    def __post_init__(self) -> None:
        if not is_choice(self.golden, CHECKS):
            raise UsageError(
                f"check must be one of {', '.join(CHECKS)}, got {quoted(self.golden)}; choose one of them."
            )


class Opening:
    """Opens the graphs of one dtype of a bundle, whose manifest is `whole`."""

    def __init__(
        self, folder: Path, whole: Manifest, dtype: str, settings: Settings, checks: Checks | None = None
    ) -> None:
        self._folder, self._whole, self._manifest = folder, whole, whole.in_dtype(dtype)
        self._settings, self._checks = settings, checks or Checks()

    @property
    def stale(self) -> bool:
        """Whether another bundle took the place of this one on disk."""
        on_disk = self._checks.on_disk
        return on_disk is not None and on_disk.replaced(self._whole.digest)

    def __call__(self, path: Path, call: Call) -> ort.InferenceSession:
        """Opens the graph at `path` within a call. Raises DeviceError if it answers otherwise than the model."""
        if self.stale:
            raise BundleError(
                f"a graph must belong to the bundle that was loaded, got another bundle in {self._folder.name}; load it again."
            )
        graph = next(one for one in self._manifest.variants if self._folder / one.file == path)
        instead = None if self._checks.portable is None else self._checks.portable.graph(graph.method, graph.dtype)
        if instead is None or instead == graph or graph.method == names.PREDICT:
            return self._checked(graph, call)
        try:
            return self._checked(graph, call)
        except (BundleError, DeviceError) as error:
            warn("%s runs in place of %s (%s)", instead.file, graph.file, error)
            return self._checked(instead, call)

    def _checked(self, graph: Graph, call: Call) -> ort.InferenceSession:
        session = self._created(graph, call)
        if self._checks.golden == "golden" and not verified(self._folder, self._whole, graph, self._settings):
            key = self._key(graph)
            if not self._checks.remembered.knows(key):
                self._run_golden(session, graph, call)
                self._checks.remembered.note(key)
        return session

    def placement(self, graph: Graph, call: Call) -> Placement:
        """Where the nodes of a graph run, on its longest golden input."""
        from edgexf_runtimes.device.placement import (
            placement,  # here, because an application waits for the imports of the runtime
        )
        from edgexf_runtimes.golden import cells_of, inputs_of

        cells = cells_of(self._folder, self._whole).values()
        feeds = max((inputs_of(graph, tensors) for tensors in cells), key=lambda one: sum(map(np.size, one.values())))

        def create(profile: Path) -> ort.InferenceSession:
            return self._created(graph, call, profile)

        return placement(create, feeds, call)

    def _created(self, graph: Graph, call: Call, profile: Path | None = None) -> ort.InferenceSession:
        with opening(call):  # the golden inputs run without it, so that other graphs open meanwhile
            return providers.create(
                self._folder / graph.file, call, settings=self._settings, manifest=self._manifest, profile=profile,
                explains=graph.method != names.PREDICT,
            )  # fmt: skip

    def _key(self, graph: Graph) -> dict[str, Any]:
        wanted = providers.with_options(self._settings, self._manifest, self._folder / graph.file)
        return {
            "what": "golden", **bundle_key(self._folder, self._whole), "graph": graph.file,
            "providers": [[one.provider.ort, dict(one.options)] for one in wanted], "strict": self._settings.strict,
            "onnxruntime": ort.get_build_info() if hasattr(ort, "get_build_info") else ort.__version__,
            "processor": processor(), "driver": DRIVER.read_text(encoding="utf-8") if DRIVER.is_file() else "",
        }  # fmt: skip

    def _run_golden(self, session: ort.InferenceSession, graph: Graph, call: Call) -> None:
        from edgexf_runtimes.golden import (  # here, because an application waits for the imports of the runtime
            cells_of,
            compared,
            inputs_of,
        )

        outputs = [value.name for value in session.get_outputs()]
        limit = tolerance(self._folder, self._whole, graph.dtype)
        rows = []
        for cell, tensors in cells_of(self._folder, self._whole).items():
            options = ort.RunOptions()
            with call.stoppable(lambda options=options: setattr(options, "terminate", True)):  # type: ignore[misc]
                answer = session.run(outputs, inputs_of(graph, tensors), options)
            rows.append(compared(self._manifest, graph, cell, tensors, dict(zip(outputs, answer, strict=True))))
        if any(not row.passes(limit) for row in rows):
            raise DeviceError(refusal(rows, graph, limit, self._settings))


def refusal(rows: list[GoldenRow], graph: Graph, limit: float, settings: Settings) -> str:
    """The sentence for a graph that answers otherwise than the model on this device, with the worst cell."""
    failed = [row for row in rows if not row.passes(limit)]
    worst = max(failed, key=lambda row: max(row.over(limit).values()))
    said = ", ".join(f"{found:.2g} in {name}" for name, found in worst.over(limit).items())
    where = ", ".join(one.provider.name for one in asked(settings.providers))
    portable = graph.ops == PORTABLE
    remedy = "another dtype or provider" if portable else "candidate='portable' (--candidate portable)"
    name = f"{graph.method} in {graph.dtype}{'' if portable else f' ({graph.file})'}"
    return (
        f"{name} must answer its golden inputs within {limit:g} on this device, got {said} of {worst.cell} on {where} "
        f"({len(failed)} of {len(rows)} cells differ); load {remedy}, or pass check='never' to use it all the same."
    )


def verified(folder: Path, whole: Manifest, graph: Graph, settings: Settings) -> bool:
    """Whether a graph was verified on this provider and a processor like this one."""
    if any(one.provider != CPU for one in asked(settings.providers)):
        return False
    if graph.ops != PORTABLE or (graph.dtype != FP32 and is_candidate(whole, graph)):
        return False
    if graph.dtype == FP32:
        return True
    here = processor()
    return any(
        outcome.dtype == graph.dtype and measured_on(outcome.machine) == here
        for outcome in modes(folder, whole).values()
    )


def is_candidate(whole: Manifest, graph: Graph) -> bool:
    return any(graph in one.graphs for one in whole.candidates)


def measured_on(machine: Mapping[str, Any]) -> dict[str, Any]:
    """The processor of a quantization report, as `processor` says it."""
    return {"name": machine.get("processor"), "instruction sets": machine.get("instruction sets")}
