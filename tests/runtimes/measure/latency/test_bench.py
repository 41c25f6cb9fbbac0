"""Measurements of a kept bundle: what they keep after Ctrl-C, and what they refuse to say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from small import DATA, prompt

from edgexf.cli import main
from edgexf.errors import BundleError, EdgexfError, InputError
from edgexf.report.latency.measured.rows import Measured
from edgexf.report.latency.report import LatencyReport
from edgexf.report.latency.validity import verdict
from edgexf_runtimes.measure.cases import Case
from edgexf_runtimes.measure.latency import bench, rounds
from edgexf_runtimes.measure.latency.bench import measure, measure_all
from edgexf_runtimes.measure.latency.plan import Plan
from edgexf_runtimes.measure.processes import cold

BUNDLES = DATA / "bundles" / "v1"
LINFORMER = BUNDLES / "linformer"
QUICK = {"queries": 2, "seconds": 0.0, "processes": 2}

INTERRUPTED = """
import os, signal, sys
from contextlib import contextmanager
from edgexf.cli import console, main

stage, last = sys.argv.pop(1), int(sys.argv.pop(1))
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it runs in the background ignore it

@contextmanager
def progress(total, what):
    done = 0
    def advance(steps):
        nonlocal done
        done += 1
        if what.startswith(stage) and done == last:
            os.killpg(0, signal.SIGINT)  # as a terminal sends it: to the children too
    yield advance

console.progress = progress
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has process groups")
@pytest.mark.parametrize(("stage", "starts", "rows"), [("starting", 1, 0), ("timing", 10, 1), ("comparing", 10, 2)])
def test_control_c_keeps_what_was_measured(stage: str, starts: int, rows: int, tmp_path: Path) -> None:
    listing = tmp_path / "inputs.jsonl"
    listing.write_text('{"text": "one"}\n{"text": "two"}\n')
    options = ["--lengths", "8", "--method", "gradient", "--queries", "2", "--seconds", "0", "--processes", "1"]
    outputs = ["--json", tmp_path / "report.json", "--evaluate", listing]
    command = [sys.executable, "-c", INTERRUPTED, stage, "1", "bench", LINFORMER, "--dtype", "fp32", *options, *outputs]
    program = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    shown, errors = program.communicate()
    assert program.returncode == 130, errors
    assert "Traceback" not in errors
    with pytest.raises(ProcessLookupError):  # no child is left
        os.killpg(program.pid, 0)
    report = LatencyReport.from_json((tmp_path / "report.json").read_bytes())
    assert report.partial
    assert (len(report.starts), len(report.rows), report.quality) == (starts, rows, ())
    assert "INVALID\n- the measurement was interrupted" in shown


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has process groups")
@pytest.mark.parametrize(
    ("stage", "last", "shown"), [("timing", "1", ""), ("timing", "2", "old was interrupted; new was interrupted")]
)
def test_control_c_compares_what_was_measured(stage: str, last: str, shown: str) -> None:
    """The first part is that of the old bundle, so nothing can be compared yet; the second is that of the new one."""
    command = [sys.executable, "-c", INTERRUPTED, stage, last]
    options = ["compare", LINFORMER, LINFORMER, "--lengths", "8", "--dtype", "fp32", "--processes", "1"]
    program = subprocess.run([*command, *options], capture_output=True, text=True, check=False, start_new_session=True)
    assert program.returncode == 130, program.stderr
    assert "Traceback" not in program.stderr
    assert shown in program.stdout


@pytest.mark.usefixtures("starts_are_kept")
def test_further_rounds_are_those_that_were_asked_for() -> None:
    """They are asked for once, on what both bundles have so far, and each process keeps its share of the queries."""
    asked: list[list[int]] = []

    def further(rows: Sequence[Sequence[Measured]]) -> int:
        asked.append([len(row.processes) for of in rows for row in of])
        return 3

    plan = Plan([8], dtypes=["fp32"], queries=3, seconds=0.0, processes=2)
    reports = measure_all([LINFORMER, LINFORMER], plan, further=further)
    assert asked == [[2, 2]]
    for report in reports:
        (row,) = report.rows
        assert row.processes == (2,) * 5
        assert (report.protocol["processes"], report.protocol["queries"]) == (5, 10)
        assert not [reason for reason in verdict(report).reasons if "queries" in reason]


