"""The models of `speed.py`: how each is made, what it is asked, and the products that it can't do without.

In: a family, layers, a length. Out: an eager model, inputs, and `Product`s. Of attention only the keys count that a query sees,
in the mean: a floor of these products knows nothing of blocks, padding, masks, sorting or moving data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import transformers
from torch import nn

from edgexf.models.weights import load, shipped
from edgexf.spec import CLASS_ID

Array = npt.NDArray[Any]
WIDTH, FEEDFORWARD, HEADS, HEAD_WIDTH = 768, 3072, 12, 64
QUERIES = 256  # of a product of attention: the floor of more queries is a multiple of it
SIZES = {
    "hidden_size": WIDTH, "num_attention_heads": HEADS, "intermediate_size": FEEDFORWARD, "vocab_size": 1000, "num_labels": 4,
}  # fmt: skip


class Product(NamedTuple):
    """[batch, rows, inner] x [batch, inner, columns], `count` times; with batch 1 the right operand is a weight."""

    count: float
    batch: int
    rows: int
    inner: int
    columns: int


def in_window(reach: int, further: int = 0) -> Callable[[int], float]:
    """The keys that a query sees in the mean: those up to `reach` places away, and `further` ones that every query sees."""

    def keys(tokens: int) -> float:
        places = np.arange(tokens)
        near = np.minimum(places + reach, tokens - 1) - np.maximum(places - reach, 0) + 1
        return min(float(near.mean()) + further, tokens)

    return keys


def in_chunks(chunk: int) -> Callable[[int], float]:
    """The keys of a chunk and of the one before, of which the first chunk has none."""
    return lambda tokens: min(tokens, 2 * chunk - chunk / -(-tokens // chunk))


def linear(count: float, tokens: int, inner: int, columns: int) -> Product:
    return Product(count, 1, tokens, inner, columns)


def attention(layers: float, tokens: int, keys: float, heads: int, width: int) -> list[Product]:
    """Queries by keys, and weights by values, where each of `tokens` queries sees `keys` keys."""
    rows, seen = min(tokens, QUERIES), max(1, round(keys))
    count = layers * tokens / rows
    return [Product(count, heads, rows, width, seen), Product(count, heads, rows, seen, width)]


@dataclass(frozen=True)
class Model:
    """A family.

    Attributes:
        name: of the family, and of its bundle's folder.
        make: an eager model in PyTorch, of so many layers.
        products: what it needs at a number of layers and of tokens, for one row.
        reference: whether it is one of edgexf's own, which has one number of layers.
        vocabulary: token ids are drawn below this number.
        max_global: how many tokens of a row the exported graph lets be global; None for a family without global tokens.
        step: the eager model runs at multiples of this length only.
        full: whether every query sees all keys, so that time grows with the square of the length.
    """

    name: str
    make: Callable[[int], nn.Module]
    products: Callable[[int, int], list[Product]]
    reference: bool = False
    vocabulary: int = 1000
    max_global: int | None = None
    step: int = 1
    full: bool = False

    def inputs(self, batch: int, length: int) -> dict[str, Array]:
        """The inputs of the model's graph: every token is real."""
        ids = np.random.default_rng(length).integers(5, self.vocabulary, (batch, length))
        if self.reference:
            ids[:, 0] = CLASS_ID
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return given | {"global_attention_mask": (np.arange(length) == 0).astype(np.int64) * np.ones_like(ids)}


def library(config: str, head: str, **sizes: Any) -> Callable[[int], nn.Module]:
    def make(layers: int) -> nn.Module:
        torch.manual_seed(0)
        more = {key: value(layers) if callable(value) else value for key, value in sizes.items()}
        own = getattr(transformers, config)(**{**SIZES, "num_hidden_layers": layers, **more})
        model: nn.Module = getattr(transformers, head)(own).eval().requires_grad_(False)
        return model

    return make


def encoder(
    tokens: int, layers: int, keys: Callable[[int], float], more: Callable[[int], list[Product]] = lambda _: []
) -> list[Product]:
    """An encoder of the usual linear layers, each of whose queries sees `keys(tokens)` keys; `more` are products of a layer."""
    dense = [
        linear(4 * layers, tokens, WIDTH, WIDTH),
        linear(layers, tokens, WIDTH, FEEDFORWARD),
        linear(layers, tokens, FEEDFORWARD, WIDTH),
    ]
    further = [product._replace(count=product.count * layers) for product in more(tokens)]
    return dense + attention(layers, tokens, min(keys(tokens), tokens), HEADS, HEAD_WIDTH) + further


