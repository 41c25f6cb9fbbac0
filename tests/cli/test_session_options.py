"""The options that say how a command opens a session: what `edgexf.load` gets of them, and what is wrong with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from small import DATA

import edgexf_runtimes
from edgexf.cli import main
from edgexf.report.latency.report import LatencyReport
from edgexf_runtimes import opening, remembered
from edgexf_runtimes.measure.latency import bench
from edgexf_runtimes.measure.processes import cold_child

BUNDLE = DATA / "bundles" / "v1" / "linformer"
TEXT = ("--text", "abc")
QUICK = ("--queries", "1", "--seconds", "0", "--processes", "1")


def edgexf_at(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of each `edgexf.load`."""
    found: list[dict[str, Any]] = []
    plain = edgexf_runtimes.load

    def load(path: Path, **arguments: Any) -> Any:
        found.append(arguments)
        return plain(path, **arguments)

    monkeypatch.setattr(edgexf_runtimes, "load", load)
    monkeypatch.setattr(bench, "load", load)
    return found


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], {}),
        (["--providers", "cpu"], {"providers": ["cpu"]}),
        (["--provider-option", "cpu.use_arena=0", "--providers", "cpu"], {"providers": [("cpu", {"use_arena": "0"})]}),
        (["--profile", "edge", "--threads", "2"], {"profile": "edge", "threads": 2}),
        (["--verify", "never", "--dtype", "fp32"], {"verify": "never", "dtype": "fp32"}),
    ],
)
@pytest.mark.parametrize("command", ["run", "explain"])
def test_options_reach_the_session_and_what_is_left_out_has_its_default(
    command: str, arguments: Sequence[str], wanted: dict[str, Any], loaded: list[dict[str, Any]]
) -> None:
    done = edgexf_at(command, BUNDLE, *TEXT, *arguments)
    assert done.exit_code == 0, done.stderr
    assert loaded == [{"timeout": None, "dtype": "auto", "input_timeout": 30.0, **wanted}]


def test_providers_are_listed_or_repeated_and_values_hold_any_character() -> None:
    """Those of TensorRT's shapes hold commas and colons."""
    from edgexf.cli.session import with_options

    shapes = "input_ids:1x2,mask:1x2=a.b"
    found = with_options(["tensorrt, cuda", "cpu"], [f"tensorrt.shapes={shapes}", "cuda.a=1", "cuda.b="])
    assert found == [("tensorrt", {"shapes": shapes}), ("cuda", {"a": "1", "b": ""}), "cpu"]


WRONG: list[tuple[list[str], Sequence[str]]] = [
    (["--providers", "npu"], ["providers must be among cpu, cuda", "got 'npu'"]),
    (["--providers", "cpu,"], ["providers must be among", "got ''"]),
    (["--providers", ""], ["providers must be among", "got ''"]),
    (["--providers", "cpu,cpu"], ["each one once, got cpu, cpu"]),
    (["--providers", "cpu", "--providers", "rocm"], ["those of this onnxruntime", "got rocm"]),
    (["--provider-option", "cpu.a=1"], ["for a provider of --providers (none)", "got 'cpu.a=1'", "name cpu there"]),
    (["--providers", "cpu", "--provider-option", "a=1"], ["must be NAME.KEY=VALUE, got 'a=1'", "cuda.device_id=1"]),
    (["--providers", "cpu", "--provider-option", "cpu.=1"], ["must be NAME.KEY=VALUE, got 'cpu.=1'"]),
    (["--profile", "fast"], ["profile must be one of balanced, edge", "got 'fast'"]),
    (["--threads", "0"], ["threads must be 1 to"]),
]
OF_CALLS: list[tuple[list[str], Sequence[str]]] = [
    (["--verify", "twice"], ["verify must be one of always, once, never, got 'twice'"]),
    (["--cache", ""], ["cache must be the path of a folder, got ''"]),
    (["--cache", __file__], ["cache must be the path of a folder, got the file"]),
]
TIMEOUTS: list[tuple[list[str], Sequence[str]]] = [
    (["--timeout", wrong], ["timeout must be seconds above 0, got"]) for wrong in ("0", "-1", "nan", "inf")
]


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        *((["run", *TEXT], *wrong) for wrong in WRONG + OF_CALLS + TIMEOUTS),
        *((["explain", *TEXT], *wrong) for wrong in WRONG[:1] + OF_CALLS[:1] + TIMEOUTS[:1]),
        *((["explain", "--evaluate", "x"], *wrong) for wrong in WRONG[:1] + TIMEOUTS[:1]),
        *((["verify"], *wrong) for wrong in WRONG),
        *((["bench"], *wrong) for wrong in WRONG + OF_CALLS),
    ],
)
def test_a_wrong_value_is_one_sentence_and_exit_code_2(
    command: list[str], arguments: list[str], words: Sequence[str]
) -> None:
    done = edgexf_at(command[0], BUNDLE, *command[1:], *arguments)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert all(word in done.stderr for word in words), done.stderr


