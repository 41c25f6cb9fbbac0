"""An open bundle: moved working directories, odd paths, other processes."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import HAS_TORCH, Exported
from small import random_ids

import edgexf
from edgexf import bundle
from edgexf.errors import BundleError, UsageError


def test_a_relative_path_stays_valid_when_the_working_directory_changes(
    linformer: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The explain graph opens at its first use, long after `load`."""
    shutil.copytree(linformer.bundle.path, tmp_path / "Åse 中文 (1)" / "mon modèle")
    monkeypatch.chdir(tmp_path / "Åse 中文 (1)")
    ids = random_ids(1, 9)
    with edgexf.load("mon modèle") as session:
        monkeypatch.chdir("/")
        explained = session.run_explain(input_ids=ids)
        answered = session.run(input_ids=ids)["logits"]
    assert (
        np.abs(answered - explained["logits"]).max() <= 1e-5 * np.abs(answered).max()
    )  # the contract of explain graphs


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_session_that_is_sent_elsewhere_says_to_open_one_there(linformer: Exported, send: object) -> None:
    assert callable(send)
    with edgexf.load(linformer.bundle.path) as session, pytest.raises(UsageError, match=r"edgexf\.load in each worker"):
        send(session)


def test_a_path_that_is_no_utf8_is_a_sentence(linformer: Exported, tmp_path: Path) -> None:
    """ONNX Runtime opens no file there: an export must not write what nobody can load."""
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(UsageError, match=r"UTF-8 for onnxruntime, got .*caf\\xe9"):
        bundle.check_target(odd, overwrite=False)
    if HAS_TORCH:
        with pytest.raises(UsageError, match="UTF-8"):
            edgexf.export(variant="linformer", output=odd / "below")
    assert list(tmp_path.iterdir()) == []
    shutil.copytree(linformer.bundle.path, odd)
    with pytest.raises(BundleError, match=r"UTF-8 for onnxruntime, got .*caf\\xe9; rename") as caught:
        edgexf.load(odd)
    str(caught.value).encode()


def test_the_text_of_a_bundle_fits_a_line(linformer: Exported) -> None:
    text = repr(bundle.Bundle(Path("out"), linformer.bundle.manifest))
    assert text == "Bundle('out': linformer, content-kind: predict fp32, attnlrp fp32, gradient fp32)"
