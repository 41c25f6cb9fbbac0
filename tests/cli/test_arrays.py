"""`edgexf run` and `edgexf explain` on a bundle that takes arrays: .npz files at the prompt."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from explanations import Page
from torch import Tensor, nn

import edgexf
from edgexf.cli import main
from edgexf.report.explanation import Explanation

pytestmark = pytest.mark.slow  # exports a model


class Scorer(nn.Module):
    """Logits of three classes from ids and a mask, and a whole number."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.inner, self.head = nn.Embedding(30, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.words(ids) * attention_mask[..., None]
        return self.head(torch.tanh(self.inner(seen.sum(1)))), attention_mask.sum(1)


IDS = np.array([[4, 11, 7, 2], [29, 3, 3, 0]])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arrays") / "bundle"
    ids = torch.from_numpy(IDS)
    edgexf.export(Scorer(), example_inputs=(ids, torch.ones_like(ids)), output=folder, max_length=20)
    return folder


def command(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def saved(path: Path, rows: int = 2, **changes: Any) -> Path:
    arrays = {"ids": IDS[:rows], "attention_mask": np.ones_like(IDS[:rows]), **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def eager(ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        found: np.ndarray[Any, Any] = Scorer()(torch.from_numpy(ids), torch.ones(ids.shape, dtype=torch.long))[
            0
        ].numpy()
    return found


def test_files_of_arrays_are_answered_as_the_module_answers(bundle: Path, tmp_path: Path) -> None:
    one, other = saved(tmp_path / "one.npz"), saved(tmp_path / "other.npz", rows=1, ids=IDS[1:].astype(np.int32))
    done = command("run", bundle, one, other)
    assert (done.exit_code, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["input"] for row in found] == [str(one), str(other)]
    # seven digits of float32, and the contract's tolerance
    assert np.allclose(found[0]["outputs"]["logits"], eager(IDS), rtol=1e-4, atol=1e-5)
    assert np.allclose(found[1]["outputs"]["logits"], eager(IDS[1:]), rtol=1e-4, atol=1e-5)
    assert found[0]["outputs"]["output_1"] == [4, 4]
    again = command("run", bundle, "-", stdin=one.read_bytes())
    assert json.loads(again.stdout)["outputs"] == found[0]["outputs"]


def test_outputs_are_written_as_arrays_and_replace_no_input(bundle: Path, tmp_path: Path) -> None:
    path = saved(tmp_path / "one.npz")
    (tmp_path / "out").mkdir()
    done = command("run", bundle, path, "--output-arrays", tmp_path / "out")
    line = json.loads(done.stdout)
    assert line["outputs"] == {"logits": "float32 [2, 3]", "output_1": "int64 [2]"}
    with np.load(line["arrays"]) as written:
        assert np.allclose(written["logits"], eager(IDS), rtol=1e-4, atol=1e-5)
    before = path.read_bytes()
    for paths, folder, words in (
        ([path], tmp_path, "must not replace an input"),
        ([path, path], tmp_path / "out", "different names"),
        ([path], tmp_path / "none", "a folder that is there"),
    ):
        refused = command("run", bundle, *paths, "--output-arrays", folder)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert words in refused.stderr
    assert path.read_bytes() == before


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


def broken(kind: str, path: Path) -> Path:
    if kind == "pickled":
        return saved(path, ids=np.array([Evil()], dtype=object))
    data = saved(path).read_bytes()
    if kind == "no archive":
        path.write_bytes(b"id,mask\n1,1\n")
    elif kind == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "changed":
        path.write_bytes(data[:150] + bytes(byte ^ 255 for byte in data[150:170]) + data[170:])
    elif kind == "a note inside":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("note.txt", "hello")
    elif kind == "a name twice":
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("ids.npy", archive.read("attention_mask.npy"))
    return path


CHANGES: dict[str, dict[str, Any]] = {
    "must be the model's (ids, attention_mask), got ids": {"attention_mask": None},
    "got ids, attention_mask, more": {"more": IDS},
    "ids must be int64": {"ids": IDS.astype(np.float32)},
    "ids must be int64 ['batch_size', 'sequence_length'], got int64 [4]": {"ids": IDS[0]},
    "inputs must agree on sequence_length": {"ids": IDS[:, :3]},
    "ids must be 0 to 29, got 99 in row 0": {"ids": IDS + 0 * IDS + np.array([[95, 0, 0, 0], [0, 0, 0, 2]])},
    "ids must fit into int64": {"ids": IDS.astype(np.uint64) + np.uint64(2**63)},
    "sequence_length must be 2 to 20, got 21": {"ids": np.ones((1, 21), int), "attention_mask": np.ones((1, 21), int)},
    "holds no numbers": {"ids": IDS.astype(str)},
}


@pytest.mark.parametrize("words", CHANGES)
def test_arrays_that_do_not_fit_are_a_sentence_and_the_rest_is_answered(
    words: str, bundle: Path, tmp_path: Path
) -> None:
    bad, good = saved(tmp_path / "bad.npz", **CHANGES[words]), saved(tmp_path / "good.npz")
    done = command("run", bundle, bad, good)
    assert done.exit_code == 1
    (error,) = done.stderr.splitlines()
    assert words in error
    assert str(bad) in error
    assert [json.loads(line)["input"] for line in done.stdout.splitlines()] == [str(good)]
    explained = command("explain", bundle, bad, "--json")
    assert (explained.exit_code, explained.stdout) == (1, "")
    assert explained.stderr == f"{error}\n"


@pytest.mark.parametrize("kind", ["pickled", "no archive", "cut", "changed", "a note inside", "a name twice"])
def test_a_broken_file_is_a_sentence(kind: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = command("run", bundle, broken(kind, tmp_path / "bad.npz"))
    assert (done.exit_code, done.stdout) == (1, "")
    (error,) = done.stderr.splitlines()
    assert error.startswith("Error: a file for a model of arrays must be an .npz of them by name, got ")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["run", "explain"])
@pytest.mark.parametrize(("option", "values"), [("--text", ["abc"]), ("--truncate", ["a.npz"])])
def test_what_only_a_text_has_is_refused(name: str, option: str, values: list[str], bundle: Path) -> None:
    done = command(name, bundle, option, *values)
    assert (done.exit_code, done.stdout) == (2, "")
    (error,) = done.stderr.splitlines()
    assert "takes an .npz of arrays (ids int64, attention_mask int64)" in error
    assert option in error


def test_a_bundle_that_reads_bytes_or_text_takes_no_option_of_arrays(tmp_path: Path) -> None:
    bundle = Path(__file__).parents[1] / "data" / "bundles" / "v1" / "linformer"
    for call in (["run", bundle, __file__, "--output-arrays", tmp_path], ["explain", bundle, __file__, "--sample", 0]):
        done = command(*call)
        assert (done.exit_code, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert str(call[-2]) in done.stderr


def test_samples_are_explained_as_the_graph_explains_them(bundle: Path, tmp_path: Path) -> None:
    path = saved(tmp_path / "one.npz", attention_mask=np.array([[1, 1, 1, 0], [1, 1, 1, 1]]))
    done = command("explain", bundle, path, "--json", "--target", "LABEL_2", "--target", "0", "--against", "1")
    assert (done.exit_code, done.stderr) == (0, "")
    found = [Explanation.from_json(line) for line in done.stdout.splitlines()]
    assert [why.input for why in found] == [f"{path} [0]"] * 2 + [f"{path} [1]"] * 2
    assert [why.target for why in found[:2]] == [{"LABEL_2": 1.0, "1": -1.0}, {"0": 1.0, "1": -1.0}]
    assert found[2].tokens == ("29", "3", "3", "0")
    assert found[2].data == b"29 3 3 0"
    with np.load(path) as arrays, edgexf.load(bundle) as session:
        wanted = session.run_explain(**arrays, target=np.array([[0, -1, 1], [0, -1, 1]]))
    for why, scores, residual in zip(found[::2], wanted["relevance"], wanted["residual"], strict=True):
        # one row and two rows may round differently
        assert np.allclose(why.scores, scores, rtol=1e-4, atol=1e-6)
        assert why.explained == pytest.approx(float(scores.sum() + residual), rel=1e-4, abs=1e-5)
    assert found[0].scores[3] == 0.0  # padding
    assert found[0].prediction is not None


def test_a_page_and_the_terminal_show_one_sample(bundle: Path, tmp_path: Path) -> None:
    path, page = saved(tmp_path / "one.npz"), tmp_path / "why.html"
    for more in ((), ("--html", page)):
        refused = command("explain", bundle, path, *more)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "--sample" in refused.stderr
    methods = ["--method", "attnlrp", "--method", "occlusion", "--baseline", 1]
    done = command("explain", bundle, path, "--sample", 1, *methods, "--html", page)
    assert done.exit_code == 0, done.stderr
    assert [text for _, text in Page(page.read_text()).all("h3")] == ["attnlrp", "occlusion"]
    shown = command("explain", bundle, path, "--sample", 1)
    assert shown.exit_code == 0, shown.stderr
    assert "29" in shown.stdout


def test_methods_from_outside_replace_ids_by_a_baseline(bundle: Path, tmp_path: Path) -> None:
    path = saved(tmp_path / "one.npz", rows=1)
    done = command("explain", bundle, path, "--method", "occlusion", "--baseline", "1", "--target", "0", "--json")
    why = Explanation.from_json(done.stdout)
    without = IDS[:1].repeat(4, axis=0)
    np.fill_diagonal(without, 1)
    assert np.allclose(why.scores, eager(IDS[:1])[0, 0] - eager(without)[:, 0], rtol=1e-3, atol=1e-5)  # as above
    assert why.baseline == "1"
    for more, words in (
        ((), "a baseline, an id of 0 to 29, got none"),
        (("--baseline", "30"), "got 30"),
        (("--baseline", "the"), "got the"),
    ):
        refused = command("explain", bundle, path, "--method", "occlusion", *more)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert words in refused.stderr


def test_each_leaves_out_what_needs_a_baseline_and_says_so(bundle: Path, tmp_path: Path) -> None:
    path = saved(tmp_path / "one.npz", rows=1)
    done = command("explain", bundle, path, "--method", "each", "--json")
    assert done.exit_code == 0, done.stderr
    assert [json.loads(line)["method"] for line in done.stdout.splitlines()] == ["attnlrp"]
    (line,) = done.stderr.splitlines()
    assert line == "left out: occlusion, lime, kernel-shap, which replace tokens; add with: --baseline ID"
    every = command("explain", bundle, path, "--method", "each", "--json", "--baseline", 1, "--budget", 100)
    assert every.exit_code == 0, every.stderr
    found = [json.loads(line)["method"] for line in every.stdout.splitlines()]
    assert found == ["attnlrp", "occlusion", "lime", "kernel-shap"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "LABEL_9"], "among LABEL_0, LABEL_1, LABEL_2, or the number of a column, below 3, got LABEL_9"),
        (["--target", "3"], "got 3"),
        (["--position", "1"], "takes no position, got 1"),
        (["--sample", "2"], "sample must be 0 to 1"),
        (["--method", "tarot"], "tarot"),
        (["--seed", "1"], "--seed"),
    ],
)
def test_a_wrong_choice_is_one_sentence(arguments: list[str], words: str, bundle: Path, tmp_path: Path) -> None:
    done = command("explain", bundle, saved(tmp_path / "one.npz"), *arguments, "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    (error,) = done.stderr.splitlines()
    assert words in error
