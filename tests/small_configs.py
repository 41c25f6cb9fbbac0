"""Small configs of any model type of transformers: every size that has a usual name shrinks, in the parts of a config too.

In: a model type. Out: configs to try in order. The first shrinks widths, layers, tables and images; the later ones leave more
of the library's own sizes, for models whose sizes hang together in their own way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING

WORDS = 99
WIDTHS = (
    "hidden_size", "d_model", "n_embd", "dim", "embed_dim", "embedding_size", "decoder_hidden_size", "encoder_hidden_size",
    "text_hidden_size", "output_hidden_size", "out_hidden_size", "projection_dim", "word_embed_proj_dim", "emb_dim",
    "text_embed_dim", "vision_hidden_size", "projection_size", "attention_hidden_size", "n_embed",
    "projector_hidden_size", "hidden_size_per_layer_input", "pooler_output_size", "vision_output_dim",
    "cross_attention_hidden_size", "text_config_hidden_size", "fpn_hidden_size", "encoder_hidden_dim", "lru_width",
    "decoder_embed_dim", "fusion_hidden_size", "attention_dim", "entity_emb_size", "hidden_size_per_layer",
    "d_embed", "qformer_hidden_size", "embedding_dim", "state_size_width", "adapter_hidden_size", "d_latents",
)  # fmt: skip
HEADS = (
    "num_attention_heads", "num_heads", "n_head", "n_heads", "attention_heads", "encoder_attention_heads",
    "decoder_attention_heads", "decoder_num_attention_heads", "swa_num_attention_heads", "num_query_heads",
    "linear_num_heads", "resampler_n_heads", "index_n_heads", "mamba_n_heads", "mamba_num_heads",
    "linear_num_key_heads", "linear_num_value_heads", "num_global_heads",
)  # fmt: skip
PAIRS = (
    "num_key_value_heads", "n_kv_heads", "swa_num_key_value_heads", "num_experts_per_tok", "moe_topk",
    "moe_k", "num_selected_experts", "top_k_experts",
)  # fmt: skip
HEAD_WIDTHS = (
    "head_dim", "d_kv", "v_head_dim", "qk_nope_head_dim", "qk_rope_head_dim", "swa_head_dim", "linear_key_head_dim",
    "linear_value_head_dim", "linear_head_dim", "dim_head", "global_head_dim", "rotary_dim", "resampler_head_dim",
    "attention_head_size", "d_head", "index_head_dim", "head_size",
)  # fmt: skip
RANKS = ("kv_lora_rank", "q_lora_rank", "qk_head_dim", "mamba_d_state", "mamba_d_head", "mamba_head_dim")  # fmt: skip
INNERS = (
    "intermediate_size", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "d_ff", "mlp_dim", "n_inner",
    "moe_intermediate_size", "shared_expert_intermediate_size", "decoder_intermediate_size", "ffn_hidden_size",
    "d_inner", "mlp_hidden_size", "dense_intermediate_size", "intermediate_size_mlp", "num_filters",
    "moe_shared_expert_intermediate_size", "feed_forward_size", "dim_feedforward", "ffn_intermediate_size",
    "intermediate_dim",
)  # fmt: skip
LAYERS = (
    "num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers", "depth",
    "num_decoder_layers", "decoder_num_layers", "num_encoder_layers", "layers", "decoder_num_hidden_layers",
    "encoder_num_hidden_layers", "resampler_depth", "num_blocks_per_stage", "l_layers", "x_layers", "r_layers",
    "vision_layers", "num_fusion_layers", "num_self_attends_per_block", "depth_layers",
)  # fmt: skip
EXPERTS = ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts", "n_experts", "num_queries")  # fmt: skip
TABLES = ("vocab_size", "vocab_size_per_layer_input", "text_vocab_size", "entity_vocab_size", "decoder_vocab_size")  # fmt: skip
LENGTHS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "max_seq_length", "max_sequence_length", "seq_length",
    "max_encoder_position_embeddings", "max_decoder_position_embeddings", "max_target_positions", "n_ctx",
    "original_max_position_embeddings",
)  # fmt: skip
IMAGES = ("image_size", "img_size", "input_size", "crop_size", "pretrain_image_size")  # fmt: skip
PATCHES = ("patch_size",)  # fmt: skip
WINDOWS = ("max_2d_position_embeddings", "chunk_size", "sliding_window", "attention_chunk_size", "local_attention", "sliding_window_size")  # fmt: skip
SINGLE = ("n_group", "topk_group", "n_shared_experts", "first_k_dense_replace", "num_nextn_predict_layers")  # fmt: skip
# The size of the names of each group.
GROUPS = (
    (32, WIDTHS), (4, HEADS), (2, PAIRS), (8, HEAD_WIDTHS), (16, RANKS), (64, INNERS), (2, LAYERS), (4, EXPERTS),
    (WORDS, TABLES), (64, LENGTHS), (64, IMAGES), (16, PATCHES), (32, WINDOWS), (1, SINGLE),
)  # fmt: skip
SIZES = {name: size for size, group in GROUPS for name in group}
# Attempts in order: the sizes that each of them changes.
WIDE = {
    **SIZES,
    **dict.fromkeys(WIDTHS, 256),
    **dict.fromkeys((*HEADS, *PAIRS), 2),
}  # heads of 128, as most models have


def only(*groups: tuple[str, ...]) -> dict[str, int]:
    return {name: SIZES[name] for group in groups for name in group}


def without(sizes: Mapping[str, int], *groups: tuple[str, ...]) -> dict[str, int]:
    left = {name for group in groups for name in group}
    return {name: size for name, size in sizes.items() if name not in left}


ATTEMPTS = (
    SIZES,
    without(SIZES, HEAD_WIDTHS, RANKS, PATCHES),
    without(WIDE, HEAD_WIDTHS, RANKS, PATCHES),
    only(LAYERS, TABLES, INNERS, EXPERTS, IMAGES),
    only(LAYERS, TABLES, EXPERTS),
    only(TABLES),
)
DEPTHS = ("depths", "stage_numb_of_layers", "blocks_per_stage", "layers", "num_layers", "decoder_depths")
MADE = (
    "head_dim",
    "n_routed_experts",
    "num_experts",
    "num_experts_per_tok",
    "n_shared_experts",
)  # None is no size, though a default
KINDS = ("layer_types", "layers_block_type", "block_types", "indexer_types")  # a kind for each layer
ROPE = {"mrope_section": [2, 1, 1], "partial_rotary_factor": 1.0}  # parts of half a head


def sectioned(config: Any, rope: Mapping[str, Any]) -> bool:
    """Whether the model's file cuts the rotary positions of a head into sections."""
    if rope.get("rope_type") not in ("default", "mrope"):
        return False
    module = find_spec(type(config).__module__.replace(".configuration_", ".modeling_"))
    return module is not None and "mrope_section" in Path(str(module.origin)).read_text()


