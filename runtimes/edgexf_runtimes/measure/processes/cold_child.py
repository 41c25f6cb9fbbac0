"""The program of a fresh process: see `edgexf_runtimes.measure.processes.cold`.

In: the moment at which Python ran the first line, and the arguments of `cold_start`. Out: one line of JSON. Nothing of the
runtime is imported at the top, because the import is a stage.
"""

from __future__ import annotations

import json
import time
from pathlib import Path


def main(began: float, path: str, of: str, opening: str) -> None:
    import onnxruntime  # noqa: F401 (part of the stage, and the larger one)

    import edgexf_runtimes
    from edgexf import bundle
    from edgexf_runtimes.measure.processes.fresh import tell, with_providers
    from edgexf_runtimes.measure.processes.resident import peak_mib, resident_mib

    ms: dict[str, float] = {}
    first_line = began
    resident: dict[str, float | None] = {}

    def lap(stage: str) -> None:
        nonlocal began
        ms[stage] = 1e3 * (time.perf_counter() - began)
        resident[stage] = resident_mib()
        began = time.perf_counter()

    lap("import")
    given = with_providers(json.loads(opening))
    if given.pop("verify", "always") == "always":
        bundle.read(Path(path))
    lap("verify")
    with edgexf_runtimes.load(path, check="never", nan="flag", verify="never", **given) as session:
        from edgexf_runtimes.measure.cases import Case, feeds, run

        case = Case(**json.loads(of))
        session.graphs.opened(case.graph)
        lap("create")
        inputs = feeds(session, case)
        began = time.perf_counter()  # making inputs is no part of a start
        run(session, case, inputs)
        lap("first")
        run(session, case, inputs)
        lap("second")
        digest = session.model_sha256
    tell({"began": first_line, "ms": ms, "resident_mib": resident, "peak_mib": peak_mib(), "digest": digest})
