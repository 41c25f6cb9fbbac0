"""Small models of transformers that need whole blocks, for custom modules that hold one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    BigBirdConfig,
    BigBirdModel,
    BigBirdPegasusConfig,
    BigBirdPegasusModel,
    FunnelConfig,
    FunnelModel,
    LEDConfig,
    LEDModel,
    LongformerConfig,
    LongformerModel,
    NystromformerConfig,
    NystromformerModel,
    ReformerConfig,
    ReformerModel,
)

VOCABULARY, LONGEST = 60, 48
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
}  # fmt: skip
BASES: dict[str, Callable[[], nn.Module]] = {
    "longformer": lambda: LongformerModel(
        LongformerConfig(**SIZES, max_position_embeddings=LONGEST + 2, attention_window=[4, 8], pad_token_id=1)
    ),
    "bigbird": lambda: BigBirdModel(
        BigBirdConfig(**SIZES, max_position_embeddings=LONGEST, block_size=4, num_random_blocks=1)
    ),
    "bigbird_pegasus": lambda: BigBirdPegasusModel(
        BigBirdPegasusConfig(
            vocab_size=VOCABULARY, d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, max_position_embeddings=LONGEST,
            block_size=4, num_random_blocks=1,
        )
    ).get_encoder(),
    "led": lambda: LEDModel(
        LEDConfig(
            vocab_size=VOCABULARY, d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, attention_window=8,
            max_encoder_position_embeddings=LONGEST, max_decoder_position_embeddings=LONGEST,
        )
    ),
    "reformer": lambda: ReformerModel(
        ReformerConfig(
            vocab_size=VOCABULARY, hidden_size=16, num_attention_heads=2, attention_head_size=8, feed_forward_size=24,
            attn_layers=["local", "lsh"], local_attn_chunk_length=4, lsh_attn_chunk_length=4, num_buckets=4,
            max_position_embeddings=LONGEST, axial_pos_shape=[6, 8], axial_pos_embds_dim=[8, 8], hash_seed=3,
            is_decoder=False,
        )
    ),
    "funnel": lambda: FunnelModel(
        FunnelConfig(
            vocab_size=VOCABULARY, d_model=16, n_head=2, d_head=8, d_inner=24, block_sizes=[1, 1, 1], num_decoder_layers=1
        )
    ),
    "nystromformer": lambda: NystromformerModel(
        NystromformerConfig(
            **SIZES, max_position_embeddings=LONGEST, segment_means_seq_len=LONGEST, num_landmarks=8, conv_kernel_size=3
        )
    ),
}  # fmt: skip
WIDTHS = {"reformer": 32}


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(tokens.dtype)
    return (tokens * weights).sum(1) / weights.sum(1)


def inputs(rows: int, length: int, padding: int) -> tuple[Tensor, Tensor]:
    """Ids and a mask; the last row has `padding` hidden tokens."""
    ids = torch.randint(3, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(length))
    mask = torch.ones_like(ids)
    mask[-1, length - padding :] = 0
    return ids, mask
