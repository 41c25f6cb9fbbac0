"""The reference models: each attention against a dense oracle written from its paper, and the effect of padding."""

from __future__ import annotations

import math

import pytest
import torch
from small import NAMES, SMALL, random_tokens, small_encoder, small_spec
from torch import Tensor

from edgexf.models.full import FullAttention, join_heads, split_heads
from edgexf.models.hashed import HashedAttention
from edgexf.models.projected import ProjectedAttention, segment_means
from edgexf.models.windowed import WindowedAttention

# For float32 sums in two orders. 1e-5 of the scale is a hundred units in the last place.
ROUNDING = 1e-5
LENGTHS = (2, 7, 8, 9, 29, 64)


def attention_of(name: str) -> torch.nn.Module:
    return small_encoder(name).layers[0].attention


def hidden_and_mask(length: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Returns hidden [2, length, 16] and a mask. The second row is padded after two thirds of its length."""
    hidden = torch.randn(2, length, 16, generator=torch.Generator().manual_seed(seed))
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[1, max(1, 2 * length // 3) :] = False
    return hidden, mask


def close(found: Tensor, wanted: Tensor, mask: Tensor) -> bool:
    difference = (found - wanted)[mask].abs().max() / wanted[mask].abs().max()
    return bool(difference <= ROUNDING)


def heads_of(own: torch.nn.Module, hidden: Tensor, *names: str) -> list[Tensor]:
    return [split_heads(getattr(own, name)(hidden), own.heads) for name in names]


def masked_softmax(scores: Tensor, visible: Tensor) -> Tensor:
    return scores.masked_fill(~visible, -math.inf).softmax(-1)


@pytest.mark.parametrize("length", LENGTHS)
def test_full_attention_is_equation_1_of_vaswani_et_al(length: int) -> None:
    own = attention_of("transformer")
    assert isinstance(own, FullAttention)
    hidden, mask = hidden_and_mask(length)
    query, key, value = heads_of(own, hidden, "query", "key", "value")
    weights = masked_softmax(query @ key.transpose(-1, -2) / math.sqrt(8), mask[:, None, None, :])
    assert close(own(hidden, mask), own.output(join_heads(weights @ value)), mask)


@pytest.mark.parametrize("length", LENGTHS)
def test_windowed_attention_is_a_band_and_a_global_first_token(length: int) -> None:
    own = attention_of("longformer")
    assert isinstance(own, WindowedAttention)
    hidden, mask = hidden_and_mask(length)
    query, key, value = heads_of(own, hidden, "query", "key", "value")
    position = torch.arange(length)
    band = (position[:, None] - position[None]).abs() <= own.window
    band[:, 0] = True  # all tokens see the first token
    mixed = masked_softmax(query @ key.transpose(-1, -2) / math.sqrt(8), band & mask[:, None, None, :]) @ value
    query, key, value = heads_of(own, hidden, "query_global", "key_global", "value_global")
    seen = masked_softmax(query[:, :, :1] @ key.transpose(-1, -2) / math.sqrt(8), mask[:, None, None, :]) @ value
    mixed[:, :, :1] = seen
    assert close(own(hidden, mask), own.output(join_heads(mixed)), mask)


@pytest.mark.parametrize("length", LENGTHS)
def test_projected_attention_is_equation_7_of_wang_et_al(length: int) -> None:
    own = attention_of("linformer")
    assert isinstance(own, ProjectedAttention)
    hidden, mask = hidden_and_mask(length)
    query, key, value = heads_of(own, hidden, "query", "key", "value")
    slots = own.projection[:, :length] * mask[:, None, None, :]  # padding has no weight in any slot
    weights = (query @ (slots @ key).transpose(-1, -2) / math.sqrt(8)).softmax(-1)
    assert close(own(hidden, mask), own.output(join_heads(weights @ (slots @ value))), mask)


def hashed_oracle(own: HashedAttention, hidden: Tensor, mask: Tensor) -> Tensor:
    """Computes one row of a batch token by token, from the text of Kitaev et al. 2020, section 2."""
    length = int(mask.sum())
    query, value = heads_of(own, hidden[None, :length], "query_key", "value")
    chunk = own.sizes.chunk
    mixed = torch.zeros_like(query[0])
    for head in range(own.heads):
        q, v = query[0, head], value[0, head]
        k = q / q.norm(dim=-1, keepdim=True)
        outputs, normalisers = [], []
        for rotation in own.rotations[:, head]:
            bucket = torch.cat((q @ rotation, -(q @ rotation)), dim=-1).argmax(-1).tolist()
            order = sorted(range(length), key=lambda i: (bucket[i], i))
            place = {token: index for index, token in enumerate(order)}
            rows, sums = [], []
            for i in range(length):
                near = [
                    j
                    for j in range(length)
                    if place[i] // chunk - place[j] // chunk in (0, 1) and bucket[j] == bucket[i] and j != i
                ]
                near = near or [i]  # a token sees itself only if it sees no other token
                scores = torch.stack([q[i] @ k[j] / math.sqrt(8) for j in near])
                sums.append(scores.logsumexp(0) if near != [i] else torch.tensor(-1e4))
                rows.append(scores.softmax(0) @ v[near])
            outputs.append(torch.stack(rows))
            normalisers.append(torch.stack(sums))
        weight = torch.stack(normalisers).softmax(0).unsqueeze(-1)
        mixed[head] = (weight * torch.stack(outputs)).sum(0)
    output: Tensor = own.output(join_heads(mixed[None]))[0]
    return output


@pytest.mark.parametrize("length", LENGTHS)
def test_hashed_attention_is_section_2_of_kitaev_et_al(length: int) -> None:
    own = attention_of("reformer")
    assert isinstance(own, HashedAttention)
    hidden, mask = hidden_and_mask(length)
    found = own(hidden, mask)
    for row in range(2):
        real = int(mask[row].sum())
        wanted = hashed_oracle(own, hidden[row], mask[row])
        assert close(found[row, :real], wanted, torch.ones(real, dtype=torch.bool))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("added", [1, 5, 40])
def test_appended_padding_changes_no_answer(name: str, added: int) -> None:
    encoder, ids = small_encoder(name), random_tokens(2, 37)
    padded = torch.cat((ids, torch.full((2, added), 256)), dim=1)
    mask = (torch.arange(37 + added) < 37).long().expand(2, -1)
    with torch.no_grad():
        alone, wanted = encoder(padded, mask), encoder(ids, torch.ones_like(ids))
    assert (alone - wanted).abs().max() <= 1e-5 * wanted.abs().max()  # the bound in the reference task


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_in_padding_is_never_read(name: str) -> None:
    encoder, ids = small_encoder(name), random_tokens(1, 30)
    mask = (torch.arange(30) < 11).long().expand(1, -1)
    other = torch.where(mask > 0, ids, 7)
    with torch.no_grad():
        assert torch.equal(encoder(ids, mask), encoder(other, mask))


@pytest.mark.parametrize("name", NAMES)
def test_a_real_token_anywhere_is_read(name: str) -> None:
    encoder, ids = small_encoder(name), random_tokens(1, 30)
    mask = torch.ones_like(ids)
    with torch.no_grad():
        wanted = encoder(ids, mask)
        for place in range(1, 30):
            other = ids.clone()
            other[0, place] = (other[0, place] + 1) % 256
            assert not torch.equal(encoder(other, mask), wanted), f"token {place} is not read"


def test_segment_means_average_each_segment() -> None:
    table = segment_means(4, 10)
    assert table.shape == (4, 10)
    assert torch.equal(
        table @ torch.ones(10), torch.tensor([1.0, 1.0, 1.0, 1 / 3])
    )  # the last segment holds one token instead of three


@pytest.mark.parametrize("name", NAMES)
def test_each_variant_has_its_own_attention(name: str) -> None:
    assert small_spec(name).attention == SMALL[name]
