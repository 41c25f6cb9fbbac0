"""The attentions of PyPI packages and torch.nn: each lowering against the untouched library, in torch and float64."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from linformer import Linformer
from linformer.linformer import LinformerSelfAttention
from local_attention import LocalAttention
from modules import CausalReformer
from nystrom_attention import NystromAttention
from reformer_pytorch.reformer_pytorch import LSHSelfAttention
from torch import Tensor, nn

from edgexf.bundle.manifest import Limits
from edgexf.errors import ExportError
from edgexf_exporters.lowerings.packages import (
    linformer,
    local_attention,
    nystrom_attention,
    reformer_pytorch,
    torch_nn,
)
from edgexf_exporters.lowerings.swap import lowered
from edgexf_exporters.sources.calls import surrounding

LIMITS = Limits(vocab=60, min_length=2, max_length=128, block=1, max_global=0, padding="none")
ROUNDING = 1e-11  # relative to the largest value, in float64
COUNTED = 5e-8  # for cases where the library computes a count or a logarithm in float32


def prepared(module: nn.Module) -> Any:
    """Returns a module in float64 and eval mode, with larger weights, so that attention is not nearly uniform."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module.eval().double()


def tokens(batch: int, length: int, width: int = 16) -> Tensor:
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(length), dtype=torch.float64)


def right(length: int) -> Tensor:
    """Returns a mask, bool [3, length]: all, half and one of the tokens are real."""
    return torch.arange(length) < torch.tensor([length, max(length // 2, 1), 1])[:, None]


def difference(found: Tensor, wanted: Tensor, real: Tensor | None = None) -> float:
    found, wanted = found.detach(), wanted.detach()
    kept = torch.ones(found.shape[:2], dtype=torch.bool) if real is None else real
    assert found.shape == wanted.shape
    assert torch.isfinite(found).all()
    return float((found - wanted)[kept].abs().max() / wanted[kept].abs().max())


HASHED = {
    "plain": {},
    "causal": {"causal": True},
    "within buckets": {"attend_across_buckets": False},
    "pairs once": {"allow_duplicate_attention": False},
    "pairs once within buckets": {"allow_duplicate_attention": False, "attend_across_buckets": False, "causal": True},
    "rotations of each head": {"random_rotations_per_head": True},
    "one value head": {"one_value_head": True},
    "memory": {"num_mem_kv": 8, "causal": True},
    "local heads": {"n_local_attn_heads": 1, "causal": True},
    "local heads both ways": {"n_local_attn_heads": 1},
    "full": {"use_full_attn": True, "causal": True},
}


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "padded"])
@pytest.mark.parametrize("settings", HASHED)
def test_hashed_attention_is_that_of_reformer_pytorch(settings: str, masked: bool) -> None:
    own = prepared(LSHSelfAttention(16, heads=2, bucket_size=4, n_hashes=3, full_attn_thres=0, **HASHED[settings]))
    lowering = reformer_pytorch.Attention(own, LIMITS).double()
    for length in (8, 16, 88):
        given, real = tokens(3, length), right(length) if masked else None
        with torch.no_grad(), reformer_pytorch.same_rotations(own):
            wanted = own(given, input_mask=real)
        allowed = COUNTED if "once" in settings else ROUNDING
        assert difference(lowering(given, input_mask=real), wanted, real) <= allowed


@pytest.mark.parametrize(
    "stack",
    [{}, {"reverse_thres": 1000}, {"use_scale_norm": True, "use_rezero": True}, {"ff_glu": True, "ff_chunks": 3}],
)
def test_a_reversible_stack_of_reformer_pytorch_is_two_sums_a_layer(stack: dict[str, Any]) -> None:
    model = prepared(CausalReformer(pad=True, **stack))
    for length in (3, 8, 9, 50):
        given = torch.randint(0, 60, (3, length), generator=torch.Generator().manual_seed(length))
        with torch.no_grad(), surrounding(model)(model):
            wanted = model(given)
        with torch.no_grad(), lowered(model, LIMITS):
            assert difference(model.double()(given), wanted) <= ROUNDING


def test_rotations_of_a_shorter_input_are_the_first_ones_of_a_longer_one() -> None:
    few, many = (reformer_pytorch.rotations(2, 8, 3, columns) for columns in (4, 30))
    assert torch.equal(few, many[..., :4])


def test_causal_hashing_of_the_library_itself_lets_later_tokens_move_earlier_answers() -> None:
    """Later tokens do not act by their values: their buckets shift the borders of the chunks.

    Full attention has no such effect.
    """
    for settings, moves in (({}, True), ({"use_full_attn": True}, False)):
        model = prepared(CausalReformer(**settings))
        given = torch.randint(0, 60, (1, 64), generator=torch.Generator().manual_seed(1))
        with torch.no_grad(), surrounding(model)(model):
            before, changes = model(given), []
            for place in range(1, 64):
                other = given.clone()
                other[0, place] = (other[0, place] + 7) % 60
                changes.append(float((model(other) - before)[:, :place].abs().max() / before.abs().max()))
        assert (max(changes) > 0.01) == moves
        assert (max(changes) <= ROUNDING) == (not moves)


def test_hashing_that_is_not_lowered_is_a_sentence() -> None:
    own = LSHSelfAttention(16, heads=2, bucket_size=4, rehash_each_round=False)
    with pytest.raises(ExportError, match="hash anew in each round"):
        reformer_pytorch.Attention(own, LIMITS)
    plain = reformer_pytorch.Attention(LSHSelfAttention(16, heads=2, bucket_size=4), LIMITS)
    with pytest.raises(ExportError, match="got keys too"):
        plain(torch.randn(1, 8, 16), keys=torch.randn(1, 8, 16))


@pytest.mark.parametrize("settings", [{}, {"one_kv_head": True}, {"share_kv": True}, {"dim_head": 3}])
@pytest.mark.parametrize("length", [1, 7, 39, 40])
def test_projected_attention_is_that_of_linformer(settings: dict[str, Any], length: int) -> None:
    own = prepared(LinformerSelfAttention(16, 40, k=6, heads=2, **settings))
    given, context = tokens(2, length), tokens(2, 11)
    lowering = linformer.Attention(own, LIMITS)
    with torch.no_grad():
        assert difference(lowering(given), own(given)) <= ROUNDING
        assert difference(lowering(given, context=context), own(given, context=context)) <= ROUNDING


def test_a_reversible_stack_of_linformer_is_two_sums_a_layer() -> None:
    model = prepared(Linformer(16, 40, 2, k=6, heads=2, reversible=True))
    given = tokens(2, 23)
    with torch.no_grad():
        wanted = model(given)
        with lowered(model, LIMITS):
            assert difference(model(given), wanted) <= ROUNDING


@pytest.mark.parametrize("settings", [{}, {"residual": False}, {"num_landmarks": 5, "residual_conv_kernel": 3}])
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "padded"])
def test_landmark_attention_is_that_of_nystrom_attention_for_each_sample_alone(
    settings: dict[str, Any], masked: bool
) -> None:
    own = prepared(NystromAttention(16, **{"dim_head": 4, "heads": 3, "num_landmarks": 8, **settings}))
    lowering = nystrom_attention.Attention(own, LIMITS)
    for length in (2, 5, 8, 9, 16, 61):
        given, real = tokens(3, length), right(length) if masked else None
        with torch.no_grad(), nystrom_attention.each_row(own):
            wanted = own(given, mask=real)
        assert difference(lowering(given, mask=real), wanted, real) <= (COUNTED if masked else ROUNDING)


