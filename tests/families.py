"""Small models of Hugging Face's families with random weights, and inputs for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

import edgexf
from edgexf_exporters.explain.methods import METHODS

TOLERANCE = 1e-4  # relative to an output's largest value, as in the contract
VOCABULARY = 50
BIG_BIRD = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 37, "pad_token_id": 0,
    "max_position_embeddings": 160, "block_size": 8, "num_random_blocks": 2, "sep_token_id": 3,
}  # fmt: skip
BIG_BIRD_PEGASUS = {
    "vocab_size": VOCABULARY, "d_model": 32, "decoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 37,
    "decoder_attention_heads": 4, "decoder_ffn_dim": 37, "max_position_embeddings": 61, "block_size": 4,
    "num_random_blocks": 2, "pad_token_id": 0,
}  # fmt: skip
DENSE = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 130,
}  # fmt: skip
ESM = {"position_embedding_type": "rotary", "token_dropout": True, "mask_token_id": 5, "pad_token_id": 1}
FUNNEL = {
    "vocab_size": VOCABULARY, "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 37, "num_decoder_layers": 1,
    "max_position_embeddings": 130,
}  # fmt: skip
LED = {
    "vocab_size": VOCABULARY, "d_model": 32, "decoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 37,
    "decoder_attention_heads": 4, "decoder_ffn_dim": 37, "max_encoder_position_embeddings": 128,
    "max_decoder_position_embeddings": 40,
}  # fmt: skip
LONG_T5 = {
    "vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_heads": 4, "local_radius": 15,
    "global_block_size": 64, "encoder_attention_type": "transient-global", "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
}  # fmt: skip
LONGFORMER = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 37, "bos_token_id": 0,
    "max_position_embeddings": 130, "pad_token_id": 1, "sep_token_id": 2, "type_vocab_size": 1,
}  # fmt: skip
MODERN_BERT = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 37, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2, "max_position_embeddings": 300,
    "local_attention": 9,
}  # fmt: skip
NYSTROMFORMER = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 37,
    "max_position_embeddings": 60, "segment_means_seq_len": 48, "num_landmarks": 6, "conv_kernel_size": 5,
}  # fmt: skip
REFORMER = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_attention_heads": 4, "attention_head_size": 8, "pad_token_id": 0,
    "feed_forward_size": 37, "max_position_embeddings": 160, "axial_pos_shape": [16, 10], "axial_pos_embds_dim": [12, 20],
    "local_attn_chunk_length": 8, "lsh_attn_chunk_length": 16, "num_hashes": 2,
}  # fmt: skip


def config(family: str, layers: int, **changes: Any) -> Any:
    windows = [8, 16][:layers]
    if family == "Nystromformer":
        return transformers.NystromformerConfig(**{**NYSTROMFORMER, **changes}, num_hidden_layers=layers)
    if family == "LongT5":
        return transformers.LongT5Config(**{**LONG_T5, **changes}, num_layers=layers)
    if family in ("ModernBert", "ModernBertDecoder"):
        kinds = ["full_attention", "sliding_attention", "sliding_attention"][:layers]
        sizes = {**MODERN_BERT, "layer_types": kinds, "num_hidden_layers": layers, **changes}
        return getattr(transformers, f"{family}Config")(**sizes)
    if family == "Reformer":
        kinds = ["local", "lsh"][-layers:]
        return transformers.ReformerConfig(**{**REFORMER, "attn_layers": kinds, **changes})
    if family == "BigBird":
        return transformers.BigBirdConfig(**BIG_BIRD, num_hidden_layers=layers)
    if family == "BigBirdPegasus":
        return transformers.BigBirdPegasusConfig(**{**BIG_BIRD_PEGASUS, **changes}, encoder_layers=layers)
    if family in ("Bert", "Roberta", "XLMRoberta", "Camembert", "MPNet", "Esm"):
        sizes = {**DENSE, "intermediate_size": 37, "num_hidden_layers": layers, **(ESM if family == "Esm" else {})}
        return getattr(transformers, f"{family}Config")(**sizes)
    if family == "DistilBert":
        return transformers.DistilBertConfig(**DENSE, hidden_dim=37, num_hidden_layers=layers)
    if family == "Funnel":
        return transformers.FunnelConfig(**FUNNEL, block_sizes=[layers] * 3)
    if family == "LED":
        return transformers.LEDConfig(**LED, encoder_layers=layers, attention_window=windows)
    return transformers.LongformerConfig(**LONGFORMER, num_hidden_layers=layers, attention_window=windows)


def small(family: str, head: str, layers: int = 1, **changes: Any) -> Any:
    """Builds a small model in eval mode; `changes` go to its config.

    Weights are larger than the library draws them, so that attention is not nearly uniform.
    """
    torch.manual_seed(0)
    if head == "ModelWithLMHead":
        changes["is_decoder"] = True
    name = family + ("Model" if head == "Encoder" else head)
    whole = getattr(transformers, name)(config(family, layers, **changes)).eval()
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return whole.get_encoder() if head == "Encoder" else whole


def inputs(model: Any, length: int, written: int = 0, choices: int = 0, most: int = 3) -> dict[str, Tensor]:
    """Makes inputs of three rows, or of three rows of `choices` each: all, half and one of the tokens are real.

    Each row has global tokens at different positions.
    """
    chance = torch.Generator().manual_seed(length)
    rows = 3 * (choices or 1)
    real = torch.tensor([length, length // 2, 1] * (choices or 1))
    mask = (torch.arange(length) < real[:, None]).long()
    ids = torch.where(
        mask > 0, torch.randint(4, VOCABULARY, (rows, length), generator=chance), model.config.pad_token_id or 0
    )
    found = {"input_ids": ids, "attention_mask": mask}
    if model.config.model_type in ("longformer", "led"):
        chosen = torch.rand(ids.shape, generator=chance) * mask
        found["global_attention_mask"] = (chosen >= chosen.topk(min(most, length)).values[:, -1:]).long() * mask
    types = 3 if model.config.model_type == "funnel" else getattr(model.config, "type_vocab_size", 1)
    if types > 1:
        found["token_type_ids"] = torch.randint(0, types, ids.shape, generator=chance)
    if choices:
        found = {name: tensor.unflatten(0, (3, choices)) for name, tensor in found.items()}
    if written:
        found["decoder_input_ids"] = torch.randint(4, VOCABULARY, (3, written), generator=chance)
    return found


def check(bundle: Path, model: Any, given: dict[str, Tensor]) -> None:
    """Compares every output of the bundle on the real tokens with the model's output."""
    with edgexf.load(bundle) as session:
        found = session.run(**{name: tensor.numpy() for name, tensor in given.items()})
        tokens = {output.name for output in session.manifest.variants[0].outputs if output.has_tokens}
    with torch.no_grad():
        wanted = model(**given)
    real = (given["attention_mask"] > 0).numpy()
    for name, output in found.items():
        reference = wanted[name].numpy()
        assert output.shape == reference.shape
        assert np.isfinite(output).all()
        kept = (output[real], reference[real]) if name in tokens else (output, reference)
        # The library bars a question's logits with -1e6.
        found_, wanted_ = (array[np.abs(kept[1]) < 1e5] for array in kept)
        assert np.abs(found_ - wanted_).max() <= TOLERANCE * np.abs(wanted_).max()


