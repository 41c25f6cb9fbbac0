"""A byte-level encoder classifier, which takes its attention as an argument.

In: ``input_ids`` int64 [batch, sequence] and ``attention_mask`` int64 [batch, sequence] (1 = real, 0 = padding behind
the real tokens). Out: ``logits`` float32 [batch, labels].

    ids -> token embedding -> layers x (n-gram context, attention, feed-forward) -> norm
        -> [first token, attentive means of the real tokens] -> logits

Every layer adds the positions to the input of its attention, and nowhere else. The n-gram context knows the order of
its tokens by itself, and a feature of three bytes should look the same at every position. Padding behind the real
tokens changes no answer: every operation that mixes tokens zeroes or masks the padding first.

Two alternatives to the n-gram context were weighed. Without the context, a projected attention, which sees only sums
over positions, can't tell ``</`` from ``/<``. A strided convolution that merges bytes would be faster, but then no
token of the graph is a byte of the user's file. Two alternatives to the attentive means were weighed. A plain mean
dilutes a single decisive token by the length. A maximum, and its gradient, jumps when two tokens are nearly equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgexf.spec import EncoderSpec

AttentionFactory = Callable[[EncoderSpec], nn.Module]


def sinusoids(length: int, width: int) -> Tensor:
    """The table of positions, float32 [length, width] (Vaswani et al. 2017, section 3.5)."""
    position = torch.arange(length, dtype=torch.float64).unsqueeze(1)  # [length, 1]
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10_000.0) / width))
    angle = position * frequency  # [length, width / 2]
    return torch.stack((angle.sin(), angle.cos()), dim=-1).reshape(length, width).float()


class Positions(nn.Module):
    """Gives the first `sequence` rows of a fixed table of positions."""

    table: Tensor

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoids(length, width), persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.table[: hidden.shape[1]]  # [sequence, width]


class Context(nn.Module):
    """The n-gram context of each token: a linear map of `context` tokens, the token in their middle, then GELU.

    This is the local aggregation of CANINE (Clark et al. 2022, section 3.2) without the downsampling.
    """

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.reach = context // 2
        self.mix = nn.Linear(context * width, width)

    def forward(self, hidden: Tensor, real: Tensor) -> Tensor:
        sequence = hidden.shape[1]
        padded = F.pad(hidden * real, (0, 0, self.reach, self.reach))  # [batch, sequence + 2 reach, width]
        shifted = [padded[:, offset : offset + sequence] for offset in range(2 * self.reach + 1)]
        mixed: Tensor = F.gelu(self.mix(torch.cat(shifted, dim=-1)))
        return mixed  # [batch, sequence, width]


class Layer(nn.Module):
    """A pre-norm transformer layer (Xiong et al. 2020, figure 1b) with a context in front of its `attention`."""

    def __init__(self, spec: EncoderSpec, attention: nn.Module) -> None:
        super().__init__()
        self.context_norm = nn.LayerNorm(spec.width)
        self.context = Context(spec.width, spec.context)
        self.attention_norm = nn.LayerNorm(spec.width)
        self.attention = attention
        self.feedforward_norm = nn.LayerNorm(spec.width)
        self.expand = nn.Linear(spec.width, spec.feedforward)
        self.contract = nn.Linear(spec.feedforward, spec.width)

    def forward(self, hidden: Tensor, positions: Tensor, real: Tensor) -> Tensor:
        hidden = hidden + self.context(self.context_norm(hidden), real)
        hidden = hidden + self.attention(self.attention_norm(hidden) + positions, real.squeeze(-1) > 0)
        update: Tensor = self.contract(F.gelu(self.expand(self.feedforward_norm(hidden))))
        return hidden + update


class AttentiveMeans(nn.Module):
    """`heads` weighted means of the real tokens, by learned scores (Lin et al. 2017, eq. 5 to 7, without the tanh)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, heads)

    def forward(self, hidden: Tensor, real: Tensor) -> Tensor:
        score = self.score(hidden).masked_fill(real == 0, -torch.inf)  # [batch, sequence, heads]
        means: Tensor = score.softmax(dim=1).transpose(1, 2) @ hidden  # [batch, heads, width]
        return means.flatten(1)


class Encoder(nn.Module):
    """A classifier of token sequences. `attention` makes the attention module of each layer.

    See the top of this file for shapes and dtypes. Raises IndexError for an id outside the vocabulary and
    RuntimeError for a sequence longer than ``spec.max_length``, as PyTorch does.
    """

    def __init__(self, spec: EncoderSpec, attention: AttentionFactory) -> None:
        super().__init__()
        self.spec = spec
        self.tokens = nn.Embedding(spec.vocabulary, spec.width)
        self.positions = Positions(spec.max_length, spec.width)
        self.layers = nn.ModuleList(Layer(spec, attention(spec)) for _ in range(spec.layers))
        self.norm = nn.LayerNorm(spec.width)
        self.means = AttentiveMeans(spec.width, spec.heads)
        self.classifier = nn.Linear((1 + spec.heads) * spec.width, len(spec.labels))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.classify(self.tokens(input_ids), attention_mask)

    def classify(self, embeddings: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits [batch, labels] from token embeddings [batch, sequence, width]. Explanations differentiate it."""
        real = attention_mask.unsqueeze(-1).to(embeddings.dtype)  # [batch, sequence, 1]
        positions = self.positions(embeddings)  # [sequence, width]
        hidden = embeddings
        for layer in self.layers:
            hidden = layer(hidden, positions, real)
        hidden = self.norm(hidden)
        logits: Tensor = self.classifier(torch.cat((hidden[:, 0], self.means(hidden, real)), dim=-1))
        return logits
