"""What a user meets at the prompt: full disks, closed pipes, inputs that never come, hostile names, Ctrl-C, progress."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from inspect import signature
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from small import small_encoder

import edgexf
from edgexf import dtypes
from edgexf.cli import main
from edgexf.cli.console import Cost
from edgexf.errors import InputError, UsageError, temporary_room
from edgexf.pipeline.export_model import export, shown
from edgexf.progress import no_stages
from edgexf.report.latency.report import LatencyReport
from edgexf_exporters.explain.methods import METHODS as COMPILED
from edgexf_runtimes.device.asked import TABLE
from edgexf_runtimes.device.profiles import PROFILES
from edgexf_runtimes.explain.methods import METHODS as AT_RUN_TIME

pytestmark = pytest.mark.slow  # exports a model


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a bundle of at most 100 bytes, which no test may change."""
    folder = tmp_path_factory.mktemp("prompt") / "bundle"
    edgexf.export(small_encoder("linformer", layers=1), output=folder)
    return folder


def edgexf_at(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def sentence(done: Result, code: int, *words: str) -> bool:
    """Checks for one sentence with the words, and the exit code."""
    lines = done.stderr.splitlines()
    return (done.exit_code, len(lines)) == (code, 1) and all(word in lines[0] for word in words)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edgexf", *map(str, arguments)]


COMMANDS = (["--help"], ["variants"], ["verify", "BUNDLE"], ["run", "BUNDLE", "--text", "abc"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("arguments", [*COMMANDS, ["explain", "BUNDLE", "--text", "abc"]], ids=" ".join)
@pytest.mark.parametrize("unbuffered", ["1", ""])
def test_a_full_disk_is_one_sentence(arguments: list[str], unbuffered: str, bundle: Path) -> None:
    given = [str(bundle) if part == "BUNDLE" else part for part in arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(*given), stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment
        )
        lost = subprocess.run(command(*given), stdout=full, stderr=full, check=False, env=environment)
    assert done.returncode == lost.returncode == 1
    assert done.stderr.startswith("Error: standard output must take what is written, got No space left")
    assert done.stderr.count("\n") == 1


def test_a_closed_pipe_ends_quietly(bundle: Path) -> None:
    process = subprocess.Popen(
        command("run", bundle, *["--text", "abc"] * 300), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 1
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Returns a named pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_an_input_that_does_not_come_is_an_error(bundle: Path, pipe: Path) -> None:
    quick = ("--input-timeout", "0.05")
    assert sentence(edgexf_at("run", bundle, pipe, *quick), 1, "0.05 s", str(pipe), "--input-timeout")
    assert sentence(edgexf_at("explain", bundle, pipe, *quick), 1, "0.05 s", str(pipe))
    assert sentence(edgexf_at("explain", bundle, "--evaluate", pipe, *quick), 1, "0.05 s", str(pipe))
    assert sentence(edgexf_at("run", bundle, pipe, "--input-timeout", "0"), 2, "above 0")
    done = edgexf_at("quantize", bundle, "--mode", "int8-static", "--calibration", pipe)
    assert sentence(done, 2, "pipe", "save it to a file")


def test_a_pipe_with_a_writer_is_read_to_its_end(bundle: Path, pipe: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", f"open({str(pipe)!r}, 'wb').write(b'abc' * 20)"])
    done = edgexf_at("run", bundle, pipe)
    assert writer.wait(60) == 0
    same = edgexf_at("run", bundle, "--text", "abc" * 20)
    assert json.loads(done.stdout)["top"] == json.loads(same.stdout)["top"]


def test_data_without_an_end_is_an_error(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgexf_runtimes.inputs.files.LISTING_BYTES", 1 << 20)  # the true bound takes a second
    for call, code in ((["explain", bundle], 1), (["quantize", bundle, "--mode", "int8"], 2)):
        assert sentence(edgexf_at(*call, "--evaluate", "/dev/zero"), code, "at most 1 MiB", "/dev/zero")


@pytest.mark.parametrize("name", ["a\x1b[31mred", "two\nlines", "back\u202ewards", "bad\udcff"])
def test_a_name_controls_no_terminal(name: str, bundle: Path, tmp_path: Path) -> None:
    for done in (edgexf_at("run", bundle, tmp_path / name), edgexf_at("verify", tmp_path / name)):
        assert sentence(done, 1, "Error: ")
        assert done.stderr.rstrip("\n").isprintable()
    (tmp_path / name).write_bytes(b"abc")
    (line,) = edgexf_at("run", bundle, tmp_path / name).stdout.splitlines()
    assert json.loads(line)["input"] == str(tmp_path / name)


def test_several_texts_are_answered_in_order(bundle: Path) -> None:
    rows = [
        json.loads(line) for line in edgexf_at("run", bundle, "--text", "abc", "--text", "xyzw").stdout.splitlines()
    ]
    alone = [json.loads(edgexf_at("run", bundle, "--text", text).stdout) for text in ("abc", "xyzw")]
    assert [row["top"] for row in rows] == [row["top"] for row in alone]
    assert [row["batch"] for row in rows] == [2, 2]  # `ms` is a share of their time
    assert "batch" not in alone[0]


def test_standard_input_is_named_once(bundle: Path) -> None:
    assert sentence(edgexf_at("run", bundle, "-", "-"), 2, "once")


@pytest.mark.parametrize("after", ["run", "import"])
def test_ctrl_c_ends_with_130_and_no_traceback(after: str, bundle: Path) -> None:
    """The signal comes while a command waits for its input, or while the command line is imported."""
    waiting = "import edgexf.__main__ as m, sys; "
    if after == "import":
        waiting += "import builtins; real = builtins.__import__\n"
        waiting += "def slow(name, *rest):\n"
        waiting += "    if name == 'edgexf.cli': print('here', flush=True); sys.stdin.read()\n"
        waiting += "    return real(name, *rest)\n"
        waiting += "builtins.__import__ = slow\n"
    else:
        waiting += "import edgexf_runtimes.inputs.files as f\n"
        waiting += "def slow(*_): print('here', flush=True); sys.stdin.read()\n"
        waiting += "import edgexf_runtimes.inputs.preprocess as p; p.read_file = slow\n"
    code = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{waiting}sys.argv = ['edgexf', 'run', {str(bundle)!r}, 'x']\nm.main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.strip() == b""


def test_bench_measures_the_lengths_that_a_bundle_takes_and_names_what_it_measured(
    bundle: Path, tmp_path: Path
) -> None:
    done = edgexf_at("bench", bundle, "--json", tmp_path / "j", "--markdown", tmp_path / "m")
    assert done.exit_code == 0, done.stderr
    text = (tmp_path / "j").read_text()
    report = LatencyReport.from_json(text)
    assert LatencyReport.from_json(report.to_json()) == report
    assert [(row.of.length, row.of.tokens) for row in report.rows] == [
        (99, 100)
    ]  # 100 tokens, of which one is the class token
    assert report.rows[0].tokens_per_second == pytest.approx(100 / report.rows[0].summary.median * 1e3)
    digest = json.loads((bundle / "edgexf.json").read_text())["digest"]
    for view in (text, (tmp_path / "m").read_text(), done.stdout):
        for fact in (digest, "fp32", "onnxruntime", report.date, report.device["processor"].value):
            assert fact in view
    with pytest.raises(InputError, match="measure again"):
        LatencyReport.from_json(text.replace('"schema_version": 3', '"schema_version": 2'))
    assert sentence(edgexf_at("bench", bundle, "--lengths", "100"), 2, "1 to 99", "100")
    assert sentence(edgexf_at("bench", bundle, "--method", "lime"), 2, "lime", "has no graph")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["quantize", "BUNDLE", "--mode", "int9"], ["int9", "q4f16"]),
        (["quantize", "BUNDLE", "--mode", "int8", "--max-drop", "3"], ["3.0"]),
        (["quantize", "BUNDLE", "--mode", "int8", "--json", "no/such/folder.json"], ["folder.json"]),
        (["bench", "BUNDLE", "--markdown", "no/such/folder.md"], ["folder.md"]),
        (["bench", "BUNDLE", "--lengths", "0"], ["'0'"]),
        (["explain", "BUNDLE", "--text", "x", "--stride", "3"], ["--stride 3", "--truncate"]),
        (["run", "BUNDLE", "--dtype", "fp7", "--text", "x"], ["fp7"]),
        (["run", "BUNDLE", "--threads", "0", "--text", "x"], ["this machine's", str(os.cpu_count())]),
    ],
)
def test_wrong_arguments_are_told_before_the_work(arguments: Sequence[str], words: Sequence[str], bundle: Path) -> None:
    given = [str(bundle) if part == "BUNDLE" else part for part in arguments]
    assert sentence(edgexf_at(*given), 2, *words)


def test_help_lists_every_method_mode_and_dtype_without_torch() -> None:
    code = "import sys; from edgexf.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    wanted = {
        "explain": [*COMPILED, *(method.name for method in AT_RUN_TIME), *dtypes.NAMES],
        "bench": [*COMPILED, *dtypes.NAMES],
        "run": [*(provider.name for provider in TABLE), *PROFILES],
        "quantize": [*dtypes.MODES, "percentile", "entropy"],
        "export": [*COMPILED, *dtypes.MODES],
    }
    for name, words in wanted.items():
        done = subprocess.run([sys.executable, "-c", code, name, "--help"], capture_output=True, text=True, check=True)
        said = re.sub(r"\s+", " ", re.sub(r"(?<=\w-)\n\s+", "", done.stdout))  # a line may end within a name
        assert [word for word in words if word not in said] == []


def test_a_warning_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "edgexf_runtimes.device.device.describe", lambda: warnings.warn("of\x1b two\nlines", stacklevel=1) or {}
    )
    done = edgexf_at("doctor", "--json")
    assert done.stderr == "Warning: of\\x1B two\\x0Alines\n"


def test_a_full_temporary_folder_is_one_sentence() -> None:
    said = r"an export needs room .* \(No space left\); make room, or set TMPDIR"
    with pytest.raises(UsageError, match=said), temporary_room("an export"):
        raise OSError(errno.ENOSPC, "No space left")
    with pytest.raises(PermissionError), temporary_room("an export"):
        raise PermissionError(errno.EACCES, "not a matter of room")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no size of files")
def test_a_trial_without_room_writes_nothing(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "bundle")
    before = (tmp_path / "bundle" / "edgexf.json").read_bytes()
    limited = "import resource as r, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); r.setrlimit(r.RLIMIT_FSIZE, (4096, 4096))\n"
    code = f"{limited}from edgexf.cli import main; main(sys.argv[1:])"
    call = [sys.executable, "-c", code, "quantize", str(tmp_path / "bundle"), "--mode", "int8"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "needs room in the folder for temporary files, got none (File too large)" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "bundle" / "edgexf.json").read_bytes() == before


def test_a_long_cost_is_announced_once() -> None:
    told: list[str] = []
    cost = Cost("occlusion")
    for done in range(4, 400, 4):
        cost.announce(done, 10**9, told.append)
    assert len(told) == 1
    assert "1,000,000,000 times" in told[0]
    short = Cost("occlusion")
    for done in (1, 2):
        short.announce(done, 2, told.append)
    assert len(told) == 1


def test_a_terminal_sees_progress_and_a_pipe_does_not(bundle: Path) -> None:
    call = command("explain", bundle, "--text", "abc" * 30, "--method", "occlusion")
    seen = seen_on_a_terminal(call, {"TERM": "xterm"})
    assert "occlusion" in seen
    assert "0:00:0" in seen  # the time that has passed
    piped = subprocess.run(call, capture_output=True, check=True)
    assert piped.stderr == b""


def seen_on_a_terminal(call: Sequence[str], environment: dict[str, str]) -> str:
    """What a process writes to standard error, where that is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=theirs, env=os.environ | environment)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux's end of a terminal
            break
        if not part:
            break
        seen += part
    os.close(ours)
    assert process.wait(60) == 0, seen.decode()
    return seen.decode()


SHOWN = "from edgexf.pipeline.export_model import shown\nwith shown(True) as stage: stage('verifying', 3, 20)"


def test_an_export_in_python_shows_how_far_it_is_where_it_is_asked_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bar on a terminal, lines elsewhere, nothing by default."""
    seen = seen_on_a_terminal([sys.executable, "-c", SHOWN], {"TERM": "xterm"})
    assert "verifying" in seen
    assert "3/20" in seen
    assert "edgexf: " not in seen
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        edgexf.export(small_encoder("linformer", layers=1), output=tmp_path / "bundle", explain=(), progress=True)
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("edgexf: ")]
    wanted = ["loading the model", "tracing", "translating to ONNX", "verifying against the eager model", "writing"]
    assert list(dict.fromkeys(re.sub(r"edgexf: | \d+/\d+", "", line) for line in lines)) == wanted
    assert len(lines) == len(wanted) + 4  # the quarters of the grid
    assert captured.out == ""
    assert signature(export).parameters["progress"].default is False
    with shown(False) as stage:
        assert stage is no_stages
    with pytest.raises(UsageError, match="progress must be True, False or a function, got 'yes'"):
        edgexf.export(small_encoder("linformer", layers=1), output=tmp_path / "none", progress="yes")  # type: ignore[arg-type]
