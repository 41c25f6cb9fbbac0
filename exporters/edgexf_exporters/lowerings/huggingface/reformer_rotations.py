"""The rotations of a Reformer, and its untouched model made to draw them.

In: an attention or a model of transformers. Out: the rotations, float32, as the library draws them with
``config.hash_seed`` set; and around a call of the model, of any dtype, its own code with these very draws:

    before  torch.randn(shape, dtype=float64)      other numbers in each call, and in each dtype
    after   the rotations in float64

A mode of torch hands them to the library's own hashing, for that call and thread alone. Two alternatives were weighed:
a hash_seed of the model suffices in float32, but float64 draws other numbers from the same one; an own hashing in the
place of the library's would compare the lowering with itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import ReformerModel
from transformers.models.reformer.modeling_reformer import (
    ChunkReformerFeedForward,
    LSHSelfAttention,
    ReformerLayer,
    ReformerOnlyLMHead,
)

from edgexf_exporters.lowerings.fixed_random import SEED, changed, drawing


def seed_of(attention: LSHSelfAttention) -> int:
    return SEED if attention.hash_seed is None else int(attention.hash_seed)


def factors(attention: LSHSelfAttention) -> list[int]:
    """The factors of the bucket count: the attention's own, or those that the library derives from the longest input."""
    found: Any = attention.num_buckets
    if found is None:
        found = derived(attention.chunk_length, attention.max_position_embeddings)
    return [found] if isinstance(found, int) else list(found)


@cache
def derived(chunk: int, reach: int) -> Any:
    """By the library's own rule, which warns once each time."""
    asked: Any = SimpleNamespace(chunk_length=chunk, max_position_embeddings=reach, config=SimpleNamespace())
    LSHSelfAttention._set_num_buckets(asked, max(reach, chunk))
    return asked.num_buckets


def rotations(attention: LSHSelfAttention) -> Tensor:
    """As the library draws them in float32, [heads, head_width, rounds, sum of factors / 2]."""
    generator = torch.Generator().manual_seed(seed_of(attention))
    heads, rounds = attention.num_attention_heads, attention.num_hashes
    shape = (heads, attention.attention_head_size, rounds, sum(factors(attention)) // 2)
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def drawn(attention: LSHSelfAttention, _: tuple[int, ...]) -> Tensor:
    return rotations(attention)


@contextmanager
def as_exported(model: nn.Module) -> Iterator[None]:
    """What an exported Reformer answers: with fixed rotations and buckets, without a cache, and with feed forwards that
    take any length at once. Where gradients are wanted its layers count as training: else they refuse, and nothing
    besides reads it. Afterwards the model, and torch's own random numbers, are as before.
    """
    changes: list[tuple[Any, str, Any]] = []
    for module in model.modules():
        if isinstance(module, ReformerModel):
            changes.append((module.config, "use_cache", False))
        if isinstance(module, ChunkReformerFeedForward):
            changes.append((module, "chunk_size_feed_forward", 0))
        if isinstance(module, ReformerOnlyLMHead):
            changes.append((module, "chunk_size_lm_head", 0))
        if isinstance(module, ReformerLayer):
            changes += [(module, name, SEED) for name in ("attention_seed", "feed_forward_seed")]  # of no dropout
            changes.append((module, "training", torch.is_grad_enabled()))
        if isinstance(module, LSHSelfAttention):
            found = factors(module)
            changes.append((module, "num_buckets", found[0] if len(found) == 1 else found))
            changes.append(drawing(module, "_hash_vectors", partial(drawn, module)))
    with changed(changes), torch.random.fork_rng(devices=[]):
        yield