def test_batch_mates_change_an_answer_of_nystrom_attention_but_not_of_its_lowering() -> None:
    own = prepared(NystromAttention(16, dim_head=4, heads=3, num_landmarks=8))
    lowering, given = nystrom_attention.Attention(own, LIMITS), tokens(3, 61)
    with torch.no_grad():
        assert difference(own(given)[:1], own(given[:1])) > 1e-4
        assert difference(lowering(given)[:1], lowering(given[:1])) <= ROUNDING


NEAR = {
    "both sides": {},
    "causal": {"causal": True},
    "exact": {"exact_windowsize": True},
    "exact and causal": {"exact_windowsize": True, "causal": True, "look_backward": 2},
    "wide": {"look_backward": 2, "look_forward": 1},
    "shared": {"shared_qk": True, "dim": 8},
    "rotary": {"dim": 8},
    "scaled rotary": {"dim": 8, "use_xpos": True, "scale": 0.3},
}


@pytest.mark.parametrize(("settings", "pads"), list(product(NEAR, [False, True])))
def test_windowed_attention_is_that_of_local_attention(settings: str, pads: bool) -> None:
    own = prepared(LocalAttention(window_size=4, autopad=pads, **NEAR[settings]))
    lowering = local_attention.Attention(own, LIMITS).double()
    for length in (4, 8, 40, *((3, 41) if pads else ())):
        query, key, value = (tokens(6, length, 8) * scale for scale in (1.0, 0.7, 1.3))
        bias = torch.randn(2, 4, lowering.itself.shape[1], dtype=torch.float64)
        for extra in ({}, {"mask": right(length)}, {"attn_bias": bias}):
            with torch.no_grad():
                wanted = own(query, key, value, **extra)
                found = lowering(query, key, value, **extra)
            kept = right(length).repeat_interleave(2, 0) if "mask" in extra else None
            assert difference(found, wanted, kept) <= ROUNDING