def test_an_interrupt_before_anything_was_measured_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "cold_start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(LINFORMER, Plan([8], **QUICK))


def test_a_bundle_that_is_replaced_meanwhile_is_not_reported(tmp_path: Path) -> None:
    """The samples of two bundles would make one row, under the name and the hashes of the first."""
    copy = tmp_path / "bundle"
    shutil.copytree(LINFORMER, copy)

    @contextmanager
    def progress(_: int | None, what: str) -> Iterator[Callable[[int], None]]:
        if what.startswith("timing"):
            shutil.rmtree(copy)
            shutil.copytree(BUNDLES / "reformer", copy)
        yield lambda _: None

    with pytest.raises(BundleError, match="must stay the same while it is measured"):
        measure(copy, Plan([8], dtypes=["fp32"], **QUICK), progress)


DIES = "a fresh process must load the bundle and run it, got exit code -9: nothing"
LATE = """
import os, signal, sys
from pathlib import Path
from edgexf_runtimes.measure.latency import rounds
kept, tell = Path({kept!r}), rounds.tell
def dying(values):
    kept.write_text(str(int(kept.read_text()) + 1))
    if int(kept.read_text()) == {last}:
        os.write(1, b"edgexf answers: {{")
        os.kill(os.getpid(), signal.SIGKILL)
    tell(values)
rounds.tell = dying
rounds.main(*sys.argv[1:])
"""


@pytest.fixture
def starts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cold start takes a process of its own; one of them stands for all."""
    found = cold.cold_start(LINFORMER, Case("predict", 8), {"dtype": "fp32"})
    monkeypatch.setattr(bench, "cold_start", lambda *_: found)


def test_a_process_that_dies_before_anything_was_measured_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold, "PROGRAM", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(EdgexfError, match=DIES):
        measure(LINFORMER, Plan([8], dtypes=["fp32"], **QUICK))


@pytest.mark.usefixtures("starts_are_kept")
def test_a_process_that_dies_in_a_late_round_leaves_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three rounds of two lengths each, the second one dies at its second length."""
    (tmp_path / "told").write_text("0")
    monkeypatch.setattr(rounds, "PROGRAM", LATE.format(kept=str(tmp_path / "told"), last=4))
    options = ["--lengths", "8,16", "--dtype", "fp32", "--queries", "3", "--seconds", "0", "--processes", "3"]
    files = ["--json", str(tmp_path / "report.json"), "--html", str(tmp_path / "page.html"), "--budget", "p50<=1s@8"]
    found = prompt().invoke(main, ["bench", str(LINFORMER), *options, *files])
    assert (found.exit_code, found.stderr.count("\n")) == (1, 1), found.stderr
    assert DIES in found.stderr
    assert f"INVALID\n- the measurement ended early: {DIES}" in found.stdout
    report = LatencyReport.from_json((tmp_path / "report.json").read_bytes())
    assert report.partial
    assert DIES in report.stopped
    assert {row.of.length: len(row.processes) for row in report.rows} == {8: 2, 16: 1}
    assert {one.length: len(one.processes) for one in report.stages} == {8: 2, 16: 1}
    assert (tmp_path / "page.html").exists()


@pytest.mark.usefixtures("starts_are_kept")
def test_an_error_behind_the_rounds_leaves_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise InputError("inputs must be such that the graph can run, got others.")

    monkeypatch.setattr(bench, "on_golden", fails)
    report = measure(LINFORMER, Plan([8], dtypes=["fp32"], **{**QUICK, "processes": 1}))
    assert (len(report.rows), report.partial, report.quality) == (1, True, ())
    assert report.stopped == "inputs must be such that the graph can run, got others."


