"""A forked child answers with sessions of its own and ends, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Exported
from small import DATA

if not hasattr(os, "fork"):
    pytest.skip("this system has no fork", allow_module_level=True)

SCRIPT = """
import gc, multiprocessing, os, sys, threading
import numpy as np
import edgexf
from edgexf_runtimes.calls.call import OF_THREAD

ids = np.array([[257, 1, 2, 3]])
session = edgexf.load(sys.argv[1], threads=2, profile="edge")  # which maps the weights
wanted = session.run(input_ids=ids)["logits"]
why = session.run_explain(input_ids=ids, timeout=60)["relevance"]
cancel = edgexf.Cancel()

def answers(_=None):
    same = np.array_equal(session.run(input_ids=ids, timeout=60, cancel=cancel)["logits"], wanted)
    return same and np.array_equal(session.run_explain(input_ids=ids)["relevance"], why)

def child(end):
    assert answers()
    if end == "exit":
        sys.exit(7)
    if end == "error":
        raise SystemError("expected")
    if end == "collection":
        globals().pop("session")
        gc.collect()
        os._exit(7)
    if end == "close":
        session.close()
        sys.exit(7)

if sys.argv[2] == "tokenizing":
    texts = edgexf.load(sys.argv[3])
    texts.predict(["hello world"])
    with texts._lock, texts._tokenizer._lock:  # as another thread of the parent may hold them at the fork
        pid = os.fork()
        if pid == 0:
            assert texts.predict(["hello world"], timeout=60)
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
elif sys.argv[2] == "logging":
    import logging
    busy = threading.Thread(target=lambda: [edgexf.load(sys.argv[1], log_level="debug").close() for _ in range(9)])
    busy.start()
    while busy.is_alive():
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        os.waitpid(pid, 0)
elif sys.argv[2] == "pool":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert all(pool.map(answers, range(4)))
elif sys.argv[2] == "busy":
    busy = threading.Thread(target=lambda: [session.run(input_ids=np.full((8, 4096), 1)) for _ in range(3)])
    busy.start()
    while not OF_THREAD:
        pass
    pid = os.fork()
    if pid == 0:
        assert not OF_THREAD  # a thread of the child may get the number of a thread of the parent
        child("exit")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    busy.join()
else:
    pid = os.fork()
    if pid == 0:
        child(sys.argv[2])
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == (1 if sys.argv[2] == "error" else 7), code
assert answers()
session.close()
print("the parent answers")
"""


@pytest.mark.parametrize("end", ["exit", "error", "collection", "close", "pool", "busy", "tokenizing", "logging"])
def test_a_child_answers_and_ends(linformer: Exported, tmp_path: Path, end: str) -> None:
    script = tmp_path / "forks.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, linformer.bundle.path, end, DATA / "bundles/v1/features"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "the parent answers\n", done.stderr
