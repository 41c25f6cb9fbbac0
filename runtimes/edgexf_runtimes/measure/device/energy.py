"""The energy that a device takes: counters of joules, read before and after.

In: files of the operating system, under a root that a test may choose. Out: `Energy`, and the joules between two of them as a
`Fact`, with the reason where nobody knows.

    RAPL      whole processor packages (Linux, Intel and AMD); the kernel's documentation of powercap. The zone psys, the whole
              platform, holds the packages too, so it does not count
    battery   what is left in it, where the device runs from one; ACPI 6.5, section 10.2.2.11
    NVML      the GPU that the session uses; nvmlDeviceGetTotalEnergyConsumption, with the package nvidia-ml-py. It is new
              each 20 to 100 ms only (Yang et al. 2023, Part-time power measurements, arXiv 2312.02741)

Each of them counts everything that runs, this program or another. The report says how much other programs ran, and which
counters its joules are the sum of: of a GPU and of the processor where both tell, of the GPU alone where only it does.
A battery feeds both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgexf.report.latency.measured.facts import Fact
from edgexf_runtimes.device.asked import Asked
from edgexf_runtimes.measure.device.files import ROOT, number, package, read

POWERCAP = "sys/class/powercap"
SUPPLIES = "sys/class/power_supply"
RAPL, BATTERY, NVML = "RAPL", "battery", "NVML"
MICRO = 1e-6
HOUR = 3600.0  # joules of a watt-hour
# A battery tells what is left in steps of 1 mWh by the standard, and of 10 mWh (36 J) in many devices.
LEAST_OF_BATTERY = 20 * 36.0  # joules, for an error of 5 %
SHORTEST_OF_NVML = 2.0  # seconds: 20 of its steps, for an error of 5 %
PACKAGE = "package-"  # how the kernel names the zone of a whole package
PCI_ORDER = "PCI_BUS_ID"
UNORDERED = (
    f"which of several GPUs CUDA uses is known for CUDA_DEVICE_ORDER={PCI_ORDER} without CUDA_VISIBLE_DEVICES alone"
)


@dataclass(frozen=True)
class Energy:
    """Counters of energy.

    Attributes:
        joules: of each counter, by name, such as ``RAPL package-0``; None where the device tells none, or not all.
        wraps: the joules after which a counter begins anew, by name; absent for one that does not.
        least: the joules that a counter must have risen to be believed, by name; absent for an exact one.
        shortest: the seconds that must have passed to believe a counter, by name; absent likewise.
        moment: seconds from any beginning, at which they were read.
        reason: why there are none; empty otherwise.
    """

    joules: Mapping[str, float] | None
    wraps: Mapping[str, float] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)
    shortest: Mapping[str, float] = field(default_factory=dict)
    moment: float = 0.0
    reason: str = ""

    @property
    def sources(self) -> Fact:
        return Fact(None, self.reason) if self.joules is None else Fact(sorted(self.joules))


def energy(gpu: int | None = None, root: Path = ROOT) -> Energy:
    """The counters at this moment. `gpu` is the number of the GPU that a session uses, as CUDA counts them."""
    found = rapl(root)
    if found.joules is None:
        found = battery(root, found.reason)
    if gpu is not None:
        found = beside(found, with_nvml(partial(of_nvml, gpu=gpu)))
    return replace(found, moment=time.monotonic())


def gpu_name(gpu: int) -> Fact:
    """The name of a GPU, and the version of its driver."""
    return with_nvml(partial(named, gpu=gpu)).sources


def gpu_of(providers: Sequence[Asked]) -> int | None:
    """The number of the GPU that the first of `providers` with one runs on, as CUDA counts them; None without."""
    numbers = (int(each.options.get("device_id", "0")) for each in providers if each.provider.nvml)
    return next(numbers, None)


def rapl(root: Path) -> Energy:
    """Of whole packages: cores and graphics are parts of these."""
    found, wraps, reasons = {}, {}, []
    for zone in sorted((root / POWERCAP).glob("*rapl:[0-9]*")):
        if zone.name.count(":") > 1:
            continue
        name = read(zone / "name").value or ""
        if not name.startswith(PACKAGE):
            continue
        counter, top = number(zone / "energy_uj", MICRO), number(zone / "max_energy_range_uj", MICRO)
        if counter.value is None or top.value is None:
            reasons.append(counter.reason or top.reason)
            continue
        found[f"{RAPL} {name}"], wraps[f"{RAPL} {name}"] = counter.value, top.value
    if reasons:  # a device whose counters are known in part has an unknown sum
        return Energy(None, reason=reasons[0])
    return Energy(found, wraps) if found else Energy(None, reason="this system has no counter of energy (RAPL)")


def battery(root: Path, otherwise: str) -> Energy:
    """What all batteries have given, as a counter that rises. `otherwise` is the reason where there is none that gives."""
    found = {}
    for supply in sorted((root / SUPPLIES).glob("*")):
        if read(supply / "type").value != "Battery" or read(supply / "status").value != "Discharging":
            continue
        left = number(supply / "energy_now", MICRO)
        if left.value is None:
            return Energy(None, reason=f"{otherwise}; {left.reason}")
        found[f"{BATTERY} {supply.name}"] = -HOUR * left.value
    if not found:
        return Energy(None, reason=f"{otherwise}, and runs from no battery")
    return Energy(found, least=dict.fromkeys(found, LEAST_OF_BATTERY))


def with_nvml(ask: Callable[[Any], Energy]) -> Energy:
    """What NVML answers, or the reason why it does not."""
    nvml = package("pynvml")
    if nvml is None:
        return Energy(None, reason="the energy of a GPU needs the package nvidia-ml-py")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Energy(None, reason=f"NVML does not start: {error}")
    try:
        return ask(nvml)
    except nvml.NVMLError as error:
        return Energy(None, reason=f"NVML tells nothing of the GPU: {error}")
    finally:
        nvml.nvmlShutdown()


def of_nvml(nvml: Any, gpu: int) -> Energy:
    """The counter of a GPU. `nvml` is the package, initialized; what it raises is for `with_nvml`."""
    if not same_order(nvml):
        return Energy(None, reason=UNORDERED)
    handle = nvml.nvmlDeviceGetHandleByIndex(gpu)
    name = f"{NVML} {nvml.nvmlDeviceGetName(handle)}"
    joules = 1e-3 * nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    return Energy({name: joules}, shortest={name: SHORTEST_OF_NVML})


def named(nvml: Any, gpu: int) -> Energy:
    """The name of a GPU in place of a counter, under the same rules."""
    if not same_order(nvml):
        return Energy(None, reason=UNORDERED)
    name = nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(gpu))
    return Energy({f"{name}, driver {nvml.nvmlSystemGetDriverVersion()}": 0.0})


def same_order(nvml: Any) -> bool:
    """Whether CUDA and NVML count the GPUs of this device in the same order."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("CUDA_DEVICE_ORDER")
    return nvml.nvmlDeviceGetCount() == 1 or chosen == (None, PCI_ORDER)


