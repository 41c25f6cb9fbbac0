"""A byte-level encoder classifier that is *given* its attention.

In: ``input_ids`` int64 [batch, sequence] and ``attention_mask`` int64 [batch, sequence] (1 = real,
0 = padding appended behind the real tokens). Out: ``logits`` float32 [batch, labels].

    ids -> token embedding -> layers x (n-gram context, attention, feed-forward) -> norm
        -> [first token, attentive means of the real tokens] -> logits

Positions join at the attention of every layer and nowhere else: the context knows order by itself, and
a feature of three bytes should look the same wherever they stand. Appended padding changes no answer:
padded tokens are zeroed, or hidden, before anything mixes tokens.

Two alternatives to the n-gram context were weighed. Without it a projected attention, which sees
only sums over positions, can't tell ``</`` from ``/<``. A strided convolution that merges bytes
would be faster, but then no token of the graph is a byte of the user's file any more. Two alternatives
to the attentive means: a plain mean dilutes one telling token by the length, and a maximum jumps, and
its gradient with it, when two tokens are nearly equal.
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
    """Position table float32 [length, width] (Vaswani et al. 2017, section 3.5)."""
    position = torch.arange(length, dtype=torch.float64).unsqueeze(1)  # [length, 1]
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10_000.0) / width))
    angle = position * frequency  # [length, width / 2]
    return torch.stack((angle.sin(), angle.cos()), dim=-1).reshape(length, width).float()


class Positions(nn.Module):
    """The first `sequence` rows of a fixed table."""

    table: Tensor

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoids(length, width), persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.table[: hidden.shape[1]]  # [sequence, width]


class Context(nn.Module):
    """What stands around each token: a linear map of its `context` neighbours, then GELU.

    The local aggregation of CANINE (Clark et al. 2022, section 3.2) without its downsampling.
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
    """Pre-norm transformer layer (Xiong et al. 2020, figure 1b) around the attention it is given."""

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
    """`heads` weighted means of the real tokens, by learned scores (Lin et al. 2017, eq. 5 to 7, without its tanh)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, heads)

    def forward(self, hidden: Tensor, real: Tensor) -> Tensor:
        score = self.score(hidden).masked_fill(real == 0, -torch.inf)  # [batch, sequence, heads]
        means: Tensor = score.softmax(dim=1).transpose(1, 2) @ hidden  # [batch, heads, width]
        return means.flatten(1)


class Encoder(nn.Module):
    """Classifier over tokens; `attention` makes one attention module for each layer.

    Shapes and dtypes are in the module's docstring. Raises IndexError for an id outside the
    vocabulary and RuntimeError for a sequence over ``spec.max_length``, as PyTorch does.
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
        """Logits [batch, labels] from token embeddings [batch, sequence, width]: what an explanation differentiates."""
        real = attention_mask.unsqueeze(-1).to(embeddings.dtype)  # [batch, sequence, 1]
        positions = self.positions(embeddings)  # [sequence, width]
        hidden = embeddings
        for layer in self.layers:
            hidden = layer(hidden, positions, real)
        hidden = self.norm(hidden)
        logits: Tensor = self.classifier(torch.cat((hidden[:, 0], self.means(hidden, real)), dim=-1))
        return logits
