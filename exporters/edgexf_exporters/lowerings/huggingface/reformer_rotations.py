"""The rotations of a Reformer, and a context in which the untouched model draws these rotations.

In: an attention or a model of transformers. Out: the rotations, float32, as the library draws them with
``config.hash_seed`` set; and a context for a call of the model, of any dtype, in which the library's code runs with
these rotations:

    before  torch.randn(shape, dtype=float64)      other numbers in each call, and in each dtype
    after   the rotations in float64

A torch mode hands the rotations to the library's hashing, for that call and thread alone. Two alternatives were
weighed. A hash_seed of the model is enough in float32, but float64 draws other numbers from the same seed. Another
hashing in place of the library's would compare the lowering with itself.
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
    """The factors of the bucket count: from the config, or derived by the library from the longest input."""
    found: Any = attention.num_buckets
    if found is None:
        found = derived(attention.chunk_length, attention.max_position_embeddings)
    return [found] if isinstance(found, int) else list(found)


@cache
def derived(chunk: int, reach: int) -> Any:
    """Derives the factors by the library's rule, which warns at each call; the cache keeps it to a single warning."""
    asked: Any = SimpleNamespace(chunk_length=chunk, max_position_embeddings=reach, config=SimpleNamespace())
    LSHSelfAttention._set_num_buckets(asked, max(reach, chunk))
    return asked.num_buckets


def rotations(attention: LSHSelfAttention) -> Tensor:
    """The rotations as the library draws them in float32, [heads, head_width, rounds, sum of factors / 2]."""
    generator = torch.Generator().manual_seed(seed_of(attention))
    heads, rounds = attention.num_attention_heads, attention.num_hashes
    shape = (heads, attention.attention_head_size, rounds, sum(factors(attention)) // 2)
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def drawn(attention: LSHSelfAttention, _: tuple[int, ...]) -> Tensor:
    return rotations(attention)


@contextmanager
def as_exported(model: nn.Module) -> Iterator[None]:
    """Makes a model answer as the exported Reformer does, for the duration.

    Rotations and buckets are fixed, there is no cache, and feed-forward layers take any length in a single call. Where
    gradients are wanted, the layers count as training: otherwise they refuse, and nothing else reads this flag.
    Afterwards the model and torch's random numbers are as before.
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
            # The reverse pass sets torch's seed to these; no dropout draws from it.
            changes += [(module, name, SEED) for name in ("attention_seed", "feed_forward_seed")]
            changes.append((module, "training", torch.is_grad_enabled()))
        if isinstance(module, LSHSelfAttention):
            found = factors(module)
            changes.append((module, "num_buckets", found[0] if len(found) == 1 else found))
            changes.append(drawing(module, "_hash_vectors", partial(drawn, module)))
    with changed(changes), torch.random.fork_rng(devices=[]):
        yield
