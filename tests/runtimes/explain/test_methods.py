"""Explanations at run time: exact Shapley values, forward passes by hand, budgets and time limits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import factorial
from pathlib import Path

import numpy as np
import pytest
from conftest import Exported, Kept
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors

import edgexf
from edgexf.errors import EdgexfError, InputError, MissingExtraError, UsageError
from edgexf_runtimes.explain.coalitions import ValueFunction
from edgexf_runtimes.explain.kernel_shap import KERNEL_SHAP
from edgexf_runtimes.explain.lime import LIME, coalitions
from edgexf_runtimes.explain.methods import METHODS
from edgexf_runtimes.explain.occlusion import OCCLUSION
from edgexf_runtimes.explain.perturbation import Method, Options
from edgexf_runtimes.session import Session

pytestmark = pytest.mark.slow  # exports or runs many models

SOURCE = b"#!/bin/sh\nset -eu\nfor file in *.txt; do\n  echo $file\ndone\n"
PADDING = 256
WORDS = ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]", *(f"w{index}" for index in range(40)))
BATCHED = 1e-5  # relative to the scale: the contract's bound for independence of batch mates

each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
fitting = pytest.mark.parametrize("method", [LIME, KERNEL_SHAP], ids=lambda method: method.name)


@pytest.fixture(scope="module")
def session(linformer: Exported) -> Iterator[Session]:
    with edgexf.load(linformer.bundle.path) as opened:
        yield opened


@pytest.fixture(scope="module")
def texts(kept: Kept) -> Iterator[Session]:
    """Opens a BigBird that reads text, without an explain graph. Padding changes its outputs."""
    with edgexf.load(kept("methods", export_texts)) as opened:
        yield opened


def export_texts(path: Path) -> None:
    from families import small  # both need torch
    from transformers import PreTrainedTokenizerFast

    backend = Backend(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token=WORDS[3]))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.BertProcessing((WORDS[1], 1), (WORDS[0], 0))
    given = {"pad_token": WORDS[2], "unk_token": WORDS[3], "mask_token": WORDS[4]}
    made = PreTrainedTokenizerFast(tokenizer_object=backend, **given)
    edgexf.export(small("BigBird", "ForSequenceClassification"), tokenizer=made, explain=(), output=path)


def game(
    worth: Callable[[np.ndarray], float], features: int, over: Callable[[], bool] = lambda: False
) -> ValueFunction:
    """Makes a game from `worth`. Kept features are ones in its argument, the other features are zeros."""
    ids = np.ones((1, features), dtype=np.int64)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"worth": np.array([worth(row) for row in inputs["input_ids"]])}

    groups = [[place] for place in range(features)]
    whole = worth(ids[0])
    return ValueFunction(
        run, {"input_ids": ids}, groups, 0, lambda outputs: float(outputs["worth"]), whole, over, together=2
    )


def logits(session: Session, rows: Sequence[Sequence[int]]) -> np.ndarray:
    found: np.ndarray = session.run(input_ids=np.array(rows))["logits"].astype(np.float64)
    return found


def shapley(worth: Callable[[tuple[int, ...]], float], players: int) -> np.ndarray:
    """Returns each player's gain, averaged over all orders in which the players join (Shapley 1953)."""
    found = np.zeros(players)
    for player in range(players):
        rest = [other for other in range(players) if other != player]
        for size in range(players):
            chance = factorial(size) * factorial(players - size - 1) / factorial(players)
            for joined in combinations(rest, size):
                found[player] += chance * (worth(tuple(sorted((*joined, player)))) - worth(joined))
    return found


