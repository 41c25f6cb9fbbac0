"""Hugging Face's dense encoders BERT, RoBERTa and their relatives: full attention as MatMul and Softmax.

    before  a boolean mask [batch, 1, sequence, sequence] for scaled_dot_product_attention, in every layer
    after   Softmax([Q / sqrt(d), 1] [K, b]^T) V, where the mask is a column of the keys, as in
            `edgexf_exporters.lowerings.reference.full`; of long inputs a slice of the queries at a time

The embeddings, output projections, norms and feed-forward layers are the library's modules. Two alternatives were
weighed. To choose the library's eager attention for the duration of a call, edgexf would write to the user's config;
and eager attention adds a mask to all scores. The graphs of `transformers.exporters` keep the fused operator, whose
reverse pass can't be traced.
XLM-RoBERTa and CamemBERT are RoBERTa under other names. MPNet adds a bias of the distance to the scores, ESM turns
queries and keys by their positions.
Source: Devlin et al. 2019, section 3; Liu et al. 2019; Sanh et al. 2019; Song et al. 2020; Rives et al. 2021;
`BertModel`, `RobertaModel`, `DistilBertModel`, `MPNetModel`, `EsmModel` of transformers.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, arange, nn, where, zeros_like
from transformers import (
    BertModel,
    DistilBertModel,
    EsmModel,
    GenerationMixin,
    MPNetModel,
    PreTrainedModel,
    RobertaModel,
)
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling
from transformers.models.esm.modeling_esm import apply_rotary_pos_emb

from edgexf.bundle.manifest import Limits
from edgexf.errors import ExportError
from edgexf.models.full import join_heads, split_heads
from edgexf_exporters.lowerings.reference.full import attend, hide
from edgexf_exporters.source import Family
from edgexf_exporters.trace.sliced import sliced

LONG = 1024  # tokens: a model for longer inputs attends a slice of its queries at a time


def mixed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    heads: int,
    attention_mask: Tensor | None,
    bias: Tensor | None = None,
    rotation: tuple[Tensor, Tensor] | None = None,
    empty: bool = False,
    long: bool = False,
) -> Tensor:
    """Mixed values, float32 [batch, sequence, width]; every token attends to the real tokens, `long` by slices of the queries.

    In a row without real tokens, a token attends to all tokens alike, or with `empty` to none: its mixed values are 0.

    query, key and value have the same shape. attention_mask int64 [batch, sequence]; without it all tokens are real.
    bias float32 [1, heads, sequence, sequence] is added to the scores. rotation holds the cosines and the sines by
    which queries and keys turn, float32 [1, sequence, head_width] each.
    """
    query, key, value = (split_heads(tokens, heads) for tokens in (query, key, value))
    query = query / math.sqrt(query.shape[-1])
    if rotation is not None:
        query, key = apply_rotary_pos_emb(query, key, *rotation)
    if attention_mask is not None:
        query, key = hide(query, key, (attention_mask > 0)[:, None])
    if long and bias is None:
        found = join_heads(sliced(query, key, value, causal=False, masked=attention_mask is not None))
    else:
        found = join_heads(attend(query, key.transpose(-1, -2), value, bias))
    if attention_mask is None or not empty:
        return found
    return where((attention_mask > 0).any(dim=1)[:, None, None], found, 0.0)


class Encoder(nn.Module):
    """`BertModel`, `RobertaModel` and the same under other names: their embeddings know where positions start."""

    block = 1
    empty = False  # see `mixed`

    def __init__(self, original: BertModel | RobertaModel, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.long = original.config.max_position_embeddings > LONG
        layers: Any = original.encoder.layer
        self.layers = layers

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **_: object,
    ) -> BaseModelOutputWithPooling:
        own = self.original
        types = zeros_like(input_ids) if token_type_ids is None else token_type_ids
        hidden = own.embeddings(input_ids=input_ids, token_type_ids=types)
        for layer in self.layers:
            core = layer.attention.self
            query, key, value = core.query(hidden), core.key(hidden), core.value(hidden)
            gathered = mixed(
                query, key, value, core.num_attention_heads, attention_mask, empty=self.empty, long=self.long
            )
            hidden = layer.feed_forward_chunk(layer.attention.output(gathered, hidden))
        pooled = None if own.pooler is None else own.pooler(hidden)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=pooled)


class Distilled(nn.Module):
    """`DistilBertModel`, which has no token types, no pooler, and other names."""

    block = 1
    empty = False  # see `mixed`

    def __init__(self, original: DistilBertModel, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.long = original.config.max_position_embeddings > LONG
        layers: Any = original.transformer.layer
        self.layers = layers

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object) -> BaseModelOutput:
        hidden = self.original.embeddings(input_ids)
        for layer in self.layers:
            core = layer.attention
            query, key, value = core.q_lin(hidden), core.k_lin(hidden), core.v_lin(hidden)
            gathered = mixed(query, key, value, core.n_heads, attention_mask, empty=self.empty, long=self.long)
            hidden = layer.sa_layer_norm(core.out_lin(gathered) + hidden)
            hidden = layer.output_layer_norm(layer.ffn.ff_chunk(hidden) + hidden)
        return BaseModelOutput(last_hidden_state=hidden)


class Distanced(nn.Module):
    """`MPNetModel`, whose scores have a bias of the distance between the two tokens, and which has no token types."""

    block = 1

    def __init__(self, original: MPNetModel, _: Limits) -> None:
        super().__init__()
        self.original = original
        layers: Any = original.encoder.layer
        self.layers = layers

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object
    ) -> BaseModelOutputWithPooling:
        own = self.original
        hidden = own.embeddings(input_ids=input_ids)
        bias = own.encoder.compute_position_bias(hidden[:1])
        for layer in self.layers:
            core = layer.attention.attn
            query, key, value = core.q(hidden), core.k(hidden), core.v(hidden)
            gathered = core.o(mixed(query, key, value, core.num_attention_heads, attention_mask, bias))
            hidden = layer.attention.LayerNorm(gathered + hidden)
            hidden = layer.output(layer.intermediate(hidden), hidden)
        pooled = None if own.pooler is None else own.pooler(hidden)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=pooled)


class Rotated(nn.Module):
    """`EsmModel`, which normalizes before each part of a layer, and whose queries and keys turn by their positions."""

    block = 1
    empty = False  # see `mixed`

    def __init__(self, original: EsmModel, _: Limits) -> None:
        super().__init__()
        self.original = original
        self.long = original.config.max_position_embeddings > LONG
        layers: Any = original.encoder.layer
        self.layers = layers

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object
    ) -> BaseModelOutputWithPooling:
        own: Any = self.original
        hidden = own.embeddings(input_ids=input_ids, attention_mask=attention_mask)
        rotation = None
        if own.rotary_embeddings is not None:
            rotation = own.rotary_embeddings(hidden, arange(hidden.shape[1]).unsqueeze(0))
        for layer in self.layers:
            core, normed = layer.attention.self, layer.attention.LayerNorm(hidden)
            query, key, value = core.query(normed), core.key(normed), core.value(normed)
            gathered = mixed(
                query, key, value, core.num_attention_heads, attention_mask, None, rotation, self.empty, self.long
            )
            hidden = layer.feed_forward_chunk(layer.attention.output(gathered, hidden))
        hidden = own.encoder.emb_layer_norm_after(hidden)
        pooled = None if own.pooler is None else own.pooler(hidden)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=pooled)


def describe(model: PreTrainedModel) -> Family:
    """Makes the `Family` of a dense encoder. Raises ExportError for a decoder, and for positions of an unknown kind.

    transformers 5 no longer has the relative positions of older versions, but it still reads their configs, and runs
    such a model with absolute positions.
    """
    config: Any = model.config
    decoder = any(getattr(config, name, False) for name in ("is_decoder", "add_cross_attention"))
    if decoder or isinstance(model, GenerationMixin):
        raise ExportError(
            f"a dense encoder must read in both directions, got the decoder {type(model).__name__}; "
            "export another head of the same weights, with is_decoder and add_cross_attention off."
        )
    kind, known = getattr(config, "position_embedding_type", "absolute"), position_kinds(model)
    if kind not in known:
        raise ExportError(
            f"the positions of a dense encoder must be {' or '.join(known)}, got position_embedding_type {kind!r}, which this "
            f"transformers ignores; export a model that was trained with {known[0]} ones."
        )
    reach = config.max_position_embeddings - first_position(model)
    distances = any(isinstance(module, MPNetModel) for module in model.modules())
    return Family(reach, sliced=config.max_position_embeddings > LONG and not distances)


def position_kinds(model: PreTrainedModel) -> tuple[str, ...]:
    """The kinds of positions that the library's code of this family computes."""
    return ("absolute", "rotary") if any(isinstance(module, EsmModel) for module in model.modules()) else ("absolute",)


def first_position(model: PreTrainedModel) -> int:
    """The row of the position embeddings that the first token has.

    RoBERTa and its relatives count positions from behind the id of the padding token, which their embeddings hold.
    """
    starts = (getattr(module, "padding_idx", None) for module in model.modules() if hasattr(module, "word_embeddings"))
    return next((start + 1 for start in starts if start is not None), 0)
