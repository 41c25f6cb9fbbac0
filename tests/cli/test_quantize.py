"""What `edgexf quantize` refuses before it builds a graph: data that are no inputs of the model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from small import DATA, prompt

from edgexf.cli import main
from edgexf.pipeline import quantize_bundle


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a bundle of bytes with the labels a, b and c, of which nothing is built."""
    monkeypatch.setattr(quantize_bundle, "builder_of", lambda *_: pytest.fail("it was built"))
    return Path(shutil.copytree(DATA / "bundles" / "v1" / "linformer", tmp_path / "bundle"))


def hashes(folder: Path) -> dict[Path, str]:
    return {path: sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"text": "b"', ["each line of labelled data must be JSON"]),
        ('{"text": "b", "label": "d"}', ["a label must be one of the model's (a, b, c)", "'d'"]),
        ('{"text": "b"}', ["all inputs or none must have a label, got 1 of 2", "none in"]),
        ('{"arrays": {"ids": [[1]]}, "label": "a"}', ["inputs must be among"]),
        ('{"input_ids": [300], "label": "a"}', ["input_ids must"]),
    ],
)
def test_a_wrong_line_of_evaluate_is_wrong_usage_that_names_file_and_line(
    line: str, words: Sequence[str], bundle: Path, tmp_path: Path
) -> None:
    listing, before = tmp_path / "listing.jsonl", hashes(bundle)
    listing.write_text(json.dumps({"text": "a", "label": "a"}) + "\n\n" + line + "\n")
    given = ("--mode", "int8", "--overwrite", "--evaluate", listing, "--json", tmp_path / "report.json")
    found = prompt().invoke(main, ["quantize", str(bundle), *map(str, given)])
    assert (found.exit_code, found.stdout, found.stderr.count("\n")) == (2, "", 1), found.stderr
    assert all(word in found.stderr for word in ("line 3", "listing.jsonl", *words)), found.stderr
    assert hashes(bundle) == before
    assert not (tmp_path / "report.json").exists()
