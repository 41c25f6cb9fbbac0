"""The samples run, and the training continues where it stopped."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import reference_data
import torch
import train_reference
from conftest import Exported

from edgexf.models import architecture, build
from edgexf.models.weights import load
from edgexf.spec import LABELS, EncoderSpec

SAMPLES = Path(train_reference.__file__).parent


def test_plain_onnxruntime_explains_a_file(linformer: Exported, tmp_path: Path) -> None:
    """The sample imports only numpy and onnxruntime, not edgexf, and its numbers add up."""
    (tmp_path / "input").write_bytes(b"#!/bin/sh\nset -eu\n")
    sample = [sys.executable, str(SAMPLES / "explain_plain.py"), str(linformer.bundle.path), str(tmp_path / "input")]
    done = subprocess.run(sample, capture_output=True, text=True, check=True)
    head, *strongest = done.stdout.splitlines()
    label, whole, relevance, residual = map(float, re.findall(r"-?\d+(?:\.\d+)?", head))
    assert LABELS[int(label)] == "shell"
    assert abs(whole - relevance - residual) <= 0.02  # three numbers rounded to two digits
    assert len(strongest) == 10
    scores = [float(line.split()[-1]) for line in strongest]
    assert scores == sorted(scores, reverse=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes forty folders, each with one file of each of three kinds."""
    root = tmp_path_factory.mktemp("data")
    chance = np.random.default_rng(0)
    for index in range(40):
        word = "".join(chance.choice(list("abcdefgh"), 8))
        place = root / word / "part"
        place.mkdir(parents=True)
        (place / f"{word}.py").write_text(f"def {word}(x):\n    return x + {index}\n" * 20)
        (place / f"{word}.json").write_text(json.dumps({word: list(range(index + 30))}))
        (place / f"{word}.gz").write_bytes(gzip.compress(chance.bytes(600), mtime=0))
    return root


def test_files_are_labelled_and_split_by_folder(folder: Path) -> None:
    train, held_out = reference_data.split(reference_data.find([folder]), seed=0)
    assert len(train) + len(held_out) == 120
    assert {LABELS[file.label] for file in train} == {"python", "json", "gzip"}
    assert held_out
    assert not {file.group for file in train} & {file.group for file in held_out}


def test_copies_and_mislabelled_binaries_are_left_out(tmp_path: Path) -> None:
    for name, data in {
        "a/x.py": b"x = 1\n" * 20,
        "b/y.py": b"x = 1\n" * 20,
        "c/z.gz": b"no gzip" * 20,
        "d/small.py": b"x",
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(data)
    assert [file.path.name for file in reference_data.find([tmp_path])] == ["x.py"]


@pytest.mark.parametrize(
    "copies",
    [
        [f"/opt/v{version}/lib/python3.{version}/json/decoder.py" for version in range(6, 13)],
        ["/a/site-packages/pygments/lexers/c.py", "/b/pip/_vendor/pygments/lexers/c.py"],
        ["/a/site-packages/six.py", "/b/urllib3/vendor/six.py", "/c/pkg_resources/_vendor/six.py"],
        ["/a/node_modules/ajv/lib/x.js", "/npm/ajv/package/dist/x.js", "/usr/share/nodejs/ajv/x.js", "/node_modules/c/node_modules/ajv/x.js"],
        ["/usr/share/locale/de/LC_MESSAGES/tar.mo", "/usr/share/locale/sr@latin/LC_MESSAGES/tar.mo", "/src/tar-1.34/po/pt_BR.po"],
        ["/src/kcoreaddons/po/de/kcoreaddons5_qt.po", "/src/kcoreaddons/po/ca@valencia/kcoreaddons6_qt.po"],
        ["/doc/html/ja/tour/start.html", "/doc/html/zh_TW/tour/start.html", "/doc/html/tour/start.html"],
        ["/a/site-packages/six/moves.py", "/a/site-packages/six/__pycache__/moves.cpython-311.pyc"],
    ],
)  # fmt: skip
def test_versions_vendored_copies_and_translations_stay_on_one_side(copies: list[str]) -> None:
    assert len({reference_data.group_of(Path(path)) for path in copies}) == 1


def test_different_folders_and_catalogues_are_different_groups() -> None:
    paths = [
        "/usr/share/locale/de/LC_MESSAGES/tar.mo", "/usr/share/locale/de/LC_MESSAGES/sed.mo", "/src/git-2.39/po/de.po",
        "/a/site-packages/pygments/lexers/c.py", "/a/site-packages/pygments/styles/c.py", "/a/site-packages/six.py",
    ]  # fmt: skip
    assert len({reference_data.group_of(Path(path)) for path in paths}) == len(paths)


def test_a_near_copy_of_a_training_file_is_not_tested(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    text = chance.bytes(20_000)
    kinds = {
        "original.gz": text,
        "shifted.gz": b"a new first line\n" + text[:9_000] + b"an insertion" + text[9_000:],
        "third.gz": text[:7_000] + chance.bytes(13_000),
        "other.gz": chance.bytes(20_000),
        "tiny.gz": b"x" * 70,
    }
    files = {}
    for name, data in kinds.items():
        (tmp_path / name).write_bytes(data)
        files[name] = reference_data.Labelled(tmp_path / name, 0, "", len(data))
    original = files.pop("original.gz")
    kept = reference_data.without_near_copies(list(files.values()), [original])
    assert [file.path.name for file in kept] == ["third.gz", "other.gz", "tiny.gz"]


def test_a_crop_starts_with_the_class_token(folder: Path) -> None:
    file = next(file for file in reference_data.find([folder]) if file.path.suffix == ".py")
    tokens = reference_data.crop(file, 10, 4)
    assert tokens.tolist() == [257, *file.path.read_bytes()[4:14]]


def trainer(folder: Path) -> train_reference.Trainer:
    torch.manual_seed(0)
    spec = EncoderSpec(attention=architecture("linformer").attention, width=16, heads=2, feedforward=16, layers=1)
    train = reference_data.split(reference_data.find([folder]), 0)[0]
    return train_reference.Trainer(build(spec), train, 200_000, 1e-3, 0, bf16=False)


def test_a_resumed_training_is_an_unbroken_one(folder: Path, tmp_path: Path) -> None:
    unbroken, broken, resumed = (trainer(folder) for _ in range(3))
    for _ in range(4):
        unbroken.advance()
    for _ in range(2):
        broken.advance()
    broken.save(tmp_path / "checkpoint")
    resumed.resume(tmp_path / "checkpoint")
    for _ in range(2):
        resumed.advance()
    for name, tensor in unbroken.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


def test_the_training_script_writes_weights_and_a_card(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "own.safetensors"
    command = [
        sys.executable,
        str(SAMPLES / "train_reference.py"),
        "linformer",
        str(folder),
        "--output",
        str(output),
        "--tokens",
        "1",
    ]
    subprocess.run(command, check=True, capture_output=True)
    assert load(output).spec.labels == LABELS
    card = output.with_suffix(".md").read_text()
    assert "## Top-1 on held-out files" in card
    assert str(folder) not in card


def test_the_embedding_sample_runs(linformer: Exported, tmp_path: Path) -> None:
    (tmp_path / "data.z").write_bytes(zlib.compress(b"x" * 1000))
    command = [sys.executable, str(SAMPLES / "sort_folder.py"), str(linformer.bundle.path), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "data.z" in done.stdout
