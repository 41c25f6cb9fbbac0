"""`optimum-cli export edgexf`, as a user of optimum meets it: in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
from families import small

import edgexf
from edgexf.cli.export import export
from edgexf.cli.options import SIZES
from optimum.commands.register import register_edgexf

Done = subprocess.CompletedProcess[str]
SOURCES = {"variant", "module", "weights", "output"}  # options that stand for another source, and for OUT
# What the command `optimum-cli` runs, by the interpreter of this test.
PROGRAM = "import sys; sys.argv[0] = 'optimum-cli'; from optimum.commands.optimum_cli import main; main()"


def optimum_cli(*arguments: object) -> Done:
    command = [sys.executable, "-c", PROGRAM, "export", "edgexf", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("optimum") / "checkpoint"
    small("Bert", "ForSequenceClassification").save_pretrained(folder)
    return folder


def test_optimum_finds_the_command_and_shows_the_options_of_an_export() -> None:
    done = optimum_cli("--help")
    assert (done.returncode, done.stderr) == (0, "")
    wanted = {str(one.name): one.opts[0] for one in export.params if one.name not in (*SOURCES, *SIZES)}
    assert {"model", "task", "explain", "modes", "grid", "opset", "overwrite", "image_size"} <= set(wanted)
    assert [name for name in (*wanted.values(), "--max-length", "OUT") if f"{name} " not in done.stdout] == []
    assert [name for name in (*SOURCES, "window") if f"[--{name} " in done.stdout] == []


def test_a_checkpoint_becomes_a_verified_bundle(checkpoint: Path, tmp_path: Path) -> None:
    done = optimum_cli("--model", checkpoint, "--explain", "none", "--max-length", 20, tmp_path / "bundle")
    assert done.returncode == 0, done.stderr
    assert "worst relative difference" in done.stdout
    verdict = edgexf.verify(tmp_path / "bundle")
    assert verdict.passed
    assert (verdict.bundle.manifest.methods, verdict.bundle.manifest.limits.max_length) == ((), 20)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--model", "/no/such/folder", "{out}"), 1, ("save_pretrained", "/no/such/folder")),
        (("--model", "{model}", "--grid", "wide", "{out}"), 2, ("quick", "full")),
        (("--model", "{model}", "{model}"), 2, ("--overwrite",)),
    ],
)
def test_an_error_is_one_sentence_with_the_code_of_edgexf(
    arguments: tuple[str, ...], code: int, words: tuple[str, ...], checkpoint: Path, tmp_path: Path
) -> None:
    done = optimum_cli(*(text.format(model=checkpoint, out=tmp_path / "out") for text in arguments))
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (code, "", 1), done.stderr
    assert lines[0].startswith("Error: ")
    assert [word for word in words if word not in lines[0]] == []
    assert not (tmp_path / "out").exists()


def test_every_option_is_handed_on_as_it_was_given() -> None:
    parser = ArgumentParser()
    register_edgexf.EdgexfExportCommand.parse_args(parser)
    line = (
        "--model m --explain gradient --explain cplrp --quantize int8 --max-length 9 --image-size 8-16 --overwrite out"
    )
    told = list(register_edgexf.arguments(parser.parse_args(line.split())))
    assert sorted(told) == [
        "--explain=cplrp", "--explain=gradient", "--image-size=8-16", "--max-length=9", "--model=m", "--output=out",
        "--overwrite", "--quantize=int8",
    ]  # fmt: skip
