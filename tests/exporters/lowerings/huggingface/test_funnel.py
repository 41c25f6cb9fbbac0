"""Funnel: pooling, relative attention and token types against the library, at critical lengths and masks."""

from __future__ import annotations

import math
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from families import FUNNEL, autograd, check, inputs, small
from torch import Tensor
from transformers.models.funnel.modeling_funnel import FunnelAttentionStructure

import edgexf
from edgexf.bundle.manifest import Limits, Segments
from edgexf.cli import main
from edgexf.errors import ExportError, InputError, UsageError, VerificationError
from edgexf_exporters.lowerings.huggingface import funnel
from edgexf_exporters.lowerings.huggingface.funnel import Relation, TokenMasks
from edgexf_exporters.sources.checkpoint import from_model
from edgexf_exporters.verify.eager import answers
from edgexf_exporters.verify.float64 import worst_difference

pytestmark = pytest.mark.slow  # exports or runs many models

SINGLE = 1e-6  # the library computes its softmax in float32 for every dtype of weights
ROUNDING = 1e-12  # float64 sums in another order, relative to the largest value


def built(head: str = "Model", **changes: Any) -> Any:
    """Builds a small model with changes to its config. Weights are larger than the library draws them."""
    torch.manual_seed(0)
    sizes = {**FUNNEL, "block_sizes": [1, 1, 1], **changes}
    model = getattr(transformers, f"Funnel{head}")(transformers.FunnelConfig(**sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def tokenizer() -> Any:
    """Returns the library's tokenizer with a vocabulary of letters."""
    special = ["<pad>", "<unk>", "<cls>", "<sep>", "<mask>", "<s>", "</s>"]
    words = [*special, *string.ascii_lowercase, "."]
    return transformers.FunnelTokenizer(vocab={word: place for place, word in enumerate(words)})


def test_features_are_the_librarys_at_lengths_never_traced(tmp_path: Path) -> None:
    """Exports through the command line, from a folder that save_pretrained wrote.

    A text that is too short for the library is refused.
    """
    model, reader = small("Funnel", "Model"), tokenizer()
    model.save_pretrained(tmp_path / "checkpoint")
    reader.save_pretrained(tmp_path / "checkpoint")
    out = tmp_path / "out"
    done = CliRunner().invoke(
        main, ["export", "--model", str(tmp_path / "checkpoint"), "-o", str(out), "--explain", "none"]
    )
    assert done.exit_code == 0, done.output
    for length in (5, 6, 7, 8, 9, 41, 130):
        check(out, model, inputs(model, length))
    with edgexf.load(out) as session:
        assert session.manifest.limits == Limits(50, 5, 130, 4, 0, "none", 3)
        assert session.manifest.segments == Segments("zeros", -1)
        with pytest.raises(InputError, match="5"):
            session.run(input_ids=np.full((1, 4), 7))
        for text in ("a b c d.", ("a b c", "d e f g h")):
            given = reader(*([text] if isinstance(text, str) else text), return_tensors="pt")
            (answer,) = session.predict([text])
            with torch.no_grad():
                wanted = model(**given).last_hidden_state[0].numpy()
            assert np.abs(answer.outputs["last_hidden_state"] - wanted).max() <= 1e-4 * np.abs(wanted).max()
        with pytest.raises(UsageError, match="none"):
            session.encode(["a b c d.", "a b c d e."])
    with torch.no_grad(), pytest.raises((RuntimeError, IndexError)):
        model(**inputs(model, 4))


def test_relevance_is_autograds_behind_the_embeddings_norm(tmp_path: Path) -> None:
    """Relevance belongs to the vectors behind the norm.

    Before the norm relevance would be 0 for every model, because the norm maps all multiples of a vector to one vector.
    """
    model = built("ForSequenceClassification", block_sizes=[1, 1])
    modules, weights = dict(model.named_modules()), {name: t.clone() for name, t in model.state_dict().items()}
    bundle = edgexf.export(model, output=tmp_path / "out")
    assert dict(model.named_modules()) == modules
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    with edgexf.load(bundle.path) as session:
        for length in (3, 57, 130):
            given = inputs(model, length)
            logits, wanted = autograd(model, given, model.funnel.embeddings)
            found = session.run_explain(**{name: value.numpy() for name, value in given.items()})
            assert np.abs(found["logits"] - logits).max() <= 1e-4 * np.abs(logits).max()
            assert np.abs(found["relevance"] - wanted).max() <= 1e-4 * np.abs(wanted).max()
            _, plain = autograd(model, given, model.funnel.embeddings, "gradient")
            _, before = autograd(model, given, method="gradient")
            assert np.abs(before).max() <= 1e-3 * np.abs(plain).max()


@pytest.mark.parametrize(
    "head",
    ["ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM", "ForMultipleChoice"],
)
def test_in_float64_every_lowered_head_is_the_library_but_for_its_softmax(head: str) -> None:
    assert worst_difference(from_model(small("Funnel", head, layers=2))) <= SINGLE


@pytest.mark.parametrize("attention_type", ["relative_shift", "factorized"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pool_q_only": False},
        {"pooling_type": "max"},
        {"block_sizes": [2]},
        {"block_sizes": [1, 2]},
        {"block_sizes": [1, 1, 1, 1]},
        {"block_sizes": [2, 1, 1], "block_repeats": [1, 2, 1], "pool_q_only": False},
        {"block_sizes": [2, 1], "block_repeats": [2, 1], "num_decoder_layers": 3, "pad_token_id": 3},
        {"num_decoder_layers": 0, "n_head": 2, "d_head": 5},
    ],
)
def test_in_float64_every_configuration_is_the_library(
    attention_type: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replaces the library's casts to float32, so that it computes in float64."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    assert worst_difference(from_model(built(attention_type=attention_type, **changes))) <= ROUNDING


@pytest.mark.parametrize("real", range(1, 18))
def test_in_float64_every_end_of_a_text_is_the_librarys(real: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests every length up to 17 with every number of real tokens.

    Some pairs of tokens then lack their second token, or have a masked second token.
    """
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    model = built().double()
    encoder, decoder = (kind(getattr(model, part), LIMITS) for kind, part in LOWERED)
    for length in range(max(real, 5), 18):
        mask = (torch.arange(length) < real).long()[None]
        ids = torch.randint(4, 50, (1, length), generator=torch.Generator().manual_seed(length))
        types = ids % 3
        whole = -(-length // 4) * 4
        padded = [torch.nn.functional.pad(given, (0, whole - length)) for given in (ids, types)]
        ends = torch.nn.functional.pad(mask, (0, whole - length), value=funnel.PADDING_MARK)
        with torch.no_grad():
            wanted = model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state
            states = encoder(model.embeddings(padded[0]), ends, padded[1]).hidden_states
            assert states is not None
            found = decoder(states[-1], states[1], ends, padded[1]).last_hidden_state
        assert found is not None
        assert (found[:, :length] - wanted).abs().max() <= ROUNDING * wanted.abs().max()


LIMITS = Limits(50, 5, 130, 4, 0, "none", 3)
LOWERED: Any = ((funnel.Encoder, "encoder"), (funnel.Decoder, "decoder"))


def seen(tokens: int) -> TokenMasks:
    mask = torch.ones(1, tokens, dtype=torch.int64)
    return TokenMasks.of(mask, torch.zeros_like(mask), torch.float64)


@pytest.mark.parametrize(("stride", "step"), [(1, 1), (4, 1), (1, 2), (2, 2)])
def test_each_pair_meets_the_waves_of_its_own_distance(stride: int, step: int) -> None:
    """Computes Dai et al. 2020, appendix A.2.1, for each pair of tokens."""
    queries, keys, width = 4, 4 * step, 6
    relation = Relation.of(seen(queries), seen(keys), stride, step, width)
    directions = torch.randn(queries, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = relation.shift(directions @ relation.table.T)
    for query in range(queries):
        for key in range(keys):
            distance = stride * (step * query - key - (step - 1))
            angles = [distance / 10000 ** (place / (width // 2)) for place in range(width // 2)]
            waves = [*map(math.sin, angles), *map(math.cos, angles)]
            wanted = sum(float(one) * wave for one, wave in zip(directions[query], waves, strict=True))
            assert abs(float(found[query, key]) - wanted) <= ROUNDING * width


def test_types_meet_their_own_and_the_first_tokens() -> None:
    types = torch.tensor([[2, 0, 1, 0, 2]])
    one = TokenMasks.of(torch.ones_like(types), types, torch.float64)
    relation = Relation.of(one, one, 1, 1, 4)
    found = (relation.near @ relation.types.transpose(-1, -2))[0, 0] > 0
    wanted = FunnelAttentionStructure(transformers.FunnelConfig()).token_type_ids_to_mat(types)[0]
    assert found[:, 1:].equal(wanted[:, 1:])
    assert not found[:, 0].any()  # the first key has no type


@pytest.mark.parametrize("length", [8, 13])
def test_padding_changes_the_librarys_own_answers(length: int) -> None:
    """This is the reason why rows of different lengths never share a batch."""
    source = from_model(small("Funnel", "Model"))
    given = {name: tensor[:1] for name, tensor in inputs(source.module, length).items()}
    padded = {name: torch.nn.functional.pad(tensor, (0, 8)) for name, tensor in given.items()}
    alone, beside = (answers(source, values)["last_hidden_state"][:, :length] for values in (given, padded))
    assert np.abs(alone - beside).max() > 1e-2 * np.abs(alone).max()
    assert source.limits.padded(length) == length


@pytest.mark.parametrize(
    ("head", "changes", "sentence"),
    [
        ("BaseModel", {}, "export FunnelModel"),
        ("Model", {"separate_cls": False}, "separate_cls False and truncate_seq True"),
        ("Model", {"truncate_seq": False}, "truncate_seq False"),
        ("Model", {"max_position_embeddings": 4}, "positions for 5 tokens, got 0 and 4"),
        ("Model", {"block_sizes": [1, 1, 1, 1], "max_position_embeddings": 8}, "positions for 9 tokens"),
    ],
)
def test_what_cannot_be_exported_is_a_sentence(
    head: str, changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=sentence) as caught:
        edgexf.export(built(head, **changes), output=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def see_padding(cls: Any, mask: Tensor, *others: Any, right: Any = TokenMasks.of.__func__) -> TokenMasks:  # type: ignore[attr-defined]
    found: TokenMasks = right(cls, torch.where(mask < 0, mask, 1), *others)
    return found


def forget_the_end(cls: Any, mask: Tensor, *others: Any, right: Any = TokenMasks.of.__func__) -> TokenMasks:  # type: ignore[attr-defined]
    found: TokenMasks = right(cls, mask.clamp(min=0), *others)
    return found


def forget_the_types(
    cls: Any, mask: Tensor, types: Tensor, *others: Any, right: Any = TokenMasks.of.__func__
) -> TokenMasks:  # type: ignore[attr-defined]
    found: TokenMasks = right(cls, mask, 0 * types, *others)
    return found


def pair_the_first_with_the_next(tokens: Tensor) -> tuple[Tensor, Tensor]:
    first, second = tokens.unflatten(1, (-1, 2)).unbind(2)
    return first, second


def forget_the_direction(distance: Tensor, *others: Any, right: Any = funnel.waves) -> Tensor:
    found: Tensor = right(-distance, *others)
    return found


def keep_what_was_dropped(tokens: Tensor, stride: int) -> Tensor:
    return tokens.unsqueeze(2).expand(-1, -1, stride, -1).flatten(1, 2)


BROKEN = [
    (TokenMasks, "of", classmethod(see_padding)),
    (TokenMasks, "of", classmethod(forget_the_end)),
    (TokenMasks, "of", classmethod(forget_the_types)),
    (funnel, "pairs", pair_the_first_with_the_next),
    (funnel, "waves", forget_the_direction),
    (funnel, "spread", keep_what_was_dropped),
]


@pytest.mark.parametrize(("place", "name", "broken"), BROKEN)
def test_a_lowering_that_is_broken_fails_the_grid(
    place: Any, name: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests the same cells as an export, but in float64 and in less time."""
    monkeypatch.setattr(place, name, broken)
    assert worst_difference(from_model(built())) > 1e-3


@pytest.mark.parametrize(("place", "name", "broken"), BROKEN[1:4:2])
def test_a_lowering_that_is_broken_never_becomes_a_bundle(
    place: Any, name: str, broken: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, broken)
    with pytest.raises(VerificationError, match="length"):
        edgexf.export(built(block_sizes=[1, 1]), explain=(), output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_funnel_has_no_global_tokens() -> None:
    with pytest.raises(UsageError, match="max_global"):
        from_model(built(), 3)
