"""What a device is and does while it is measured. A fact that can't be read is null, with the reason; nothing is guessed.

In: files of the operating system, under a root that a test may choose. Out: `Fact`s by name, and `Moment`s before and after a
measurement. `energy` has its counters.

Sources: the kernel's documentation of sysfs-devices-system-cpu, cpufreq, thermal, psi and cgroup v2. Windows and macOS have
none of these files; psutil and py-cpuinfo of the extra ``report`` tell a part of it there. What they only suppose stays
unknown: the clock, which psutil knows on Linux alone, and the caches, which py-cpuinfo adds up on one system and not on
another.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from edgexf.report.latency.measured.facts import Fact
from edgexf_runtimes.device.device import INSTRUCTION_SETS, UNKNOWN
from edgexf_runtimes.measure.device.files import ROOT, number, package, read

CPUS = "sys/devices/system/cpu"
ZONES = "sys/class/thermal"
SENSORS = "sys/class/hwmon"
PRESSURE = "proc/pressure"
CPU_INFO = "proc/cpuinfo"
TICKS = "proc/stat"


def caches(root: Path = ROOT) -> Fact:
    """The caches of processor 0, such as ``L1 Data 32K, L2 Unified 2048K``."""
    folders = sorted((root / CPUS / "cpu0/cache").glob("index*"))
    parts = [[read(folder / name).value for name in ("level", "type", "size")] for folder in folders]
    known = [f"L{level} {kind} {size}" for level, kind, size in parts if None not in (level, kind, size)]
    return Fact(", ".join(known)) if known else Fact(None, "this system does not list the caches")


def governors(root: Path = ROOT) -> Fact:
    """What chooses the clock of the processors, such as ``performance``."""
    found = {read(path).value for path in (root / CPUS).glob("cpu[0-9]*/cpufreq/scaling_governor")} - {None}
    return (
        Fact(", ".join(sorted(found)))
        if found
        else Fact(None, "this system has no cpufreq, as virtual machines have none")
    )


def affinity() -> Fact:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return Fact(sorted(os.sched_getaffinity(0)))
    psutil = package("psutil")
    if psutil is None or not hasattr(psutil.Process, "cpu_affinity"):
        return Fact(None, "this system does not tell the affinity of a process")
    return Fact(sorted(psutil.Process().cpu_affinity()))


def processor(name: Fact, sets: Fact, root: Path = ROOT) -> dict[str, Fact]:
    """The name and the instruction sets of the processor: those of the kernel, or where it tells none, of py-cpuinfo."""
    known = (root / CPU_INFO).is_file() and UNKNOWN not in (name.value, *sets.value)
    cpuinfo = None if known else package("cpuinfo")
    if cpuinfo is None:
        return {"processor": name, "instruction sets": sets}
    found = cpuinfo.get_cpu_info()
    flags = {flag.replace("_", "") for flag in found.get("flags", ())}
    listed = [one for one in INSTRUCTION_SETS if one.replace("_", "") in flags]
    return {"processor": Fact(found.get("brand_raw") or name.value), "instruction sets": Fact(listed or sets.value)}


def processors() -> int:
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Moment:
    """What the device does at one moment.

    Attributes:
        load: the load average of the last minute, in processes.
        pressure: the share of the last 10 seconds in which a process waited for a processor, in per cent.
        busy: seconds of all processors together that were not idle, since the start of the system.
        own: seconds of processor time of this process and of its ended children.
        mhz: the mean clock of the processors.
        celsius: the highest temperature that a sensor shows.
    """

    load: Fact
    pressure: Fact
    busy: Fact
    own: Fact
    mhz: Fact
    celsius: Fact

    def facts(self) -> dict[str, Fact]:
        return dict(vars(self))


def moment(root: Path = ROOT) -> Moment:
    return Moment(load(), pressure(root), busy(root), own(), mhz(root), celsius(root))


def load() -> Fact:
    try:
        return Fact(os.getloadavg()[0])
    except (AttributeError, OSError):  # Windows has none
        return Fact(None, "this system has no load average")


def pressure(root: Path = ROOT) -> Fact:
    found = read(root / PRESSURE / "cpu")
    if found.value is None:
        return found
    known = re.match(r"some avg10=(\d+\.\d+) ", found.value)
    return Fact(float(known[1])) if known else Fact(None, f"{PRESSURE}/cpu holds {found.value[:40]!r}")


def busy(root: Path = ROOT) -> Fact:
    """From the first line of /proc/stat: user, nice, system, irq, softirq and steal, in ticks."""
    found = read(root / TICKS)
    if found.value is None:
        return busy_by_psutil(found.reason)
    known = re.match(r"cpu +" + r"(\d+) " * 8, found.value)
    if known is None:
        return Fact(None, f"{TICKS} holds {found.value[:40]!r}")
    user, nice, system, _, _, irq, soft, steal = map(int, known.groups())
    return Fact((user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK"))


def busy_by_psutil(reason: str) -> Fact:
    """Windows counts its interrupts within ``system``."""
    psutil = package("psutil")
    if psutil is None:
        return Fact(None, f"{reason}, and psutil is not installed")
    times = psutil.cpu_times()
    return Fact(times.user + times.system + getattr(times, "nice", 0.0))


def own(system: str = os.name) -> Fact:
    """Windows counts nothing of ended children, which do all the work of a measurement."""
    if system == "nt":
        return Fact(None, "this system does not count the processor time of ended processes")
    return Fact(sum(os.times()[:4]))


def mhz(root: Path = ROOT) -> Fact:
    clocks = [number(path, 1e-3).value for path in (root / CPUS).glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    known = [clock for clock in clocks if clock is not None]
    return (
        Fact(sum(known) / len(known)) if known else Fact(None, "this system does not tell the clock of its processors")
    )


def celsius(root: Path = ROOT) -> Fact:
    paths = [*(root / ZONES).glob("thermal_zone*/temp"), *(root / SENSORS).glob("hwmon*/temp*_input")]
    known = [fact.value for fact in (number(path, 1e-3) for path in paths) if fact.value is not None]
    return Fact(max(known)) if known else Fact(None, "this system shows no temperature")


def others(before: Moment, after: Moment, seconds: float, processors: int) -> Fact:
    """The share of the processors that other processes took between two moments, 0 to 1."""
    for one in (before.busy, after.busy, before.own, after.own):
        if one.value is None:
            return one
    taken = (after.busy.value - before.busy.value) - (after.own.value - before.own.value)
    return Fact(min(max(taken / (seconds * processors), 0.0), 1.0))
