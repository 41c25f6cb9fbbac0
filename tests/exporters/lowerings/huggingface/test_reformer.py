"""Hugging Face's Reformer: the lowering against the library and the paper, and its heads from folder to output."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from families import TOLERANCE, autograd, check, inputs, small
from torch import Tensor, nn

import edgexf
from edgexf.bundle.folder import Bundle
from edgexf.cli import main
from edgexf.errors import ExportError, InputError, VerificationError
from edgexf_exporters.hooks import frozen
from edgexf_exporters.lowerings.huggingface import reformer, reformer_rotations
from edgexf_exporters.lowerings.huggingface.reformer import HashedAttention, Ring
from edgexf_exporters.lowerings.huggingface.reformer_rotations import as_exported, rotations
from edgexf_exporters.sources.checkpoint import from_model
from edgexf_exporters.verify.contract import check_contract
from edgexf_exporters.verify.differences.ties import TIE, Choices
from edgexf_exporters.verify.eager import eager
from edgexf_exporters.verify.float64 import worst_difference
from edgexf_exporters.verify.grid import Cell

pytestmark = pytest.mark.slow  # exports or runs many models

EXACT = 1e-12  # float64 sums in another order, relative to the largest; measured: 1e-15
LENGTHS = (2, 8, 9, 16, 17, 77, 160)  # lengths around the chunks of 8 and 16, and the longest length

SHORTER = {"local_attn_chunk_length": 16, "lsh_attn_chunk_length": 8, "num_buckets": 4}  # the hashed chunks
ROUND = {**SHORTER, "num_hashes": 1, "lsh_num_chunks_before": 2}  # the chunks before wrap around a ring of two chunks


def answer(model: Any, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    """Returns the library's first output with the bundle's rotations, without gradients."""
    with torch.no_grad(), as_exported(model):
        found: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids) if mask is None else mask)[0]
    return found


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"attn_layers": ["local", "local"]},
        {"attn_layers": ["lsh", "local", "lsh"], "num_hashes": 1},
        {"attn_layers": ["lsh", "lsh"], "num_hashes": 4, "num_buckets": [2, 4]},
        {"num_buckets": 6, "hash_seed": 7},
        {"num_buckets": [4]},
        {"num_buckets": 8, "is_decoder": True},
        {"attn_layers": ["lsh"], "is_decoder": True, "num_hashes": 3, "lsh_attn_chunk_length": 8},
        {"attn_layers": ["local"], "is_decoder": True, "local_num_chunks_after": 1},
        {"axial_pos_embds": False},
        {"axial_pos_embds": False, "max_position_embeddings": 150},
        {"axial_pos_shape": [13, 11]},
        {"local_attn_chunk_length": 6, "lsh_attn_chunk_length": 4, "lsh_num_chunks_after": 1},
        {"local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8, "lsh_num_chunks_after": 1, "local_num_chunks_before": 0},
        {"local_attn_chunk_length": 32, "local_num_chunks_before": 3, "local_num_chunks_after": 2},
        {"attn_layers": ["lsh"], "lsh_num_chunks_before": 3, "lsh_num_chunks_after": 2, "num_hashes": 3},
        {"attn_layers": ["lsh"], "lsh_num_chunks_before": 0},
        {"attn_layers": ["local"], "local_attn_chunk_length": 1},
        {"local_num_chunks_before": 2},
        SHORTER,
        ROUND,
        {"local_attn_chunk_length": 96, "lsh_attn_chunk_length": 64, "num_hashes": 1},  # no whole multiple fits
        {"local_attn_chunk_length": 256, "lsh_attn_chunk_length": 256},
    ],
    ids=str,
)  # fmt: skip
def test_the_lowering_is_the_library(sizes: dict[str, Any]) -> None:
    assert worst_difference(from_model(small("Reformer", "Model", 2, **sizes))) <= EXACT


def seen_by_the_paper(chunk: int, places: list[int], at: int) -> list[int]:
    """Returns the tokens in the same chunk and in the chunk before it. All sorted rounds form one ring of chunks."""
    own = at // chunk
    before = (own - 1) % (len(places) // chunk)
    return places[before * chunk : (before + 1) * chunk] + places[own * chunk : (own + 1) * chunk]


def hashed_by_the_paper(own: Any, drawn: np.ndarray[Any, Any], hidden: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Returns hashed attention [sequence, heads * head_width] of hidden [sequence, width], token by token.

    Kitaev et al. 2020, section 2.
    """
    rounds, width, length = own.num_hashes, own.attention_head_size, len(hidden)
    query, value = (hidden @ project.weight.numpy().T for project in (own.query_key, own.value))
    found = np.zeros_like(query)
    for head in range(own.num_attention_heads):
        columns = slice(head * width, (head + 1) * width)
        vectors, values = query[:, columns], value[:, columns]
        places: list[int] = []
        for turn in range(rounds):
            rotated = vectors @ drawn[head, :, turn]
            bucket = np.concatenate([rotated, -rotated], axis=-1).argmax(-1)
            places += sorted(range(length), key=lambda token: (bucket[token], token))
        parts: list[list[tuple[float, np.ndarray[Any, Any]]]] = [[] for _ in range(length)]
        for at, token in enumerate(places):
            keys = seen_by_the_paper(own.chunk_length, places, at)
            lengths = np.sqrt(np.square(vectors[keys]).mean(-1, keepdims=True) + 1e-6)
            scores = (vectors[keys] / lengths) @ vectors[token] / math.sqrt(width)
            scores[[key == token for key in keys]] = -1e5
            weights = np.exp(scores - scores.max())
            parts[token].append((scores.max() + np.log(weights.sum()), weights @ values[keys] / weights.sum()))
        for token, rows in enumerate(parts):
            share = np.exp([normaliser for normaliser, _ in rows] - np.logaddexp.reduce([row[0] for row in rows]))
            found[token, columns] = sum(one * mixed for one, (_, mixed) in zip(share, rows, strict=True))
    return found


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_hashed_layer_is_the_papers(rounds: int) -> None:
    model = small("Reformer", "Model", num_hashes=rounds, num_buckets=4).double().requires_grad_(False)
    own = model.encoder.layers[0].attention.self_attention
    hidden = torch.randn(48, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = HashedAttention(own)(hidden[None], torch.ones(1, 48, dtype=torch.bool))[0].numpy()
    wanted = hashed_by_the_paper(own, rotations(own).double().numpy(), hidden.numpy())
    assert np.abs(found - wanted).max() <= EXACT * np.abs(wanted).max()


def export(model: Any, folder: Path, *options: str) -> Path:
    """Exports through the command line, from a folder that save_pretrained wrote."""
    model.save_pretrained(folder / "checkpoint")
    done = CliRunner().invoke(
        main,
        ["export", "--model", str(folder / "checkpoint"), "-o", str(folder / "out"), "--explain", "none", *options],
    )
    assert done.exit_code == 0, done.output
    return folder / "out"


@pytest.mark.parametrize(
    ("head", "sizes"),
    [
        ("Model", {}),
        ("ForQuestionAnswering", {"axial_pos_embds": False, "lsh_num_chunks_after": 1}),
        ("ForMaskedLM", {"num_buckets": [2, 4], "num_hashes": 3, "chunk_size_lm_head": 7}),
        ("ModelWithLMHead", {"num_buckets": 4, "chunk_size_feed_forward": 8}),
    ],
)
def test_a_head_answers_as_the_library_at_lengths_never_traced(
    head: str, sizes: dict[str, Any], tmp_path: Path
) -> None:
    model = small("Reformer", head, 2, **sizes)
    out = export(model, tmp_path)
    for length in LENGTHS:
        with as_exported(model):
            check(out, model, inputs(model, length))
    with edgexf.load(out) as session:
        limits, provenance = session.manifest.limits, session.manifest.provenance
    assert (limits.padding, limits.switch, limits.max_length) == ("to_multiple(16)", 8, 160)
    buckets = sizes.get("num_buckets", 16)  # the library's default for 160 positions in chunks of 16
    wanted = {"hash_seed": 0, "num_buckets": buckets if isinstance(buckets, list) else [buckets]}
    assert provenance["rotations"] == [wanted]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Exports a model from memory with an explain graph and the library's hash seed."""
    return edgexf.export(seeded(), output=tmp_path_factory.mktemp("reformer") / "out")


def seeded() -> Any:
    return small("Reformer", "ForSequenceClassification", 2, num_buckets=4, hash_seed=3)


@pytest.mark.parametrize("length", LENGTHS)
def test_relevance_at_lengths_never_traced_is_autograds(classifier: Bundle, length: int) -> None:
    model = seeded()
    given = inputs(model, length)
    with as_exported(model):
        logits, wanted = autograd(model, given)
    with edgexf.load(classifier.path) as session:
        found = session.run_explain(**{name: value.numpy() for name, value in given.items()})
    assert np.abs(found["logits"] - logits).max() <= TOLERANCE * np.abs(logits).max()
    assert np.abs(found["relevance"] - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    assert not found["relevance"][given["attention_mask"].numpy() == 0].any()


@pytest.mark.parametrize("length", [5, 40, 101])
def test_with_its_hash_seed_the_library_by_itself_repeats_a_bundles_answers(classifier: Bundle, length: int) -> None:
    model = seeded()
    given = inputs(model, length)
    with torch.no_grad():
        wanted = model(**given).logits.numpy()
    with edgexf.load(classifier.path) as session:
        found = session.run(**{name: value.numpy() for name, value in given.items()})["logits"]
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_the_grid_has_both_sides_of_the_switch_and_no_random_operator(classifier: Bundle) -> None:
    grid = classifier.manifest.grid
    assert {7, 8, 9, 15, 16, 17} <= {row["length"] for row in grid["rows"]}
    assert {"no random operator in onnx/model.onnx", "two runs are bit-equal"} <= set(grid["checks"])
    assert edgexf.verify(classifier.path).passed


@pytest.mark.parametrize(
    ("sizes", "shortest"),
    [({}, 2), ({"local_num_chunks_before": 2}, 2), (SHORTER | {"num_hashes": 1}, 2), (SHORTER, 9), (ROUND, 9)],
)
def test_short_inputs_are_padded_without_a_change_or_are_none_of_the_models(
    sizes: dict[str, Any], shortest: int
) -> None:
    """Compares in the library, in float32: a short padded input, and the same input padded to a whole multiple."""
    model = small("Reformer", "Model", 2, **sizes)
    ids = torch.tensor([[1, 0, 0, 0, 0, 0, 0, 0]])
    padded = torch.nn.functional.pad(ids, (0, 8))
    alone, among = (answer(model, tokens, (tokens > 0).long())[:, 0] for tokens in (ids, padded))
    moved = float((alone - among).abs().max() / alone.abs().max())
    assert moved > TOLERANCE if shortest > 2 else moved <= 2e-6
    assert reformer.describe(model).shortest == shortest


def test_a_model_whose_short_inputs_cannot_be_padded_says_so(tmp_path: Path) -> None:
    model = small("Reformer", "Model", 2, **SHORTER)
    out = edgexf.export(model, explain=(), output=tmp_path / "out").path
    with as_exported(model):
        check(out, model, inputs(model, 9))
    with edgexf.load(out) as session, pytest.raises(InputError, match="9 to 160"):
        session.run(input_ids=np.full((1, 8), 7))


def later_moves_earlier(model: Any, length: int, run: Callable[[Any, Tensor], Tensor] = answer) -> float:
    """Returns how far a new second half of an input moves the logits of its first half, relative to the largest."""
    chance = torch.Generator().manual_seed(length)
    one, other = torch.randint(1, 50, (2, 1, length), generator=chance)
    half = length // 2
    found, again = (run(model, ids)[0, :half] for ids in (one, torch.cat((one[:, :half], other[:, half:]), dim=1)))
    return float((found - again).abs().max() / found.abs().max())


def test_a_causal_graph_of_local_layers_never_looks_ahead(tmp_path: Path) -> None:
    model = small("Reformer", "ModelWithLMHead", attn_layers=["local"])
    out = edgexf.export(model, explain=(), output=tmp_path / "out").path

    def graph(_: Any, ids: Tensor) -> Tensor:
        return torch.from_numpy(session.run(input_ids=ids.numpy())["logits"])

    with edgexf.load(out) as session:
        assert session.manifest.task == "text-generation"
        for length in (6, 50, 160):
            assert later_moves_earlier(model, length, graph) <= 1e-6  # sums in another order


def test_a_hashed_causal_layer_looks_ahead_by_the_borders_of_its_chunks_alone() -> None:
    """Tests the library itself, in float64.

    The layer does not look ahead within one chunk, and no value of a later token reaches an earlier logit.
    """
    model = small("Reformer", "ModelWithLMHead", 2, num_buckets=4).double()
    assert later_moves_earlier(model, 16) <= EXACT
    assert later_moves_earlier(model, 96) > 0.01
    leaves: list[Tensor] = []

    def leaf(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_(True))
        return leaves[-1]

    ids = torch.randint(1, 50, (1, 96), generator=torch.Generator().manual_seed(0))
    with as_exported(model), model.get_input_embeddings().register_forward_hook(leaf):
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        (gradient,) = torch.autograd.grad(logits[:, :48].square().sum(), leaves)
    assert not gradient[:, 48:].any()
    assert gradient[:, :48].abs().sum(-1).all()


def state(model: Any) -> tuple[Any, ...]:
    """Returns all that an export might change: modules, their attributes, the config and torch's random state."""
    plain = (bool, int, float, str, list, tuple, type(None))
    own = {
        name: {key: value for key, value in vars(module).items() if isinstance(value, plain)}
        | {"": sorted(vars(module))}
        for name, module in model.named_modules()
    }
    return dict(model.named_modules()), own, model.config.to_dict(), torch.get_rng_state().tolist()


def test_a_models_object_and_the_random_numbers_are_untouched() -> None:
    """Tests a half-trained model after several calls that succeed and a call that fails.

    In this model, the length of the first call would decide the number of buckets.
    """
    model = small("Reformer", "ForSequenceClassification", 2, chunk_size_feed_forward=8).train()
    model.reformer.embeddings.eval()
    before = state(model)
    source = from_model(model)
    worst_difference(source)
    with frozen(model):
        eager(source, Cell(33, 2, "right", 1).feeds(source), ["gradient"])
    with pytest.raises(ZeroDivisionError), as_exported(model):
        raise ZeroDivisionError
    assert state(model) == before
    assert all(parameter.grad is None for parameter in model.parameters())


def other_rotations(attention: Any, right: Any = rotations) -> Tensor:
    found: Tensor = right(attention).flip(0)
    return found


def forget_the_ring(self: Ring, *given: Any, right: Any = Ring.__init__) -> None:
    right(self, *given)
    self.sources = [source if source is None else source.sort().values for source in self.sources]


def forget_the_single_chunk(self: Ring, *given: Any, right: Any = Ring.__init__) -> None:
    right(self, *given)
    self.single = self.single & False


def see_padding(
    self: Ring, query: Tensor, key: Tensor, value: Tensor, place: Tensor, real: Tensor, *rest: Any, right: Any = Ring.attend, **named: Any
) -> Any:  # fmt: skip
    return right(self, query, key, value, place, torch.ones_like(real), *rest, **named)


def meet_oneself(self: Ring, *given: Any, right: Any = Ring.attend, **named: Any) -> Any:
    return right(self, *given, **{**named, "shared": False})


@pytest.mark.parametrize(
    ("place", "name", "broken"),
    [
        (reformer, "rotations", other_rotations),
        (Ring, "__init__", forget_the_ring),
        (Ring, "__init__", forget_the_single_chunk),
        (Ring, "attend", see_padding),
        (Ring, "attend", meet_oneself),
    ],
    ids=["rotations", "ring", "single", "padding", "itself"],
)
def test_a_lowering_that_is_broken_never_becomes_a_bundle(
    place: Any, name: str, broken: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, broken)
    with pytest.raises(VerificationError, match="length"):
        edgexf.export(small("Reformer", "Model"), explain=(), output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def nearly_equal(attention: Any, right: Any = rotations) -> Tensor:
    """Gives each bucket a nearly equal rival: rounding decides which bucket the graph and the library choose."""
    drawn: Tensor = right(attention)
    half = drawn.shape[-1] // 2
    return torch.cat((drawn[..., :half], drawn[..., :half] * (1 + 1e-7)), dim=-1)


def test_a_tie_that_the_graph_breaks_in_another_way_is_no_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (reformer, reformer_rotations):
        monkeypatch.setattr(place, "rotations", nearly_equal)
    manifest = edgexf.export(small("Reformer", "Model", num_buckets=8), explain=(), output=tmp_path / "out").manifest
    assert manifest.grid["worst"] <= TOLERANCE
    assert sum(row["ties"] for row in manifest.grid["rows"]) > 10
    assert edgexf.verify(tmp_path / "out").passed  # golden cells depend on no tie


def test_a_choice_is_repeated_where_it_is_a_tie_and_nowhere_else() -> None:
    """Each row has two buckets with the scores x and -x. The mean absolute score is 1."""
    near = 0.4 * TIE
    scores = torch.tensor([[1.5, -1.5], [near, -near], [-near, near], [1.5, -1.5], [2 - 2 * near, -2 + 2 * near]])
    with Choices([np.array([1, 1, 1, 0, 0])]) as met:
        assert torch.argmax(scores, dim=-1).tolist() == [0, 1, 1, 0, 0]
        assert torch.argmax(scores, dim=-1).tolist() == [0, 0, 1, 0, 0]
    assert met.broken == 1
    assert met.closest == pytest.approx(2 * near, rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_buckets": 5}, r"got num_buckets 5"),
        ({"num_buckets": [2, 3]}, r"num_buckets \[2, 3\]"),
        ({"lsh_attn_chunk_length": None, "attn_layers": ["lsh"]}, "chunk_length None"),
        ({"local_num_chunks_before": -1}, "num_chunks_before -1"),
        ({"num_hashes": 0}, "num_hashes 0"),
        ({"pad_token_id": None}, "pad_token_id"),
        ({"axial_pos_shape": [1, 1]}, "positions for 2 tokens"),
        ({"axial_pos_shape": [4, 5, 8], "axial_pos_embds_dim": [8, 8, 16]}, "must run before it is exported"),
        ({**ROUND, "max_position_embeddings": 8}, "positions for 9 tokens"),
    ],
    ids=str,
)
def test_a_config_that_leaves_no_contract_is_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence) as caught:
        check_contract(from_model(small("Reformer", "Model", 2, **changes)))
    assert "\n" not in str(caught.value)
