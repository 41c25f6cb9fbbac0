"""Every task of text beside the pipeline of transformers, on the same weights.

Question answering, whose pipeline transformers 5 has taken out, is beside the last 4.x release in
tests/benchmarks/tasks.py; here `test_spans` compares with all pairs of ends.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import text_tasks
from small import prompt

import edgexf
from edgexf.cli.app import main
from edgexf.errors import EdgexfError
from edgexf_runtimes.session import Session

Opened = Callable[[str], tuple[Session, Path]]
TEXTS = [
    "Zoë of Käse & Co. met Anna-Maria in 東京 \N{GRINNING FACE}, said the Unbelievablenewspaper.",
    "zero\N{ZERO WIDTH SPACE}width \N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN} and Привет",
    "A short text.",
]
LONG = " ".join(f"Person {number} works for Company {number * 7} in Berlin." for number in range(12))
TOLERANCE = 1e-4  # of a score, as the pipeline computes it in float32 by torch


@pytest.fixture(scope="module")
def opened(
    kept: Callable[[str, Callable[[Path], object]], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Opened]:
    sessions: dict[str, Session] = {}
    folder = tmp_path_factory.mktemp("checkpoints")

    def open_(name: str) -> tuple[Session, Path]:
        if name not in sessions:
            bundle = kept(f"task-{name}", lambda path: text_tasks.export(name, folder, path))
            checkpoint = folder / name
            sessions[name] = edgexf.load(bundle)
            if not checkpoint.is_dir():  # another process made the bundle
                text_tasks.make(name, folder)
        return sessions[name], folder / name

    yield open_
    for session in sessions.values():
        session.close()


def same(ours: Any, theirs: Any) -> bool:
    """Whether two answers have the same shape, names and words, and scores within the tolerance."""
    if isinstance(theirs, dict):
        return (
            isinstance(ours, dict) and set(ours) == set(theirs) and all(same(ours[key], theirs[key]) for key in theirs)
        )
    if isinstance(theirs, list):
        return isinstance(ours, list) and len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, float):
        return abs(ours - float(theirs)) <= TOLERANCE
    return bool(ours == theirs) and type(ours) is type(theirs)


LABELS = {"candidate_labels": ["sports", "politics", "food"]}
CASES: list[tuple[str, str, Any, dict[str, Any]]] = [
    ("labels", "text-classification", TEXTS[0], {}),
    ("labels", "text-classification", TEXTS, {}),
    ("labels", "text-classification", TEXTS[0], {"top_k": 2}),
    ("labels", "text-classification", TEXTS, {"top_k": None, "function_to_apply": "sigmoid"}),
    ("labels", "text-classification", {"text": TEXTS[0], "text_pair": TEXTS[2]}, {}),
    ("labels", "zero-shot-classification", TEXTS[0], LABELS),
    ("labels", "zero-shot-classification", TEXTS, {**LABELS, "multi_label": True, "hypothesis_template": "It is {}"}),
    ("labels", "zero-shot-classification", TEXTS[0], {"candidate_labels": "one"}),
    ("bart", "text-classification", TEXTS, {}),
    ("bart", "zero-shot-classification", TEXTS, {**LABELS, "multi_label": True}),
    *(("entities", "token-classification", TEXTS, {"aggregation_strategy": strategy, "ignore_labels": ignored})
      for strategy in ("none", "simple", "first", "average", "max") for ignored in (["O"], [])),
    ("entities", "token-classification", TEXTS[0], {}),
    ("entities", "token-classification", LONG, {"aggregation_strategy": "simple", "stride": 10}),
    ("words", "fill-mask", "The [MASK] of Paris.", {}),
    ("words", "fill-mask", ["The [MASK] of [MASK]."], {"top_k": 2}),
    ("words", "fill-mask", ["One [MASK].", "Two [MASK]!"], {"targets": ["the", "day"]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "task", "inputs", "options"), CASES)
def test_an_answer_is_that_of_the_pipeline(
    opened: Opened, name: str, task: str, inputs: Any, options: dict[str, Any]
) -> None:
    from transformers import pipeline

    session, checkpoint = opened(name)
    theirs = pipeline(task, model=str(checkpoint))(inputs, **options)
    ours = session.predict(inputs, **options)
    assert same(ours, theirs), (ours, theirs)
    assert json.loads(json.dumps(ours)) == ours


def test_offsets_count_the_code_points_of_the_text_that_was_given(opened: Opened) -> None:
    session, _ = opened("entities")
    for entity in session.predict(TEXTS[0], ignore_labels=[]):
        word = entity["word"].removeprefix("##")
        assert (
            TEXTS[0][entity["start"] : entity["end"]].lower().startswith(word[0])
            or word[0] == "z"
            or not word.isascii()
        )


def test_each_token_of_a_long_text_has_one_label(opened: Opened) -> None:
    session, _ = opened("entities")
    tokens = session.predict(LONG, stride=10, ignore_labels=[])
    places = [token["start"] for token in tokens]
    assert places == sorted(set(places))
    assert [token["index"] for token in tokens] == list(range(1, len(tokens) + 1))
    assert tokens.windows > 1
    first = session.predict(LONG, truncate=True, ignore_labels=[])
    alike = [one["entity"] == other["entity"] for one, other in zip(tokens, first, strict=False)]
    assert all(alike[:40])  # the first window reads these tokens alone


QUESTION = "Where does Person 3 work?"


def test_an_answer_to_a_question_is_a_part_of_its_context(opened: Opened) -> None:
    session, _ = opened("answers")
    found = session.predict(question=QUESTION, context=TEXTS[0], top_k=3)
    assert [set(answer) for answer in found] == [{"score", "start", "end", "answer"}] * 3
    assert all(TEXTS[0][answer["start"] : answer["end"]] == answer["answer"] for answer in found)
    scores = [answer["score"] for answer in found]
    assert scores == sorted(scores, reverse=True)
    best = session.predict(question=QUESTION, context=TEXTS[0])
    assert best == found[0]
    assert session.predict([(QUESTION, TEXTS[0])]) == [best]
    assert session.predict({"question": QUESTION, "context": TEXTS[0]}) == best
    assert session.predict(TEXTS[0], question=QUESTION) == best
    assert session.predict(question=[QUESTION] * 2, context=TEXTS[0]) == [best, best]


def of_no_answer(outputs: dict[str, Any], row: int, context: range) -> float:
    """The probability that an answer starts and ends at the class token, among it and the context's tokens."""
    score = 1.0
    for name in ("start_logits", "end_logits"):
        logits = outputs[name][row].astype(float)[[0, *context]]
        score *= np.exp(logits[0]) / np.exp(logits).sum()
    return score


