"""The embedding samples, each started and driven as its docstring says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import pytest
from conftest import Exported

SAMPLES = Path(__file__).parents[2] / "samples" / "embedding"
SHELL, PYTHON = b"#!/bin/sh\nset -eu\necho $HOME\n" * 9, b"import os\n\n\ndef main():\n    return os.sep\n" * 9
CLIENTS = 20
# Installed beside edgexf here, not on a device: a freezer would take hundreds of megabytes of them along.
ELSEWHERE = ("torch", "transformers", "sklearn", "scipy", "sympy", "tokenizers", "onnx", "onnx_ir", "matplotlib", "PIL")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    found = tmp_path / "one.sh", tmp_path / "two.py"
    for path, data in zip(found, (SHELL, PYTHON), strict=True):
        path.write_bytes(data)
    return found


def ran(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_pool_answers_in_order(linformer: Exported, files: tuple[Path, Path], tmp_path: Path, method: str) -> None:
    sample = [sys.executable, SAMPLES / "worker_pool.py", linformer.bundle.path, "--start-method", method]
    lines = ran(*sample, *files, tmp_path / "missing", files[0]).splitlines()
    assert [line.split(": ")[1].split()[0] for line in lines] == ["shell", "python", "an", "shell"]
    assert "readable file" in lines[2]


def test_a_consumer_explains_what_it_answers(linformer: Exported, files: tuple[Path, Path]) -> None:
    lines = ran(sys.executable, SAMPLES / "consumer.py", linformer.bundle.path, *files).splitlines()
    assert sorted(line.split(", because of")[0].rsplit(" ", 1)[1] for line in lines) == ["python", "shell"]


def test_a_watched_folder_gets_a_line_for_each_new_file(linformer: Exported, tmp_path: Path) -> None:
    """Without a standard input, as under a service manager, which ends it by SIGTERM."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "one").write_bytes(SHELL)
    (inbox / "empty").touch()
    sample = [sys.executable, SAMPLES / "watch_folder.py", linformer.bundle.path, inbox, "--every", "0.05"]
    answers = inbox / "answers.jsonl"
    with subprocess.Popen(sample, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while not answers.exists() or answers.read_text().count("\n") < 2:
            assert process.poll() is None
        (inbox / "two").write_bytes(PYTHON)
        while answers.read_text().count("\n") < 3:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    found = {line["file"]: line for line in map(json.loads, answers.read_text().splitlines())}
    assert (found["one"]["label"], found["two"]["label"]) == ("shell", "python")
    assert "at least one byte" in found["empty"]["error"]


@pytest.fixture
def service(linformer: Exported) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Starts the service on a free port. Yields its process and address."""
    command = [sys.executable, "-m", "uvicorn", "--app-dir", SAMPLES, "service:app", "--port", "0"]
    environment = {**os.environ, "BUNDLE": str(linformer.bundle.path)}
    with subprocess.Popen(
        [*map(str, command), "--timeout-graceful-shutdown", "60"], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines: list[str] = []
        while not (address := re.search(r"http://([\d.]+:\d+)", "".join(lines))):
            lines.append(process.stderr.readline())
            assert process.poll() is None, "".join(lines)
        try:
            yield process, address[1]
        finally:
            process.kill()


def post(address: str, path: str, body: bytes) -> tuple[int, dict[str, object]]:
    connection = HTTPConnection(urlsplit(f"//{address}").netloc, timeout=120)
    try:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_service_answers_many_clients_and_ends_cleanly_under_load(
    service: tuple[subprocess.Popen[str], str],
) -> None:
    process, address = service
    answered, stopping = Event(), Event()

    def client(number: int) -> int:
        """Asks until the service ends. Returns the number of answers."""
        answers = 0
        while True:
            try:
                status, found = post(address, "/predict?timeout=60", SHELL if number % 2 else PYTHON)
                assert status == 200, found
                assert found["label"] == ("shell" if number % 2 else "python")
                status, found = post(address, "/explain?timeout=60", SHELL if number % 2 else PYTHON)
                assert status == 200, found
                answers += 1
                if number == 0 and answers == 3:
                    answered.set()
            except (OSError, HTTPException):
                assert stopping.is_set()  # it refuses connections only after it was told to end
                return answers

    assert post(address, "/predict?timeout=0.000001", SHELL)[0] == 504
    assert post(address, "/predict", b"")[0] == 422
    assert post(address, "/predict?timeout=soon", SHELL)[0] == 422
    assert post(address, "/predict", b"x" * (2 << 20))[0] == 413
    assert post(address, "/explain?target=pascal", SHELL)[0] == 422
    assert post(address, "/", b"x")[0] == 404
    with ThreadPoolExecutor(CLIENTS) as pool:
        counts = [pool.submit(client, number) for number in range(CLIENTS)]
        answered.wait()
        stopping.set()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
        assert all(count.result() > 0 for count in counts)
    assert process.returncode in (0, -signal.SIGTERM)  # uvicorn raises the signal again when all is done
    assert "Application shutdown complete" in errors
    assert "Traceback" not in errors


def test_a_service_without_its_bundle_does_not_start_and_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uvicorn", "--app-dir", SAMPLES, "service:app", "--port", "0"]
    environment = {**os.environ, "BUNDLE": str(tmp_path / "missing")}
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert f"a bundle must be a folder that `edgexf export` wrote, got {tmp_path}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_frozen_program_needs_no_python(linformer: Exported, files: tuple[Path, Path], tmp_path: Path) -> None:
    freeze = [sys.executable, "-m", "PyInstaller", "--onedir", "--name", "label", "--log-level", "ERROR"]
    for package in ELSEWHERE:
        freeze += ["--exclude-module", package]
    for option in ("distpath", "workpath", "specpath"):
        freeze += [f"--{option}", str(tmp_path / option)]
    subprocess.run([*freeze, str(SAMPLES / "frozen.py")], check=True, timeout=300)
    program = tmp_path / "distpath" / "label" / "label"
    shutil.copytree(linformer.bundle.path, program.parent / "bundle")
    done = subprocess.run([program, *files], capture_output=True, text=True, timeout=120, check=False, env={})
    assert [line.split(": ")[1].split()[0] for line in done.stdout.splitlines()] == ["shell", "python"], done.stderr
    refused = subprocess.run([program, tmp_path / "missing"], capture_output=True, env={}, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(b"error: an input must be a readable file")
