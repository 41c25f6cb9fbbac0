"""`edgexf export --module package.module:factory --weights FILE`, from the folder that holds the module."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner, Result

from edgexf.cli import main

pytestmark = pytest.mark.slow  # exports or runs many models

CODE = """
import torch
from torch import nn

class Tagger(nn.Module):
    def __init__(self, labels=3):
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 1)
        self.head = nn.Linear(8, labels)

    def forward(self, ids, scale=1.0):
        return self.head(self.body(self.embed(ids))) * scale

class Features(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5, 2)

    def forward(self, features):
        return self.head(features)

class Pooled(Tagger):
    def forward(self, ids, attention_mask):
        kept = attention_mask.unsqueeze(-1).float()
        return (super().forward(ids) * kept).sum(1) / kept.sum(1)

def small():
    return Tagger(2), (torch.arange(18).reshape(2, 9),)

def bounded():
    return Tagger(), {"ids": torch.arange(18).reshape(2, 9)}, {"ids": {0: "rows", 1: torch.export.Dim("words", max=30)}}

def number():
    return 3

def needs(size):
    return Tagger(size)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes a folder with ``tagger.py`` the current folder, and removes the `tagger` module of earlier tests."""
    (tmp_path / "tagger.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "tagger", raising=False)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != ""])
    return tmp_path


def export(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", *arguments, "-o", "bundle"], prog_name="edgexf")


@pytest.mark.parametrize(
    ("kind", "shorter", "longest"),
    [("safetensors", (), "4,096"), ("pt", ("--max-length", "64", "--explain", "none"), "64")],
)
def test_a_module_is_exported_with_its_weights(
    folder: Path, kind: str, shorter: tuple[str, ...], longest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exports by the class name. The example inputs are guessed: token ids for the only argument without a default."""
    monkeypatch.syspath_prepend(str(folder))
    from tagger import Tagger  # type: ignore[import-not-found]

    torch.manual_seed(5)
    module = Tagger().eval()
    if kind == "pt":
        torch.save(module.state_dict(), folder / "own.pt")
    else:
        safetensors.torch.save_file(module.state_dict(), folder / "own.safetensors")
    done = export("--module", "tagger:Tagger", "--weights", f"own.{kind}", *shorter)
    assert done.exit_code == 0, done.output
    assert "takes ids int64 [batch_size, sequence_length]" in done.output
    assert "gives logits float32 [batch_size, sequence_length, 3]" in done.output
    assert f"axes: batch_size 1 to 65,536, sequence_length 2 to {longest}" in done.output
    given = torch.randint(0, 50, (3, 21))
    session = ort.InferenceSession(str(folder / "bundle" / "onnx" / "model.onnx"))
    (found,) = session.run(None, {"ids": given.numpy()})
    with torch.no_grad():
        wanted = module(given).numpy()
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_a_factory_may_bring_examples_and_dynamic_shapes(folder: Path) -> None:
    done = export("--module", "tagger:bounded", "--explain", "none")
    assert done.exit_code == 0, done.output
    assert "axes: rows 1 to 65,536, words 1 to 30" in done.output
    assert (folder / "bundle" / "edgexf.json").exists()


def test_a_length_is_bounded_at_the_prompt(folder: Path) -> None:
    """Examples that are guessed keep to the bound too."""
    done = export("--module", "tagger:Tagger", "--max-length", "12", "--explain", "none")
    assert done.exit_code == 0, done.output
    assert "axes: batch_size 1 to 65,536, sequence_length 2 to 12" in done.output
    assert (folder / "bundle" / "edgexf.json").exists()


def test_a_mask_is_guessed_by_its_name(folder: Path) -> None:
    done = export("--module", "tagger:Pooled", "--explain", "none")
    assert done.exit_code == 0, done.output
    assert (
        "takes ids int64 [batch_size, sequence_length], attention_mask int64 [batch_size, sequence_length]"
        in done.output
    )
    below = json.loads((folder / "bundle" / "edgexf.json").read_text())["signature"]["below"]
    assert below == {"ids": 50}
    assert " right " in done.output  # cells with padding


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--module", "tagger"), 2, "package.module:factory"),
        (("--module", "nowhere:small"), 1, "must be a Python module that can be imported"),
        (("--module", "tagger:nothing"), 2, "got no nothing to call in tagger"),
        (("--module", "tagger:number"), 2, "must answer with a torch.nn.Module"),
        (("--module", "tagger:needs"), 1, "must build a module without arguments"),
        (("--module", "tagger:Features"), 2, "return (module, example_inputs)"),
        (("--module", "tagger:small", "--weights", "nowhere.pt"), 1, "weights must be a file"),
        (("--module", "tagger:small", "--weights", "tagger.py"), 1, "weights must be a file"),
        (("--module", "tagger:small", "--weights", "list.pt"), 1, "a dictionary of tensors"),
        (("--module", "tagger:small", "--weights", "other.pt"), 1, "exactly those of Tagger"),
        (("--module", "tagger:small", "--variant", "linformer"), 2, "brings its own attention"),
        (("--module", "tagger:small", "--layers", "3"), 2, "brings its own attention"),
        (("--module", "tagger:small", "--max-length", "8"), 2, "at least the length of the example inputs"),
        (("--model", ".", "--layers", "8"), 2, "brings its own attention"),
        (("--variant", "linformer", "--max-length", "8"), 2, "without them; add --weights FILE"),
    ],
)
def test_what_is_wrong_is_a_sentence(folder: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    torch.save([torch.ones(1)], folder / "list.pt")
    torch.save({"embed.weight": torch.ones(50, 8)}, folder / "other.pt")
    done = export(*arguments)
    assert done.exit_code == code, done.output
    assert says in done.output
    assert done.output.count("\n") == 1
    assert not (folder / "bundle").exists()
