"""Embeddings of an exported checkpoint: the library's vectors without torch, and why two texts are alike."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentences
import torch
from small import DATA, prompt

import edgexf
from edgexf import names
from edgexf.bundle.embedding import Embedding
from edgexf.cli import main
from edgexf.errors import BundleError, InputError, UsageError
from edgexf.report.similarity import Similarity
from edgexf_runtimes.embeddings import embedding

pytestmark = pytest.mark.slow  # exports or runs many models

TOLERANCE = 1e-5  # of vectors of length 1 in float32
TEXTS = list(sentences.TEXTS)
LONG = "the cat sat on a mat " * 9
DIM = 16


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    torch.manual_seed(0)
    settings = {"prompts": sentences.PROMPTS, "default_prompt_name": "query", "include_prompt": False}
    folder = tmp_path_factory.mktemp("embedding") / "model"
    return sentences.save(folder, ("mean", "max"), [Dense(64, DIM), Normalize()], **settings)


@pytest.fixture(scope="module")
def library(checkpoint: Path) -> Any:
    return sentences.library(checkpoint)


@pytest.fixture(scope="module")
def bundle(checkpoint: Path) -> Path:
    return edgexf.export(str(checkpoint), output=checkpoint.with_name("out"), explain=("attnlrp",)).path


@pytest.fixture(scope="module")
def session(bundle: Path) -> Any:
    with edgexf.load(bundle) as opened:
        yield opened


def apart(one: Any, other: Any) -> float:
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())


def test_the_outputs_have_the_names_that_other_readers_look_for(session: Any) -> None:
    outputs = {output.name: output.shape for output in session.manifest.variants[0].outputs}
    assert outputs == {"last_hidden_state": (names.BATCH, names.SEQUENCE, 32), "sentence_embedding": (names.BATCH, DIM)}
    assert [tensor.name for tensor in session.manifest.variants[0].inputs] == [
        "input_ids", "attention_mask", "token_type_ids",
    ]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"prompt_name": "passage"}, {"prompt": ""}, {"prompt": "me and it "}], ids=str)
def test_embeddings_are_those_of_the_library(session: Any, library: Any, options: dict[str, str]) -> None:
    assert apart(session.embed(TEXTS, **options), library.encode(TEXTS, **options)) <= TOLERANCE


def test_a_single_text_has_a_vector_and_a_list_has_rows(session: Any, library: Any) -> None:
    one = session.embed(TEXTS[0])
    assert (one.shape, one.dtype, session.embed([]).shape) == ((DIM,), np.float32, (0, DIM))
    assert apart(one, library.encode(TEXTS[0])) <= TOLERANCE
    assert apart(one, session.embed(TEXTS)[0]) <= TOLERANCE  # whatever runs beside it, and however it is padded


def test_what_other_readers_feed_is_a_text_without_a_prompt(session: Any, library: Any) -> None:
    ids = np.array([library.tokenizer(TEXTS[0])["input_ids"]])
    found = session.run(input_ids=ids)[names.SENTENCE_EMBEDDING][0]
    assert apart(found, library.encode(TEXTS[0], prompt="")) <= TOLERANCE


def test_a_long_text_is_an_error_or_its_beginning(session: Any, library: Any) -> None:
    with pytest.raises(InputError, match="24 tokens"):
        session.embed(LONG)
    assert apart(session.embed(LONG, truncate=True), library.encode(LONG)) <= TOLERANCE
    whole = "find me " * 20  # a prompt longer than the limit leaves no token to pool but the separator
    asked = session.embed("it", prompt=whole, truncate=True, normalize=False)
    wanted = library.encode("it", prompt=whole)
    assert np.isfinite(asked).all() == np.isfinite(wanted).all()


def test_a_long_text_in_windows_has_the_mean_of_their_embeddings(session: Any, library: Any) -> None:
    found = session.embed([LONG, TEXTS[0]], stride=4)
    rows = session.encode(LONG, stride=4)
    mask = np.minimum(rows["attention_mask"], 1)
    mask[0, : len(library.tokenizer(sentences.PROMPTS["query"])["input_ids"]) - 1] = (
        2  # the prompt is in one window alone
    )
    assert (rows["attention_mask"] == mask).all()
    vectors, tokens = session.run(rows)[names.SENTENCE_EMBEDDING], (rows["attention_mask"] > 0).sum(axis=1)
    mean = (vectors * tokens[:, None]).sum(axis=0) / tokens.sum()
    assert len(tokens) > 1
    assert apart(found[0], mean / np.linalg.norm(mean)) <= TOLERANCE
    assert apart(found[1], session.embed(TEXTS[0])) <= TOLERANCE
    (answer,) = session.predict([LONG], stride=4)
    assert apart(answer.outputs[names.SENTENCE_EMBEDDING], found[0]) <= TOLERANCE
    assert set(answer.to_line()) >= {"input", names.SENTENCE_EMBEDDING, "truncated", "ms"}


def test_fewer_dimensions_are_the_librarys_and_have_the_length_1_again(session: Any, library: Any) -> None:
    cut = session.embed(TEXTS, dimensions=6)
    assert apart(np.linalg.norm(cut, axis=1), 1) <= TOLERANCE
    assert apart(cut, library.encode(TEXTS, truncate_dim=6, normalize_embeddings=True)) <= TOLERANCE
    assert (
        apart(session.embed(TEXTS, dimensions=6, normalize=False), library.encode(TEXTS, truncate_dim=6)) <= TOLERANCE
    )


@pytest.mark.parametrize("name", embedding.MEASURES)
def test_a_similarity_is_the_librarys(name: str, session: Any, library: Any) -> None:
    vectors = session.embed(TEXTS)
    library.similarity_fn_name = name
    found = embedding.similarity(Embedding({}, similarity=name), vectors, vectors[:2])
    assert apart(found, library.similarity(vectors, vectors[:2]).numpy()) <= TOLERANCE
    assert session.similarity(vectors[0], vectors).shape == (1, len(TEXTS))


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"prompt_name": "question"}, "document, passage, query"),
        ({"prompt_name": "query", "prompt": "x"}, "leave one out"),
        ({"prompt": 3}, "got int"),
        ({"dimensions": 0}, "got 0"),
        ({"dimensions": DIM + 1}, "1 to 16"),
        ({"normalize": "yes"}, "normalize"),
    ],
    ids=str,
)
def test_a_wrong_option_is_an_error_in_one_sentence(session: Any, options: dict[str, Any], got: str) -> None:
    with pytest.raises(UsageError, match=got):
        session.embed("it", **options)


def test_vectors_of_other_sizes_are_not_compared(session: Any) -> None:
    with pytest.raises(UsageError, match="embed both alike"):
        session.similarity(np.zeros((2, 3)), np.zeros((2, 4)))


@pytest.mark.parametrize("mask", [[[1, 1, 2, 2]], [[2, 3, 1, 1]], [[2, 0, 1, 1]]])
def test_a_mask_may_mark_a_prompt_and_nothing_else(session: Any, mask: list[list[int]]) -> None:
    ids = np.array([[2, 5, 6, 3]])
    if mask == [[1, 1, 2, 2]]:
        assert session.run(input_ids=ids, attention_mask=mask)[names.SENTENCE_EMBEDDING].shape == (1, DIM)
    else:
        with pytest.raises(InputError, match="attention_mask"):
            session.run(input_ids=ids, attention_mask=mask)


def test_a_bundle_without_an_embedding_says_how_to_get_one() -> None:
    with edgexf.load(DATA / "bundles" / "v1" / "features", verify="never") as opened:
        with pytest.raises(UsageError, match="without; export a folder that sentence-transformers saved"):
            opened.embed("it")
        with pytest.raises(InputError, match="attention_mask"):
            opened.run(input_ids=[[2, 5, 3]], attention_mask=[[2, 1, 1]])


def test_a_similarity_is_explained_from_both_sides(session: Any) -> None:
    first, second = session.explain_similarity(TEXTS[0], TEXTS[1], prompt_names=("query", "passage"))
    cosine = float(session.embed(TEXTS[0]) @ session.embed(TEXTS[1], prompt_name="passage"))
    for one, text, other in ((first, TEXTS[0], TEXTS[1]), (second, TEXTS[1], TEXTS[0])):
        assert abs(one.explained - cosine) <= TOLERANCE
        assert one.data.decode().endswith(text)
        assert next(iter(one.target)).endswith(other)
        assert np.count_nonzero(one.scores) == len(one.tokens)  # a prompt is not pooled, but it is read
    assert first.tokens[1:3] == ("query", ":")
    assert second.tokens[1:5] == ("passage", ":", "find", "me")


def test_a_text_as_the_target_stands_behind_the_default_prompt(session: Any) -> None:
    why = session.explain(TEXTS[0], TEXTS[1])
    assert abs(why.explained - float(session.embed(TEXTS[0]) @ session.embed(TEXTS[1]))) <= TOLERANCE
    itself = session.explain(TEXTS[0])
    assert abs(itself.explained - 1) <= TOLERANCE
    assert np.abs(itself.scores).max() > 1e-3  # the length is a constant, or nothing would be explained
    outside = session.explain(TEXTS[0], TEXTS[1], "occlusion")
    assert abs(outside.explained - why.explained) <= TOLERANCE


def test_both_sides_are_shown_by_the_command_line(bundle: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    asked = ["explain", str(bundle), "--text", TEXTS[0], "--similar-to", TEXTS[1]]
    shown = prompt().invoke(main, [*asked, "--html", str(page), "--json"])
    assert shown.exit_code == 0, shown.output
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert len({round(line["explained"], 4) for line in lines}) == 1
    written = page.read_text(encoding="utf-8")
    assert all(side in written for side in ("first text", "second text", "cosine"))
    seen = prompt().invoke(main, [*asked, "--prompts", "query", "passage"])
    assert all(side in seen.stdout for side in ("cosine", "first text", "second text"))
    for wrong in (["--target", "x"], ["--label", "x"], ["--position", "1"]):
        assert prompt().invoke(main, [*asked, *wrong]).exit_code == 2
    assert prompt().invoke(main, ["explain", str(bundle), "--text", "it", "--prompts", "query", "query"]).exit_code == 2


def test_a_similarity_holds_explanations_of_both_texts(session: Any) -> None:
    with pytest.raises(UsageError, match="explain both"):
        Similarity((session.explain(TEXTS[0]),))


def test_embeddings_need_numpy_onnxruntime_and_tokenizers_alone(bundle: Path) -> None:
    code = (
        "import sys, edgexf\n"
        f"with edgexf.load({str(bundle)!r}) as session: session.embed(['the cat']); print(sorted(set(sys.modules) & "
        "{'torch', 'transformers', 'sentence_transformers', 'onnx', 'PIL'}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    "change",
    [
        {"prompts": {"query": 3}},
        {"default_prompt": "unknown"},
        {"include_prompt": 1},
        {"dimensions": -1},
        {"similarity": "maxsim"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_manifest_with_a_wrong_record_is_refused(session: Any, change: dict[str, Any]) -> None:
    values = json.loads(json.dumps(session.manifest.to_dict()))
    assert type(session.manifest).from_dict(values) == session.manifest
    with pytest.raises(BundleError):
        type(session.manifest).from_dict({**values, "embedding": {**values["embedding"], **change}})
