"""Answers that are no finite numbers: refused with their row, or flagged."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from small import DATA

import edgexf
from edgexf.bundle import Bundle
from edgexf.errors import EdgexfError
from edgexf.report.prediction import Features, Prediction
from edgexf_runtimes.calls.runs import Run
from edgexf_runtimes.device import providers
from edgexf_runtimes.finite import is_finite, refuses

BUNDLE = DATA / "bundles" / "v1" / "linformer"
IDS = np.array([[0, 5, 6, 7], [0, 8, 9, 7]])


class Broken:
    """A graph whose answer to the last row is no finite number."""

    value = np.nan

    def get_outputs(self) -> list[Any]:
        return [type("Output", (), {"name": "logits"})()]

    def run(self, _: Any, feeds: dict[str, Any], __: Any) -> list[Any]:
        logits = np.zeros((len(feeds["input_ids"]), 3), dtype=np.float32)
        logits[-1, 1] = self.value
        return [logits]


@pytest.fixture(params=[np.nan, np.inf, -np.inf])
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(Broken, "value", request.param)
    monkeypatch.setattr(providers, "create", lambda *_, **__: Broken())
    value: float = request.param
    return value


@pytest.mark.parametrize("choice", ["auto", "raise"])
def test_an_answer_that_is_no_finite_number_is_refused_with_its_row(broken: float, choice: str) -> None:
    runs: list[Run] = []
    with edgexf.load(BUNDLE, dtype="fp32", nan=choice, on_run=runs.append) as session:
        with pytest.raises(EdgexfError, match=f"finite numbers, got {broken} in row 1 of logits"):
            session.run(input_ids=IDS)
        with pytest.raises(EdgexfError, match="finite numbers"):
            session.predict("text")
    assert [run.finite for run in runs] == [False, False]
    assert "got" in runs[0].error


@pytest.mark.usefixtures("broken")
def test_a_flagged_answer_passes_and_says_so() -> None:
    runs: list[Run] = []
    with edgexf.load(BUNDLE, dtype="fp32", nan="flag", on_run=runs.append) as session:
        found = session.run(input_ids=IDS)["logits"]
        (answer,) = session.predict("text")
    assert [run.finite for run in runs] == [False, False]
    assert [run.error for run in runs] == ["", ""]
    assert np.isfinite(found[0]).all()
    assert not np.isfinite(found[1]).all()
    assert not answer.finite
    assert json.loads(json.dumps(answer.to_line(), allow_nan=False))["finite"] is False
    assert not Prediction.from_json(answer.to_json()).finite


@pytest.mark.usefixtures("broken")
def test_the_answer_of_a_task_says_so_too() -> None:
    with edgexf.load(BUNDLE, dtype="fp32", nan="flag") as session:
        assert not session.predict("text", top_k=2).finite


def test_a_finite_answer_of_a_task_is_not_flagged() -> None:
    for choice in ("raise", "flag"):
        with edgexf.load(BUNDLE, dtype="fp32", nan=choice) as session:
            assert session.predict("text", top_k=2).finite


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_json_of_outputs_has_null_for_what_is_no_finite_number(value: float) -> None:
    """Python's own NaN is no JSON, and other readers stop at it."""
    outputs = {"v": np.array([[1 / 3, value], [1e-45, 2]], dtype=np.float32), "one": np.float32(value)}
    given = Features("x", ("a", "b"), ((0, 1), (1, 2)), outputs, False, 1.5)  # type: ignore[arg-type]
    wanted = {"v": [[1 / 3, None], [1e-45, 2]], "one": None}
    line = json.loads(json.dumps(given.to_line(), allow_nan=False))["outputs"]
    assert line["v"][0] == [0.3333333, None]
    assert line["one"] is None
    back = Features.from_json(given.to_json())
    assert np.array_equal(back.outputs["v"], np.array(wanted["v"], dtype=np.float32), equal_nan=True)
    assert back == given


def test_a_finite_answer_is_not_flagged() -> None:
    runs: list[Run] = []
    with edgexf.load(BUNDLE, on_run=runs.append) as session:
        (answer,) = session.predict("text")
    assert [run.finite for run in runs] == [True]
    assert answer.finite
    assert "finite" not in answer.to_dict()
    assert Prediction.from_json(answer.to_json()) == answer


def test_a_model_that_was_verified_without_answers_to_some_rows_may_have_none() -> None:
    manifest = Bundle(BUNDLE, edgexf.load(BUNDLE).manifest).manifest
    assert refuses("auto", manifest)
    manifest.grid["undefined"] = "where the model itself answers no finite number, nothing is compared"
    assert not refuses("auto", manifest)
    assert refuses("raise", manifest)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.0])
def test_one_value_among_many_is_found(dtype: Any, value: float) -> None:
    for place in (0, 1, 63, 2999):
        array = np.linspace(-9, 9, 3000, dtype=dtype).reshape(3, 10, 100)
        array.reshape(-1)[place] = value
        assert is_finite(array) == np.isfinite(value)
    assert is_finite(np.zeros((0, 3), dtype=dtype))
