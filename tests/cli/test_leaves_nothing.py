"""Commands write what the caller named and nothing else, and ask no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from small import DATA

COMMANDS = """
import os, sys

def watch(event, arguments):
    if event.startswith("socket."):
        raise RuntimeError(f"a command asks the network: {event}")

sys.addaudithook(watch)
import edgexf
from edgexf.cli import main

for command in (
    "doctor", "run bundle input", "explain bundle input --html why.html", "explain bundle input --method occlusion --budget 9",
    "verify bundle", "quantize bundle --mode int8 --force --overwrite --lengths 8 --json report.json",
    "run bundle input --dtype q8",
):
    try:
        main(command.split())
    except SystemExit as done:
        assert not done.code, command
with edgexf.load("bundle", verify="once", check="golden") as session:
    session.warmup([8])
    session.shrink()
    session.placement() if hasattr(session.graphs.opened("predict"), "get_provider_graph_assignment_info") else None
"""
NO_NETWORK = ("unshare", "--map-root-user", "--net")  # of Linux, where a user may do so


def unnetworked() -> tuple[str, ...]:
    """The start of a command line that has no network, also for native code; empty where the system has no such thing."""
    allowed = shutil.which(NO_NETWORK[0]) and subprocess.run([*NO_NETWORK, "true"], check=False).returncode == 0
    return NO_NETWORK if allowed else ()


def test_commands_write_what_was_named_and_nothing_else(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("home", "temporary", "work")}
    for folder in folders.values():
        folder.mkdir()
    shutil.copytree(DATA / "bundles" / "v1" / "linformer", folders["work"] / "bundle")
    (folders["work"] / "input").write_bytes(b"#!/bin/sh\n")
    before = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    paths = os.pathsep.join([path for path in sys.path if path])  # folders may be relative to this one
    taken = {name: value for name, value in os.environ.items() if not name.startswith(("EDGEXF", "XDG", "ORT"))}
    environment = {
        **taken, "HOME": str(folders["home"]), "TMPDIR": str(folders["temporary"]), "PYTHONPATH": paths,
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    done = subprocess.run(
        [*unnetworked(), sys.executable, "-c", COMMANDS],
        cwd=folders["work"], env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    after = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert after - before == {"work/why.html", "work/report.json"}
    assert before - after == set()
