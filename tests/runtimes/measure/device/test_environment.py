"""Facts of a device, from files of the kernel that the tests write, and from this system."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgexf.report.latency.measured.facts import Fact
from edgexf_runtimes.device.device import describe
from edgexf_runtimes.measure.device import environment
from edgexf_runtimes.measure.device.environment import Moment

PSI = "some avg10=12.50 avg60=3.00 avg300=1.00 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
STAT = "cpu  1000 20 300 9000 50 10 20 30 0 0\ncpu0 1 2 3\n"


@pytest.fixture
def device(tmp_path: Path) -> Path:
    files = {
        "proc/pressure/cpu": PSI,
        "proc/stat": STAT,
        "sys/devices/system/cpu/cpu0/cache/index0/level": "1",
        "sys/devices/system/cpu/cpu0/cache/index0/type": "Data",
        "sys/devices/system/cpu/cpu0/cache/index0/size": "32K",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "powersave",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2000000",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3000000",
        "sys/class/thermal/thermal_zone0/temp": "45000",
        "sys/class/hwmon/hwmon0/temp1_input": "61500",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return tmp_path


def test_facts_are_read_in_their_units(device: Path) -> None:
    assert environment.caches(device).value == "L1 Data 32K"
    assert environment.governors(device).value == "performance, powersave"
    assert environment.pressure(device).value == 12.5
    assert environment.busy(device).value == pytest.approx(1380 / os.sysconf("SC_CLK_TCK"))
    assert environment.mhz(device).value == 2500
    assert environment.celsius(device).value == 61.5


def test_what_is_not_there_has_a_reason(tmp_path: Path) -> None:
    for find in (environment.caches, environment.governors, environment.pressure, environment.mhz, environment.celsius):
        found = find(tmp_path)
        assert found.value is None
        assert found.reason
        assert found.text() == f"unknown ({found.reason})"


@pytest.mark.parametrize(
    ("name", "find"), [("proc/stat", environment.busy), ("proc/pressure/cpu", environment.pressure)]
)
@pytest.mark.parametrize("text", ["", "cpu 1 2 3", "some total=5"])
def test_a_file_of_another_form_has_a_reason(device: Path, name: str, find: Callable[[Path], Fact], text: str) -> None:
    """Kernels of sandboxes and other systems write less."""
    (device / name).write_text(text)
    found = find(device)
    assert found.value is None
    assert "holds" in found.reason


def test_a_fact_has_a_value_or_a_reason() -> None:
    for wrong in ((None, ""), (3, "why")):
        with pytest.raises(ValueError, match="a value, or the reason"):
            Fact(*wrong)


def test_other_processes_are_told_from_this_one() -> None:
    unknown = Fact(None, "not here")

    def at(busy: float, own: float) -> Moment:
        return Moment(unknown, unknown, Fact(busy), Fact(own), unknown, unknown)

    assert environment.others(at(100, 10), at(118, 20), 10, 2).value == pytest.approx(0.4)
    assert environment.others(at(100, 10), at(109.9, 20), 10, 2).value == 0  # ticks are coarse
    lacking = Moment(unknown, unknown, unknown, Fact(0.0), unknown, unknown)
    assert environment.others(lacking, at(1, 1), 10, 2) == unknown
    on_windows = replace(at(100, 10), own=environment.own("nt"))
    assert "ended processes" in environment.others(on_windows, at(118, 20), 10, 2).reason


def test_this_system_has_every_fact_or_a_reason() -> None:
    found = environment.moment().facts()
    assert json.loads(json.dumps({name: fact.to_dict() for name, fact in found.items()})).keys() == found.keys()
    assert found["own"].value > 0


@pytest.mark.parametrize("installed", [True, False])
def test_a_system_without_files_asks_psutil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "psutil", None)
    found = environment.busy(tmp_path)
    if installed:
        assert found.value == pytest.approx(environment.busy().value, rel=0.05)
    else:
        assert "psutil is not installed" in found.reason


@pytest.mark.parametrize("installed", [True, False])
def test_affinity_without_the_systems_call(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    if not installed:
        monkeypatch.setitem(sys.modules, "psutil", None)
    assert environment.affinity().value == (allowed if installed else None)


def test_a_processor_without_a_file_is_named_by_py_cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {name: Fact(value) for name, value in describe().items() if name in ("processor", "instruction sets")}
    assert environment.processor(*unnamed(), tmp_path) == told
    monkeypatch.setitem(sys.modules, "cpuinfo", None)
    name, sets = unnamed()
    assert environment.processor(name, sets, tmp_path) == {"processor": name, "instruction sets": sets}


def unnamed() -> tuple[Fact, Fact]:
    return Fact("Intel64 Family 6"), Fact(["unknown"])
