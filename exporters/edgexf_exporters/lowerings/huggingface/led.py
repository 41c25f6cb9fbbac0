"""Hugging Face's LED: Longformer's attention in the encoder, plain full attention in the decoder.

    before  the encoder as in `edgexf_exporters.lowerings.huggingface.longformer`; a decoder whose reshapes guess sizes
    after   the lowered attention of Longformer in every encoder layer; in the decoder MatMul, Add of
            the mask, Softmax, MatMul

In each step the decoder reads all written tokens and keeps no cache: a step costs as much as a run over all of them.
Padding behind the written tokens changes no earlier answer, because no token attends to later tokens.
Source: Beltagy et al. 2020, section 7; `LEDModel` of transformers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.led.modeling_led import LEDDecoderAttention, LEDEncoder, LEDEncoderBaseModelOutput

from edgexf.bundle.manifest import Decoder, Limits
from edgexf.models.full import join_heads, split_heads
from edgexf_exporters.lowerings.huggingface.longformer import LongformerAttention, TokenMasks, whole_windows
from edgexf_exporters.source import Family


class Encoder(nn.Module):
    """`LEDEncoder` with lowered attention, over lengths that are multiples of `block`."""

    def __init__(self, original: LEDEncoder, limits: Limits) -> None:
        super().__init__()
        self.original = original
        self.max_global = limits.max_global
        layers: Any = original.layers
        self.layers = layers
        attentions = [LongformerAttention(layer.self_attn.longformer_self_attn) for layer in layers]
        self.attentions = nn.ModuleList(attentions)
        self.block = whole_windows(attentions, self.max_global)

    def forward(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor,
        global_attention_mask: Tensor,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        **_: object,
    ) -> LEDEncoderBaseModelOutput:
        own = self.original
        seen = TokenMasks.of(attention_mask, global_attention_mask, self.max_global)
        vectors = own.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        positions = torch.arange(vectors.shape[1]).clamp(max=own.max_source_positions - 1)  # only padding lies beyond
        table = own.embed_positions.weight
        hidden = own.layernorm_embedding(vectors + nn.functional.embedding(positions, table))
        states = [hidden]
        for layer, attention in zip(self.layers, self.attentions, strict=True):
            mixed = layer.self_attn.output(attention(hidden, seen))
            hidden = layer.self_attn_layer_norm(hidden + mixed)
            hidden = layer.final_layer_norm(hidden + layer.fc2(layer.activation_fn(layer.fc1(hidden))))
            states.append(hidden)
        return LEDEncoderBaseModelOutput(
            last_hidden_state=hidden, hidden_states=tuple(states) if output_hidden_states else None
        )


class DecoderAttention(nn.Module):
    """Attention of written tokens to each other, or to the encoder's output."""

    block = 1

    def __init__(self, original: LEDDecoderAttention, _: Limits) -> None:
        super().__init__()
        self.original = original

    def forward(
        self,
        hidden_states: Tensor,
        key_value_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: object,
    ) -> tuple[Tensor, None, None]:
        """The mixed values of `hidden_states` [batch, written, width].

        key_value_states [batch, sequence, width] is the encoder's output, or None. attention_mask [batch, 1, written,
        keys] is added to the scores.
        """
        own = self.original
        states = hidden_states if key_value_states is None else key_value_states
        query, key, value = (
            split_heads(tokens, own.num_heads)
            for tokens in (own.q_proj(hidden_states) * own.scaling, own.k_proj(states), own.v_proj(states))
        )
        scores = query @ key.transpose(-1, -2)
        scores = scores if attention_mask is None else scores + attention_mask
        return own.out_proj(join_heads(scores.softmax(dim=-1) @ value)), None, None


def describe(model: PreTrainedModel) -> Family:
    """Makes the `Family` of an LED. Explanations are about the source, not about the written tokens.

    The library pads to a multiple of its longest window. So the longest input is the largest such multiple that has
    positions.
    """
    (encoder,) = (module for module in model.modules() if isinstance(module, LEDEncoder))
    config: Any = model.config
    windows = config.attention_window
    whole = windows if isinstance(windows, int) else max(windows)
    reach = config.max_encoder_position_embeddings // whole * whole
    decoder = Decoder(config.decoder_start_token_id, config.max_decoder_position_embeddings)
    return Family(reach, decoder=decoder, embedding=encoder.embed_tokens)
