"""What a device is and does while it is measured. A fact that can't be read is null, with the reason; nothing is guessed.

In: files of the operating system, under a root that a test may choose. Out: `Fact`s by name, `Moment`s before and after a
measurement, and `Energy` counters.

Sources: the kernel's documentation of sysfs-devices-system-cpu, cpufreq, thermal, powercap, power_supply, psi and cgroup v2.
Windows and macOS have none of these files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgexf.errors import EdgexfError
from edgexf.report.latency.facts import Fact

ROOT = Path("/")
CPUS = "sys/devices/system/cpu"
ZONES = "sys/class/thermal"
SENSORS = "sys/class/hwmon"
POWERCAP = "sys/class/powercap"
PRESSURE = "proc/pressure"
TICKS = "proc/stat"
MICRO = 1e-6


def read(path: Path) -> Fact:
    """The text of a file of the kernel."""
    try:
        return Fact(path.read_text(encoding="utf-8", errors="replace").strip())
    except OSError as error:
        return Fact(None, f"{path.name} can't be read: {error.strerror or type(error).__name__}")


def number(path: Path, scale: float = 1.0) -> Fact:
    found = read(path)
    if found.value is None:
        return found
    try:
        return Fact(float(found.value) * scale)
    except ValueError:
        return Fact(None, f"{path.name} holds {found.value[:40]!r}, no number")


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
    if not hasattr(os, "sched_getaffinity"):
        return Fact(None, "this system does not tell the affinity of a process")
    return Fact(sorted(os.sched_getaffinity(0)))


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
        return found
    known = re.match(r"cpu +" + r"(\d+) " * 8, found.value)
    if known is None:
        return Fact(None, f"{TICKS} holds {found.value[:40]!r}")
    user, nice, system, _, _, irq, soft, steal = map(int, known.groups())
    return Fact((user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK"))


def own() -> Fact:
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
    for one in (before.busy, after.busy):
        if one.value is None:
            return one
    taken = (after.busy.value - before.busy.value) - (after.own.value - before.own.value)
    return Fact(min(max(taken / (seconds * processors), 0.0), 1.0))


@dataclass(frozen=True)
class Energy:
    """Counters of energy in joules, by name, such as ``package-0``.

    Attributes:
        source: where they come from.
        joules: None where the system has none; `reason` says why.
        wraps: the joules after which each counter begins anew.
    """

    source: str
    joules: Mapping[str, float] | None
    wraps: Mapping[str, float]
    reason: str = ""


def energy(root: Path = ROOT) -> Energy:
    """The counters of RAPL, of whole packages: cores and graphics are parts of these."""
    found, wraps, reasons = {}, {}, []
    for zone in sorted((root / POWERCAP).glob("*rapl:[0-9]*")):
        if zone.name.count(":") > 1:
            continue
        counter, top = number(zone / "energy_uj", MICRO), number(zone / "max_energy_range_uj", MICRO)
        if counter.value is None or top.value is None:
            reasons.append(counter.reason or top.reason)
            continue
        name = read(zone / "name").value or zone.name
        found[name], wraps[name] = counter.value, top.value
    if found:
        return Energy("RAPL", found, wraps)
    return Energy("", None, {}, reasons[0] if reasons else "this system has no counter of energy (RAPL)")


def spent(before: Energy, after: Energy) -> Fact:
    """The joules between two readings. A counter that is smaller than before began anew once."""
    if before.joules is None or after.joules is None:
        return Fact(None, before.reason or after.reason)
    if before.joules.keys() != after.joules.keys():
        raise EdgexfError(
            f"counters of energy must be the same before and after, got {sorted(before.joules)} and {sorted(after.joules)}; measure again."
        )
    return Fact(sum((after.joules[name] - start) % before.wraps[name] for name, start in before.joules.items()))
