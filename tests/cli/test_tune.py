"""`edgexf tune` at the prompt: the table, the JSON, what is remembered and forgotten, and wrong calls."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from candidate_bundles import add_candidate, copied, times
from click.testing import Result
from small import prompt

import edgexf as package
from edgexf.cli import main
from edgexf.errors import UsageError
from edgexf_runtimes import remembered
from edgexf_runtimes.measure import tuning
from edgexf_runtimes.measure.latency.bench import measure
from edgexf_runtimes.measure.latency.plan import Plan

LEGEND = "times: the best way so far -> this one"
ALONE = ("--threads", "1", "--profile", "balanced", "--lengths", "8,16")


def edgexf(*arguments: object) -> Result:
    return prompt().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle with a fast candidate, and one that is faster and wrong."""
    monkeypatch.delenv(remembered.VARIABLE, raising=False)
    cost = {"block_64": 1.0, "other": 0.1}
    monkeypatch.setattr(tuning, "timed", times(lambda way: cost.get(way.split()[0], 2.0)))
    found = copied(tmp_path)
    add_candidate(found, "block-64")
    add_candidate(found, "other", wrong=True)
    return found


def test_the_table_says_what_was_tried_and_the_last_line_what_is_fastest(folder: Path) -> None:
    done = edgexf("tune", folder, *ALONE)
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    header = ["tried", "ms", "at", "8", "ms", "at", "16", "verdict"]
    assert header in lines
    assert ["fp32,", "1", "thread,", "balanced", "-", "-", "as", "load", "runs", "it"] in lines
    row = "fp32 block-64, 1 thread, balanced 2e+03 -> 1e+03 2e+03 -> 1e+03 faster: 2.00x (2.00 to 2.00)"
    assert row.split() in lines
    assert "fp32 other, 1 thread, balanced is left out: differs from the model by" in done.stdout
    assert LEGEND in done.stdout
    file = folder.with_name("transformer.tuned.json")
    assert done.stdout.splitlines()[-1] == f"fastest: fp32 block-64, 1 thread, balanced; remembered in {file}"
    assert file.exists()


def test_a_single_way_has_no_times_to_explain(tmp_path: Path) -> None:
    done = edgexf("tune", copied(tmp_path), *ALONE)
    assert done.stdout.splitlines()[-1].startswith("fastest: fp32, 1 thread, balanced; remembered in")
    assert LEGEND not in done.stdout


def test_a_file_in_the_current_folder_is_shown_without_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert edgexf("tune", folder, *ALONE).stdout.endswith("; remembered in transformer.tuned.json\n")
    assert edgexf("tune", folder, "--forget").stdout == "removed transformer.tuned.json\n"


def test_json_holds_the_same(folder: Path, tmp_path: Path) -> None:
    done = edgexf("tune", folder, *ALONE, "--cache", tmp_path / "cache", "--json")
    found = json.loads(done.stdout)
    assert found["chosen"] == {"dtype": "fp32", "candidate": "block-64", "threads": 1, "profile": "balanced"}
    assert Path(found["file"]).parent == tmp_path / "cache"
    assert [(row["candidate"], row["verdict"]) for row in found["tried"]] == [
        ("other", "left out"),
        ("portable", "as load runs it"),
        ("block-64", "faster"),
    ]
    assert [one["length"] for one in found["tried"][-1]["times"]] == [8, 16]


def test_forget_says_which_files_are_gone(folder: Path) -> None:
    edgexf("tune", folder, *ALONE)
    file = folder.with_name("transformer.tuned.json")
    assert edgexf("tune", folder, "--forget").stdout == f"removed {file}\n"
    assert not file.exists()
    assert edgexf("tune", folder, "--forget").stdout == f"nothing was remembered for {folder}\n"
    assert json.loads(edgexf("tune", folder, "--forget", "--json").stdout) == {"removed": []}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lengths", "0"], "lengths must be whole numbers of at least 1"),
        (["--providers", "npu"], "providers must be among"),
        (["--threads", "0"], "threads must be 1 to"),
        (["--profile", "fast"], "profile must be one of"),
        (["--dtype", "q8"], "a graph must be one of the bundle's"),
        (["--forget", "--lengths", "8", "--dtype", "fp32"], "without what a measurement takes, got --lengths, --dtype"),
        (["--cache", __file__], "cache must be the path of a folder, got the file"),
    ],
)
def test_a_wrong_value_is_one_sentence_and_exit_code_2(folder: Path, arguments: list[str], words: str) -> None:
    done = edgexf("tune", folder, *arguments)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr


def test_a_changed_bundle_is_refused_with_exit_code_1(folder: Path) -> None:
    (folder / "onnx" / "model.onnx_data").write_bytes(bytes((folder / "onnx" / "model.onnx_data").stat().st_size))
    done = edgexf("tune", folder)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "model.onnx_data must be unchanged since the export" in done.stderr


def test_real_times_decide_without_torch(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    add_candidate(folder, "block-64")
    code = f"import sys; from edgexf.cli import main; main(['tune', {str(folder)!r}, '--lengths', '8'], standalone_mode=False); assert 'torch' not in sys.modules; assert 'onnx' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].startswith("fastest: fp32")
    package.load(folder).close()


def test_a_latency_report_names_the_graph_that_was_tuned_and_its_settings(folder: Path) -> None:
    plan = Plan(lengths=[8], queries=1, seconds=0.0, processes=1)
    for tuned, graph, threads in ((False, "model", None), (True, "model_block_64", "1")):
        if tuned:
            edgexf("tune", folder, *ALONE)
        report = measure(folder, plan)
        assert report.graph_files == {"predict fp32": (f"onnx/{graph}.onnx", "onnx/model.onnx_data")}
        if threads is not None:
            assert report.options["predict fp32"]["intra_op_num_threads"] == threads
        assert type(report).from_json(report.to_json()) == report


def test_tune_is_public() -> None:
    assert "tune" in package.__all__
    with pytest.raises(UsageError, match="lengths"):
        package.tune("nowhere", lengths=())
