"""Hugging Face's Nystromformer at any length up to its configured one, with padding, in any batch.

    before  segments are cut by the config's length: at other lengths it raises, or mixes the rows of a batch
    after   F = Softmax(Q K'^T), A = Softmax(Q' K'^T), B = Softmax(Q' K^T):  F (Z (B V)) + Conv(V)
            row j of Q' and K' is the mean over the real tokens of segment j; Z is six steps towards A's inverse

A segment has segment_means_seq_len / num_landmarks tokens at every length, and the graph has num_landmarks of them: an
input is what the library would see if it were padded to the configured length and could mask. Padded keys are hidden
from B, their values are 0 in the convolution, as in the authors' own code, and a landmark without a real token is hidden
from F and A. Its row of A is 0 as its column is: Z starts at diag(A, 0)^T / c = diag(A^T / c, 0), each step keeps that
form, and c is the maximum of A's column sums, at least 1; so the answer is that of the other landmarks alone.

Two other segments were weighed. A fixed number of them, of ceil(n / landmarks) tokens (nystrom_attention on PyPI) or of
shares of each row's real tokens: appended padding or batch mates move the former, and models were trained with segments
of one size. Or that size with padding let in as zeros, as in the authors' code: a short segment's mean shrinks towards 0,
and an empty one takes its share of every softmax. As many landmarks as an input has segments would be fewer products,
but n * n / size elements; a fixed number of them is linear in n.

The library's first guess of Z is divided by a maximum over the whole batch, and its convolution reads padded values, so
its answer to a row depends on the others and on padding. The graph's is the one that the library gives to the row alone,
without padding; at lengths that the library has no answer to, `Definition` stands in for it.

With num_landmarks equal to segment_means_seq_len the library attends fully at every length, and so does the graph.
Source: Xiong et al. 2021, eq. 13 to 17 and algorithm 1; `NystromformerSelfAttention` of transformers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from transformers import NystromformerModel, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.nystromformer.modeling_nystromformer import NystromformerSelfAttention

from edgexf.bundle.manifest import Limits
from edgexf.errors import ExportError
from edgexf.models.full import join_heads, split_heads
from edgexf_exporters.lowerings.fixed_random import changed
from edgexf_exporters.lowerings.reference.full import attend, hide
from edgexf_exporters.lowerings.swap import replaced
from edgexf_exporters.source import Family, PerRow
from edgexf_exporters.trace.marks import constant

STEPS = 6  # of the pseudo-inverse, as in the paper; the library's own default
FIRST_POSITION = 2  # positions are numbered from here, whatever the padding's id is


class Attention(nn.Module, ABC):
    """In: hidden float32 [batch, tokens, width], real bool [batch, tokens]. Out: as hidden, before the output projection."""

    def __init__(self, original: NystromformerSelfAttention) -> None:
        super().__init__()
        self.original = original

    def forward(self, hidden: Tensor, real: Tensor) -> Tensor:
        own = self.original
        query, key, value = (
            split_heads(project(hidden), own.num_attention_heads) for project in (own.query, own.key, own.value)
        )
        scale = math.sqrt(math.sqrt(own.attention_head_size))
        mixed = self.mixed(query / scale, key / scale, value, real)
        if own.conv_kernel_size is not None:
            mixed = mixed + own.conv(value * real[:, None, :, None].to(value.dtype))
        return join_heads(mixed)

    @abstractmethod
    def mixed(self, query: Tensor, key: Tensor, value: Tensor, real: Tensor) -> Tensor:
        """What each token gathers, float32 [batch, heads, sequence, head_width] as the three; real bool [batch, sequence]."""


class FullAttention(Attention):
    block = 1

    def mixed(self, query: Tensor, key: Tensor, value: Tensor, real: Tensor) -> Tensor:
        query, key = hide(query, key, real[:, None])
        return attend(query, key.transpose(-1, -2), value)


class NystromAttention(Attention):
    def __init__(self, original: NystromformerSelfAttention) -> None:
        super().__init__(original)
        self.landmarks = original.num_landmarks
        self.block = original.seq_len // original.num_landmarks  # tokens of a segment
        self.maximum_over = (1, 2) if original.init_option == "original" else (2,)  # heads and columns, or columns

    def mixed(self, query: Tensor, key: Tensor, value: Tensor, real: Tensor) -> Tensor:
        kept = real[:, None, :, None].to(query.dtype)
        count = self.sums(kept)  # [batch, 1, landmarks, 1]
        far_query, far_key = (self.sums(tokens * kept) / count.clamp(min=1) for tokens in (query, key))
        seen = count[..., 0] > 0
        left, left_key = hide(query, far_key, seen)
        core, core_key = hide(far_query, far_key, seen)
        right, right_key = hide(far_query, key, real[:, None])
        kernel = (core @ core_key.transpose(-1, -2)).softmax(dim=-1) * (count > 0).to(query.dtype)
        gathered = attend(right, right_key.transpose(-1, -2), value)  # [batch, heads, landmarks, head_width]
        return attend(left, left_key.transpose(-1, -2), constant(self.inverse(kernel)) @ gathered)

    def sums(self, tokens: Tensor) -> Tensor:
        """Over each segment, 0 for one that the input does not have: [batch, any, tokens, any] -> [batch, any, landmarks, any]."""
        found: Tensor = tokens.unflatten(2, (-1, self.block)).sum(dim=3)
        return F.pad(found, (0, 0, 0, self.landmarks))[:, :, : self.landmarks]

    def inverse(self, kernel: Tensor) -> Tensor:
        """Eq. 14, multiplied out so that no identity is stored; [batch, heads, landmarks, landmarks]."""
        largest = kernel.sum(dim=-2).amax(dim=self.maximum_over, keepdim=True).unsqueeze(-1)
        guess = kernel.transpose(-1, -2) / largest
        kernel, found = kernel.flatten(0, 1), guess.flatten(0, 1)  # for bmm, a single node where @ is up to six
        for _ in range(STEPS):
            product = kernel.bmm(found)
            inner = 15 * product - product.bmm(7 * product - product.bmm(product))
            found = 0.25 * (13 * found - found.bmm(inner))
        inverse: Tensor = found.unflatten(0, guess.shape[:2])
        return inverse


def attention(original: NystromformerSelfAttention) -> FullAttention | NystromAttention:
    full = original.num_landmarks == original.seq_len
    return FullAttention(original) if full else NystromAttention(original)


class Nystromformer(nn.Module):
    """`NystromformerModel` with lowered attention; takes the inputs that its heads pass on, aligned to `block`."""

    def __init__(self, original: NystromformerModel, _: Limits) -> None:
        super().__init__()
        self.original = original
        layers: Any = original.encoder.layer
        self.layers = layers
        attentions = [attention(layer.attention.self) for layer in layers]
        self.attentions = nn.ModuleList(attentions)
        self.block = attentions[0].block

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None, **_: object
    ) -> BaseModelOutput:
        own = self.original
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        reach = own.config.max_position_embeddings
        place = torch.arange(input_ids.shape[1]).clamp(max=reach - 1)  # beyond stands padding alone
        hidden = own.embeddings(
            input_ids=input_ids, token_type_ids=types, position_ids=(place + FIRST_POSITION).unsqueeze(0)
        )
        for layer, mixing in zip(self.layers, self.attentions, strict=True):
            hidden = layer.feed_forward_chunk(layer.attention.output(mixing(hidden, attention_mask > 0), hidden))
        return BaseModelOutput(last_hidden_state=hidden)


class Definition(nn.Module):
    """What defines an answer at a length that the library has none to, computed in float64 from the paper's matrices.

    It takes rows without padding, cuts them into segments of which the last may be short, and knows no other landmarks.
    """

    def __init__(self, original: NystromformerSelfAttention) -> None:
        super().__init__()
        self.original = original

    def forward(self, hidden_states: Tensor, _: object = None, output_attentions: bool = False) -> tuple[Tensor, ...]:
        own = self.original
        query, key, value = (
            in_float64(project, hidden_states).unflatten(-1, (own.num_attention_heads, -1)).transpose(1, 2)
            for project in (own.query, own.key, own.value)
        )  # [batch, heads, tokens, head_width]
        segments = [tokens.split(own.seq_len // own.num_landmarks, dim=2) for tokens in (query, key)]
        far_query, far_key = (torch.stack([part.mean(dim=2) for part in parts], dim=2) for parts in segments)

        def softmax(queries: Tensor, keys: Tensor) -> Tensor:
            return (queries @ keys.mT / math.sqrt(own.attention_head_size)).softmax(dim=-1)

        inverse = torch.cat([own.iterative_inv(row) for row in softmax(far_query, far_key).split(1)])
        weights = softmax(query, far_key) @ inverse
        mixed = weights @ (softmax(far_query, key) @ value)
        if own.conv_kernel_size is not None:
            mixed = mixed + in_float64(own.conv, value)
        answer = join_heads(mixed).to(hidden_states.dtype)
        return (answer, weights) if output_attentions else (answer,)


def in_float64(module: nn.Module, tokens: Tensor) -> Tensor:
    weights = {name: weight.double() for name, weight in module.named_parameters()}
    answer: Tensor = functional_call(module, weights, (tokens.double(),))
    return answer


def attentions_of(model: nn.Module) -> list[NystromformerSelfAttention]:
    return [module for module in model.modules() if isinstance(module, NystromformerSelfAttention)]


@contextmanager
def defined(model: nn.Module) -> Iterator[None]:
    """`model` with the definition in the place of its attentions."""
    with replaced(model, {own: Definition(own) for own in attentions_of(model)}):
        yield


@contextmanager
def inverse_marked(model: nn.Module) -> Iterator[None]:
    """What explains the model takes the inverses that it computes for constants, as it does in the graph."""

    def marked(own: NystromformerSelfAttention) -> Any:
        return lambda kernel: constant(own.__class__.iterative_inv(own, kernel))

    with changed([(own, "iterative_inv", marked(own)) for own in attentions_of(model)]):
        yield


def describe(model: PreTrainedModel) -> Family:
    """ExportError for a model that has no answer to any input."""
    config: Any = model.config
    reach = config.max_position_embeddings
    kinds = {(own.num_landmarks, own.seq_len, own.conv_kernel_size) for own in attentions_of(model)}
    if len(kinds) != 1:
        raise ExportError(
            f"the layers of a Nystromformer must have one num_landmarks, segment_means_seq_len and conv_kernel_size, got {sorted(kinds)}; build it from its config."
        )
    ((landmarks, length, kernel),) = kinds
    if kernel is not None and kernel % 2 == 0:
        raise ExportError(
            f"conv_kernel_size must be odd, since the library answers nothing otherwise, got {kernel}; mend the config."
        )
    if landmarks == length:
        return Family(reach, switch=reach, per_row=PerRow())
    whole = landmarks * (length // landmarks) if landmarks > 0 else 0  # the only input that the library cuts right
    if not 0 < whole <= reach:
        raise ExportError(
            f"whole segments of a Nystromformer must fit into its {reach} positions, got {landmarks} landmarks over "
            f"{length} tokens, so that the library answers nothing; mend num_landmarks or segment_means_seq_len."
        )
    return Family(whole, call_context=inverse_marked, per_row=PerRow(lambda tokens: tokens != whole, defined))