ATTENTIONS = {
    "plain": {},
    "batch first": {"batch_first": True},
    "no bias": {"bias": False},
    "keys more": {"add_bias_kv": True, "add_zero_attn": True},
    "other widths": {"kdim": 8, "vdim": 12},
}


@pytest.mark.parametrize("weighs", [False, True], ids=["values", "weights"])
@pytest.mark.parametrize("settings", ATTENTIONS)
def test_attention_of_torch_is_a_product_and_a_softmax(settings: str, weighs: bool) -> None:
    own = prepared(nn.MultiheadAttention(16, 2, **ATTENTIONS[settings]))
    lowering, first = torch_nn.Attention(own, LIMITS), own.batch_first
    query, key, value = (tokens(3, length, width) for length, width in ((5, 16), (9, own.kdim), (9, own.vdim)))
    query, key, value = (one if first else one.transpose(0, 1) for one in (query, key, value))
    hidden = torch.rand(5, 9, generator=torch.Generator().manual_seed(1)) < 0.3
    masks: list[dict[str, Any]] = [
        {},
        {"attn_mask": hidden},
        {"attn_mask": hidden.double() * -3},
        {"attn_mask": hidden.expand(6, -1, -1)},
        {"key_padding_mask": ~right(9)},
        {"key_padding_mask": ~right(9), "attn_mask": torch.zeros(5, 9, dtype=torch.bool)},
    ]
    if not weighs:
        masks += [{"attn_mask": hidden.double() * -3, "is_causal": True}]  # a hint: torch does not read the mask then
    for mask in masks:
        with torch.no_grad():
            wanted, weights = own(query, key, value, need_weights=weighs, **mask)
            found, shown = lowering(query, key, value, need_weights=weighs, **mask)
        assert float((found - wanted).abs().max() / wanted.abs().max()) <= ROUNDING
        assert (shown is None) == (weights is None)
        if shown is not None:
            assert float((shown - weights).abs().max()) <= ROUNDING


def test_a_query_that_sees_no_key_gets_what_torch_answers() -> None:
    """Torch's fused operator gives 0 before the output projection. A plain softmax would give NaN."""
    own = prepared(nn.MultiheadAttention(16, 2, batch_first=True))
    given, hidden = tokens(2, 4), torch.ones(4, 4, dtype=torch.bool)
    with torch.no_grad(), surrounding(own)(own):  # the fast path of torch would give NaN
        wanted, _ = own(given, given, given, attn_mask=hidden, need_weights=False)
        found, _ = torch_nn.Attention(own, LIMITS)(given, given, given, attn_mask=hidden, need_weights=False)
    assert difference(found, wanted) <= ROUNDING


def test_attention_of_torch_takes_one_sample_without_a_batch() -> None:
    own = prepared(nn.MultiheadAttention(16, 2))
    given = tokens(1, 7)[0]
    with torch.no_grad():
        wanted, weights = own(given, given, given, key_padding_mask=~right(7)[1])
        found, shown = torch_nn.Attention(own, LIMITS)(given, given, given, key_padding_mask=~right(7)[1])
    assert shown is not None
    assert float((found - wanted).abs().max()) <= ROUNDING
    assert float((shown - weights).abs().max()) <= ROUNDING


@pytest.mark.parametrize("settings", [{}, {"norm_first": True}, {"activation": "gelu", "batch_first": True}])
def test_the_stacks_of_torch_answer_as_they_are(settings: dict[str, Any]) -> None:
    model = prepared(nn.Transformer(16, 2, 2, 2, 24, **settings))
    source, target = tokens(3, 6), tokens(3, 9)
    if not settings.get("batch_first"):
        source, target = source.transpose(0, 1), target.transpose(0, 1)
    mask = nn.Transformer.generate_square_subsequent_mask(9).double()
    given = {"tgt_mask": mask, "src_key_padding_mask": ~right(6), "memory_key_padding_mask": ~right(6)}
    with torch.no_grad(), surrounding(model)(model):
        wanted = model(source, target, **given)
        with lowered(model, LIMITS):
            found = model(source, target, **given)
    assert float((found - wanted).abs().max() / wanted.abs().max()) <= ROUNDING
