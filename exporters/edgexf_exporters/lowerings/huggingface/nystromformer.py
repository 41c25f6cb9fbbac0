"""Hugging Face's Nystromformer at any length up to its configured length, with padding, in any batch.

    before  the config's length decides the segments: at other lengths the library raises, or mixes the rows of a batch
    after   F = Softmax(Q K'^T), A = Softmax(Q' K'^T), B = Softmax(Q' K^T):  F (Z (B V)) + Conv(V)
            row j of Q' and K' is the mean over the real tokens of segment j; Z is six steps towards A's inverse

A segment has segment_means_seq_len / num_landmarks tokens at every length, and the graph has num_landmarks segments.
So the graph answers as the library would if the input were padded to the configured length and the library could mask.
Padded keys are hidden in B. Their values are 0 in the convolution, as in the authors' code. A landmark without a real
token is hidden in F and A. The row of such a landmark in A is 0, and so is its column. Z starts at
diag(A, 0)^T / c = diag(A^T / c, 0), where c is the maximum of A's column sums, which is at least 1. Each step keeps
this form, so the answer is the answer of the other landmarks alone.

Two other kinds of segments were weighed. The first is a fixed number of segments, with ceil(n / landmarks) tokens
(nystrom_attention on PyPI) or with a share of each row's real tokens. Appended padding or batch mates move segments of
ceil(n / landmarks) tokens, and models were trained with segments of one size. The second is segments of that size where
padding enters as zeros, as in the authors' code. But the mean of a short segment shrinks towards 0, and an empty
segment takes its share of every softmax.

As many landmarks as an input has segments would need fewer products, but n * n / size elements. A fixed number of
landmarks needs a number of elements that is linear in n.

The library divides the first guess of Z by a maximum over the whole batch, and its convolution reads padded values. So
its answer to a row depends on the other rows and on padding. The graph gives the answer that the library gives to the
row alone, without padding. Where the library has no answer, `Definition` stands in for the library: at other lengths,
and inside a custom module, whose rows can't be asked alone.

With num_landmarks equal to segment_means_seq_len the library attends fully at every length, and so does the graph.
Source: Xiong et al. 2021, eq. 13 to 17 and algorithm 1; `NystromformerSelfAttention` of transformers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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

STEPS = 6  # of the pseudo-inverse, as in the paper; the library's default
FIRST_POSITION = 2  # the number of the first position, whatever the id of the padding token is


class Attention(nn.Module, ABC):
    """In: hidden float32 [batch, tokens, width], real bool [batch, tokens].

    Out: the shape of hidden, before the output projection.
    """

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
        """The mixed values of each token.

        query, key, value and the result are float32 [batch, heads, sequence, head_width]; real bool [batch, sequence].
        """


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
        """Sums over each segment: [batch, any, tokens, any] -> [batch, any, landmarks, any].

        The sum is 0 for a segment that the input does not have.
        """
        found: Tensor = tokens.unflatten(2, (-1, self.block)).sum(dim=3)
        return F.pad(found, (0, 0, 0, self.landmarks))[:, :, : self.landmarks]

    def inverse(self, kernel: Tensor) -> Tensor:
        """The pseudo-inverse of [batch, heads, landmarks, landmarks] by eq. 14.

        The equation is multiplied out, so that the graph stores no identity matrix.
        """
        largest = kernel.sum(dim=-2).amax(dim=self.maximum_over, keepdim=True).unsqueeze(-1)
        guess = kernel.transpose(-1, -2) / largest
        kernel, found = kernel.flatten(0, 1), guess.flatten(0, 1)  # for bmm, which is a single node; @ is up to six
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
    """`NystromformerModel` with lowered attention; takes the inputs that its heads pass on, padded to whole blocks."""

    def __init__(self, original: NystromformerModel, _: Limits) -> None:
        super().__init__()
        self.original = original
        layers: Any = original.encoder.layer
        self.layers = layers
        attentions = [attention(layer.attention.self) for layer in layers]
        self.attentions = nn.ModuleList(attentions)
        self.block = attentions[0].block

    def forward(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        **_: object,
    ) -> BaseModelOutput:
        own = self.original
        types = torch.zeros_like(attention_mask) if token_type_ids is None else token_type_ids
        reach = own.config.max_position_embeddings
        place = torch.arange(types.shape[1]).clamp(max=reach - 1)  # only padding lies beyond
        hidden = own.embeddings(input_ids, types, (place + FIRST_POSITION).unsqueeze(0), inputs_embeds)
        states = [hidden]
        for layer, mixing in zip(self.layers, self.attentions, strict=True):
            hidden = layer.feed_forward_chunk(layer.attention.output(mixing(hidden, attention_mask > 0), hidden))
            states.append(hidden)
        return BaseModelOutput(last_hidden_state=hidden, hidden_states=tuple(states) if output_hidden_states else None)


class Definition(nn.Module):
    """Defines the answer where the library has none, in float64 from the paper's matrices, for each row by itself.

    Tokens are cut into segments; the last segment may be short. A landmark is the mean over the real tokens of a
    segment, and a segment without real tokens has none. Hidden tokens are no keys, and their values are 0.
    """

    def __init__(self, original: NystromformerSelfAttention) -> None:
        super().__init__()
        self.original = original

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, output_attentions: bool = False
    ) -> tuple[Tensor, ...]:
        """Takes and returns what the library's attention does. Raises ValueError for more tokens than segments hold."""
        own = self.original
        size = own.seq_len // own.num_landmarks
        if hidden_states.shape[1] > size * own.num_landmarks:
            raise ValueError(f"{own.num_landmarks} segments of {size} tokens hold no {hidden_states.shape[1]} tokens")
        query, key, value = (
            in_float64(project, hidden_states).unflatten(-1, (own.num_attention_heads, -1)).transpose(1, 2)
            for project in (own.query, own.key, own.value)
        )  # [batch, heads, tokens, head_width]
        real = real_tokens(hidden_states, attention_mask)
        value = value * real[:, None, :, None]
        rows = [self.row(*row) for row in zip(query, key, value, real, strict=True)]
        mixed, weights = (torch.stack(parts) for parts in zip(*rows, strict=True))
        if own.conv_kernel_size is not None:
            mixed = mixed + in_float64(own.conv, value)
        answer = join_heads(mixed).to(hidden_states.dtype)
        return (answer, weights) if output_attentions else (answer,)

    def row(self, query: Tensor, key: Tensor, value: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """One row: its mixed values and the weights that mix them, [heads, tokens, head_width and any].

        query, key and value are [heads, tokens, head_width], and `real` bool [tokens].
        """
        own = self.original
        if own.num_landmarks == own.seq_len:
            weights = self.softmax(query, key, real)
            return weights @ value, weights
        size = own.seq_len // own.num_landmarks
        far_query, far_key = (means(tokens, real, size) for tokens in (query, key))
        inverse = own.iterative_inv(self.softmax(far_query, far_key)[None])[0]
        weights = self.softmax(query, far_key) @ inverse
        mixed = weights @ (self.softmax(far_query, key, real) @ value)
        return mixed, F.pad(weights, (0, own.num_landmarks - weights.shape[-1]))  # rows have different landmarks

    def softmax(self, queries: Tensor, keys: Tensor, real: Tensor | None = None) -> Tensor:
        scores = queries @ keys.mT / math.sqrt(self.original.attention_head_size)
        return (scores if real is None else scores.masked_fill(~real, -math.inf)).softmax(dim=-1)


def means(tokens: Tensor, real: Tensor, size: int) -> Tensor:
    """The mean over the real tokens of each segment that has some: [heads, tokens, any] -> [heads, segments, any]."""
    segments = zip(tokens.split(size, dim=1), real.split(size), strict=True)
    return torch.stack([part[:, seen].mean(dim=1) for part, seen in segments if seen.any()], dim=1)


def real_tokens(hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Which tokens are real, bool [batch, tokens], from the mask [batch, 1, tokens, tokens] that the library makes."""
    if attention_mask is None:
        return torch.ones(hidden.shape[:2], dtype=torch.bool)
    row = attention_mask[:, 0, 0]
    return row if row.dtype == torch.bool else row > -1


def in_float64(module: nn.Module, tokens: Tensor) -> Tensor:
    weights = {name: weight.double() for name, weight in module.named_parameters()}
    answer: Tensor = functional_call(module, weights, (tokens.double(),))
    return answer


def attentions_of(model: nn.Module) -> list[NystromformerSelfAttention]:
    return [module for module in model.modules() if isinstance(module, NystromformerSelfAttention)]


@contextmanager
def defined(model: nn.Module) -> Iterator[None]:
    """Replaces the attentions of `model` by their definition for the duration."""
    with replaced(model, {own: Definition(own) for own in attentions_of(model)}):
        yield


@contextmanager
def inverse_marked(model: nn.Module) -> Iterator[None]:
    """Makes explanations of the model take its pseudo-inverses as constants, as in the graph, for the duration."""

    def marked(own: NystromformerSelfAttention) -> Any:
        return lambda kernel: constant(own.__class__.iterative_inv(own, kernel))

    with changed([(own, "iterative_inv", marked(own)) for own in attentions_of(model)]):
        yield


@contextmanager
def each_row(model: nn.Module) -> Iterator[None]:
    """Makes a custom module answer as its graph does: by the definition, which knows padding and no batch mates.

    Inside another such context, and while the lowered model is traced, it changes nothing.
    """
    inside = torch.compiler.is_exporting() or any(isinstance(module, Definition) for module in model.modules())
    with nullcontext() if inside else inverse_marked(model), nullcontext() if inside else defined(model):
        yield


def describe(model: PreTrainedModel) -> Family:
    """Makes the `Family` of a Nystromformer.

    Raises ExportError for layers with different sizes, and for sizes with which the library has no answer to any input.
    """
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
    whole = landmarks * (length // landmarks) if landmarks > 0 else 0  # the only length that the library cuts right
    if not 0 < whole <= reach:
        raise ExportError(
            f"whole segments of a Nystromformer must fit into its {reach} positions, got {landmarks} landmarks over "
            f"{length} tokens, so that the library answers nothing; mend num_landmarks or segment_means_seq_len."
        )
    return Family(
        whole, call_context=inverse_marked, per_row=PerRow(lambda tokens: tokens != whole, defined), needs_real=True
    )
