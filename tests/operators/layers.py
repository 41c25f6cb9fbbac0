"""Layers, losses and operators of whole tensors that are compared with PyTorch, and their inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from operators import hard
from operators.measure import Row
from torch import Tensor, nn


def drawn(*shape: int, seed: int = 0, scale: float = 1.0, offset: float = 0.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale + offset


def like(x: Tensor, *shape: int, seed: int = 7) -> Tensor:
    """Weights of the type of `x`."""
    count = math.prod(shape)
    return WEIGHTS[seed : seed + count].reshape(shape).to(x.dtype)


WEIGHTS = drawn(1024)
Named = dict[str, Callable[..., Any]]


def losses() -> dict[str, Row]:
    scores, targets = hard.pairs(
        torch.cat([hard.both_signs((0.0, 1e-8, 1e-4, 1.0, 30.0, 200.0, 1e4))]), torch.tensor([0.0, 0.3, 1.0])
    )
    chances, marks = hard.pairs(hard.unit(), torch.tensor([0.0, 1.0]))
    given = {
        "binary_cross_entropy_with_logits": (scores, targets), "binary_cross_entropy": (chances, marks),
        "mse_loss": (scores, targets), "l1_loss": (scores, targets), "smooth_l1_loss": (scores, targets),
        "huber_loss": (scores, targets), "soft_margin_loss": (scores, targets * 2 - 1), "kl_div": (scores, targets),
        "hinge_embedding_loss": (scores, targets.round() * 2 - 1),
    }  # fmt: skip
    rows = {
        f"F.{name}": Row(lambda x, y, name=name: getattr(F, name)(x, y, reduction="none"), inputs)
        for name, inputs in given.items()
    }
    rows["F.poisson_nll_loss"] = Row(
        lambda x, y: F.poisson_nll_loss(x, y, reduction="none"), (scores.clamp(max=80), targets)
    )
    rows["F.cross_entropy"] = Row(
        lambda x: F.cross_entropy(x, torch.arange(len(x)) % 8, reduction="none"), (hard.rows(),)
    )
    rows["F.nll_loss"] = Row(
        lambda x: F.nll_loss(x.log_softmax(-1), torch.arange(len(x)) % 8, reduction="none"), (hard.rows(),)
    )
    rows["F.multi_margin_loss"] = Row(
        lambda x: F.multi_margin_loss(x, torch.arange(len(x)) % 8, reduction="none"), (hard.rows(),)
    )
    rows["F.multilabel_soft_margin_loss"] = Row(
        lambda x, y: F.multilabel_soft_margin_loss(x, y, reduction="none"), (hard.rows(), (hard.rows() > 0).float())
    )
    pairs = (hard.rows()[:7], hard.rows()[:7].flip(0))
    rows["F.cosine_similarity"] = Row(lambda x, y: F.cosine_similarity(x, y), pairs)
    rows["F.pairwise_distance"] = Row(lambda x, y: F.pairwise_distance(x, y), pairs)
    rows["F.cosine_embedding_loss"] = Row(
        lambda x, y: F.cosine_embedding_loss(x, y, torch.ones_like(x[:, 0]), reduction="none"), pairs, scale=True
    )
    rows["F.margin_ranking_loss"] = Row(
        lambda x, y: F.margin_ranking_loss(x, y, torch.ones_like(x), reduction="none"), pairs
    )
    rows["F.triplet_margin_loss"] = Row(lambda x, y: F.triplet_margin_loss(x, y, x + 1, reduction="none"), pairs)
    return rows


def norms() -> dict[str, Row]:
    given = (hard.rows(),)
    image = (
        torch.stack([drawn(4, 6), drawn(4, 6) * 1e-4, drawn(4, 6) + 300, drawn(4, 6) * 1e4, torch.full((4, 6), 0.5)]),
    )
    does: Named = {
        "F.layer_norm": lambda x: F.layer_norm(x, (8,)), "F.rms_norm": lambda x: F.rms_norm(x, (8,)),
        "F.layer_norm weights": lambda x: F.layer_norm(x, (8,), like(x, 8), like(x, 8, seed=8)),
    }  # fmt: skip
    rows = {name: Row(one, given, scale=True) for name, one in does.items()}
    images: Named = {
        "F.batch_norm": lambda x: F.batch_norm(x, like(x, 4), like(x, 4, seed=8).abs() + 0.1),
        "F.group_norm": lambda x: F.group_norm(x, 2), "F.instance_norm": lambda x: F.instance_norm(x),
        "F.local_response_norm": lambda x: F.local_response_norm(x, 2),
    }  # fmt: skip
    return rows | {name: Row(one, image, scale=True) for name, one in images.items()}


def pooling() -> dict[str, Row]:
    lines, images = drawn(2, 3, 12), drawn(2, 3, 8, 9)
    lines[0, 0], images[0, 0] = 1.0, -2.0
    one: Named = {
        "F.max_pool1d": lambda x: F.max_pool1d(x, 3), "F.max_pool1d stride": lambda x: F.max_pool1d(x, 3, 2, 1, ceil_mode=True),
        "F.max_pool1d indices": lambda x: F.max_pool1d(x, 3, return_indices=True), "F.avg_pool1d": lambda x: F.avg_pool1d(x, 3, 2, 1),
        "F.lp_pool1d": lambda x: F.lp_pool1d(x.abs(), 2.0, 3), "F.adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(x, 4),
        "F.adaptive_max_pool1d": lambda x: F.adaptive_max_pool1d(x, 4), "F.conv1d": lambda x: F.conv1d(x, like(x, 4, 3, 3), padding=1),
        "F.conv1d same": lambda x: F.conv1d(x, like(x, 4, 3, 4), padding="same"), "F.conv1d dilated": lambda x: F.conv1d(x, like(x, 3, 1, 3), groups=3, dilation=2),
        "F.conv_transpose1d": lambda x: F.conv_transpose1d(x, like(x, 3, 4, 3), stride=2, padding=1, output_padding=1),
        "F.interpolate linear": lambda x: F.interpolate(x, scale_factor=1.7, mode="linear"),
        "F.interpolate nearest": lambda x: F.interpolate(x, scale_factor=1.7), "F.pad reflect": lambda x: F.pad(x, (2, 3), "reflect"),
        "F.pad replicate": lambda x: F.pad(x, (2, 3), "replicate"), "F.pad circular": lambda x: F.pad(x, (2, 3), "circular"),
        "F.pad": lambda x: F.pad(x, (2, -1), value=0.5), "F.unfold by unfold": lambda x: x.unfold(-1, 3, 2),
    }  # fmt: skip
    two: Named = {
        "F.max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1), "F.avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        "F.avg_pool2d without padding": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        "F.adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (4, 3)), "F.adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (4, 3)),
        "F.conv2d": lambda x: F.conv2d(x, like(x, 4, 3, 3, 3), stride=2), "F.unfold": lambda x: F.unfold(x, 2, stride=2),
        "F.fold": lambda x: F.fold(F.unfold(x, 2, stride=1), (8, 9), 2), "F.pixel_unshuffle": lambda x: F.pixel_unshuffle(x[..., :8], 2),
        "F.pixel_shuffle": lambda x: F.pixel_shuffle(torch.cat([x] * 4, 1), 2), "F.channel_shuffle": lambda x: F.channel_shuffle(x, 3),
        "F.interpolate bilinear": lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear", align_corners=True),
        "F.interpolate bicubic": lambda x: F.interpolate(x, size=(12, 13), mode="bicubic"),
        "F.interpolate area": lambda x: F.interpolate(x, size=(4, 3), mode="area"),
        "F.grid_sample": lambda x: F.grid_sample(x, like(x, 2, 5, 5, 2).tanh(), align_corners=False),
        "F.affine_grid": lambda x: F.affine_grid(x[:, 0, :2, :3], [2, 3, 4, 5], align_corners=False),
    }  # fmt: skip
    return {name: Row(does, (lines,), scale=True) for name, does in one.items()} | {
        name: Row(does, (images,), scale=True) for name, does in two.items()
    }


def attention() -> dict[str, Row]:
    query = torch.cat([drawn(1, 2, 5, 4), drawn(1, 2, 5, 4, scale=30)])
    masks = {"-inf": -math.inf, "least": torch.finfo(torch.float32).min, "-3e38": -3e38, "-1e9": -1e9, "-1e4": -1e4}
    shown = torch.ones(2, 1, 5, 5, dtype=torch.bool)
    shown[:, :, 1, 2:], shown[:, :, 2], shown[1, :, :, 4] = False, False, False
    rows = {}
    for name, least in masks.items():
        mask = torch.zeros(2, 1, 5, 5).masked_fill(~shown, least)
        rows[f"scaled_dot_product_attention, mask of {name}"] = Row(
            lambda q, m: F.scaled_dot_product_attention(q, q, q, m.to(q.dtype)), (query, mask), scale=True
        )
        rows[f"softmax of scores, mask of {name}"] = Row(
            lambda q, m: (q @ q.mT + m.to(q.dtype)).softmax(-1) @ q, (query, mask), scale=True
        )
        rows[f"masked_fill of {name}"] = Row(
            lambda q, m, least=least: (q @ q.mT).masked_fill(~m, least).softmax(-1) @ q, (query, shown), scale=True
        )
    rows["scaled_dot_product_attention, bool"] = Row(
        lambda q, m: F.scaled_dot_product_attention(q, q, q, m), (query, shown), scale=True
    )
    rows["scaled_dot_product_attention, causal"] = Row(
        lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True), (query,), scale=True
    )

    def weights(x: Tensor, hide: Tensor) -> Any:
        torch.manual_seed(0)
        return multihead[x.dtype](x, x, x, key_padding_mask=hide)

    torch.manual_seed(0)
    made = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    multihead = {torch.float32: made, torch.float64: nn.MultiheadAttention(8, 2, batch_first=True).double().eval()}
    multihead[torch.float64].load_state_dict(made.state_dict())
    hide = torch.tensor([[False] * 6, [False, False, True, True, True, True], [True] * 6])
    rows["nn.MultiheadAttention"] = Row(weights, (drawn(3, 6, 8), hide), scale=True)
    rows["nn.MultiheadAttention, one output"] = Row(
        lambda x, hide: multihead[x.dtype](x, x, x, key_padding_mask=hide, need_weights=False)[0],
        (drawn(3, 6, 8), hide),
        scale=True,
    )
    return rows


def whole() -> dict[str, Row]:
    given = (drawn(6, 8),)
    ids = torch.tensor([[0, 2, 2, 5], [1, 1, 1, 1], [5, 4, 3, 0], [0, 0, 5, 5], [2, 3, 2, 3], [4, 0, 0, 1]])
    does: Named = {
        "einsum": lambda x: torch.einsum("bi,ij->bj", x, like(x, 8, 3)), "bmm": lambda x: torch.bmm(x[:, None], x[:, :, None]),
        "addmm": lambda x: torch.addmm(x, x @ x.T, x, beta=0.5, alpha=2), "baddbmm": lambda x: torch.baddbmm(x[:, None, :1], x[:, None], x[:, :, None], alpha=0.5),
        "F.linear": lambda x: F.linear(x, like(x, 3, 8), like(x, 3)), "F.bilinear": lambda x: F.bilinear(x, x, like(x, 3, 8, 8)),
        "outer": lambda x: torch.outer(x[:, 0], x[:, 1]), "kron": lambda x: torch.kron(x[:, :2], x[:2, :2]), "cross": lambda x: torch.linalg.cross(x[:, :3], x[:, 3:6]),
        "cdist": lambda x: torch.cdist(x, x + 1), "cdist of 1": lambda x: torch.cdist(x, x + 1, p=1.0), "cdist of equal rows": lambda x: torch.cdist(x, x),
        "cdist without mm": lambda x: torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist"),
        "tril": lambda x: x.tril(1), "triu": lambda x: x.triu(-1), "diagonal": lambda x: x[:, :6].diagonal(), "trace": lambda x: x[:6, :6].trace(),
        "diag_embed": lambda x: torch.diag_embed(x), "flip": lambda x: x.flip(0), "roll": lambda x: x.roll((1, 2), (0, 1)), "rot90": lambda x: x.rot90(),
        "repeat_interleave": lambda x: x.repeat_interleave(2, 0), "tile": lambda x: x.tile(2, 1), "meshgrid": lambda x: torch.meshgrid(x[:, 0], x[0], indexing="ij"),
        "linspace of a length": lambda x: torch.linspace(0, 1, x.shape[0]) + x[:, 0], "arange": lambda x: torch.arange(x.shape[0]) / 3 + x[:, 0],
        "linspace to a length": lambda x: torch.linspace(-1, x.shape[0], 5, dtype=x.dtype) + x[:, :5], "logspace": lambda x: torch.logspace(0, 2, x.shape[1], dtype=x.dtype) + x,
                "length ** 0.5": lambda x: x * x.shape[0] ** 0.5,
        "length // 3": lambda x: x * (x.shape[0] // 3), "length / 3": lambda x: x * (x.shape[0] / 3),
        "where": lambda x: torch.where(x > 0, x, -1.0), "masked_fill": lambda x: x.masked_fill(x > 0, -3e38), "scatter": lambda x: x.scatter(1, ids, 3.0),
        "index_fill": lambda x: x.index_fill(1, torch.tensor([0, 3]), 2.0), "index_copy": lambda x: x.index_copy(1, torch.tensor([0, 3]), x[:, :2]),
        "take_along_dim": lambda x: torch.take_along_dim(x, ids, 1), "index_add": lambda x: x.index_add(1, torch.tensor([0, 0]), x[:, :2]),
        "F.one_hot": lambda x: F.one_hot(ids, 6) * x[:, :4, None], "F.embedding": lambda x: F.embedding(ids, like(x, 6, 3)) + x[:, :1, None],
        "F.embedding_bag": lambda x: F.embedding_bag(ids, like(x, 6, 3)) + x[:, :1], "nn.functional.normalize": lambda x: F.normalize(x, p=1.0, dim=0),
        "block_diag": lambda x: torch.block_diag(x[:2, :2], x[:3, :3]), "combinations": lambda x: torch.cartesian_prod(x[0], x[1]), "unflatten": lambda x: x.unflatten(1, (2, 4)),
        "cumulative_trapezoid": lambda x: torch.cumulative_trapezoid(x), "trapezoid": lambda x: torch.trapezoid(x), "diff": lambda x: x.diff(),
        "matrix_power": lambda x: torch.linalg.matrix_power(x[:6, :6], 3), "corrcoef": lambda x: (x @ x.T),
        "F.gumbel": lambda x: -(-(x.sigmoid().log())).log(), "log(sigmoid)": lambda x: torch.log(torch.sigmoid(x * 40)), "1 / sigmoid": lambda x: 1 / torch.sigmoid(x * 20),
        "log(softmax)": lambda x: (x * 20).softmax(-1).log(), "log(1 + exp)": lambda x: torch.log(1 + torch.exp(x * 20)), "xlogx": lambda x: (x.softmax(-1) * x.log_softmax(-1)).sum(-1),
        "complex abs": lambda x: torch.view_as_complex(x.reshape(-1, 4, 2)).abs(), "angle": lambda x: torch.angle(x), "fft": lambda x: torch.fft.rfft(x).abs(),
        "fft of two": lambda x: torch.fft.fft2(x).real, "std of columns": lambda x: x.std(0), "cov": lambda x: (x.T @ x) / (x.shape[0] - 1), "tensordot": lambda x: torch.tensordot(x, x, ([1], [1])),
        "logdet": lambda x: torch.logdet(x @ x.T), "det": lambda x: torch.linalg.det(x @ x.T),
        "nonzero": lambda x: (x > 0).nonzero(), "masked_select": lambda x: x[x > 0], "unique": lambda x: torch.unique(x), "isin": lambda x: torch.isin(x.round(), torch.tensor([0.0, 1.0], dtype=x.dtype)),
        "bincount": lambda x: torch.bincount(ids.flatten()) * x[0, 0], "histc": lambda x: torch.histc(x, 5, -1, 1), "isclose": lambda x: torch.isclose(x, x + 1e-7),
    }  # fmt: skip
    rows = {name: Row(one, given, scale=True) for name, one in does.items()}
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        for own in (True, False):
            rows[f"scatter_reduce {reduce}{'' if own else ' alone'}"] = Row(
                lambda x, i, reduce=reduce, own=own: x.scatter_reduce(1, i, x[:, :4] * 2, reduce, include_self=own),
                (drawn(6, 8), ids),
            )
    rows["scatter_add"] = Row(lambda x, i: x.scatter_add(1, i, x[:, :4]), (drawn(6, 8), ids))
    rows["matmul of int32"] = Row(
        lambda x: x @ x, (torch.tensor([[2**30, 27, -3], [7, 1, 2**20], [90, 2**24, 5]], dtype=torch.int32),)
    )
    for kind in (torch.int32, torch.int8, torch.uint8, torch.int16):
        values = torch.tensor([[100, 27, -3], [7, 1, 0], [90, 120, 5]]).to(kind)
        operators: Named = {
            "add": lambda x: x + x, "mul": lambda x: x * x, "sub": lambda x: x - 101, "neg": lambda x: -x, "shift": lambda x: x << 2,
            "sum as itself": lambda x: x.sum(-1, dtype=x.dtype), "cumsum as itself": lambda x: x.cumsum(-1, dtype=x.dtype), "sum": lambda x: x.sum(-1),
            "floor_divide": lambda x: x // 7, "remainder": lambda x: x % 7, "power": lambda x: x**3, "hash": lambda x: (x * 31 + 17) % 11, "max": lambda x: x.max(-1).values,
            "sort": lambda x: x.sort(-1).values, "where": lambda x: torch.where(x > 5, x * 3, x), "xor": lambda x: x ^ 77, "wrap": lambda x: (x.to(torch.int64) * 1000003).to(x.dtype),
            "topk": lambda x: x.topk(2).values, "clamp": lambda x: x.clamp(2, 50), "argmax": lambda x: x.argmax(-1), "gather": lambda x: x.gather(-1, x.argsort(-1)), "abs": lambda x: x.abs(),
            "cumprod": lambda x: x.cumprod(-1), "cummax": lambda x: tuple(x.cummax(-1)), "from float": lambda x: (x.float() * 2.7).to(x.dtype),
        }  # fmt: skip
        rows |= {f"{name} of {str(kind)[6:]}": Row(one, (values,)) for name, one in operators.items()}
    return rows


# Their functions hold a tensor of the example's size.
FIXED = {
    "F.cross_entropy", "F.nll_loss", "F.multi_margin_loss", "F.grid_sample", "F.affine_grid", "kron", "take_along_dim", "F.one_hot",
    "F.embedding", "F.embedding_bag", "matmul of int32",
}  # fmt: skip


def layers() -> dict[str, Row]:
    rows = made()
    return rows | {name: replace(rows[name], free=False) for name in FIXED}


def made() -> dict[str, Row]:
    return losses() | norms() | pooling() | attention() | whole()
