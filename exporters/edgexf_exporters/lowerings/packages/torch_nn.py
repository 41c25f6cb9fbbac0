"""torch.nn's attention as MatMul, Add and Softmax, and its stacks without branches on the values of a mask.

    before  scaled_dot_product_attention, a fast path in one operator, `bool((mask == causal).all())`
    after   Softmax(Q K^T / sqrt(d) + bias) V          bias = the masks, -1e30 where a key is hidden

`TransformerEncoder` and `TransformerDecoder` compare a mask with the causal mask to choose a kernel. A trace can't
branch on values, and the numbers are the same without this choice. The answer to a query that sees no key is zeros, as
in the library's fused operator.
Source: Vaswani et al. 2017, eq. 1; `multi_head_attention_forward` of torch.nn.functional.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.bundle.manifest import Limits
from edgexf.models.full import join_heads
from edgexf_exporters.lowerings.reference.full import HIDDEN


def additive(mask: Tensor) -> Tensor:
    """The bias that a mask adds to the scores; a boolean mask is true at hidden keys.

    The bias is finite, so that no gradient is NaN.
    """
    if mask.dtype == torch.bool:
        return torch.where(mask, HIDDEN, 0.0)
    return mask.clamp(min=HIDDEN)


class Attention(nn.Module):
    block = 1

    def __init__(self, original: nn.MultiheadAttention, _: Limits) -> None:
        super().__init__()
        self.original = original

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Takes and returns what `torch.nn.MultiheadAttention` does."""
        own, rows = self.original, query.dim() == 3
        if not rows:
            query, key, value = (tokens.unsqueeze(0) for tokens in (query, key, value))
        elif not own.batch_first:
            query, key, value = (tokens.transpose(0, 1) for tokens in (query, key, value))
        heads = self.projected(query, key, value)
        scores = heads[0] @ heads[1].transpose(-1, -2) / math.sqrt(own.head_dim)  # [batch, heads, queries, keys]
        hinted = is_causal and key_padding_mask is None and not need_weights
        bias = causal(heads[0], heads[1]) if hinted else self.bias(attn_mask, key_padding_mask)
        weights = (scores if bias is None else scores + bias).softmax(dim=-1)
        mixed = weights @ heads[2]
        if bias is not None and self.extra == 0:
            mixed = torch.where((bias > HIDDEN / 2).any(dim=-1, keepdim=True), mixed, 0.0)
        answer = own.out_proj(join_heads(mixed))
        shown = (weights.mean(dim=1) if average_attn_weights else weights) if need_weights else None
        if not rows:
            return answer.squeeze(0), None if shown is None else shown.squeeze(0)
        return answer if own.batch_first else answer.transpose(0, 1), shown

    @property
    def extra(self) -> int:
        """The number of keys behind the keys of the input; every query sees these keys."""
        return int(self.original.bias_k is not None) + int(self.original.add_zero_attn)

    def projected(self, *tokens: Tensor) -> list[Tensor]:
        """Queries, keys and values [batch, heads, tokens, head_width]."""
        own: Any = self.original
        packed = own._qkv_same_embed_dim
        weights = thirds(own.in_proj_weight) if packed else (own.q_proj_weight, own.k_proj_weight, own.v_proj_weight)
        biases = (None,) * 3 if own.in_proj_bias is None else thirds(own.in_proj_bias)
        query, key, value = (F.linear(*parts) for parts in zip(tokens, weights, biases, strict=True))
        if own.bias_k is not None:
            key, value = (
                torch.cat((one, bias.expand(one.shape[0], -1, -1)), dim=1)
                for one, bias in ((key, own.bias_k), (value, own.bias_v))
            )
        if own.add_zero_attn:
            key, value = (F.pad(one, (0, 0, 0, 1)) for one in (key, value))
        return [one.unflatten(2, (own.num_heads, -1)).transpose(1, 2) for one in (query, key, value)]

    def bias(self, attention: Tensor | None, padding: Tensor | None) -> Tensor | None:
        """Both masks as one bias, which broadcasts to [batch, heads, queries, keys]."""
        parts = []
        if attention is not None:
            mask = additive(attention)
            whole = mask.dim() == 3 and mask.shape[0] != 1  # [batch * heads, queries, keys]
            parts.append(mask.unflatten(0, (-1, self.original.num_heads)) if whole else mask)
        if padding is not None:
            parts.append(additive(padding if padding.dim() == 2 else padding.unsqueeze(0))[:, None, None])
        bias = sum(parts[1:], parts[0]) if parts else None
        return bias if bias is None or self.extra == 0 else F.pad(bias, (0, self.extra))


def thirds(packed: Tensor) -> tuple[Tensor, ...]:
    """Splits packed weights into the parts for queries, keys and values."""
    each = len(packed) // 3
    return tuple(packed[start : start + each] for start in (0, each, 2 * each))


def causal(query: Tensor, key: Tensor) -> Tensor:
    """The causal bias [queries, keys]; query and key are [batch, heads, tokens, head_width]."""
    place, seen = torch.arange(query.shape[2]), torch.arange(key.shape[2])
    return torch.where(seen <= place.unsqueeze(1), 0.0, HIDDEN)


class Encoder(nn.Module):
    block = 1

    def __init__(self, original: nn.TransformerEncoder, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.layers: Any = original.layers

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Takes and returns what `torch.nn.TransformerEncoder` does."""
        for layer in self.layers:
            src = layer(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal))
        return src if self.original.norm is None else self.original.norm(src)


class Decoder(nn.Module):
    block = 1

    def __init__(self, original: nn.TransformerDecoder, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.layers: Any = original.layers

    def forward(self, tgt: Tensor, memory: Tensor, tgt_is_causal: bool | None = None, **masks: Any) -> Tensor:
        """Takes and returns what `torch.nn.TransformerDecoder` does."""
        for layer in self.layers:
            tgt = layer(tgt, memory, tgt_is_causal=bool(tgt_is_causal), **masks)
        return tgt if self.original.norm is None else self.original.norm(tgt)
