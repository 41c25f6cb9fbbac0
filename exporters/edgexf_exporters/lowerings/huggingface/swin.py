"""Hugging Face's Swin and Swin V2: windows over an image of any height and width.

    before  `if height % 2: pad`, `if height <= window: shift = 0`, `if shift: roll`, `if padded: crop`
    after   tokens.index_select(1, rows).index_select(2, columns) -> windows -> the same back

A trace of the library's code holds the branches of one size. Here two lists of places for each axis pad, shift and crop,
and the shift itself is computed from the height and the width. The projections, norms and feed-forward layers are the
library's modules. An alternative was weighed: amounts to pad, roll and crop as expressions of the height trace too, but
four layers took ten times as long, since each operator asks for the strides of such a size.

A layer of Swin that meets an image as small as its window stops to shift, for good, in the library's own code. So
`as_it_was` restores the layers of the untouched model after each call.
Source: Liu et al. 2021, section 3.2; Liu et al. 2022, sections 3.2 and 3.3; `SwinModel`, `Swinv2Model` of transformers.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.swin.modeling_swin import SwinLayer

from edgexf.bundle.manifest import Limits
from edgexf_exporters.lowerings.reference.full import attend
from edgexf_exporters.trace.blocks import places

APART = -100.0  # what the library adds to the score of two tokens that only the shift brought into one window
Size = tuple[int, int]  # height and width, each a number or an expression of the sizes of the image


def whole(size: int, part: int) -> int:
    """The next multiple of `part` from `size` on."""
    return (size + part - 1) // part * part


def filled(values: Tensor, *amounts: int) -> Tensor:
    """Zeros behind the end, as many as `torch.nn.functional.pad` takes."""
    return F.pad(values, amounts) if any(is_free(amount) or amount for amount in amounts) else values


def is_free(size: int) -> bool:
    """Whether a size is an expression of the sizes of the image, and no number."""
    return not isinstance(size, int)


class Cut:
    """An axis of an image, shifted and cut into whole windows.

    Attributes:
        blocks: the places of the windows, int64 [blocks, window].
        take: the place in the image of each place in the windows, int64 [blocks * window].
        inside: whether a place in the windows holds a token, bool [blocks * window].
        back: the place in the windows of each place in the image, int64 [length].
        side: whether the shift brought a place from the start to the end of the axis, bool [blocks * window].
        same: the windows hold the image as it is.
    """

    def __init__(self, length: int, window: int, shift: Tensor | None) -> None:
        own = torch.arange(length)
        self.blocks = (
            places(own.unsqueeze(0), window, 0)
            if is_free(length)
            else torch.arange(whole(length, window)).unflatten(0, (-1, window))
        )
        self.same = shift is None and not is_free(length) and length % window == 0
        place, by = self.blocks.flatten(), torch.tensor(0) if shift is None else shift
        count = place.max() + 1
        moved = wrapped(place + by, count)
        self.inside, self.take = moved < length, moved.clamp(max=length - 1)
        self.back = wrapped(own - by, count)
        self.side = place >= count - by


def wrapped(place: Tensor, count: Tensor) -> Tensor:
    """Places from -count to 2 * count - 1 as places of an axis of this length."""
    return torch.where(place < 0, place + count, torch.where(place < count, place, place - count))


def windows(tokens: Tensor, high: Cut, wide: Cut) -> Tensor:
    """[batch, rows, columns, channels] -> [batch, windows, window * window, channels]."""
    rows = tokens.unflatten(2, wide.blocks.shape).unflatten(1, high.blocks.shape)
    found: Tensor = rows.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return found


def image(parts: Tensor, high: Cut, wide: Cut) -> Tensor:
    """[batch, windows, window * window, channels] -> [batch, rows, columns, channels]."""
    (up, window), across = high.blocks.shape, wide.blocks.shape[0]
    rows = parts.unflatten(2, (window, window)).unflatten(1, (up, across))
    found: Tensor = rows.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return found


def apart(high: Cut, wide: Cut) -> Tensor:
    """What to add to the scores [windows, 1, window * window, window * window]: `APART` for tokens of different sides."""
    side = (2 * high.side.long()[:, None] + wide.side.long()).to(torch.float32)
    found = windows(side[None, :, :, None], high, wide).flatten(0, 1).squeeze(-1)
    return torch.where(found[:, :, None] != found[:, None, :], APART, 0.0).unsqueeze(1)


def heads_of(tokens: Tensor, heads: int) -> Tensor:
    """[..., tokens, width] -> [..., heads, tokens, head_width]."""
    found: Tensor = tokens.unflatten(-1, (heads, -1)).transpose(-2, -3)
    return found


class Layer(nn.Module):
    """A layer of either version, up to the tokens that its windows mix."""

    block = 1

    def __init__(self, original: Any, _: Limits) -> None:
        super().__init__()
        self.original = original

    def mixed(self, hidden: Tensor, size: Size, shift: Tensor | None) -> Tensor:
        """The mixed tokens [batch, height * width, channels] of `hidden`."""
        window = self.original.window_size
        high, wide = (Cut(length, window, shift) for length in size)
        tokens = hidden.unflatten(1, size)
        if not (high.same and wide.same):
            tokens = tokens.index_select(1, high.take).index_select(2, wide.take)
            tokens = tokens * (high.inside[:, None] & wide.inside).unsqueeze(-1)
        answer = self.attention(windows(tokens, high, wide), None if shift is None else apart(high, wide))
        found = image(answer.transpose(-2, -3).flatten(-2), high, wide)
        if not (high.same and wide.same):
            found = found.index_select(1, high.back).index_select(2, wide.back)
        return found.flatten(1, 2)

    @abstractmethod
    def attention(self, tokens: Tensor, bias: Tensor | None) -> Tensor:
        """The mixed values [batch, windows, heads, window * window, head_width] of `tokens` [batch, windows, ..., channels]."""

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Takes and returns what the library's layer does."""


