"""Real weights on real text: a Longformer made from all-MiniLM-L6-v2, with the tokenizer of all-MiniLM-L6-v2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from minilm import LONGEST, make_longformer
from small import ROOT
from transformers import AutoTokenizer

import edgexf
from edgexf.errors import InputError

pytestmark = pytest.mark.slow  # exports or runs many models

TEXT = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "exporters/README.md", "LICENSE"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Path]:
    """Returns the eager model, its folder and its bundle."""
    folder = tmp_path_factory.mktemp("minilm")
    model = make_longformer(folder / "checkpoint")
    path = edgexf.export(folder / "checkpoint", explain=(), output=folder / "out", max_global=2).path
    return model, folder / "checkpoint", path


@pytest.mark.parametrize("characters", [20, 900, 5000])
def test_features_of_real_text_are_the_eager_models(made: tuple[Any, Path, Path], characters: int) -> None:
    """Transformers tokenizes for the eager model, the bundle tokenizes for the graph.

    Both set no global token, which is the library's default.
    """
    model, checkpoint, bundle = made
    encoded = AutoTokenizer.from_pretrained(checkpoint)(TEXT[:characters], return_tensors="pt")
    with torch.no_grad():
        wanted = model(**encoded).last_hidden_state[0].numpy()
    with edgexf.load(bundle) as session:
        answer = session.predict(TEXT[:characters])
    found = answer.outputs["last_hidden_state"]
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_a_document_of_the_full_length_is_read_and_a_longer_one_is_not_cut_in_silence(
    made: tuple[Any, Path, Path],
) -> None:
    model, _, bundle = made
    with edgexf.load(bundle) as session:
        with pytest.raises(InputError, match=f"at most {LONGEST} tokens"):
            session.predict(TEXT)
        answer = session.predict(TEXT, truncate=True)
        rows = session.encode(TEXT, stride=64)
        ids = session.encode(TEXT, truncate=True)["input_ids"]
        session.run(**{name: array[-1:] for name, array in rows.items()})
    assert answer.truncated
    assert len(answer.tokens) == LONGEST
    with torch.no_grad():
        wanted = model(input_ids=torch.from_numpy(ids)).last_hidden_state[0].numpy()
    assert np.abs(answer.outputs["last_hidden_state"] - wanted).max() <= 1e-4 * np.abs(wanted).max()
    assert len(rows["input_ids"]) > 1


def test_the_recipe_keeps_what_a_short_text_meant(made: tuple[Any, Path, Path]) -> None:
    """Mean vectors of two sentences about one topic are closer than those of sentences about different topics."""
    _, _, bundle = made
    sentences = ["The cat sleeps on the sofa.", "A kitten naps on a couch.", "Interest rates rose again this year."]
    with edgexf.load(bundle) as session:
        means = [answer.outputs["last_hidden_state"].mean(axis=0) for answer in session.predict(sentences)]
    cosine = [[float(one @ other / np.linalg.norm(one) / np.linalg.norm(other)) for other in means] for one in means]
    assert cosine[0][1] > cosine[0][2] + 0.2