def small_configs(model_type: str) -> Iterator[Any]:
    """Yields configs of a model type, the smallest first."""
    cls = CONFIG_MAPPING[model_type]
    default = cls()
    for sizes, whole in product(ATTEMPTS, (False, True)):
        config = cls(**changes(default, sizes, whole))
        if getattr(config, "pad_token_id", 0) is None:
            config.pad_token_id = 0  # a classifier of a decoder looks for the last token before padding
        if getattr(config, "is_encoder_decoder", False) and getattr(config, "decoder_start_token_id", None) is None:
            config.decoder_start_token_id = 0  # as published ones have it
        yield config


def changes(config: Any, sizes: Mapping[str, int], whole: bool = False) -> dict[str, Any]:
    """The arguments of a config that shrink it, those of its parts in dictionaries.

    With `whole`, a part keeps what the library's default of the whole says of it. Without, what follows from its sizes may
    follow from the new ones.
    """
    found: dict[str, Any] = {}
    values = config.to_dict()
    for name, value in values.items():
        part = vars(config).get(name)
        if hasattr(part, "to_dict") and hasattr(part, "model_type"):
            kept = part.to_dict() if whole else {}
            found[name] = {**kept, **changes(part, sizes, whole), "model_type": part.model_type}
        elif name == "attention_types" and "num_layers" in sizes:
            found[name] = [[["global", "local"], 1]]  # of GPT-Neo: kinds, and how often they follow each other
        elif value is None and name in MADE and name in sizes:
            found[name] = sizes[name]
        elif name == "mlp_layer_types" and value is None:
            found[name] = ["dense", "sparse"]
        elif name.endswith(("_token_id", "_token_index")):
            found |= token(name, value)
        elif "num_layers" not in sizes and name in (*DEPTHS, *(one for one in values if one.endswith(KINDS))):
            continue  # a kind for each layer: as many as there are
        elif name in DEPTHS and isinstance(value, list | tuple):
            found[name] = type(value)([1] * len(value))
        elif name.endswith(KINDS) and isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
            kinds = list(dict.fromkeys(value))
            found[name] = [kinds[place % len(kinds)] for place in range(2)] if kinds else value
        elif name in sizes and not isinstance(value, bool):
            found |= sized(name, value, sizes[name])
        elif name == "rope_parameters" and isinstance(value, Mapping) and sizes is SIZES and sectioned(config, value):
            found[name] = {**value, **ROPE}
    if "kv_lora_rank" in values and "num_key_value_heads" in found:
        found["num_key_value_heads"] = found.get("num_attention_heads", values["num_attention_heads"])
    return found


def sized(name: str, value: Any, size: int) -> dict[str, Any]:
    if isinstance(value, int):
        return {name: min(value, size)} if value > 0 else {}
    if name in (*IMAGES, *PATCHES) and isinstance(value, list | tuple):
        return {name: type(value)([size] * len(value))}
    return {}


def token(name: str, value: Any) -> dict[str, Any]:
    """A special id inside the small table of words: each name has its own."""
    if isinstance(value, list):
        return {name: [WORDS - 1]}
    return {name: WORDS - 2 - sum(map(ord, name)) % 20} if isinstance(value, int) and value >= WORDS - 25 else {}
