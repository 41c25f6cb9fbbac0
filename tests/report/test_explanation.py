"""An explanation as JSON: reading restores it to the last bit, and refuses every other content."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Exported
from explanations import explanation, explanations, finite, token_explanation, token_explanations
from hypothesis import given
from hypothesis import strategies as st
from small import DATA

import edgexf
from edgexf.errors import EdgexfError, InputError
from edgexf.report.explanation import Explanation
from edgexf.report.prediction import Features, Prediction

pytestmark = pytest.mark.slow  # exports or runs many models

KEPT = DATA / "explanations"


def assert_same(one: Explanation, other: Explanation) -> None:
    for item in fields(Explanation):
        first, second = getattr(one, item.name), getattr(other, item.name)
        if item.name == "scores":
            assert (first.dtype, first.tobytes()) == (second.dtype, second.tobytes())
        else:
            assert (first, type(first)) == (second, type(second)), item.name


numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(), max_size=5)  # also lone surrogates, as in file names that are not UTF-8
values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
predictions = st.builds(
    Prediction, texts, texts, numbers, st.lists(st.tuples(texts, numbers), max_size=3).map(tuple), st.booleans(), numbers,
    st.integers(1, 9), st.booleans(), st.integers(1, 9),
)  # fmt: skip


@given(
    shown=explanations() | token_explanations(),
    scale=st.sampled_from([1.0, 1e-42, 1e-7, 3.4e35]),
    parts=st.fixed_dictionaries(
        {
            "input": texts, "method": texts, "baseline": texts, "model": texts, "truncated": st.booleans(),
            "target": st.dictionaries(texts, numbers, max_size=3), "explained": numbers, "residual": numbers,
            "prediction": st.none() | predictions, "settings": st.dictionaries(texts, values, max_size=3), "ms": numbers,
            "position": st.none() | st.just(0),
        }
    ),
)  # fmt: skip
def test_reading_undoes_writing(shown: Explanation, scale: float, parts: dict[str, Any]) -> None:
    scores = (shown.scores.astype(np.float64) * scale).astype(np.float32)
    given_explanation = replace(shown, scores=scores, **parts)
    text = given_explanation.to_json()
    assert_same(Explanation.from_json(text), given_explanation)
    assert Explanation.from_json(text) == given_explanation
    assert Explanation.from_json(text.encode()).to_json() == text


@given(finite | st.sampled_from([np.float32(3.4028235e38), np.float32(1e-45), np.float32(-0.0)]))
def test_a_score_has_no_more_digits_than_its_kind_carries(score: float) -> None:
    [_, text] = json.loads(explanation(b"x", [score]).to_json())["scores"]
    assert np.float32(text) == np.float32(score)
    assert len(repr(text).lstrip("-").partition("e")[0].replace(".", "").strip("0")) <= 9


def test_json_says_what_other_readers_need() -> None:
    values = json.loads(token_explanation(["größ", "er", " ", "x"], [0.0, 1.0, 0.5, -1.0, 0.0]).to_json())
    assert (values["schema_version"], values["encoding"], values["data"]) == (3, "utf-8", "größer x")
    assert values["words"] == [["größer", 0, 8, 1.5], ["x", 9, 10, -1.0]]
    assert values["tokens"] == ["[CLS]", "größ", "er", "x", "[SEP]"]
    assert (len(values["model_sha256"]), len(values["graph_sha256"])) == (64, 64)
    assert json.loads(explanation(b"\xff").to_json())["encoding"] == "base64"


def test_a_stored_explanation_is_shown_as_the_first_was(linformer: Exported) -> None:
    with edgexf.load(linformer.bundle.path) as session:
        why = session.explain(b"import os\n\xff", target={"python": 1, "c": -1})
    back = Explanation.from_json(why.to_json())
    assert_same(back, why)
    assert back.to_html() == why.to_html()


def test_the_model_is_named_by_its_manifests_digest(linformer: Exported) -> None:
    manifest = json.loads((linformer.bundle.path / "edgexf.json").read_text())
    with edgexf.load(linformer.bundle.path) as session:
        why = session.explain(b"import os\n")
    assert why.model_sha256 == manifest["digest"]
    assert why.graph_sha256 == manifest["files"]["onnx/explain.onnx"]["sha256"]


@pytest.mark.parametrize("file", sorted(KEPT.glob("*.json")), ids=lambda file: file.name)
def test_what_a_released_version_wrote_is_read_and_written_again(file: Path) -> None:
    text = file.read_text(encoding="utf-8").strip()
    wanted, found = json.loads(text), json.loads(Explanation.from_json(text).to_json())
    if wanted["schema_version"] == 2:  # had no date, machine, true label and batch
        wanted |= {"schema_version": 3, "date": "", "machine": "", "truth": ""}
        wanted["prediction"] = wanted["prediction"] and {**wanted["prediction"], "batch": 1}
    assert found == wanted


def test_a_changed_score_is_another_explanation() -> None:
    first = explanation(b"ab", [1.0, 2.0])
    assert first == explanation(b"ab", [1.0, 2.0])
    assert first != explanation(b"ab", [1.0, np.nextafter(np.float32(2), np.float32(3))])
    assert first != "an explanation"


def test_answers_are_read_as_they_were_written() -> None:
    given_prediction = Prediction("x", "c", 1 / 3, (("c", 1 / 3), ("d", 0.1)), False, 2 / 7, windows=2, batch=5)
    assert Prediction.from_json(given_prediction.to_json()) == given_prediction
    assert set(given_prediction.to_line()) > set(replace(given_prediction, windows=1, batch=1).to_line())
    outputs = {"v": np.array([[1 / 3, -0.0], [3.4028235e38, 1e-45]], dtype=np.float32)}
    features = Features("x", ("a", "b"), ((0, 1), (1, 2)), outputs, True, 1.5, batch=2)
    back = Features.from_json(features.to_json())
    assert back == features
    assert back.outputs["v"].tobytes() == outputs["v"].tobytes()
    for text in ("[]", "{", json.dumps({**given_prediction.to_dict(), "score": "1"}), features.to_json()):
        with pytest.raises(InputError, match="Prediction"):
            Prediction.from_json(text)


def changed(**parts: Any) -> str:
    return json.dumps({**explanation(b"ab").to_dict(), **parts})


def without(name: str) -> str:
    return json.dumps({key: value for key, value in explanation(b"ab").to_dict().items() if key != name})


PREDICTION = explanation(b"ab").to_dict()["prediction"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "JSON"), ("{", "JSON"), ("[" * 100_000, "JSON"), (b"\xff\xfe\xfd", "JSON"),
        ("[]", "schema_version"), ("null", "schema_version"), (changed(schema_version=1), "schema_version"),
        (changed(schema_version=4), "schema_version"), (changed(schema_version="2"), "schema_version"),
        (without("schema_version"), "schema_version"), (without("residual"), "residual"), (without("words"), "words"),
        (changed(extra=1), "extra"), (changed(prediction={**PREDICTION, "extra": 1}), "extra"),
        (changed(prediction=[]), "Prediction"), (changed(prediction={**PREDICTION, "top": [["c"]]}), "2 values"),
        (changed(prediction={**PREDICTION, "label": 1}), "label"), (changed(prediction={**PREDICTION, "windows": True}), "windows"),
        (changed(tokens=["a", "b"]), "offsets"), (changed(tokens=["a", "b", 3]), "str"), (changed(tokens="abc"), "list"),
        (changed(offsets=[[0, 0], [0, 1], [1, 3]]), "lie in data"), (changed(offsets=[[0, 0], [0, 1], [2, 1]]), "lie in data"),
        (changed(offsets=[[0, 0], [0, 1], [1]]), "2 values"), (changed(offsets=[[0, 0], [0, 1], [1, 2.0]]), "int"),
        (changed(scores=[1, 2]), "scores"), (changed(scores=[1, 2, "3"]), "int"), (changed(scores=[1, 2, True]), "True"),
        (changed(scores=[1, 2, 1e39]), "finite"), (changed(scores=[[1], [2], [3]]), "int"), (changed(scores=None), "list"),
        (changed(scores=[1, 2, 10**400]), "other values"), (changed(residual=float("nan")), "NaN"),
        (changed(explained=float("inf")), "Infinity"), (changed(ms="1"), "number"), (changed(target={"c": None}), "number"),
        (changed(target=[]), "target"), (changed(data=1), "data"), (changed(encoding="utf-16"), "encoding"),
        (changed(encoding="base64", data="a"), "other values"), (changed(encoding="base64", data="YWI=\n"), "other values"),
        (changed(data="\ud800"), "other values"), (changed(method=None), "method"), (changed(truncated=0), "truncated"),
        (changed(settings=[]), "settings"), (changed(position=-1), "position"), (changed(position=3), "position"),
        (changed(position=True), "position"), (changed(words={}), "list"),
    ],
)  # fmt: skip
def test_what_was_not_written_is_refused_with_a_sentence(text: str | bytes, word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        Explanation.from_json(text)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_an_explanation_without_finite_scores_is_refused(score: float) -> None:
    with pytest.raises(EdgexfError, match="finite"):
        explanation(b"ab", [0.0, score])


def test_parts_that_do_not_fit_each_other_are_refused() -> None:
    for parts in ({"tokens": ("a",)}, {"offsets": ((0, 9),) * 3}, {"position": 3}, {"scores": np.zeros((3, 1))}):
        with pytest.raises(ValueError, match="must"):
            replace(explanation(b"ab"), **parts)
