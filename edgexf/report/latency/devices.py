"""Which devices reports come from, and what to call them.

In: reports. Out: the facts in which their devices differ, and a short name for each device.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.report import LatencyReport

DEVICE = ("processor", "system", "instruction sets", "processors", "cgroup CPU quota", "affinity", "governor", "gpu")
ABSENT = Fact(None, "not in the report")
# Of two devices with one name, these facts tell which is which. The first one that differs stands first.
TELLING = ("processor", "gpu", "system", "processors", "cgroup CPU quota", "governor", "affinity", "instruction sets")
COUNTED = ("processors",)  # facts whose value stands before their name
LONGEST = 32  # characters of such a fact
PADDING = re.compile(r"\((?:R|TM)\)|\bCPU\b|\bProcessor\b|\b\d+-Core\b|@ .*$")  # in a processor's name


def of_devices(old: LatencyReport, new: LatencyReport) -> tuple[str, ...]:
    found = ((name, old.device.get(name, ABSENT), new.device.get(name, ABSENT)) for name in DEVICE)
    return tuple(f"{name} {one.text()} and {other.text()}" for name, one, other in found if one != other)


def device_of(report: LatencyReport) -> tuple[str, ...]:
    """What tells a device from another one."""
    return tuple(report.device.get(name, ABSENT).text() for name in DEVICE)


def device_names(reports: Sequence[LatencyReport]) -> list[str]:
    """A short name for the device of each report: its processor, and where two devices have the same, what else tells them
    apart. Reports of one device have the same name, those of two devices never.
    """
    devices = {device_of(report): report.device for report in reports}
    names = {key: processor_name(facts.get("processor", ABSENT)) for key, facts in devices.items()}
    for fact in TELLING:
        for same in alike(names):
            told = {key: told_fact(fact, devices[key].get(fact, ABSENT)) for key in same}
            if len(set(told.values())) > 1 and max(map(len, told.values())) <= LONGEST:
                names |= {key: text if fact == "processor" else f"{names[key]}, {text}" for key, text in told.items()}
    for same in alike(names):
        names |= {key: f"{names[key]} ({number})" for number, key in enumerate(same, 1)}
    return [names[device_of(report)] for report in reports]


def alike(names: Mapping[tuple[str, ...], str]) -> list[list[tuple[str, ...]]]:
    """The keys of each name that several have."""
    counts = Counter(names.values())
    return [[key for key, name in names.items() if name == one] for one, count in counts.items() if count > 1]


def processor_name(fact: Fact) -> str:
    """Such as ``AMD EPYC 7763`` for ``AMD EPYC 7763 64-Core Processor``."""
    if fact.value is None:
        return "unknown processor"
    return " ".join(PADDING.sub(" ", fact.text()).split()) or fact.text()


def told_fact(name: str, fact: Fact) -> str:
    if name in COUNTED and fact.value is not None:
        return f"{fact.text()} {name}"
    text = fact.text() if fact.value is not None else "unknown"
    return text if name in ("processor", "system") else f"{name} {text}"
