"""Runs the tests of the runtime without torch, in environments of their own, on the oldest and the newest onnxruntime.

    python tests/benchmarks/matrix.py                              # pythons of ROWS from pyenv, writes results/matrix.md
    python tests/benchmarks/matrix.py --folder FOLDER              # keeps the environments and bundles there

Run it where torch is. The tests export their bundles once, here. Each row of `ROWS` is then an environment with the wheel,
its extras for a device, an onnxruntime and pytest, and runs a copy of the tests, so that nothing is read from this folder.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.device import cpu_info

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "matrix.md"
TESTS = "tests/runtimes"
TOOLS = ("pytest", "pytest-xdist", "filelock")  # of the tests and of their settings in pyproject.toml


@dataclass(frozen=True)
class Row:
    """An environment.

    Attributes:
        python: its version, with the first two numbers.
        onnxruntime: its version.
        oldest: whether it has the oldest numpy, click and rich that pyproject.toml allows.
    """

    python: str
    onnxruntime: str
    oldest: bool = False


# The oldest and the newest; between them the first versions that have what edgexf asks for: stopping a load (1.22), plugin
# libraries (1.23), where nodes run (1.24).
ROWS = (
    Row("3.11", "1.20.0", oldest=True),
    Row("3.11", "1.22.0"),
    Row("3.11", "1.23.0"),
    Row("3.11", "1.24.1"),
    Row("3.11", "1.32.0"),
    Row("3.13", "1.20.0"),
    Row("3.13", "1.32.0"),
)


def run(
    *command: str | Path, folder: Path = ROOT, check: bool = True, clean: bool = True
) -> subprocess.CompletedProcess[str]:
    """Runs a command; a `clean` one does not see the packages of this environment."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" or not clean}
    return subprocess.run(command, cwd=folder, env=environment, check=check, capture_output=True, text=True)


def python_of(version: str) -> Path:
    """The interpreter of a version, from pyenv or the path."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = sorted(versions.glob(f"{version}.*/bin/python"))
    if found:
        return found[-1]
    named = shutil.which(f"python{version}")
    if named is None:
        raise SystemExit(f"a row needs Python {version}, got none from pyenv or the path; install it.")
    return Path(named)


def least() -> list[str]:
    """The lower bounds of what the wheel needs, as exact requirements."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [requirement.replace(">=", "==") for requirement in project["dependencies"]]


def environment(row: Row, wheel: Path, folder: Path) -> Path:
    """The Python of an environment for a row, with the wheel of today."""
    place = folder / f"{row.python}-{row.onnxruntime}"
    python = place / "bin" / "python"
    if not python.exists():
        run(python_of(row.python), "-m", "venv", place)
    exact = least() if row.oldest else []
    wanted = [f"{wheel}[text,explain,quantize]", f"onnxruntime=={row.onnxruntime}", *TOOLS, *exact]
    run(python, "-m", "pip", "install", "--quiet", *wanted)
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", wheel)
    return python


def tested(row: Row, python: Path, bundles: Path, copy: Path) -> tuple[list[str], Counter[str]]:
    """The cells of a row, and how often tests were skipped for which reason."""
    report = copy / "report.xml"
    done = run(
        python.parent / "pytest", TESTS, "--bundles", bundles, f"--junit-xml={report}", "-p", "no:cacheprovider", "-rfE",
        folder=copy, check=False,
    )  # fmt: skip
    print(done.stdout[-3000:] if done.returncode else done.stdout.splitlines()[-1])
    suite = ElementTree.parse(report).getroot()[0]  # noqa: S314 (pytest wrote it)
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = counts["failures"] + counts["errors"]
    reasons = Counter(found.get("message", "") for found in suite.iter("skipped"))
    said = run(
        python, "-c", "import numpy, platform; print(platform.python_version(), numpy.__version__)"
    ).stdout.split()  # fmt: skip
    passed = counts["tests"] - failed - counts["skipped"]
    return [said[0], row.onnxruntime, said[1], str(passed), str(failed), str(counts["skipped"])], reasons


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "edgexf-matrix")
    folder: Path = parser.parse_args().folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    bundles, copy = folder / "bundles", folder / "copy"
    for old in (bundles, copy, folder / "wheel"):
        shutil.rmtree(old, ignore_errors=True)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder / "wheel", ROOT)
    (wheel,) = (folder / "wheel").glob("*.whl")
    done = run(sys.executable, "-m", "pytest", TESTS, "--bundles", bundles, "-rfE", check=False, clean=False)
    print(done.stdout.splitlines()[-1])
    for part in ("tests", "samples"):
        shutil.copytree(ROOT / part, copy / part)
    shutil.copy(ROOT / "pyproject.toml", copy)
    cells, reasons = [], dict[str, list[str]]()
    for row in ROWS:
        found, skipped = tested(row, environment(row, wheel, folder), bundles, copy)
        cells.append(found)
        for reason, count in skipped.items():
            reasons.setdefault(re.sub(r"^Skipped: ", "", reason), []).append(f"{count} on {row.onnxruntime}")
    table = markdown_table(["Python", "onnxruntime", "numpy", "passed", "failed", "skipped"], cells)
    listed = "".join(f"- {reason} ({', '.join(dict.fromkeys(where))})\n" for reason, where in reasons.items())
    text = (
        f"# The runtime on other versions\n\n`python tests/benchmarks/matrix.py` on {cpu_info('model name')}, Linux. Each row is an "
        "environment of its own with the wheel, its extras `text`, `explain` and `quantize`, and no torch; it runs\n"
        f"`pytest {TESTS}` with bundles that were exported beforehand. The first row has the oldest numpy, click and rich that\n"
        f"`pyproject.toml` allows.\n\n{table}\n\nSkipped:\n\n{listed}"
    )
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
