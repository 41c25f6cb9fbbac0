"""Memory comes back on request, and is put in place beforehand on request."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import DATA

import edgexf
from edgexf.errors import ClosedError, UsageError
from edgexf_runtimes.calls.runs import Run
from edgexf_runtimes.session import Session

BUNDLES = DATA / "bundles" / "v1"
IDS = np.array([[1, 2, 3, 4, 5]])


@pytest.fixture
def session() -> Iterator[Session]:
    with edgexf.load(BUNDLES / "tokens", threads=1) as opened:
        yield opened


def test_shrink_releases_the_graphs_and_the_next_call_opens_them_again(session: Session) -> None:
    wanted = session.run(input_ids=IDS)["logits"], session.run_explain(input_ids=IDS, position=[1])["relevance"]
    inner = [weakref.ref(session.graphs.opened(purpose)) for purpose in ("predict", "attnlrp")]
    session.shrink()
    gc.collect()
    assert [one() for one in inner] == [None, None]
    assert np.array_equal(session.run(input_ids=IDS)["logits"], wanted[0])
    assert np.array_equal(session.run_explain(input_ids=IDS, position=[1])["relevance"], wanted[1])


GROWN = """
import resource, sys, numpy as np, edgexf
from edgexf_runtimes.device import session_options
session_options.LONG = 100
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
with edgexf.load(sys.argv[1], threads=1) as session:
    session.run(input_ids=np.full((1, 99), 3))
    before = resident()
    session.run(input_ids=np.full((300, int(sys.argv[2])), 3))
    print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="only Linux tells the memory of a process in a file")
def test_a_long_run_gives_its_memory_back_by_itself() -> None:
    """300 rows take 37 MiB, as long as ONNX Runtime keeps them. 100 tokens count as long here, 99 do not."""
    kept, given_back = (
        float(subprocess.check_output([sys.executable, "-c", GROWN, str(BUNDLES / "longformer"), str(length)]))
        for length in (99, 100)
    )
    assert given_back < 15 < 25 < kept


def test_shrink_leaves_a_run_in_flight_alone(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither waits for the other: the run keeps its graph until it ends. A fork meanwhile must keep it too."""
    wanted = session.run(input_ids=IDS)["logits"]
    found: list[Any] = []
    began, goes_on = threading.Event(), threading.Event()
    graph = session.graphs.opened("predict")
    alive, run = weakref.ref(graph), type(graph).run

    def slow(inner: Any, *arguments: Any) -> Any:
        if inner is alive():
            began.set()
            assert goes_on.wait(60)
        return run(inner, *arguments)

    monkeypatch.setattr(type(graph), "run", slow)
    worker = threading.Thread(target=lambda: found.append(session.run(input_ids=IDS)["logits"]))
    worker.start()
    assert began.wait(60)
    session.shrink()
    assert graph in session.graphs._dropped
    assert np.array_equal(session.run(input_ids=IDS)["logits"], wanted)  # by a graph that was opened anew
    goes_on.set()
    worker.join()
    assert np.array_equal(found[0], wanted)
    del graph
    gc.collect()
    assert alive() is None


def test_a_forked_child_must_not_destroy_a_graph_that_shrink_dropped(session: Session) -> None:
    graph = session.graphs.opened("predict")
    session.shrink()
    assert any(one is graph for one in session.graphs.renew())


def test_a_stale_session_keeps_its_graphs(tmp_path: Path) -> None:
    """Another bundle took its place, so that they could not open again."""
    bundle = Path(shutil.copytree(BUNDLES / "tokens", tmp_path / "bundle"))
    with edgexf.load(bundle, threads=1) as session:
        wanted = session.run(input_ids=IDS)["logits"], session.run_explain(input_ids=IDS, position=[1])["relevance"]
        bundle.rename(tmp_path / "old")
        shutil.copytree(BUNDLES / "linformer", bundle)
        session.shrink()
        assert session.stale
        assert np.array_equal(session.run(input_ids=IDS)["logits"], wanted[0])
        assert np.array_equal(session.run_explain(input_ids=IDS, position=[1])["relevance"], wanted[1])


def test_shrink_of_a_closed_session_is_a_sentence(session: Session) -> None:
    session.close()
    with pytest.raises(ClosedError):
        session.shrink()


@pytest.mark.parametrize("name", ["tokens", "linformer", "module", "choices", "decoder"])
def test_warming_up_runs_each_length_smallest_first(name: str) -> None:
    runs: list[Run] = []
    with edgexf.load(BUNDLES / name, dtype="fp32", threads=1, on_run=runs.append) as session:
        methods = session.manifest.methods[:1]
        session.warmup([40, 8, 40], methods)
    assert [run.method for run in runs] == ["predict", *methods] * 2
    assert [run.error for run in runs] == [""] * len(runs)
    lengths = [run.length for run in runs if run.method == "predict"]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("wrong", [[0], [8, 129], ["8"]])
def test_a_length_to_warm_up_that_the_model_does_not_take_is_a_sentence(session: Session, wrong: list[Any]) -> None:
    with pytest.raises(UsageError, match=r"lengths must be the bundle's 2 to 128, got (0|129|'8')"):
        session.warmup(wrong)


def test_a_method_to_warm_up_must_have_a_graph(session: Session) -> None:
    with pytest.raises(UsageError, match="occlusion"):
        session.warmup([8], ["occlusion"])