@pytest.mark.usefixtures("starts_are_kept")
def test_compare_says_what_died(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "PROGRAM", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    found = prompt().invoke(main, ["compare", str(LINFORMER), str(LINFORMER), "--lengths", "8", "--dtype", "fp32"])
    assert (found.exit_code, found.stdout, found.stderr.count("\n")) == (1, "", 1)
    assert DIES in found.stderr


@pytest.mark.parametrize("name", ["choices", "decoder", "module", "features"])
def test_every_kind_of_bundle_is_measured(name: str) -> None:
    batches = [1] if name == "module" else [1, 2]
    report = measure(BUNDLES / name, Plan([8], batches, dtypes=["fp32"], **{**QUICK, "processes": 1}))
    assert [(row.of.batch, len(row.ms) >= 2) for row in report.rows] == [(batch, True) for batch in batches]
    assert {row.of.tokens for row in report.rows} == {16 if name == "choices" else 8}
    (quality,) = report.quality
    assert quality.worst < 1e-4
    assert LatencyReport.from_json(report.to_json()) == report


def test_each_graph_and_dtype_has_enough_cold_starts_of_its_shortest_input() -> None:
    plan = Plan([8, 16], methods=["gradient"], dtypes=["fp32", "q8"])
    places = bench.bench_of(LINFORMER, plan, {}).places()
    assert {(graph, dtype): places.count((graph, dtype, 8)) for graph, dtype, _ in places} == dict.fromkeys(
        [("predict", "fp32"), ("gradient", "fp32"), ("predict", "q8"), ("gradient", "q8")], 5
    )
    assert len(places) == 24


def test_a_server_finds_its_rate_in_one_process_and_keeps_the_samples() -> None:
    plan = Plan([8], dtypes=["fp32"], scenario="server", bound_ms=10_000, percentile=50, **QUICK)
    report = measure(LINFORMER, plan, profile="throughput", threads=2)
    (row,), (rate,) = report.rows, report.rates
    assert (row.of.scenario, row.of.clients, rate.workers) == ("server", 2, 2)
    assert len(row.processes) == report.protocol["processes"] == 1
    assert (report.protocol["bound_ms"], report.protocol["percentile"], rate.share) == (10_000, 50, 0.5)
    assert all(trial.held for trial in rate.trials)  # of so few queries, none waits 10 s
    assert rate.samples_per_second.value == rate.trials[-1].rate
    assert row.joules.value is None
    assert LatencyReport.from_json(report.to_json()) == report


def test_a_server_that_no_rate_satisfies_has_a_reason_and_no_row() -> None:
    plan = Plan([8], dtypes=["fp32"], scenario="server", bound_ms=1e-6, percentile=50, **QUICK)
    report = measure(LINFORMER, plan)
    (rate,) = report.rates
    assert report.rows == ()
    assert "queries one after another take" in rate.samples_per_second.reason
    assert rate.workers == 1  # of the profile `balanced`
    assert "queries one after another take" in report.to_markdown()


def test_offline_counts_samples_by_batch() -> None:
    report = measure(LINFORMER, Plan([8], [1, 4], dtypes=["fp32"], scenario="offline", **QUICK), profile="throughput")
    for row, rate in zip(report.rows, report.rates, strict=True):
        assert rate.samples_per_second.value == pytest.approx(rate.batch * len(row.ms) / row.seconds)
    assert [rate.batch for rate in report.rates] == [1, 4]


def test_quality_is_that_of_a_users_labelled_inputs(tmp_path: Path) -> None:
    listing = tmp_path / "inputs.jsonl"
    lines = [{"text": letter * 30, "label": place % 2} for place, letter in enumerate("abcdef")]
    listing.write_text("\n".join(map(json.dumps, lines)))
    report = measure(LINFORMER, Plan([8], dtypes=["q8", "fp32"], **QUICK), evaluate=listing)
    q8, fp32 = report.quality
    assert (q8.dtype, fp32.dtype, q8.data, q8.cases) == ("q8", "fp32", "inputs.jsonl", 6)
    assert (fp32.worst, fp32.agreement, fp32.explanations) == (0, 1, ())
    assert 0 < q8.error <= q8.worst < 0.1
    assert q8.reference_accuracy == fp32.accuracy == fp32.reference_accuracy
    assert [one.method for one in q8.explanations] == ["attnlrp", "gradient"]
    assert all(one.cases == 6 and one.correlation is not None and one.correlation > 0.9 for one in q8.explanations)


def test_steps_of_a_path_are_not_those_of_a_row() -> None:
    """Repeated with the rows, they would double the work."""
    found = rounds.repeated({"input_ids": [[1, 2]], "path": [0.1, 0.9]}, 2)
    assert found["input_ids"].tolist() == [[1, 2], [1, 2]]
    assert found["path"] == [0.1, 0.9]