@contextmanager
def constant_weights(model: nn.Module) -> Iterator[None]:
    """Turns off the gradients of all weights: the rules treat every tensor with a gradient as input-dependent.

    The model's mode stays as the caller set it, unlike in an export.
    """
    wanted = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, gradient in wanted.items():
            parameter.requires_grad_(gradient)


def autograd_of(
    model: Any, given: dict[str, Tensor], value: Callable[[Any], Tensor], embedding: nn.Module | None = None
) -> tuple[Tensor, np.ndarray[Any, Any]]:
    """Returns `value` of the output [batch], and AttnLRP's relevance of each token by autograd, 0 at padding."""
    leaves: list[Tensor] = []

    def leaf(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_(True))
        return leaves[-1]

    with constant_weights(model), METHODS["attnlrp"].rules():
        with (embedding or model.get_input_embeddings()).register_forward_hook(leaf):
            explained = value(model(**given))
        (gradient,) = torch.autograd.grad(explained.sum(), leaves[0])
    ids = given["input_ids"]
    scores = (gradient * leaves[0].detach()).sum(-1)[..., : ids.shape[-1]].reshape(ids.shape)
    mask = given.get("attention_mask", torch.ones_like(ids))
    return explained, (scores * mask).numpy()


def autograd(
    model: Any, given: dict[str, Tensor], embedding: nn.Module | None = None, method: str = "attnlrp"
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Returns the logits [batch, classes] and the relevance of the highest logit at each token, 0 at padding.

    Torch autograd computes the relevance under the rules of `method`. Relevance belongs to the output of `embedding`,
    by default the model's input embeddings.
    """
    leaves: list[Tensor] = []

    def leaf(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_(True))
        return leaves[0]

    with constant_weights(model), METHODS[method].rules():
        with (embedding or model.get_input_embeddings()).register_forward_hook(leaf):
            logits = model(**given).logits
        (gradient,) = torch.autograd.grad(logits.max(-1).values.sum(), leaves)
    mask = given["attention_mask"]
    relevance = (gradient * leaves[0].detach()).sum(-1)[:, : mask.shape[1]] * mask  # a library may pad the end
    return logits.detach().numpy(), relevance.numpy()