def of_modernbert(layers: int, tokens: int) -> list[Product]:
    """Every third layer is global, from the first on; the others see 64 tokens to each side."""
    full = -(-layers // 3)
    return [
        linear(layers, tokens, WIDTH, 3 * WIDTH), linear(layers, tokens, WIDTH, WIDTH),
        linear(layers, tokens, WIDTH, 2 * FEEDFORWARD), linear(layers, tokens, FEEDFORWARD, WIDTH),
        *attention(full, tokens, tokens, HEADS, HEAD_WIDTH),
        *attention(layers - full, tokens, in_window(64)(tokens), HEADS, HEAD_WIDTH),
    ]  # fmt: skip


def of_reformer(layers: int, tokens: int) -> list[Product]:
    """Queries and keys are one projection; two rounds, in which a query sees its chunk and the one before."""
    dense = [
        linear(3 * layers, tokens, WIDTH, WIDTH),
        linear(layers, tokens, WIDTH, FEEDFORWARD),
        linear(layers, tokens, FEEDFORWARD, WIDTH),
    ]
    return dense + attention(2 * layers, tokens, in_chunks(64)(tokens), HEADS, HEAD_WIDTH)


def own(
    keys: Callable[[int], float], projections: int = 4, rounds: int = 1, rank: int = 0
) -> Callable[[int, int], list[Product]]:
    """A reference model: 2 layers x 128, 4 heads, a context of 5 tokens. `rank`: tokens are projected to so many slots."""

    def products(_: int, tokens: int) -> list[Product]:
        width, layers = 128, 2
        dense = [
            linear(layers, tokens, 5 * width, width), linear(projections * layers, tokens, width, width),
            linear(layers, tokens, width, 4 * width), linear(layers, tokens, 4 * width, width),
        ]  # fmt: skip
        slots = [linear(layers, width, tokens, rank)] if rank else []
        return dense + slots + attention(layers * rounds, tokens, min(keys(tokens), tokens), 4, 32)

    return products


def trained(name: str) -> Callable[[int], nn.Module]:
    return lambda _: load(shipped(name)).requires_grad_(False)


MODELS = {
    model.name: model
    for model in (
        Model("transformer", trained("transformer"), own(lambda tokens: tokens), reference=True, vocabulary=256,
              full=True),
        Model("longformer", trained("longformer"), own(in_window(64, 1)), reference=True, vocabulary=256),
        Model("reformer", trained("reformer"), own(in_chunks(64), 3, 2), reference=True, vocabulary=256),
        Model("linformer", trained("linformer"), own(lambda _: 32, 2, rank=32), reference=True, vocabulary=256),
        Model(
            "hf-longformer",
            library("LongformerConfig", "LongformerForSequenceClassification",
                    attention_window=lambda layers: [512] * layers, max_position_embeddings=16386, pad_token_id=1),
            lambda layers, tokens: encoder(tokens, layers, in_window(256, 1)),
            max_global=1,
        ),
        Model(
            "hf-bigbird",
            library("BigBirdConfig", "BigBirdForSequenceClassification", block_size=64, max_position_embeddings=16384),
            lambda layers, tokens: encoder(tokens, layers, lambda _: 512),
        ),
        Model(
            "hf-modernbert",
            library("ModernBertConfig", "ModernBertForSequenceClassification", max_position_embeddings=4096,
                    pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2),
            of_modernbert,
        ),
        Model(
            "hf-reformer",
            library("ReformerConfig", "ReformerForSequenceClassification", attn_layers=lambda layers: ["lsh"] * layers,
                    attention_head_size=HEAD_WIDTH, feed_forward_size=FEEDFORWARD, num_hashes=2, lsh_attn_chunk_length=64,
                    axial_pos_shape=[64, 64], axial_pos_embds_dim=[256, 512], max_position_embeddings=4096, hash_seed=0,
                    is_decoder=False, pad_token_id=0, eos_token_id=2),
            of_reformer,
        ),
        Model(
            "hf-nystromformer",
            library("NystromformerConfig", "NystromformerForSequenceClassification", num_landmarks=64,
                    segment_means_seq_len=4096, max_position_embeddings=4096),
            lambda layers, tokens: encoder(tokens, layers, lambda _: 128),  # 64 landmarks ask all tokens, and are asked by all
            step=4096,  # the library shapes landmarks by the config's length, whatever the input's
        ),
        Model(
            "hf-bert",
            library("BertConfig", "BertForSequenceClassification", max_position_embeddings=16384),
            lambda layers, tokens: encoder(tokens, layers, lambda tokens: tokens),
            full=True,
        ),
    )
}  # fmt: skip
