"""onnxruntime packages beside each other, and none at all."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
from conftest import HAS_TORCH
from small import DATA, ROOT

import edgexf
from edgexf_runtimes.device import distributions

EMPTY_FOLDER = "__import__('types').ModuleType('onnxruntime')\nsys.modules['onnxruntime'].__spec__ = __import__('importlib.machinery').machinery.ModuleSpec('onnxruntime', None)"
LINFORMER = DATA / "bundles" / "v1" / "linformer"


def site(folder: Path, **packages: str) -> Path:
    """A folder of installed packages, each with the file that it owns."""
    for name, owned in packages.items():
        (folder / f"{name}-1.2.3.dist-info").mkdir(parents=True)
        (folder / f"{name}-1.2.3.dist-info" / "RECORD").write_text(f"{name}/x.txt,,\n{owned},sha256=abc,1\n")
    return folder


def test_packages_that_hold_the_module_are_found_and_plugins_are_not(tmp_path: Path) -> None:
    own = "onnxruntime/__init__.py"
    both = site(
        tmp_path / "both",
        onnxruntime=own,
        onnxruntime_openvino=own,
        onnxruntime_ep_webgpu="onnxruntime_ep_webgpu/__init__.py",
    )
    assert distributions.packages(both) == ["onnxruntime", "onnxruntime-openvino"]
    assert distributions.packages(site(tmp_path / "one", onnxruntime_gpu=own)) == ["onnxruntime-gpu"]


def test_a_record_in_any_encoding_is_read(tmp_path: Path) -> None:
    """Python's own default on Windows fails at some bytes of UTF-8."""
    both = site(tmp_path / "both", onnxruntime="", onnxruntime_gpu="")
    for record in both.glob("*.dist-info/RECORD"):
        record.write_bytes("onnxruntime/\u0141.py\n".encode() + b"\xff\nonnxruntime/__init__.py")
    assert distributions.packages(both) == ["onnxruntime", "onnxruntime-gpu"]


def test_two_packages_are_one_warning_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributions, "installed_packages", lambda: ("onnxruntime", "onnxruntime-gpu"))
    distributions.warn_of_several.cache_clear()
    with pytest.warns(UserWarning, match="must hold one onnxruntime package, got onnxruntime and onnxruntime-gpu"):
        edgexf.load(LINFORMER).close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edgexf.load(LINFORMER).close()
    distributions.warn_of_several.cache_clear()


def test_the_package_of_this_environment_is_found() -> None:
    assert distributions.installed_packages()
    assert distributions.several() == ""


@pytest.mark.parametrize(
    "command",
    [
        "run BUNDLE FILE",
        "doctor",
        "quantize BUNDLE --mode int8",
        *(["export --variant linformer"] if HAS_TORCH else []),
    ],
)
@pytest.mark.parametrize("rest", ["None", EMPTY_FOLDER])
def test_without_onnxruntime_a_command_says_what_to_install(command: str, rest: str) -> None:
    """Where pip uninstalled two packages, an empty folder may be left, which Python imports as a module."""
    parts = [{"BUNDLE": str(LINFORMER), "FILE": __file__}.get(part, part) for part in command.split()]
    code = f"import sys; sys.modules['onnxruntime'] = {rest}\nfrom edgexf.cli import main; main({parts!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "pip install 'edgexf[cpu]'" in done.stderr


def test_only_the_extra_cpu_brings_onnxruntime() -> None:
    """pip would write it over onnxruntime-gpu, -openvino or -directml without a word."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    brings = {name for name, listed in project["optional-dependencies"].items() if any(map(is_onnxruntime, listed))}
    assert (brings, any(map(is_onnxruntime, project["dependencies"]))) == ({"cpu"}, False)


def is_onnxruntime(requirement: str) -> bool:
    return requirement.startswith("onnxruntime")