def test_kernel_shap_over_all_coalitions_is_shapleys_value(session: Session) -> None:
    source = b"#!/bin/sh"
    why = session.explain(source, method="kernel-shap", target="shell")
    subsets = [kept for size in range(10) for kept in combinations(range(9), size)]
    rows = [[257, *(byte if place in kept else PADDING for place, byte in enumerate(source))] for kept in subsets]
    shell = session.manifest.labels.index("shell")
    worth = dict(zip(subsets, logits(session, rows)[:, shell], strict=True))
    wanted = shapley(worth.__getitem__, 9)
    assert np.abs(why.scores[1:] - wanted).max() <= 1e-5 * np.abs(wanted).max()  # the required bound
    assert why.residual == pytest.approx(worth[()], rel=1e-5)
    assert why.settings["exact"] is True
    assert why.settings["rows"] == 2**9


@pytest.mark.parametrize("features", [1, 2, 3, 9, 60])
def test_kernel_shap_gives_a_linear_models_weights(features: int) -> None:
    """Tests both cases: all coalitions run, or a random sample of them."""
    weights = np.random.default_rng(features).normal(size=features)
    found = KERNEL_SHAP.attribute(game(lambda row: float(3 + weights @ row), features), 600, Options())
    assert np.abs(found.scores - weights).max() <= 1e-6 * np.abs(weights).max()  # the required bound
    assert found.settings == {"exact": features < 10, "r_squared": 1.0}


def test_drawn_pairs_give_shapleys_value_where_only_two_at_a_time_interact() -> None:
    """The difference between a coalition and its complement is then linear.

    Pairs therefore leave no random error. Without pairs the error would be large.
    """
    chance = np.random.default_rng(0)
    alone, together = chance.normal(size=40), np.triu(chance.normal(size=(40, 40)), 1)
    found = KERNEL_SHAP.attribute(game(lambda row: float(alone @ row + row @ together @ row), 40), 400, Options())
    wanted = alone + (together + together.T).sum(axis=1) / 2
    assert np.abs(found.scores - wanted).max() <= 1e-9 * np.abs(wanted).max()  # rounding of float64
    assert 0 < found.settings["r_squared"] < 1


def test_drawn_coalitions_have_the_sizes_of_shapleys_kernel() -> None:
    seen: list[int] = []
    KERNEL_SHAP.attribute(game(lambda row: seen.append(int(row.sum())) or 0.0, 50), 4_000, Options())
    sizes = np.arange(1, 50)
    kernel = 1 / (sizes * (50 - sizes))
    inner = sizes[2:-2]  # the outermost sizes have too few different coalitions
    counts = np.array([seen.count(size) for size in inner])
    wanted = kernel[2:-2] / kernel[2:-2].sum()
    spread = np.sqrt(2 * wanted * (1 - wanted) / counts.sum())  # binomial, for a share of pairs
    assert (np.abs(counts / counts.sum() - wanted) <= 5 * spread).all()


def test_lime_is_the_ridge_of_its_coalitions_weighed_by_cosine_distance() -> None:
    """A coalition that is drawn twice runs once and has twice the weight."""
    runs: list[int] = []

    def worth(row: np.ndarray) -> float:
        runs.append(1)
        return float(row[0] * row[1] + 2 * row[2] - row[3:].mean())

    found = LIME.attribute(game(worth, 40), 300, Options(seed=5))
    kept = np.concatenate((np.ones((1, 40)), coalitions(40, 300, np.random.default_rng(5))))
    assert len(runs) == 1 + len({row.tobytes() for row in kept[1:]}) < len(kept)
    values = np.array([worth(row) for row in kept])
    cosine = kept.sum(axis=1) / np.sqrt(np.maximum(kept.sum(axis=1), 1) * 40)
    weights = np.exp(-((1 - cosine) ** 2) / (2 * 0.25**2))
    centred = kept - np.average(kept, axis=0, weights=weights)
    gram = centred.T @ (weights[:, None] * centred) + np.eye(40)
    wanted = np.linalg.solve(gram, centred.T @ (weights * (values - np.average(values, weights=weights))))
    assert np.abs(found.scores - wanted).max() <= 1e-9 * np.abs(wanted).max()  # rounding of float64
    assert set(np.argsort(-found.scores)[:3]) == {0, 1, 2}
    assert 0 < found.settings["r_squared"] < 1