def test_the_score_of_no_answer_is_the_least_of_the_windows(opened: Opened) -> None:
    session, _ = opened("answers")
    for context, stride in ((TEXTS[0], None), (LONG, 16)):
        rows = session.encode((QUESTION, context), stride=stride)
        outputs = session.run(rows)
        ends = rows["attention_mask"].sum(axis=1) - 1  # of the context, behind which stands a separator
        begin = int(np.flatnonzero(rows["token_type_ids"][0])[0])
        wanted = min(of_no_answer(outputs, row, range(begin, int(end))) for row, end in enumerate(ends))
        found = session.predict(
            question=QUESTION, context=context, stride=stride, top_k=9_999, handle_impossible_answer=True
        )
        assert [one["score"] for one in found if not one["answer"]] == [pytest.approx(wanted, abs=1e-6)]


def test_no_answer_competes_where_it_is_allowed(opened: Opened) -> None:
    session, _ = opened("answers")
    found = session.predict(question=QUESTION, context=TEXTS[0], top_k=100, handle_impossible_answer=True)
    assert {"score", "start", "end", "answer"} == set(found[0])
    assert [(answer["start"], answer["end"]) for answer in found if not answer["answer"]] == [(0, 0)]


def test_an_answer_in_a_long_context_has_its_place_in_the_whole(opened: Opened) -> None:
    session, _ = opened("answers")
    found = session.predict(question=QUESTION, context=LONG, stride=16, top_k=5)
    assert found.windows > 1
    assert all(LONG[answer["start"] : answer["end"]] == answer["answer"] for answer in found)
    with pytest.raises(EdgexfError, match="at most 64 tokens"):
        session.predict(question=QUESTION, context=LONG)
    assert session.predict(question=QUESTION, context=LONG, doc_stride=16, top_k=5) == found  # windows of what it takes


