"""A system without what Linux has: the runtime works there, or says in a sentence what it lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from small import DATA

# Python imports a module of this name at its start, also in the processes that `edgexf bench` starts.
TAKE_AWAY = """
import builtins, io, os, select, signal, sys, warnings

for name in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[name] = None
for owner, names in (
    (os, "fork forkpty register_at_fork sched_getaffinity sched_setaffinity getloadavg O_NONBLOCK O_NOCTTY O_DIRECTORY "
     "geteuid getuid posix_fadvise sysconf"),
    (select, "poll epoll"),
    (signal, "SIGALRM SIGUSR1 SIGUSR2 SIGKILL SIGHUP SIGPIPE alarm setitimer pthread_kill"),
):
    for name in names.split():
        if hasattr(owner, name):
            delattr(owner, name)

def hides(function):
    def hidden(path, *others, **named):
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if text.startswith(("/proc", "/sys")):
            raise FileNotFoundError(2, "No such file or directory", text)
        return function(path, *others, **named)
    return hidden

io.open = builtins.open = hides(io.open)
os.stat, os.listdir, os.scandir = map(hides, (os.stat, os.listdir, os.scandir))

def opens_no_folder(path, *others, opened=os.open, **named):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", os.fspath(path))
    return opened(path, *others, **named)

def renames_onto_nothing(source, target, *others, renamed=os.rename, **named):
    if os.path.lexists(target):
        raise FileExistsError(17, "File exists", os.fspath(target))
    return renamed(source, target, *others, **named)

os.open, os.rename = hides(opens_no_folder), renames_onto_nothing
# A text file without an encoding has that of the system, which on Windows is not UTF-8.
warnings.filterwarnings("error", category=EncodingWarning, module="edgexf")
"""

USE = """
import os, sys
from pathlib import Path
import numpy as np
import edgexf
from edgexf import bundle
from edgexf.cli import main
from edgexf.errors import Cancelled, TimedOut
from edgexf.report.latency.tables import latency_cells
from edgexf_runtimes.device.device import describe
from edgexf_runtimes.inputs.files import read_file
from edgexf_runtimes.measure.latency import bench

folder = Path(sys.argv[1])
path, text = folder / "bundle", b"#!/bin/sh"
with edgexf.load(path, dtype="fp32", verify="once", cache=folder / "cache") as session:
    ids = np.array([[257, *text]])
    logits = session.run(input_ids=ids)["logits"]
    (answer,) = session.predict([text])
    assert session.explain(text).prediction.label == answer.label
    assert session.explain(text, method="occlusion", budget=8).settings["complete"]
    assert [one.label for one in session.stream([text] * 3)] == [answer.label] * 3
    late, token = np.tile(ids, (4096, 1)), edgexf.Cancel()
    token.cancel()
    for limit, error in (({"timeout": 0.001}, TimedOut), ({"cancel": token}, Cancelled)):
        try:
            session.run(input_ids=late, **limit)
        except error:
            continue
        raise SystemExit(f"the call went on in spite of {limit}")
    session.shrink()
    session.warmup([8], ["attnlrp"])
    assert (session.run(input_ids=ids)["logits"] == logits).all()
    assert not session.stale
assert len(list((folder / "cache").iterdir())) == 1
with edgexf.load(path, dtype="q8") as session:  # its golden inputs are run, since no processor is known
    assert session.predict([text])

assert read_file(Path(os.devnull), 8) == b""  # no regular file, and nothing waits for it
facts = describe()
assert (facts["instruction sets"], facts["cgroup memory limit"]) == (["unknown"], "unknown")
plan = bench.Plan([8], dtypes=["fp32"], queries=2, seconds=0, processes=1)
report = bench.measure(path, plan)
(row,) = report.rows
assert (row.peak_mib.value, latency_cells(row)[-1]) == (None, "-")
assert all(fact.value is not None or fact.reason for fact in {**report.device, **report.before, **report.after}.values())

(folder / "other").mkdir()
files = {name: (path / name).read_bytes() for name in bundle.read(path).files}
for overwrite in (False, True):
    bundle.write(folder / "other", files, bundle.read(path), overwrite)
assert {one.name for one in folder.iterdir()} == {"bundle", "cache", "other", "start"}

for command in (["doctor"], ["verify", "other"], ["run", "other", "bundle/edgexf.json"]):
    try:
        main([str(folder / part) if part in ("other", "bundle/edgexf.json") else part for part in command])
    except SystemExit as done:
        assert not done.code, command
"""


def test_the_runtime_works_without_what_linux_has(tmp_path: Path) -> None:
    shutil.copytree(DATA / "bundles" / "v1" / "linformer", tmp_path / "bundle")
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text(TAKE_AWAY, encoding="utf-8")
    paths = os.pathsep.join([str(tmp_path / "start"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONWARNDEFAULTENCODING": "1"}
    done = subprocess.run(
        [sys.executable, "-c", USE, str(tmp_path)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
