"""Layer-wise relevance propagation, step by step as in the papers, to compare explanations with.

In: a model in float64, and inputs. Out: the relevance of each token or pixel. Each step takes relevance from the output of
a layer to its inputs, and divides by the output. `gradient_of` is what these steps are compared with.

Source: Achtibat et al. 2024, eq. 8 (linear), 9 (identity), 13 (softmax), 14 and 15 (products); Ali et al. 2022, section 4
(CP-LRP, whose softmax is a constant); Bach et al. 2015, eq. 56 (sums and means), section 2.6 (a maximum is its winner);
Arras et al. 2017, section 3 (gates are constants).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgexf_exporters.explain.rules import Rules


def per(relevance: Tensor, output: Tensor) -> Tensor:
    """Relevance divided by the output that it comes to; 0 where none comes, as at padding."""
    return torch.where(relevance == 0, 0.0, relevance / output)


def linear(layer: Any, x: Tensor, relevance: Tensor) -> Tensor:
    return x * (per(relevance, layer(x)) @ layer.weight)


def norm(layer: Any, x: Tensor, relevance: Tensor) -> Tensor:
    """LayerNorm, whose scale is a constant."""
    scale = layer.weight / (x.var(-1, unbiased=False, keepdim=True) + layer.eps).sqrt()
    slope = per(relevance, layer(x)) * scale
    return x * (slope - slope.mean(-1, keepdim=True))


def added(one: Tensor, other: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    share = per(relevance, one + other)
    return one * share, other * share


def product(left: Tensor, right: Tensor, relevance: Tensor, parts: int = 2) -> tuple[Tensor, Tensor]:
    """A matrix product, whose operands share relevance. With one part each operand gets all of it."""
    share = per(relevance, parts * (left @ right))
    return left * (share @ right.mT), right * (left.mT @ share)


def softmax(scores: Tensor, weights: Tensor, relevance: Tensor) -> Tensor:
    return scores * (relevance - weights * relevance.sum(-1, keepdim=True))


def convolution(layer: Any, x: Tensor, relevance: Tensor) -> Tensor:
    settings = layer.stride, layer.padding, layer.dilation, layer.groups
    return x * nn.grad.conv2d_input(x.shape, layer.weight, per(relevance, layer(x)), *settings)


def batch_norm(layer: Any, x: Tensor, relevance: Tensor) -> Tensor:
    """A BatchNorm with the statistics of its training: linear, as if it were a part of the convolution before it."""
    scale = (layer.running_var + layer.eps).rsqrt() * (1 if layer.weight is None else layer.weight)
    return x * scale[:, None, None] * per(relevance, layer(x))


def mean(layer: Any, x: Tensor, relevance: Tensor) -> Tensor:
    """The mean of each window of an image, or of the whole image."""
    size = getattr(layer, "kernel_size", x.shape[2:])
    window = torch.ones(x.shape[1], 1, *(size if isinstance(size, tuple) else (size, size)), dtype=x.dtype)
    stride = getattr(layer, "stride", size)
    share = per(relevance, layer(x)) / window[0].numel()
    return x * nn.grad.conv2d_input(x.shape, window, share, stride, 0, 1, x.shape[1])


def maximum(layer: Any, x: Tensor, relevance: Tensor) -> Tensor:
    """The largest entry of a window takes all."""
    settings = layer.kernel_size, layer.stride, layer.padding
    _, winners = nn.functional.max_pool2d(x, *settings, return_indices=True)
    return torch.zeros_like(x).flatten(2).scatter_add(2, winners.flatten(2), relevance.flatten(2)).view_as(x)


def handed_on(_: Any, __: Tensor, relevance: Tensor) -> Tensor:
    """An activation, or a constant gate."""
    return relevance


LAYERS: dict[str, Any] = {
    "Conv2d": convolution, "BatchNorm2d": batch_norm, "AvgPool2d": mean, "AdaptiveAvgPool2d": mean, "MaxPool2d": maximum,
    "Linear": linear, "Flatten": lambda _, x, relevance: relevance.view_as(x), "SiLU": handed_on, "ReLU": handed_on,
    "Gate": handed_on,
}  # fmt: skip


def through_layers(layers: Sequence[nn.Module], x: Tensor, label: int) -> tuple[Tensor, Tensor]:
    """Returns the relevance of each entry of the input x of some layers, and a label's logit [batch]."""
    states = [x]
    for layer in layers:
        states.append(layer(states[-1]))
    logit = states[-1][:, label].clone()
    relevance = torch.zeros_like(states[-1])
    relevance[:, label] = logit
    for layer, given in zip(reversed(layers), reversed(states[:-1]), strict=True):
        relevance = LAYERS[type(layer).__name__](layer, given, relevance)
    return relevance, logit


def apart(x: Tensor, heads: int) -> Tensor:
    """[tokens, width] -> [heads, tokens, width of a head]."""
    return x.unflatten(-1, (heads, -1)).transpose(0, 1)


def joined(x: Tensor) -> Tensor:
    return x.transpose(0, 1).flatten(1)