def test_documents_are_ranked_as_a_cross_encoder_ranks_them(opened: Opened) -> None:
    from sentence_transformers import CrossEncoder

    session, checkpoint = opened("score")
    theirs = CrossEncoder(str(checkpoint)).rank("Who is Zoë?", TEXTS, return_documents=True)
    ours = session.rank("Who is Zoë?", TEXTS, return_documents=True)
    assert same(ours, theirs), (ours, theirs)
    assert session.rank("w " * 100, [TEXTS[0]], truncate=True)  # the longer text is cut
    assert session.rank("Who is Zoë?", TEXTS, top_k=1) == [{key: ours[0][key] for key in ("corpus_id", "score")}]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("answers", {"question": "Who?"}, "context must be a text"),
    ("answers", {"question": "", "context": "x"}, "question must hold text"),
    ("answers", {"question": ["a", "b"], "context": ["c"]}, "2 questions and 1 contexts"),
    ("answers", {"inputs": "a text alone"}, "a question and its context, got str"),
    ("answers", {"inputs": {"question": "a"}}, "must hold question and context"),
    ("answers", {"question": "a", "context": "b", "top_k": 0}, "top_k must be a whole number of at least 1"),
    ("answers", {"question": "a", "context": "b", "max_seq_len": 1000}, "at most 64 tokens, got 1000"),
    ("labels", {"inputs": "a", "top_k": "two"}, "top_k must be"),
    ("labels", {"inputs": "a", "function_to_apply": "relu"}, "function_to_apply must be one of"),
    ("labels", {"inputs": "a", "question": "b"}, r"one of its own \(top_k, function_to_apply\), got question"),
    ("labels", {"inputs": {"body": "a"}}, "must hold text"),
    ("labels", {"inputs": "", "candidate_labels": "a"}, "at least one byte"),
    ("labels", {"inputs": "a", "candidate_labels": []}, "candidate_labels must be"),
    ("labels", {"inputs": "a", "candidate_labels": "b", "hypothesis_template": "none"}, "where the label goes"),
    ("labels", {"inputs": "a", "candidate_labels": "b", "hypothesis_template": "{0} {1}"}, "where the label goes"),
    ("labels", {"inputs": "a", "candidate_labels": "b", "hypothesis_template": "{[x]}"}, "where the label goes"),
    ("answers", {"inputs": {"question": "a", "context": None}}, "context must be a text, got NoneType"),
    (
        "score",
        {"inputs": "a", "candidate_labels": "b"},
        "needs a model of entailment, whose labels name it, got relevance",
    ),
    ("labels", {"inputs": "a", "documents": ["b"]}, "needs a model with one score"),
    ("score", {"inputs": "a", "documents": [""]}, "documents must be a list of texts"),
    ("entities", {"inputs": "a", "aggregation_strategy": "best"}, "aggregation_strategy must be one of none, simple"),
    ("entities", {"inputs": ("a", "b")}, "one text at a time"),
    ("words", {"inputs": "no mask here"}, r"must hold a mask token, got none in text; write \[MASK\]"),
    ("words", {"inputs": "[MASK]", "targets": []}, "targets must be"),
]


@pytest.mark.parametrize(("name", "call", "said"), WRONG)
def test_a_wrong_call_is_told_in_one_sentence(opened: Opened, name: str, call: dict[str, Any], said: str) -> None:
    session, _ = opened(name)
    with pytest.raises(EdgexfError, match=said) as error:
        session.predict(**call)
    assert "\n" not in str(error.value)


def test_an_unknown_target_is_read_by_its_first_token_and_said(opened: Opened) -> None:
    session, _ = opened("words")
    with pytest.warns(UserWarning, match="'snowflaking' has no token of its own"):
        found = session.predict("A [MASK].", targets=["snowflaking"])
    assert len(found) == 1


