"""One way through every room, for the inner loop: export, verify, run, explain, quantize, in seconds.

The other tests look at each room closely; `pytest -m "not slow"` leaves most of their exports out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small import small_encoder

import edgexf

TEXT = b"#!/bin/sh\nset -e\n"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rooms") / "bundle"
    edgexf.export(small_encoder("linformer", layers=1), output=folder)
    return folder


def test_a_small_model_is_exported_and_verified(exported: Path) -> None:
    verdict = edgexf.verify(exported)
    assert verdict.passed
    assert verdict.bundle.manifest.methods == ("attnlrp",)


def test_its_answer_is_the_eager_models(exported: Path) -> None:
    ids = np.array([[257, *TEXT]])
    with torch.no_grad():
        mask = torch.ones(ids.shape, dtype=torch.int64)
        wanted = small_encoder("linformer", layers=1)(torch.from_numpy(ids), mask).numpy()
    with edgexf.load(exported) as session:
        found = session.run(input_ids=ids)["logits"]
        (answer,) = session.predict([TEXT])
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()  # the contract's tolerance
    assert answer.label == "abc"[int(wanted.argmax())]


def test_its_explanation_adds_up_and_has_a_page(exported: Path) -> None:
    with edgexf.load(exported) as session:
        why = session.explain(TEXT)
        outside = session.explain(TEXT, method="occlusion", budget=8)
    assert np.isclose(why.explained, why.scores.sum(dtype=float) + why.residual)
    assert "</html>" in why.to_html()
    assert np.isclose(outside.explained, why.explained, rtol=1e-4)  # the same logit by the other graph


def test_it_is_quantized_in_place(exported: Path) -> None:
    (outcome, *_) = edgexf.quantize(exported, mode="int8", force=True, lengths=(32,))
    assert outcome.dtype == "q8"
    assert edgexf.verify(exported).passed
    with edgexf.load(exported, dtype="q8") as session:
        assert session.predict([TEXT])