class ModernBert:
    """Propagates relevance through a `ModernBertForSequenceClassification`, one row at a time.

    Warner et al. 2024, section 2.1: no biases, a norm before each part of a layer but the first attention, GLU, windows
    in the sliding layers. Rotations (Su et al. 2021, eq. 34) are matrices of constants.
    """

    def __init__(self, model: Any, values_alone: bool) -> None:
        self.model = model
        self.values_alone = values_alone
        self.lost = torch.zeros((), dtype=torch.float64)  # relevance that softmaxes keep

    def turned(self, kind: str, length: int) -> Tensor:
        """The rotation at each place, [length, width, width]: a head turns by ``tokens @ matrix``."""
        config = self.model.config
        half = config.hidden_size // config.num_attention_heads // 2
        theta = config.rope_parameters[kind]["rope_theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.arange(length, dtype=torch.float64)[:, None] * theta
        cosine, sine = torch.diag_embed(angles.cos()), torch.diag_embed(angles.sin())
        return torch.cat((torch.cat((cosine, sine), -1), torch.cat((-sine, cosine), -1)), -2)

    def seen(self, kind: str, real: Tensor) -> Tensor:
        """Which keys a query sees, bool [queries, keys]: the real ones within half a window."""
        places = torch.arange(len(real))
        near = (places[:, None] - places).abs() <= self.model.config.local_attention // 2
        return real & (near if kind == "sliding_attention" else torch.ones_like(near))

    def heads(self, own: Any, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, [heads, tokens, width] each."""
        return tuple(apart(part, self.model.config.num_attention_heads) for part in own.Wqkv(x).chunk(3, -1))

    def weights(self, own: Any, kind: str, x: Tensor, real: Tensor) -> tuple[Tensor, ...]:
        """Rotations, turned queries and keys, scores and their softmax weights."""
        query, key, _ = self.heads(own, x)
        rotation = self.turned(kind, len(real))
        query, key = ((part[..., None, :] @ rotation)[..., 0, :] for part in (query, key))
        scores = query @ key.mT / query.shape[-1] ** 0.5
        shares = torch.where(self.seen(kind, real), scores, -torch.inf).softmax(-1).nan_to_num()
        return rotation, query, key, scores, shares

    def mixed(self, own: Any, kind: str, x: Tensor, real: Tensor) -> Tensor:
        return joined(self.weights(own, kind, x, real)[-1] @ self.heads(own, x)[2])

    def attention(self, own: Any, kind: str, x: Tensor, real: Tensor, relevance: Tensor) -> Tensor:
        rotation, query, key, scores, weights = self.weights(own, kind, x, real)
        value = self.heads(own, x)[2]
        alone = self.values_alone
        of_weights, of_value = product(weights, value, apart(relevance, len(value)), 2 - alone)
        of_query, of_key = torch.zeros_like(query), torch.zeros_like(key)
        if not alone:
            of_scores = softmax(scores, weights, of_weights)
            self.lost += of_weights.sum() - of_scores.sum()
            of_query, of_turned = product(query, key.mT, of_scores)
            of_key = of_turned.mT
        before = self.heads(own, x)[:2]
        of_query, of_key = (
            plain * (rotation @ per(found, turned)[..., None])[..., 0]
            for plain, turned, found in zip(before, (query, key), (of_query, of_key), strict=True)
        )
        return linear(own.Wqkv, x, torch.cat([joined(part) for part in (of_query, of_key, of_value)], -1))

    def gated(self, own: Any, x: Tensor, relevance: Tensor) -> Tensor:
        """Wo(gelu(a) * b): both factors get half, and a gelu hands on all."""
        one, other = own.Wi(x).chunk(2, -1)
        half = linear(own.Wo, nn.functional.gelu(one) * other, relevance) / 2
        return linear(own.Wi, x, torch.cat((half, half), -1))

    def __call__(self, ids: Tensor, real: Tensor, label: int) -> tuple[Tensor, Tensor]:
        """Returns the relevance [tokens] of a label's logit behind the norm of the embeddings, and the logit.

        ids are int64 [tokens], real is bool [tokens].
        """
        base, head = self.model.model, self.model.head
        x, steps = base.embeddings(ids), []
        for layer, kind in zip(base.layers, self.model.config.layer_types, strict=True):
            normed = layer.attn_norm(x)
            mixed = self.mixed(layer.attn, kind, normed, real)
            middle = x + layer.attn.Wo(mixed)
            steps.append((layer, kind, x, normed, mixed, middle))
            x = middle + layer.mlp(layer.mlp_norm(middle))
        mean = self.model.config.classifier_pooling == "mean"
        share = (real / real.sum() if mean else torch.eye(len(real), dtype=x.dtype)[0])[:, None]
        pooled = (base.final_norm(x) * share).sum(0)
        inner = head.dense(pooled)
        active = nn.functional.gelu(inner)
        logits = self.model.classifier(head.norm(active))
        relevance = torch.zeros_like(logits)
        relevance[label] = logits[label]
        relevance = norm(head.norm, active, linear(self.model.classifier, head.norm(active), relevance))
        relevance = linear(head.dense, pooled, relevance)  # the gelu before it hands on all
        relevance = norm(base.final_norm, x, base.final_norm(x) * share * per(relevance, pooled))
        for layer, kind, before, normed, mixed, middle in reversed(steps):
            of_middle, of_outer = added(middle, layer.mlp(layer.mlp_norm(middle)), relevance)
            of_normed = self.gated(layer.mlp, layer.mlp_norm(middle), of_outer)
            of_middle = of_middle + norm(layer.mlp_norm, middle, of_normed)
            relevance, of_attended = added(before, layer.attn.Wo(mixed), of_middle)
            of_mixed = linear(layer.attn.Wo, mixed, of_attended)
            of_normed = self.attention(layer.attn, kind, normed, real, of_mixed)
            first = isinstance(layer.attn_norm, nn.Identity)
            relevance = relevance + (of_normed if first else norm(layer.attn_norm, before, of_normed))
        return relevance.sum(-1), logits[label]


def gradient_of(function: Callable[[Tensor], Tensor], value: Tensor, method: Callable[[], Any] = Rules) -> Tensor:
    """The derivative of the sum of what a function answers, under the rules of a method."""
    leaf = value.clone().requires_grad_(True)
    with method():
        (gradient,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return gradient
