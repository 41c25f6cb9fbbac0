"""The README: its commands run as they stand there, and its Python runs too."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Exported

pytestmark = pytest.mark.slow  # exports or runs many models

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SLOW = ("edgexf export", "edgexf bench", "edgexf quantize")  # started by other tests, with their results looked at


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


COMMANDS = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def folder(linformer: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands in the clone after the README's first command, as far as its other commands read it."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(linformer.bundle.path, folder / "linformer-bundle")
    for part in ("edgexf", "runtimes", ".ci", "samples", "tests/data/evaluation"):
        shutil.copytree(ROOT / part, folder / part)
    shutil.copy(ROOT / "README.md", folder)
    return folder


def test_the_readme_shows_every_command() -> None:
    shown = {command.split()[1] for command in COMMANDS if command.startswith("edgexf")}
    assert {"export", "run", "explain", "bench", "verify"} <= shown


@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.startswith(SLOW)])
def test_a_command_of_the_tour_runs(command: str, folder: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S602 (as a user types it)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_python_of_the_readme_runs(folder: Path) -> None:
    for code in blocks("python"):
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_set_up_is_two_commands_and_ci_runs_the_second() -> None:
    first, second = (block.strip() for block in blocks("sh"))
    assert "edgexf export --variant linformer && edgexf run linformer-bundle README.md" in first
    assert second.startswith('python -m pip install -e ".[dev]" && ')
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