@fitting
def test_a_seed_decides_the_scores(session: Session, method: Method) -> None:
    one, same, other = (session.explain(SOURCE, method=method.name, budget=400, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one.scores, same.scores)
    assert not np.array_equal(one.scores, other.scores)
    assert [why.settings["seed"] for why in (one, same, other)] == [3, 3, 4]


@each_method
def test_how_many_rows_run_together_changes_no_score(session: Session, method: Method) -> None:
    ids = np.array([[257, *SOURCE]])
    groups = [[place] for place in range(1, ids.shape[1])]
    whole = float(logits(session, ids)[0, 4])

    def scores(together: int | None) -> np.ndarray:
        played = ValueFunction(
            session.run, {"input_ids": ids}, groups, PADDING, lambda found: float(found["logits"][4]), whole,
            together=together,
        )  # fmt: skip
        return method.attribute(played, 280, Options()).scores

    together, *others = scores(None), scores(1), scores(7)
    for other in others:
        assert np.abs(other - together).max() <= BATCHED * np.abs(together).max()


def test_occlusion_of_a_span_is_the_difference_of_two_forward_passes(session: Session) -> None:
    why = session.explain(SOURCE, method="occlusion", span=4, target={"shell": 1.0, "c": -0.5})
    whole = [257, *SOURCE]
    without = [*whole[:9], *[PADDING] * 4, *whole[13:]]
    shell, c = (session.manifest.labels.index(label) for label in ("shell", "c"))
    values = logits(session, [whole, without])
    explained = values[:, shell] - 0.5 * values[:, c]
    assert why.explained == pytest.approx(explained[0], rel=BATCHED)
    scale = np.abs(values).max()
    assert abs(float(why.scores[9:13].sum()) - (explained[0] - explained[1])) <= BATCHED * scale
    assert len(set(why.scores[9:13].tolist())) == 1  # the tokens of a span share its score
    assert why.settings["span"] == 4
    assert why.settings["rows"] == 1 + why.settings["features"] == 1 + -(-len(SOURCE) // 4)


@each_method
def test_scores_and_residual_add_up_and_special_tokens_have_none(texts: Session, method: Method) -> None:
    why = texts.explain(("w1 w2 w3 w4", "w5 w6"), method=method.name)
    assert why.tokens == ("[CLS]", "w1", "w2", "w3", "w4", "[SEP]", "w5", "w6", "[SEP]")
    special = np.array([token.startswith("[") for token in why.tokens])
    assert not why.scores[special].any()
    assert why.scores[~special].all()
    value = logits(texts, [[0, 6, 7, 8, 9, 1, 10, 11, 1]])[0].max()
    assert why.explained == pytest.approx(value, rel=BATCHED)
    assert why.explained == pytest.approx(float(why.scores.sum(dtype=float)) + why.residual, abs=1e-6)
    assert why.baseline == "[MASK] (id 4)"
    assert why.method == method.name
    assert why.graph_sha256 == texts.manifest.files["onnx/model.onnx"]["sha256"]


def test_a_run_time_method_explains_the_number_that_the_explain_graph_explains(session: Session) -> None:
    target = {"c": 1.0, "python": -1.0}
    compiled = session.explain(SOURCE, target=target)
    found = session.explain(SOURCE, target=target, method="occlusion")
    assert found.explained == pytest.approx(compiled.explained, rel=BATCHED)
    assert found.target == compiled.target
    assert found.prediction.label == compiled.prediction.label
    assert (compiled.baseline, compiled.settings) == ("", {})


@pytest.fixture
def rows_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Session], list[dict[str, np.ndarray]]]:
    """Returns a function that records the inputs of each run of a session."""

    def watch(session: Session) -> list[dict[str, np.ndarray]]:
        seen: list[dict[str, np.ndarray]] = []
        run = session.run

        def watched(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            seen.append(inputs)
            return run(inputs)

        monkeypatch.setattr(session, "run", watched)
        return seen

    return watch


@each_method
@pytest.mark.parametrize("budget", [8, 45, 300])
def test_a_budget_is_kept_by_wider_features(
    session: Session, method: Method, budget: int, rows_of: Callable[[Session], list[dict[str, np.ndarray]]]
) -> None:
    seen = rows_of(session)
    told: list[tuple[int, int]] = []
    why = session.explain(SOURCE, method=method.name, budget=budget, progress=lambda *done: told.append(done))
    rows = sum(len(inputs["input_ids"]) for inputs in seen)
    assert rows == why.settings["rows"] <= budget == why.settings["budget"]
    assert why.settings["features"] == -(-len(SOURCE) // why.settings["span"])
    assert why.settings["features"] == 1 or why.settings["features"] * method.rows_per_feature < budget
    assert told[-1] == (rows - 1, rows - 1)
    assert why.settings["complete"] is True


@each_method
def test_rows_of_a_model_that_padding_changes_are_as_long_as_the_input(
    texts: Session, method: Method, rows_of: Callable[[Session], list[dict[str, np.ndarray]]]
) -> None:
    assert texts.manifest.limits.padding.startswith("to_multiple")
    seen = rows_of(texts)
    text = " ".join(f"w{index}" for index in range(30))
    why = texts.explain(text, method=method.name, budget=130)
    assert len(why.tokens) == 32
    assert {inputs["input_ids"].shape[1] for inputs in seen} == {32}
    assert all(inputs["attention_mask"].all() for inputs in seen)
    first = np.concatenate([inputs["input_ids"] for inputs in seen])[:, [0, -1]]
    assert (first == [0, 1]).all()


@each_method
def test_a_time_limit_returns_what_was_found_and_says_so(method: Method) -> None:
    weights = np.linspace(1, 2, 40)
    asked: list[int] = []

    def over() -> bool:
        asked.append(1)
        return len(asked) > 60  # 60 runs of two rows

    found = method.attribute(game(lambda row: float(weights @ row), 40, over), 400, Options())
    whole = method.attribute(game(lambda row: float(weights @ row), 40), 400, Options())
    assert whole.complete
    if method is OCCLUSION:
        assert found.complete  # 20 runs are enough
        asked[:] = [1] * 50
        found = method.attribute(game(lambda row: float(weights @ row), 40, over), 400, Options())
        assert found.settings["reached"] == np.count_nonzero(found.scores) == 20
        assert np.allclose(found.scores[found.scores != 0], weights[found.scores != 0])
        assert found.scores[:20].any()
        assert found.scores[20:].any()
    if method is KERNEL_SHAP:
        assert np.abs(found.scores - weights).max() <= 1e-6
    assert not found.complete
    asked[:] = [1] * 60
    with pytest.raises(EdgexfError, match="time limit"):
        method.attribute(game(lambda row: float(weights @ row), 40, over), 400, Options())


@fitting
def test_too_few_rows_for_a_fit_are_no_answer(method: Method) -> None:
    asked: list[int] = []

    def over() -> bool:
        asked.append(1)
        return len(asked) > 19

    with pytest.raises(EdgexfError, match="40 features"):
        method.attribute(game(lambda row: float(row.sum()), 40, over), 400, Options())


def test_a_time_limit_is_of_the_whole_call(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, run = [0], session.run
    monkeypatch.setattr(session, "run", lambda inputs: runs.append(0) or run(inputs))
    monkeypatch.setattr("time.perf_counter", lambda: float(len(runs)))  # one second for every run
    for method in METHODS:
        with pytest.raises(EdgexfError, match="time limit"):
            session.explain(SOURCE, method=method.name, time_limit=0.9)
    assert session.explain(SOURCE[:9], method="occlusion", time_limit=1e6).settings["complete"] is True


def test_a_baseline_is_chosen_by_text_or_id_and_named(session: Session, texts: Session) -> None:
    default = session.explain(SOURCE[:9], method="occlusion")
    assert default.baseline == "[padding] (id 256)"
    for given, named in (
        ("/", "/ (id 47)"),
        (47, "/ (id 47)"),
        ("47", "/ (id 47)"),
        (" ", "' ' (id 32)"),
        ("\\x00", "\\x00 (id 0)"),
    ):
        assert session.explain(SOURCE[:9], method="occlusion", baseline=given).baseline == named
    slashes = session.explain(SOURCE[:9], method="occlusion", baseline="/").scores
    assert [place for place, score in enumerate(slashes) if score == 0] == [0, 3, 7]  # the baseline equals these tokens
    assert texts.explain("w1 w2", method="occlusion", baseline="w7").baseline == "w7 (id 12)"
    assert texts.explain("w1 w2", method="occlusion", baseline=2).baseline == "[PAD] (id 2)"
    for opened, wrong in ((session, "ab"), (session, 258), (session, -1), (texts, "w99"), (texts, 50), (texts, True)):
        with pytest.raises(UsageError, match="baseline must be"):
            opened.explain("w1 w2", method="occlusion", baseline=wrong)


def test_options_that_a_method_lacks_or_that_are_out_of_range_are_named(session: Session) -> None:
    for method, options, word in (
        ("occlusion", {"seed": 1}, "got seed"),
        ("lime", {"span": 2}, "got span"),
        ("kernel-shap", {"span": 2, "seed": 1}, "got span"),
        (None, {"budget": 100, "baseline": "a"}, "got budget, baseline"),
        ("lime", {"budget": 7}, "budget must be"),
        ("lime", {"seed": -1}, "seed must be"),
        ("lime", {"seed": 0.5}, "seed must be"),
        ("occlusion", {"span": 0}, "span must be"),
        ("occlusion", {"time_limit": 0}, "time_limit must be"),
        ("occlusion", {"time_limit": float("nan")}, "time_limit must be"),
    ):
        with pytest.raises(UsageError, match=word):
            session.explain(SOURCE, method=method, **options)  # type: ignore[arg-type]


def test_a_bundle_without_an_explain_graph_names_what_needs_none(texts: Session) -> None:
    with pytest.raises(UsageError, match="occlusion, lime, kernel-shap"):
        texts.explain("w1 w2")
    with pytest.raises(UsageError, match="cobol"):
        texts.explain("w1 w2", method="lime", target="cobol")


def test_an_input_of_special_tokens_alone_has_nothing_to_leave_out(texts: Session) -> None:
    with pytest.raises(InputError, match="special ones alone"):
        texts.explain(" ", method="occlusion")


@each_method
def test_a_value_that_is_no_number_is_no_score(method: Method) -> None:
    with pytest.raises(EdgexfError, match="finite"):
        method.attribute(game(lambda row: float("nan") if not row[3] else 1.0, 8), 400, Options())


def test_a_model_without_classes_is_refused(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "manifest", replace(session.manifest, labels=()))
    monkeypatch.delitem(session.__dict__, "head", raising=False)  # it was made from the manifest
    with pytest.raises(UsageError, match="logits or vectors"):
        session.explain(SOURCE, method="occlusion")


def test_lime_alone_needs_the_extra(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    for method in ("occlusion", "kernel-shap"):
        assert session.explain(SOURCE[:5], method=method).settings["complete"] is True
    with pytest.raises(MissingExtraError, match=r"edgexf\[explain\]"):
        session.explain(SOURCE[:5], method="lime")


def test_one_token_bears_the_whole_difference(session: Session) -> None:
    for method in METHODS:
        why = session.explain(b"{", method=method.name, target="json")
        values = logits(session, [[257, 123], [257, PADDING]])[:, session.manifest.labels.index("json")]
        wanted = values[0] - values[1]
        if method is not LIME:  # the penalty of LIME shrinks the score
            assert float(why.scores[1]) == pytest.approx(wanted, rel=1e-4)
        assert np.sign(why.scores[1]) == np.sign(wanted)
        assert why.settings["features"] == 1
