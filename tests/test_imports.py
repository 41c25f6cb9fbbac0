"""Modules that edgexf must not load on import or in commands, tested in fresh processes."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Exported

HEAVY = ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "optimum")

PROBE = """
import runpy, sys
try:
    exec(sys.argv[1])
finally:
    heavy = sys.argv[2].split()
    print("LOADED", *[name for name in heavy if name in sys.modules])
"""


def loaded(code: str, *names: str) -> list[str]:
    """Runs `code` in a fresh interpreter and returns those of `names` that are loaded afterwards."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, code, " ".join(names)], capture_output=True, text=True, check=False
    )
    last = done.stdout.strip().splitlines()[-1].split()
    assert (done.returncode, last[0]) == (0, "LOADED"), done.stderr
    return last[1:]


@pytest.mark.parametrize(
    "module",
    [
        "edgexf",
        "edgexf_runtimes",
        "edgexf.cli",
        "edgexf.bundle.folder",
        "edgexf.pipeline.export_model",
        "edgexf_exporters",
    ],
)
def test_importing_loads_nothing_heavy(module: str) -> None:
    assert loaded(f"import {module}", *HEAVY) == []


SLOW = (
    "email", "importlib.metadata", "hashlib", "tempfile", "shutil", "rich", "click", "asyncio", "multiprocessing",
    "concurrent.futures", "sklearn", "jsonschema", "tokenizers", "edgexf.report", "edgexf.report.explanation",
    "edgexf.report.html", "edgexf.report.quantization", "edgexf_runtimes.explain.perturbation", "zipfile", "tokenize",
)  # fmt: skip


def test_an_application_waits_for_few_imports_of_the_runtime() -> None:
    """The import of numpy and onnxruntime is the application's own; what they load themselves does not count."""
    theirs = loaded("import numpy, onnxruntime", *SLOW)
    assert [name for name in loaded("import edgexf_runtimes", *SLOW) if name not in theirs] == []


def test_a_prompt_imports_one_command_and_no_bar_for_one_input(linformer: Exported) -> None:
    code = f"from edgexf.cli import main; main(['run', {str(linformer.bundle.path)!r}, {__file__!r}])"
    slow = (*(name for name in SLOW if name not in ("click", "hashlib", "edgexf.report")), "edgexf_exporters")
    theirs = loaded("import numpy, onnxruntime", *slow)
    assert [name for name in loaded(code, *slow) if name not in theirs] == []


def test_the_probe_sees_what_is_loaded() -> None:
    assert loaded("import onnx", *HEAVY) == ["onnx"]


def test_edgexf_alone_loads_neither_numpy_nor_onnxruntime() -> None:
    assert loaded("import edgexf.cli, edgexf.spec, edgexf.names", "numpy", "onnxruntime", "rich") == []


@pytest.mark.parametrize(
    "command",
    [
        "variants",
        "doctor",
        "verify BUNDLE",
        "run BUNDLE FILE",
        "explain BUNDLE FILE",
        "bench BUNDLE --lengths 16",
        "ort COPY",
        "tune COPY --lengths 16 --threads 1",
    ],
)
def test_no_command_but_export_loads_torch(command: str, linformer: Exported, tmp_path: Path) -> None:
    places = {"BUNDLE": str(linformer.bundle.path), "FILE": str(Path(__file__)), "COPY": str(tmp_path / "copy")}
    if "COPY" in command:  # the command changes its bundle
        shutil.copytree(linformer.bundle.path, places["COPY"])
    parts = [places.get(part, part) for part in command.split()]
    assert loaded(f"from edgexf.cli import main; main({parts!r})", *HEAVY) == []


WATCH = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            assert os.environ.get("ORT_DISABLE_TELEMETRY") == "1", "onnxruntime is imported with its telemetry on"
            print("seen")
sys.meta_path.insert(0, Watch())
import {module}
"""


@pytest.mark.parametrize(
    "module", ["edgexf_runtimes", "edgexf_exporters.verify.compare", "edgexf_exporters.verify.graph_checks"]
)
def test_telemetry_is_off_when_onnxruntime_is_imported(module: str) -> None:
    """onnxruntime reads the setting once, when it is imported. A later change has no effect."""
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", WATCH.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["seen"]), done.stderr


@pytest.mark.parametrize(
    ("module", "names"),
    {
        "edgexf": ("__version__", "export", "load", "quantize", "tune", "verify"),
        "edgexf.bundle": ("Bundle", "read", "write", "digest_of", "sha256", "revise"),
        "edgexf.report": ("Comparison", "Explanation", "Features", "LatencyReport", "Prediction"),
        "edgexf.pipeline": ("Bundle", "UNEXPLAINED", "Verdict", "export", "verify"),
        "edgexf.cli": ("main",),
        "edgexf_runtimes": ("Session", "attribute", "load"),
        "edgexf_exporters": ("VARIANTS",),
    }.items(),
)
def test_public_names_stay_where_they_were(module: str, names: tuple[str, ...]) -> None:
    """Modules became folders, but imports from them still work."""
    found = importlib.import_module(module)
    assert [name for name in names if not hasattr(found, name)] == []


def test_quantizing_without_its_extra_is_a_sentence(tmp_path: Path) -> None:
    """A device has no onnx_ir; what is wrong with the call itself is said first."""
    code = (
        "import sys; sys.modules['onnx_ir'] = None\n"
        "from edgexf.cli import main\n"
        f"main(['quantize', {str(tmp_path)!r}, '--mode', 'int8', '--json', {str(tmp_path / 'inside.json')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "a report must lie outside the bundle" in done.stderr
