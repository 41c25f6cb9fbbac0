"""Hugging Face's dense encoders BERT, RoBERTa and DistilBERT: full attention as MatMul and Softmax.

    before  a boolean mask [batch, 1, sequence, sequence] for scaled_dot_product_attention, in every layer
    after   Softmax([Q / sqrt(d), 1] [K, b]^T) V, where the mask is a column of the keys, as in
            `edgexf_exporters.lowerings.reference.full`

The embeddings, output projections, norms and feed-forward layers are the library's modules. Two alternatives were
weighed. To choose the library's eager attention for the duration of a call, edgexf would write to the user's config;
and eager attention adds a mask to all scores. The graphs of `transformers.exporters` keep the fused operator, whose
reverse pass can't be traced.
Source: Devlin et al. 2019, section 3; Liu et al. 2019; Sanh et al. 2019; `BertModel`, `RobertaModel`,
`DistilBertModel` of transformers.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn, zeros_like
from transformers import BertModel, DistilBertModel, GenerationMixin, PreTrainedModel, RobertaModel
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling

from edgexf.bundle.manifest import Limits
from edgexf.errors import ExportError
from edgexf.models.full import join_heads, split_heads
from edgexf_exporters.lowerings.reference.full import attend, hide
from edgexf_exporters.source import Family


def mixed(query: Tensor, key: Tensor, value: Tensor, heads: int, attention_mask: Tensor | None) -> Tensor:
    """Mixed values, float32 [batch, sequence, width]; every token attends to the real tokens.

    query, key and value have the same shape. attention_mask int64 [batch, sequence]; without it all tokens are real.
    """
    query, key, value = (split_heads(tokens, heads) for tokens in (query, key, value))
    query = query / math.sqrt(query.shape[-1])
    if attention_mask is not None:
        query, key = hide(query, key, (attention_mask > 0)[:, None])
    return join_heads(attend(query, key.transpose(-1, -2), value))


class Encoder(nn.Module):
    """`BertModel` or `RobertaModel`: they have the same layers, and their embeddings know where positions start."""

    block = 1

    def __init__(self, original: BertModel | RobertaModel, _: Limits) -> None:
        super().__init__()
        self.original = original
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
            gathered = mixed(query, key, value, core.num_attention_heads, attention_mask)
            hidden = layer.feed_forward_chunk(layer.attention.output(gathered, hidden))
        pooled = None if own.pooler is None else own.pooler(hidden)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=pooled)


class Distilled(nn.Module):
    """`DistilBertModel`, which has no token types, no pooler, and other names."""

    block = 1

    def __init__(self, original: DistilBertModel, _: Limits) -> None:
        super().__init__()
        self.original = original
        layers: Any = original.transformer.layer
        self.layers = layers

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object) -> BaseModelOutput:
        hidden = self.original.embeddings(input_ids)
        for layer in self.layers:
            core = layer.attention
            query, key, value = core.q_lin(hidden), core.k_lin(hidden), core.v_lin(hidden)
            gathered = mixed(query, key, value, core.n_heads, attention_mask)
            hidden = layer.sa_layer_norm(core.out_lin(gathered) + hidden)
            hidden = layer.output_layer_norm(layer.ffn.ff_chunk(hidden) + hidden)
        return BaseModelOutput(last_hidden_state=hidden)


def describe(model: PreTrainedModel) -> Family:
    """Makes the `Family` of a dense encoder. Raises ExportError for a decoder, and for positions that are not absolute.

    RoBERTa's positions start behind the id of the padding token. transformers 5 no longer has the relative positions of
    older versions, but it still reads their configs, and runs such a model with absolute positions.
    """
    config: Any = model.config
    decoder = any(getattr(config, name, False) for name in ("is_decoder", "add_cross_attention"))
    if decoder or isinstance(model, GenerationMixin):
        raise ExportError(
            f"a dense encoder must read in both directions, got the decoder {type(model).__name__}; "
            "export another head of the same weights, with is_decoder and add_cross_attention off."
        )
    kind = getattr(config, "position_embedding_type", "absolute")
    if kind != "absolute":
        raise ExportError(
            f"the positions of a dense encoder must be absolute, got position_embedding_type {kind!r}, which this "
            "transformers ignores; export a model that was trained with absolute ones."
        )
    shifted = any(isinstance(module, RobertaModel) for module in model.modules())
    return Family(config.max_position_embeddings - ((config.pad_token_id or 0) + 1 if shifted else 0))