class First(Layer):
    """`SwinLayer`, which normalizes before each part, and doesn't shift an image that is as small as its window."""

    def forward(
        self, hidden_states: Tensor, input_dimensions: Size, always_partition: bool = False, **_: Any
    ) -> tuple[Tensor, None]:
        own = self.original
        shift = self.shift(input_dimensions, always_partition)
        found = self.mixed(own.layernorm_before(hidden_states), input_dimensions, shift)
        hidden = hidden_states + own.attention.o_proj(found)
        return hidden + own.mlp(own.layernorm_after(hidden)), None

    def shift(self, size: Size, always: bool) -> Tensor | None:
        """The shift of the windows: 0 if the smaller side of an image is one window, unless `always` holds."""
        own = self.original
        if own.shift_size == 0:
            return None
        several = [torch.full((), length) > own.window_size for length in size]
        found: Tensor = own.shift_size * ((several[0] & several[1]) | always).long()
        return found

    def attention(self, tokens: Tensor, bias: Tensor | None) -> Tensor:
        own = self.original.attention
        query, key, value = (
            heads_of(project(tokens), own.num_attention_heads) for project in (own.q_proj, own.k_proj, own.v_proj)
        )
        near = own.relative_position_bias()
        return attend(query * own.scaling, key.transpose(-1, -2), value, near if bias is None else near + bias)


class Second(Layer):
    """`Swinv2Layer`, which normalizes behind each part, and whose windows and shift don't depend on the image."""

    def forward(self, hidden_states: Tensor, input_dimensions: Size, *_: Any, **__: Any) -> tuple[Tensor, ...]:
        own = self.original
        shift = torch.tensor(own.shift_size) if own.shift_size else None
        found = own.attention.output(self.mixed(hidden_states, input_dimensions, shift), hidden_states)
        hidden = hidden_states + own.layernorm_before(found)
        return (hidden + own.layernorm_after(own.output(own.intermediate(hidden))),)

    def attention(self, tokens: Tensor, bias: Tensor | None) -> Tensor:
        own = self.original.attention.self
        query, key, value = (
            heads_of(project(tokens), own.num_attention_heads) for project in (own.query, own.key, own.value)
        )
        query = F.normalize(query, dim=-1) * own.logit_scale.clamp(max=math.log(100)).exp()
        near = own.continuous_position_bias_mlp(own.relative_coords_table).flatten(0, 2)[own.relative_position_index]
        near = 16 * near.permute(2, 0, 1).sigmoid()
        near = near if bias is None else near + 2 * bias  # the library adds it twice
        return attend(query, F.normalize(key, dim=-1).transpose(-1, -2), value, near)


class Patches(nn.Module):
    """The patches of an image, which is filled up to whole patches."""

    block = 1

    def __init__(self, original: Any, _: Limits) -> None:
        super().__init__()
        self.original = original

    def forward(self, pixel_values: Tensor) -> Any:
        (high, wide), (height, width) = self.original.patch_size, pixel_values.shape[2:]
        return self.original(filled(pixel_values, 0, whole(width, wide) - width, 0, whole(height, high) - height))


class Merging(nn.Module):
    """Makes one token of four. The image is filled up to an even height and width."""

    block = 1

    def __init__(self, original: Any, _: Limits) -> None:
        super().__init__()
        self.original = original

    def forward(self, input_feature: Tensor, input_dimensions: Size) -> Any:
        (height, width), (high, wide) = input_dimensions, (whole(size, 2) for size in input_dimensions)
        tokens = filled(input_feature.unflatten(1, input_dimensions), 0, 0, 0, wide - width, 0, high - height)
        return self.original(tokens.flatten(1, 2), (high, wide))


@contextmanager
def as_it_was(model: nn.Module) -> Iterator[None]:
    """Restores the window and the shift of each layer of Swin, which a call with a small image replaces for good.

    A trace calls the lowered layers, which replace nothing.
    """
    layers: list[Any] = [module for module in model.modules() if isinstance(module, SwinLayer)]
    before = [(layer.window_size, layer.shift_size) for layer in layers]
    try:
        yield
    finally:
        for layer, (window, shift) in zip(layers, before, strict=True):
            layer.window_size, layer.shift_size = window, shift