HASHES = """
import sys
from edgexf.bundle import folder
plain, hashed = folder.sha256, []
folder.sha256 = lambda path, going_on: (hashed.append(path), plain(path, going_on))[1]
from edgexf.cli import main
try:
    main(sys.argv[1:])
finally:
    print(len(hashed), file=sys.stderr)
"""


def hashed_by(*arguments: object, **environment: str) -> int:
    """How many files a process of the command line hashes."""
    call = [sys.executable, "-c", HASHES, *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, text=True, check=True, env=os.environ | environment)
    assert json.loads(done.stdout)["input"] == "text"
    return int(done.stderr)


def test_what_was_checked_once_is_remembered_between_processes(tmp_path: Path) -> None:
    call, cache = ("run", BUNDLE, *TEXT, "--verify", "once"), tmp_path / "cache"
    files = hashed_by(*call, "--cache", cache)
    assert files > 3
    assert hashed_by(*call, "--cache", cache) == 0
    assert hashed_by(*call, EDGEXF_CACHE=str(cache)) == 0
    assert hashed_by(*call) == files
    assert hashed_by("run", BUNDLE, *TEXT, "--cache", cache) == files


def test_a_timeout_covers_all_work_and_is_named_as_it_was_given(tmp_path: Path) -> None:
    """The inputs never come, and one error says so: not one for each input."""
    os.mkfifo(tmp_path / "pipe")
    held = os.open(tmp_path / "pipe", os.O_RDWR)
    calls = (["run", *[tmp_path / "pipe"] * 2], ["explain", tmp_path / "pipe"])
    for command, *arguments in calls:
        done = edgexf_at(command, BUNDLE, *arguments, "--timeout", "1")
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
        assert "within its timeout of 1 s" in done.stderr
    os.close(held)


def test_a_timeout_covers_standard_input() -> None:
    reading, writing = os.pipe()
    call = [sys.executable, "-m", "edgexf", "run", str(BUNDLE), "-", "--timeout", "1"]
    done = subprocess.run(call, stdin=reading, capture_output=True, text=True, check=False)
    os.close(writing)
    os.close(reading)
    assert (done.returncode, done.stdout) == (1, "")
    assert "within its timeout of 1 s" in done.stderr


def test_what_the_runtime_logs_is_a_line_at_the_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    cache = tmp_path / "file" / "a\x1bb"
    for _ in range(2):  # also after another command in the same process
        monkeypatch.setattr(remembered, "_known", set())
        monkeypatch.setattr(opening, "verified", lambda *_: False)  # whatever processor this is
        done = edgexf_at("run", BUNDLE, *TEXT, "--verify", "once", "--cache", cache)
        assert done.exit_code == 0
        assert done.stderr.count("\n") == 2  # of the hashes, and of the golden check
        assert all(line.startswith("Warning: what was checked can't") for line in done.stderr.splitlines())
        assert "\x1b" not in done.stderr


def test_bench_measures_in_fresh_processes_what_was_asked_for(loaded: list[dict[str, Any]], tmp_path: Path) -> None:
    """The child gets the options of the parent as JSON."""
    arguments = ["--profile", "edge", "--providers", "cpu", "--provider-option", "cpu.a=1", "--dtype", "fp32"]
    done = edgexf_at("bench", BUNDLE, "--lengths", "8", *QUICK, "--json", tmp_path / "j", *arguments)
    assert done.exit_code == 0, done.stderr
    report = LatencyReport.from_json((tmp_path / "j").read_text())
    (row,) = report.rows
    assert (row.of.providers, row.of.profile, row.of.dtype) == ("cpu (a=1)", "edge", "fp32")
    assert LatencyReport.from_json(report.to_json()) == report
    assert "cpu (a=1)" in done.stdout
    given = json.dumps({"providers": [["cpu", {"a": "1"}]], "profile": "edge"})
    cold_child.main(0.0, str(BUNDLE), json.dumps({"graph": "predict", "length": 8}), given)
    assert [one["providers"] for one in loaded] == [
        [("cpu", {"a": "1"})]
    ] * 3  # to look, to judge, and in the fresh process


def test_verify_runs_golden_outputs_in_the_profile_that_was_named(loaded: list[dict[str, Any]]) -> None:
    done = edgexf_at("verify", BUNDLE, "--profile", "edge", "--providers", "cpu", "--threads", "1")
    assert done.exit_code == 0, done.stderr
    assert {(one["profile"], one["threads"], *one["providers"]) for one in loaded} == {("edge", 1, "cpu")}
