"""What a plan does not measure on this device, as far as that is known before.

In: a session and a plan. Out: the reasons by the quantity of a budget. A budget of such a quantity is refused before the
measurement, which would only find the figure lacking.
"""

from __future__ import annotations

from edgexf.report.latency.measured.facts import Fact
from edgexf_runtimes.device.asked import asked
from edgexf_runtimes.measure.device.energy import energy, gpu_of
from edgexf_runtimes.measure.latency.plan import Plan
from edgexf_runtimes.measure.latency.rounds import SEARCHED
from edgexf_runtimes.measure.processes.resident import peak_mib
from edgexf_runtimes.session import Session

UNTOLD = Fact(None, "this system does not tell it")
OF_BATCHES = Fact(None, "the peak of memory is that of one row, not of batches")


def lacking(session: Session, plan: Plan) -> dict[str, str]:
    joules = SEARCHED if plan.bound is not None else energy(gpu_of(asked(session.settings.providers))).sources
    memory = UNTOLD if peak_mib() is None else OF_BATCHES if max(plan.batches) > 1 else Fact(0.0)
    return {name: fact.reason for name, fact in (("energy", joules), ("memory", memory)) if fact.value is None}
