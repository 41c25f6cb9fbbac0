"""The README.md of a bundle: its commands run as they stand there, and its tables say what the inputs mean."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import modules
import pytest
from conftest import Exported
from families import small
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import edgexf
from edgexf import names


def tokenizer() -> PreTrainedTokenizerFast:
    words = {"[PAD]": 0, "[UNK]": 1, "a": 2, "text": 3}
    backend = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))  # noqa: S106
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")  # noqa: S106


@pytest.fixture(scope="module", params=["text", "module", "bytes", "decoder"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, linformer: Exported) -> Path:
    """Exports a model that reads text, a custom module, a model of bytes, and one with a decoder."""
    out = tmp_path_factory.mktemp("usage") / "bundle"
    if request.param == "bytes":
        return linformer.bundle.path
    if request.param == "module":
        module, examples = modules.small("landmarks")
        return edgexf.export(module, example_inputs=examples, output=out, explain=()).path
    family, head = ("Bert", "ForSequenceClassification") if request.param == "text" else ("LED", "Model")
    return edgexf.export(small(family, head), tokenizer=tokenizer(), output=out, explain=()).path


def blocks(folder: Path, language: str) -> list[str]:
    text = (folder / names.CARD_FILE).read_text(encoding="utf-8").partition("\n## Use\n")[2]
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_python_of_a_bundle_runs_in_its_folder(folder: Path) -> None:
    (program,) = blocks(folder, "python")
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_command_of_a_bundle_runs_in_its_folder(folder: Path) -> None:
    (line,) = blocks(folder, "sh")
    command, *arguments = shlex.split(line)
    assert command == "edgexf"
    done = subprocess.run(
        [sys.executable, "-m", "edgexf", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_tables_name_every_input_and_output(folder: Path) -> None:
    with edgexf.load(folder) as session:
        graph = session.manifest.variants[0]
    use = (folder / names.CARD_FILE).read_text(encoding="utf-8").partition("\n## Use\n")[2]
    rows = [line.split(" | ")[:3] for line in use.splitlines() if line.startswith("| ")]
    for one in (*graph.inputs, *graph.outputs):
        assert [f"| {one.name}", one.dtype, f"[{', '.join(map(str, one.shape))}]"] in [
            [cell.removesuffix(" |") for cell in row] for row in rows
        ]
    (program,) = blocks(folder, "js")
    assert all(f"  {one.name}: new ort.Tensor(" in program for one in graph.inputs)


def test_the_limits_are_said(linformer: Exported) -> None:
    use = (linformer.bundle.path / names.CARD_FILE).read_text(encoding="utf-8")
    assert "token ids, 0 to 257" in use
    assert "`sequence_length` is 2 to 4,097. Padding behind the real tokens changes no answer" in use
    assert "The columns of `logits` are python, c, javascript, perl, shell, sql, cmake, html and 12 more" in use
