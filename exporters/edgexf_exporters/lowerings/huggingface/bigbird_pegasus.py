"""The encoder of BigBird-Pegasus: the block-sparse attention of BigBird between layers that norm first.

    before  the attention of BigBird, copied; the encoder pads its states to whole blocks, behind the positions
    after   `BlockSparseAttention` of `edgexf_exporters.lowerings.huggingface.bigbird` in every layer; the graph pads once

What was compared with BigBird, in transformers 5.24:

- The attention is BigBird's: scores by 1 / sqrt(head width), -10,000 to hide a key, nothing mixed into a hidden token.
  The projections have no bias unless `use_bias` asks for it, and neither has the output.
- Random blocks: a seed of numpy (the number of the layer) counts in training alone. In eval mode both makers of plans, the
  one of the lengths 1,024, 3,072 and 4,096 and that of all others, return zeros: each random place names block 0. So its
  keys count 1 + num_random_blocks times, as in BigBird.
- Up to (5 + 2 * num_random_blocks) * block_size tokens the encoder attends fully, and its object does so for good.
- Positions are plain, from 0 on. Padding gets none, for it comes later. So an input may be as long as the positions,
  whole blocks or not, but for one that pads to 1,024, 3,072 or 4,096: there the plan is cut from that of the longest
  input, which has too few rows.

The decoder reads the encoder through full attention. The mask that it gets marks the end of an input by -1, which its
library would take for a real token. `Decoder` hides it. Attention weights explain a pair too: their first row is where the
explained value reads the encoder's last layer, whatever stands above it.
Source: Zaheer et al. 2020, section 4.1; `BigBirdPegasusModel` of transformers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.bigbird_pegasus.modeling_bigbird_pegasus import BigBirdPegasusDecoder, BigBirdPegasusEncoder

from edgexf.bundle import manifest as contract
from edgexf_exporters.lowerings.huggingface.bigbird import (
    PADDING_MARK,
    BlockSparseAttention,
    Frame,
    TokenMasks,
    as_it_was,
    check_sparse,
    switch_of,
)
from edgexf_exporters.source import Family

PLANNED = (1024, 3072, 4096)  # lengths whose plan the library cuts from that of the longest input


class Encoder(nn.Module):
    """`BigBirdPegasusEncoder` with lowered attention; the caller sets `frame` before each call."""

    frame: Frame = (0, 0)
    padding_mark = PADDING_MARK

    def __init__(self, original: BigBirdPegasusEncoder, _: contract.Limits) -> None:
        super().__init__()
        self.original = original
        self.block = original.config.block_size
        layers: Any = original.layers
        self.layers = layers
        self.attentions = nn.ModuleList([BlockSparseAttention(layer.self_attn.self) for layer in layers])

    def forward(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        **_: object,
    ) -> BaseModelOutput:
        own = self.original
        vectors = own.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        positions = torch.arange(vectors.shape[1]).clamp(max=own.max_source_positions - 1)  # only padding lies beyond
        hidden = vectors + nn.functional.embedding(positions, own.embed_positions.weight)
        states = [hidden]
        seen = TokenMasks.of(attention_mask, hidden, own.config, self.frame)
        for layer, attention in zip(self.layers, self.attentions, strict=True):
            mixed = attention(layer.self_attn_layer_norm(hidden), seen, self.frame)
            hidden = hidden + layer.self_attn.output(mixed)
            inner = layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden)))
            hidden = hidden + layer.fc2(inner)
            states.append(hidden)
        states[-1] = hidden = own.layernorm_embedding(hidden)
        return BaseModelOutput(last_hidden_state=hidden, hidden_states=tuple(states) if output_hidden_states else None)


class Decoder(nn.Module):
    """`BigBirdPegasusDecoder`, which takes a token behind the end of a source for none of it."""

    block = 1

    def __init__(self, original: BigBirdPegasusDecoder, _: contract.Limits) -> None:
        super().__init__()
        self.original = original

    def forward(self, *args: Any, encoder_attention_mask: Tensor | None = None, **kwargs: Any) -> Any:
        mask = None if encoder_attention_mask is None else encoder_attention_mask.clamp(min=0)
        return self.original(*args, encoder_attention_mask=mask, **kwargs)


def describe(model: PreTrainedModel) -> Family:
    """Makes the `Family` of a BigBird-Pegasus, or of its encoder. Explanations are about the source.

    Raises ExportError for a model that attends fully at every length.
    """
    (encoder,) = (module for module in model.modules() if isinstance(module, BigBirdPegasusEncoder))
    check_sparse(encoder.attention_type, "BigBird-Pegasus")
    config: Any = model.config
    block, longest = config.block_size, config.max_position_embeddings
    switch = switch_of(config)
    if longest > switch and -(-longest // block) * block in PLANNED:
        longest = longest // block * block
    return Family(
        longest,
        f"to_multiple({block})",
        min(switch, longest),
        decoder=contract.Decoder(config.decoder_start_token_id, config.max_position_embeddings),
        embedding=encoder.embed_tokens,
        call_context=as_it_was,
    )
