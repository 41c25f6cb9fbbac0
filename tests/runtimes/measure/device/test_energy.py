"""Counters of energy, from files of the kernel that the tests write, and from a GPU that stands in for NVML's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgexf_runtimes.device.asked import asked
from edgexf_runtimes.measure.device.energy import HOUR, Energy, beside, energy, gpu_name, gpu_of, named, of_nvml, spent

RAPL = "sys/class/powercap/intel-rapl:0"
CELL = "sys/class/power_supply/BAT0"


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("RAPL", RAPL).replace("CELL", CELL).replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    write(tmp_path, RAPL__name="package-0", RAPL__energy_uj="5000000", RAPL__max_energy_range_uj="8000000")
    core = tmp_path / f"{RAPL}:0"
    core.mkdir()
    for name, text in (("name", "core"), ("energy_uj", "4000000"), ("max_energy_range_uj", "8000000")):
        (core / name).write_text(text)
    return tmp_path


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    write(tmp_path, CELL__type="Battery", CELL__status="Discharging", CELL__energy_now="50000000")
    return tmp_path


def test_packages_are_counted_without_their_cores_and_begin_anew(package: Path) -> None:
    before = energy(root=package)
    assert replace(before, moment=0.0) == Energy({"RAPL package-0": 5.0}, {"RAPL package-0": 8.0})
    assert before.sources.value == ["RAPL package-0"]
    write(package, RAPL__energy_uj="1500000")
    assert spent(before, energy(root=package)).value == pytest.approx(4.5)


def test_the_whole_platform_holds_its_packages_and_does_not_count(package: Path) -> None:
    folder = package / "sys/class/powercap/intel-rapl:1"
    folder.mkdir()
    for name, text in (("name", "psys"), ("energy_uj", "9000000"), ("max_energy_range_uj", "90000000")):
        (folder / name).write_text(text)
    assert energy(root=package).sources.value == ["RAPL package-0"]
    for file in (package / RAPL).glob("name"):
        file.write_text("psys")
    assert energy(root=package).joules is None


def test_packages_come_before_a_battery(package: Path, cell: Path) -> None:
    assert package == cell
    assert energy(root=package).sources.value == ["RAPL package-0"]


@pytest.mark.parametrize("text", ["", "many"])
def test_a_package_that_tells_nothing_leaves_the_sum_unknown(package: Path, text: str) -> None:
    folder = package / "sys/class/powercap/intel-rapl:1"
    folder.mkdir()
    for name, value in (("name", "package-1"), ("energy_uj", text), ("max_energy_range_uj", "8000000")):
        (folder / name).write_text(value)
    found = energy(root=package)
    assert found.joules is None
    assert "no number" in found.reason
    assert spent(found, found).reason == found.sources.reason


def test_a_battery_that_gives_is_a_counter_with_steps(cell: Path) -> None:
    before = energy(root=cell)
    assert before.sources.value == ["battery BAT0"]
    write(cell, CELL__energy_now="49500000")  # half a watt-hour less
    assert spent(before, energy(root=cell)).value == pytest.approx(HOUR / 2)
    write(cell, CELL__energy_now="49990000")
    lacking = spent(before, energy(root=cell))
    assert lacking.value is None
    assert lacking.reason == "battery BAT0 gave 36 J, and its steps ask for 720; measure more --seconds"
    write(cell, CELL__energy_now="51000000")  # it was calibrated
    assert spent(before, energy(root=cell)).reason == "battery BAT0 began anew"


def test_a_device_that_is_plugged_in_meanwhile_has_a_reason(cell: Path) -> None:
    before = energy(root=cell)
    write(cell, CELL__status="Charging")
    assert energy(root=cell).reason == "this system has no counter of energy (RAPL), and runs from no battery"
    assert spent(before, energy(root=cell)).reason == energy(root=cell).reason
    assert "changed from" in spent(before, Energy({"RAPL package-0": 1.0})).reason


def test_a_gpu_is_that_of_the_first_provider_with_one() -> None:
    assert gpu_of(asked("cpu")) is None
    assert gpu_of(asked(["openvino", ("cuda", {"device_id": 2}), "cpu"])) == 2
    assert gpu_of(asked("tensorrt")) == 0


class RefusedError(Exception):
    pass


def nvml(count: int) -> SimpleNamespace:
    """As nvidia-ml-py has it, with `count` GPUs of 1, 2, ... J. No GPU is here, and NVML does not start without."""

    def handle(number: int) -> int:
        if number >= count:
            raise RefusedError("Invalid Argument")
        return number

    return SimpleNamespace(
        NVMLError=RefusedError,
        nvmlDeviceGetCount=lambda: count,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetName=lambda number: f"GPU {number}",
        nvmlSystemGetDriverVersion=lambda: "600.1",
        nvmlDeviceGetTotalEnergyConsumption=lambda number: 1000 * (1 + number),
    )


def test_one_of_several_gpus_is_known_in_the_order_of_the_bus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    assert of_nvml(nvml(1), 0).joules == {"NVML GPU 0": 1.0}
    assert named(nvml(1), 0).sources.value == ["GPU 0, driver 600.1"]
    with pytest.raises(RefusedError):
        of_nvml(nvml(1), 1)
    assert "which of several GPUs" in named(nvml(2), 1).reason
    assert "which of several GPUs" in of_nvml(nvml(2), 1).reason
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert of_nvml(nvml(2), 1).joules == {"NVML GPU 1": 2.0}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert "which of several GPUs" in of_nvml(nvml(2), 1).reason


def test_a_device_without_a_gpu_says_why() -> None:
    """No GPU is here: NVML does not start, or its package is absent."""
    found = gpu_name(0)
    assert found.value is None
    assert "NVML" in found.reason or "nvidia-ml-py" in found.reason
    assert energy(0).reason == found.reason


def test_a_counter_that_is_seldom_new_needs_time() -> None:
    first = of_nvml(nvml(1), 0)
    later = replace(first, joules={"NVML GPU 0": 201.0})
    assert spent(first, replace(later, moment=2.0)).value == 200
    assert (
        spent(first, replace(later, moment=0.1)).reason
        == "NVML GPU 0 takes 2 s in each process, and had 0.1; measure more --seconds"
    )


def test_a_gpu_adds_to_the_processor_but_not_to_a_battery() -> None:
    gpu, package = of_nvml(nvml(1), 0), Energy({"RAPL package-0": 5.0}, {"RAPL package-0": 8.0})
    both = beside(package, gpu)
    assert both.joules == {"RAPL package-0": 5.0, "NVML GPU 0": 1.0}
    assert (both.wraps, both.shortest) == (package.wraps, gpu.shortest)
    given = Energy({"battery BAT0": -9.0}, least={"battery BAT0": 720.0})
    assert beside(given, gpu) == given
    lacking = Energy(None, reason="why")
    assert beside(lacking, gpu) == gpu
    assert beside(package, lacking) == lacking