def test_an_entity_and_an_answer_are_explained(opened: Opened) -> None:
    session, _ = opened("entities")
    entities = session.predict(TEXTS[0], aggregation_strategy="simple")
    best = max(entities, key=lambda entity: entity["score"])
    why = session.explain(TEXTS[0])
    start = why.offsets[why.position][0]
    assert TEXTS[0].encode()[start:].startswith(TEXTS[0][best["start"]].encode())
    assert (
        session.explain(TEXTS[0], position="Anna").tokens[session.explain(TEXTS[0], position="Anna").position] == "anna"
    )

    session, _ = opened("answers")
    answer = session.predict(question=QUESTION, context=TEXTS[0], align_to_words=False)
    why = session.explain((QUESTION, TEXTS[0]))
    assert why.prediction.label == answer["answer"]
    assert abs(why.prediction.score - answer["score"]) <= TOLERANCE
    named = session.explain((QUESTION, TEXTS[0]), target="met Anna")
    assert [name.split()[2] for name in named.target] == ["met", "anna"]
    with pytest.raises(EdgexfError, match="part of the text"):
        session.explain((QUESTION, TEXTS[0]), target="nowhere")


def lines(*arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    """The exit code of a command, the JSON lines that it prints, and its errors."""
    found = prompt().invoke(main, list(arguments))
    return found.exit_code, [json.loads(line) for line in found.stdout.splitlines()], found.stderr


def test_the_prompt_answers_questions_records_and_folders(opened: Opened, tmp_path: Path) -> None:
    session, _ = opened("answers")
    bundle = str(session.path)
    (tmp_path / "texts").mkdir()
    for place, text in enumerate(TEXTS):
        (tmp_path / "texts" / f"{place}.txt").write_text(text, encoding="utf-8")
    code, found, _ = lines("run", bundle, str(tmp_path / "texts"), "--question", QUESTION)
    wanted = [session.predict(question=QUESTION, context=text) for text in TEXTS]
    assert code == 0
    assert [Path(line["input"]).name for line in found] == ["0.txt", "1.txt", "2.txt"]
    assert [(line["answer"], line["start"], line["end"]) for line in found] == [
        (answer["answer"], answer["start"], answer["end"]) for answer in wanted
    ]
    records = tmp_path / "asked.jsonl"
    asked = [{"q": QUESTION, "body": TEXTS[0]}, {"q": QUESTION}, {"q": QUESTION, "body": TEXTS[2]}]
    records.write_text("\n".join(map(json.dumps, asked)), encoding="utf-8")
    code, found, said = lines("run", bundle, "--jsonl", str(records), "--text-field", "q", "--pair-field", "body")
    assert code == 1
    assert [line["input"] for line in found] == [f"{records}:1", f"{records}:3"]
    assert [line["answer"] for line in found] == [wanted[0]["answer"], wanted[2]["answer"]]
    assert said.startswith("Error: body must hold text, got no such field in")
    assert said.count("\n") == 1
    session, _ = opened("words")
    (tmp_path / "empty").mkdir()
    code, found, said = lines("run", str(session.path), "--text", "a [MASK]", "--text", "none", str(tmp_path / "empty"))
    assert (code, len(found), said.count("Error: ")) == (1, 1, 2)  # what can be answered is
    code, _, said = lines("run", bundle, "--text", "a text alone")
    assert (code, "needs a question and its context" in said) == (2, True)


def test_the_prompt_explains_an_answer_and_an_entity(opened: Opened, tmp_path: Path) -> None:
    session, _ = opened("answers")
    page = tmp_path / "why.html"
    code, _, _ = lines("explain", str(session.path), "--question", QUESTION, "--text", TEXTS[0], "--html", str(page))
    assert code == 0
    answer = session.predict(question=QUESTION, context=TEXTS[0], align_to_words=False)["answer"]
    assert answer.split()[0] in page.read_text(encoding="utf-8")
    session, _ = opened("entities")
    code, found, _ = lines("explain", str(session.path), "--text", TEXTS[0], "--position", "Anna", "--json")
    assert code == 0
    assert found[0]["tokens"][found[0]["position"]] == "anna"
