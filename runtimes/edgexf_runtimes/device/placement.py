"""Where a graph runs: the share of its nodes, and of its measured time, by provider.

In: how a session of the graph opens, and inputs. Out: a `Placement`. It comes from a session of its own, with ONNX Runtime's
profiler, whose file lies in a temporary folder: profiling slows a session, at 8 tokens by a factor of five.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from edgexf.errors import UsageError
from edgexf_runtimes.calls.call import Call
from edgexf_runtimes.device.asked import short
from edgexf_runtimes.device.providers import PLACEMENT_SINCE

RUNS = 3  # that are measured, after one that is not
Opener = Callable[[Path], ort.InferenceSession]


@dataclass(frozen=True)
class Placement:
    """Where a graph runs.

    Attributes:
        nodes: the share of the graph's nodes by provider, 0 to 1.
        time: the share of the time inside operators by provider, 0 to 1.
    """

    nodes: Mapping[str, float]
    time: Mapping[str, float]


def placement(opener: Opener, feeds: Mapping[str, Any], call: Call) -> Placement:
    """Measures a graph on `feeds`, within a call. `opener` opens it with a profile at a path; see `providers.create`.

    Raises UsageError on an onnxruntime that does not tell where nodes run.
    """
    if not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
        raise UsageError(
            f"placement needs onnxruntime {PLACEMENT_SINCE} or later, which tells where each node runs, got {ort.__version__}; update it."
        )
    import tempfile  # here, because an application waits for the imports of the runtime

    with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
        session = opener(Path(folder) / "profile")
        try:
            for _ in range(1 + RUNS):
                options = ort.RunOptions()
                with call.stoppable(lambda options=options: setattr(options, "terminate", True)):  # type: ignore[misc]
                    session.run(None, dict(feeds), options)
        finally:
            profile = Path(session.end_profiling())  # before its folder goes
        nodes = Counter[str]()
        for part in session.get_provider_graph_assignment_info():
            nodes[short(part.ep_name)] += len(part.get_nodes())
        return Placement(shares(nodes), shares(times(json.loads(profile.read_bytes()))))


def times(events: list[dict[str, Any]]) -> Counter[str]:
    """Microseconds inside operators by provider, from ONNX Runtime's profile. The first run is left out."""
    found, runs = Counter[str](), 0
    for event in sorted(events, key=lambda one: one["ts"] + one.get("dur", 0)):
        runs += event["name"] == "model_run"
        provider = event.get("args", {}).get("provider", "")
        if runs > 0 and provider and event["name"].endswith("_kernel_time"):
            found[short(provider)] += event["dur"]
    return found


def shares(counts: Counter[str]) -> dict[str, float]:
    """Each count over their sum, the largest first."""
    return {name: count / counts.total() for name, count in counts.most_common()}