def beside(one: Energy, gpu: Energy) -> Energy:
    """The processor's counters and the GPU's."""
    if one.joules is None or gpu.joules is None:
        return gpu
    if any(name.startswith(BATTERY) for name in one.joules):
        return one
    return Energy({**one.joules, **gpu.joules}, one.wraps, shortest=gpu.shortest)


def spent(before: Energy, after: Energy) -> Fact:
    """The joules between two readings, or the reason why nobody knows."""
    if before.joules is None or after.joules is None:
        return Fact(None, before.reason or after.reason)
    if before.joules.keys() != after.joules.keys():
        return Fact(None, f"the counters changed from {', '.join(before.joules)} to {', '.join(after.joules)}")
    seconds = after.moment - before.moment
    found = [risen(name, before, after.joules[name] - start, seconds) for name, start in before.joules.items()]
    lacking = [fact for fact in found if fact.value is None]
    return lacking[0] if lacking else Fact(sum(fact.value for fact in found))


def risen(name: str, before: Energy, joules: float, seconds: float) -> Fact:
    """The joules of one counter, from the difference of two readings. One that fell began anew once, if it can."""
    joules += before.wraps.get(name, 0.0) if joules < 0 else 0.0
    if joules < 0:
        return Fact(None, f"{name} began anew")
    shortest = before.shortest.get(name, 0.0)
    if seconds < shortest:
        return Fact(None, f"{name} takes {shortest:g} s in each process, and had {seconds:.1f}; measure more --seconds")
    least = before.least.get(name, 0.0)
    if joules < least:
        return Fact(None, f"{name} gave {joules:.0f} J, and its steps ask for {least:.0f}; measure more --seconds")
    return Fact(joules)
