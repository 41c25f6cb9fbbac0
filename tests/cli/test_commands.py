"""The command line as a user meets it: processes, standard streams, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Exported
from small import NAMES, small_encoder

from edgexf import export
from edgexf.models.weights import save
from edgexf_runtimes.measure.cases import Case
from edgexf_runtimes.measure.processes.cold import cold_start

pytestmark = pytest.mark.slow  # exports or runs many models

Done = subprocess.CompletedProcess[str]


def edgexf(*arguments: object, stdin: bytes | None = None, cwd: Path | None = None) -> Done:
    command = [sys.executable, "-m", "edgexf", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, check=False)
    return Done(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def refused(done: Done, code: int, *words: str) -> bool:
    """Checks for exit code `code`, one sentence with the words on standard error, and an empty standard output."""
    lines = done.stderr.splitlines()
    sentence = len(lines) == 1 and lines[0].startswith("Error: ")
    return done.returncode == code and sentence and all(word in lines[-1] for word in words) and not done.stdout


@pytest.fixture(scope="module")
def bundle(linformer: Exported) -> Path:
    return linformer.bundle.path


def test_variants_lists_every_variant() -> None:
    done = edgexf("variants")
    assert done.returncode == 0
    assert all(name in done.stdout for name in NAMES)


def test_doctor_reports_the_runtime() -> None:
    found = json.loads(edgexf("doctor", "--json").stdout)
    assert "cpu" in found["providers"]
    assert len(found["onnxruntime packages"]) == 1
    assert found["telemetry of onnxruntime"] == "off"
    assert int(found["threads used"]) >= 1


def test_verify_passes_and_finds_a_changed_byte(bundle: Path, tmp_path: Path) -> None:
    done = edgexf("verify", bundle)
    assert (done.returncode, "passed" in done.stdout) == (0, True)
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", bundle, copy], check=True)
    data = bytearray((copy / "onnx" / "model.onnx_data").read_bytes())
    data[12345] ^= 4
    (copy / "onnx" / "model.onnx_data").write_bytes(data)
    for command in (["verify", copy], ["run", copy, __file__], ["explain", copy, __file__], ["bench", copy]):
        assert refused(edgexf(*command), 1, "model.onnx_data", "sha256")


def test_run_prints_a_json_line_a_file_in_order(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a <b>.json").write_text('{"a": [1, 2, {"b": null}]}\n' * 20)
    done = edgexf("run", bundle, tmp_path / "a <b>.json", "-", __file__, stdin=b"#!/bin/sh\nset -e\necho done\n" * 9)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["input"] for row in rows] == [str(tmp_path / "a <b>.json"), "-", __file__]
    assert set(rows[0]) - {"batch"} == {"input", "label", "score", "top", "truncated", "ms"}
    assert [row["truncated"] for row in rows] == [False, False, True]
    assert rows[2]["label"] == "python"


def test_one_bad_input_among_many_is_named_and_the_rest_answered(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    done = edgexf("run", bundle, tmp_path / "missing", __file__, tmp_path / "empty", tmp_path, __file__)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    errors = done.stderr.splitlines()
    assert len(errors) == 3
    assert all(line.startswith("Error: ") for line in errors)


def test_inputs_that_cannot_be_opened_are_named_and_the_rest_answered(bundle: Path, tmp_path: Path) -> None:
    """A name that is too long, a path below a file, a file without read permission (only if not run as root)."""
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0)
    bad = [tmp_path / ("n" * 300), Path(__file__) / "x"] + ([tmp_path / "secret"] if os.geteuid() else [])
    done = edgexf("run", bundle, *bad, __file__)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert len(done.stderr.splitlines()) == len(bad)


def test_names_and_text_that_are_not_utf8_are_answered(bundle: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/bad\xff.txt"
    Path(os.fsdecode(path)).write_text("text\n" * 9)
    command = [sys.executable, "-m", "edgexf", "run", str(bundle), path, "--text", b"a\xffb"]
    for encoding in ("utf-8:strict", "latin-1", "ascii"):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        assert [json.loads(line)["input"] for line in done.stdout.splitlines()] == ["text", os.fsdecode(path)]


def test_bench_runs_no_code_of_the_current_folder(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('hijacked')")
    script = Path(sys.executable).with_name("edgexf")
    done = subprocess.run([script, "bench", bundle, "--lengths", "16"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_peak_memory_is_the_childs_own(bundle: Path) -> None:
    ballast = bytearray(os.urandom(1)) * (400 << 20)  # resident in this process only: no child process inherits it
    peak = cold_start(bundle, Case("predict", 16), {}).peak_mib
    assert peak is not None
    assert peak < 300 < len(ballast) >> 20


def test_a_page_never_replaces_the_file_it_explains(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "own").write_text("x = 1\n")
    assert refused(edgexf("explain", bundle, tmp_path / "own", "--html", tmp_path / "own"), 2, "own")
    assert (tmp_path / "own").read_text() == "x = 1\n"


def test_two_thousand_files_are_answered_in_order(bundle: Path, tmp_path: Path) -> None:
    files = []
    for index in range(2000):
        files.append(tmp_path / f"{index:04}")
        files[-1].write_bytes(b"x = %d\n" % index * (1 + index % 7))
    done = edgexf("run", bundle, *files)
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["input"] for line in done.stdout.splitlines()] == [str(file) for file in files]


def test_explain_writes_one_page_and_prints_json(bundle: Path, tmp_path: Path) -> None:
    done = edgexf("explain", bundle, __file__, "--html", tmp_path / "out.html", "--json", "--target", "c")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["target"] == {"c": 1.0}
    assert len(found["scores"]) == len(found["tokens"]) == 4097
    assert found["explained"] == pytest.approx(sum(found["scores"]) + found["residual"], rel=1e-3)
    page = (tmp_path / "out.html").read_text()
    assert "://" not in page
    assert "residual" in page.lower()


def test_explain_shows_a_short_view(bundle: Path) -> None:
    done = edgexf("explain", bundle, __file__)
    assert done.returncode == 0
    assert "python" in done.stdout
    assert len(done.stdout.splitlines()) < 40


def test_bench_reports_every_length(bundle: Path, tmp_path: Path) -> None:
    done = edgexf("bench", bundle, "--lengths", "64,128", "--method", "gradient", "--json", tmp_path / "bench.json")
    assert done.returncode == 0
    report = json.loads((tmp_path / "bench.json").read_text())
    wanted = [("predict", 64), ("predict", 128), ("gradient", 64), ("gradient", 128)]
    assert [(row["of"]["graph"], row["of"]["length"]) for row in report["rows"]] == wanted
    for row in report["rows"]:
        p50, p90 = (
            next(one["ms"] for one in row["summary"]["percentiles"] if one["share"] == share) for share in (0.5, 0.9)
        )
        assert 0 < p50 <= p90
        assert row["peak_mib"]["value"] > 10
        assert len(row["ms"]) == row["summary"]["count"] >= 44
    assert all(min(start["ms"].values()) > 0 for start in report["starts"])
    assert len(report["starts"]) == 12  # five of the shortest input, and one of the other, by each graph
    assert "tokens/s" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["export", "--variant", "performer"], 2, ["performer", "linformer"]),
        (["export", "--variant", "linformer", "--layers", "3"], 2, ["--weights"]),
        (["export", "--variant", "linformer", "--weights", "nowhere.safetensors"], 1, ["nowhere.safetensors"]),
        (["export", "--variant", "linformer", "--explain", "magic"], 2, ["magic", "gradient"]),
        (["run", "nowhere", "x"], 1, ["nowhere"]),
        (["run", "BUNDLE"], 2, ["input"]),
        (["run", "BUNDLE", "x", "--dtype", "fp7"], 2, ["fp7"]),
        (["run", "BUNDLE", "x", "--threads", "100000"], 2, ["threads"]),
        (["run", "n" * 300, "x"], 1, ["n" * 300]),
        (["export", "--variant", "linformer", "--explain", "none", "--explain", "gradient"], 2, ["none"]),
        (["export", "--variant", "linformer", "--explain", "none", "-o", "/proc/x/y"], 2, ["/proc"]),
        (["export", "--variant", "linformer", "-o", str(Path(__file__) / "x")], 2, ["folder"]),
        (["explain", "BUNDLE", "nofile"], 1, ["nofile"]),
        (["explain", "BUNDLE", "."], 1, ["folder"]),
        (["explain", "BUNDLE"], 2, ["one input"]),
        (["explain", "BUNDLE", "--text", "hi", "--target", "cobol"], 2, ["cobol", "python"]),
        (["explain", "BUNDLE", "--text", "hi", "--html", "no/such/folder.html"], 2, ["folder.html"]),
        (["bench", "BUNDLE", "--lengths", "128,many"], 2, ["many"]),
        (["bench", "BUNDLE", "--lengths", "5000"], 2, ["4096", "5000"]),
        (["bench", "BUNDLE", "--lengths", "16", "--method", "magic"], 2, ["magic"]),
        (["verify", "."], 1, ["edgexf.json"]),
    ],
)
def test_bad_input_is_one_sentence_and_the_right_exit_code(
    arguments: list[str], code: int, words: list[str], bundle: Path, tmp_path: Path
) -> None:
    done = edgexf(*[str(bundle) if part == "BUNDLE" else part for part in arguments], cwd=tmp_path)
    assert refused(done, code, *words), done
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    assert refused(edgexf("export", "--variant", "linformer", "-o", tmp_path), 2, "empty")
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


SLOW_EXPORT = """
import signal, sys
from edgexf import cli
from edgexf.bundle import folder
write = folder.write_synced
def slow(path, data):
    write(path, data)
    if ".partial-" in str(path):
        print("half", flush=True)
        sys.stdin.read()
folder.write_synced = slow
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests with it ignored
cli.main(["export", "--variant", "linformer", "--weights", sys.argv[1], "-o", sys.argv[2], "--explain", "none"])
"""


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_kill_in_the_middle_of_an_export_leaves_no_half_bundle(kill: signal.Signals, tmp_path: Path) -> None:
    """The signal stops the process when only its first file is on disk."""
    save(small_encoder("linformer", layers=1), tmp_path / "own.safetensors")
    out = tmp_path / "out" / "bundle"
    command = [sys.executable, "-c", SLOW_EXPORT, str(tmp_path / "own.safetensors"), str(out)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    process.send_signal(kill)
    assert process.wait(timeout=60) != 0
    process.communicate()
    assert not out.exists()
    if kill is not signal.SIGKILL:
        assert list(out.parent.iterdir()) == []
        return  # nothing is left for another export to clean up
    export(variant="linformer", weights=tmp_path / "own.safetensors", output=out, explain=())
    assert [path.name for path in out.parent.iterdir()] == ["bundle"]  # the remains of the killed export are gone too
