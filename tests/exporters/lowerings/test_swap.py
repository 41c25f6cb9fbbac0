"""Lowered modules against the original modules that they replace, and the swap."""

from __future__ import annotations

import pytest
import torch
from small import LIMITS, NAMES, random_tokens, small_encoder

from edgexf.models.encoder import Positions
from edgexf_exporters import VARIANTS
from edgexf_exporters.lowerings.reference.positions import SplitPositions
from edgexf_exporters.lowerings.swap import lowered, variants_in
from edgexf_exporters.variant import load

ROUNDING = 1e-5  # two orders of the same float32 sums, relative to the largest


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("blocks", [1, 2, 5])
@pytest.mark.parametrize("real", [40, 33, 9, 1])
def test_a_lowered_attention_is_its_original(name: str, blocks: int, real: int) -> None:
    original = small_encoder(name).layers[0].attention
    module = load(next(variant.lowering for variant in VARIANTS if variant.name == name))(original, LIMITS)
    length = blocks * 8
    hidden = torch.randn(2, length, 16, generator=torch.Generator().manual_seed(blocks))
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[1, min(real, length) :] = False
    with torch.no_grad():
        found, wanted = module(hidden, mask)[mask], original(hidden, mask)[mask]
    assert (found - wanted).abs().max() <= ROUNDING * wanted.abs().max()


def test_split_positions_are_the_table() -> None:
    whole = Positions(4097, 128)
    split = SplitPositions(whole, LIMITS)
    hidden = torch.empty(1, 4097, 1)
    # Products of two float32 sines: a few units in the last place of 1.
    assert (split(hidden) - whole(hidden)).abs().max() <= 5e-7


@pytest.mark.parametrize("name", NAMES)
def test_the_swap_is_undone(name: str) -> None:
    encoder = small_encoder(name)
    before = dict(encoder.named_modules())
    with lowered(encoder, LIMITS):
        assert dict(encoder.named_modules()) != before
    assert dict(encoder.named_modules()) == before


def test_the_swap_is_undone_after_an_error() -> None:
    encoder = small_encoder("reformer")
    before = dict(encoder.named_modules())
    with pytest.raises(ZeroDivisionError), lowered(encoder, LIMITS):
        raise ZeroDivisionError
    assert dict(encoder.named_modules()) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_swapped_model_answers_the_same(name: str) -> None:
    encoder, ids = small_encoder(name), random_tokens(2, 40)
    mask = torch.ones_like(ids)
    with torch.no_grad():
        wanted = encoder(ids, mask)
        with lowered(encoder, LIMITS) as lowering:
            assert lowering.block in (1, 8)
            found = encoder(ids, mask)
    assert (found - wanted).abs().max() <= ROUNDING * wanted.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_a_model_says_which_variant_it_is(name: str) -> None:
    assert [variant.name for variant in variants_in(small_encoder(name))] == [name]
