"""Operators that move, join, compare or pool entries, and their inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from operators import hard
from operators.layers import drawn, like
from operators.measure import Row

Named = dict[str, Callable[..., Any]]


def moved() -> Named:
    """Operators of one matrix [6, 8]."""
    return {
        "addbmm": lambda x: torch.addbmm(x[:, :1], x[:, None, :].mT[:, :6].mT.mT, x[:, None, :1]), "addmv": lambda x: torch.addmv(x[:, 0], x, x[0]), "addr": lambda x: torch.addr(x, x[:, 0], x[0], alpha=0.5),
        "argwhere": lambda x: torch.argwhere(x > 0), "atleast_3d": torch.atleast_3d, "broadcast_to": lambda x: x[:1].broadcast_to(x.shape), "chunk": lambda x: x.chunk(3, 1), "clamp_max": lambda x: x.clamp_max(0.3),
        "clamp_min": lambda x: x.clamp_min(0.3), "clamp by tensors": lambda x: torch.clamp(x, -x[:1].abs(), x[:1].abs()), "column_stack": lambda x: torch.column_stack((x, x)), "diag": lambda x: torch.diag(x[0]), "diagflat": lambda x: torch.diagflat(x[0]),
        "dstack": lambda x: torch.dstack((x, x)), "hstack": lambda x: torch.hstack((x, x)), "vstack": lambda x: torch.vstack((x, x)), "stack": lambda x: torch.stack((x, x), 1), "fliplr": torch.fliplr, "full_like": lambda x: torch.full_like(x, 2.5),
        "zeros_like": torch.zeros_like, "inner": lambda x: torch.inner(x, x[:2]), "dot": lambda x: torch.dot(x[0], x[1]), "mv": lambda x: torch.mv(x, x[0]), "vdot": lambda x: torch.vdot(x[0], x[1]), "index_put": lambda x: x.index_put((torch.tensor([0, 2]),), x[:2] * 2),
        "index_put added": lambda x: x.index_put((torch.tensor([0, 0]),), x[:2], accumulate=True), "masked_scatter": lambda x: x.masked_scatter(x > 0, x.flip(0)), "narrow": lambda x: x.narrow(1, 2, 3), "select": lambda x: x.select(1, -1), "ravel": torch.ravel,
        "rsub": lambda x: torch.rsub(x, 2, alpha=3), "select_scatter": lambda x: x.select_scatter(x[:, 0], 1, 2), "slice_scatter": lambda x: x.slice_scatter(x[:, :3], 1, 0, 6, 2),
        "split": lambda x: x.split([3, 5], 1), "swapaxes": lambda x: x.swapaxes(0, 1), "tensor_split": lambda x: x.tensor_split(3, 1), "unbind": lambda x: x.unbind(1), "movedim": lambda x: x[None].movedim(0, 2), "permute": lambda x: x[None].permute(2, 0, 1),
        "unfold": lambda x: x.unfold(1, 3, 2), "stride": lambda x: x[:, 1::3], "reversed places": lambda x: x[:, [3, 1, 1]], "ellipsis": lambda x: x[..., None, 0], "logical_and": lambda x: torch.logical_and(x > 0, x < 1), "logical_or": lambda x: torch.logical_or(x, x > 1),
        "logical_xor": lambda x: torch.logical_xor(x > 0, x < 1), "logical_not": torch.logical_not, "isreal": torch.isreal, "greater_equal": lambda x: torch.greater_equal(x, 0.3), "clone": lambda x: x.clone() * 1, "fix": torch.fix, "expit": torch.special.expit,
        "softmax by hand": lambda x: (x - x.amax(1, keepdim=True)).exp() / (x - x.amax(1, keepdim=True)).exp().sum(1, keepdim=True), "stft": lambda x: torch.stft(x, 4, 2, window=torch.ones(4, dtype=x.dtype), return_complex=True).abs(),
        "std_mean of all": lambda x: torch.std_mean(x), "var of columns": lambda x: x.var(0), "norm of all": lambda x: x.norm(), "sum of all": lambda x: x.sum(), "mean of all": lambda x: x.mean(), "prod of all": lambda x: x[:3].prod(), "argmin of all": lambda x: x.argmin(),
        "cumsum of columns": lambda x: x.cumsum(0), "logsumexp of all": lambda x: torch.logsumexp(x, (0, 1)), "amax of both": lambda x: x.amax((0, 1)), "any of all": lambda x: (x > 2).any(), "all of all": lambda x: (x > -9).all(), "x.T @ x": lambda x: x.T @ x,
        "F.dropout": lambda x: F.dropout(x, 0.5, training=False), "F.alpha_dropout": lambda x: F.alpha_dropout(x, 0.5, training=False), "F.upsample": lambda x: F.interpolate(x[None], scale_factor=2), "positions": lambda x: torch.cumsum((x > 0).long(), 1) * (x > 0).long() + 1,
        "in place": lambda x: (x * 2).add_(1).mul_(x).clamp_(-1, 1), "write to a slice": lambda x: fill(x), "remainder in place": lambda x: (x * 1).remainder_(0.3), "log1p in place": lambda x: (x.abs() * 1e-5).log1p_(),
        "scalar tensor": lambda x: x * torch.tensor(0.5, dtype=x.dtype) + x.new_ones(()), "where of numbers": lambda x: torch.where(x > 0, 1, 0), "repeat": lambda x: x.repeat(2, 1), "expand": lambda x: x[:, :1].expand(-1, 4), "pow of tensors": lambda x: x.abs() ** x, "max of two": lambda x: torch.max(x, x.flip(0)),
        "bincount by one_hot": lambda x: F.one_hot((x > 0).long(), 2).sum(0), "cumsum reversed": lambda x: x.flip(1).cumsum(1).flip(1), "linalg.norm": lambda x: torch.linalg.norm(x), "linalg.vector_norm": lambda x: torch.linalg.vector_norm(x, 3, 1), "matrix norm": lambda x: torch.linalg.matrix_norm(x),
        "linalg.multi_dot": lambda x: torch.linalg.multi_dot([x, x.T, x]), "chain_matmul": lambda x: x @ x.T @ x, "gather of rows": lambda x: torch.gather(x, 0, torch.tensor([[0, 1, 2, 0]])), "triu_indices": lambda x: x[:6, :6][tuple(torch.triu_indices(6, 6))], "tril of ones": lambda x: torch.ones(6, 6).tril() + x[:, :6],
        "nanquantile": lambda x: x.nanquantile(0.5, 1), "gradient": lambda x: torch.gradient(x, dim=1)[0], "signal window": lambda x: x * torch.hann_window(8, dtype=x.dtype), "polar": lambda x: torch.polar(x.abs(), x).real,
    }  # fmt: skip


def fill(x: torch.Tensor) -> torch.Tensor:
    """Writes to a part of a new tensor."""
    made = x * 2
    made[:, 2:4] = x[:, :2]
    made[x > 1] = 0.5
    return made


def beside_writes() -> Named:
    """Operators in a program that writes to a part of a tensor: such a program is decomposed in another way."""
    return {
        "elu beside a write": lambda x: (fill(x), F.elu(x * 1e-6)), "log_ndtr beside a write": lambda x: (fill(x), torch.special.log_ndtr(x * 9)),
        "soft_margin_loss of a write": lambda x: (fill(x), F.soft_margin_loss(x * 20, x.sign(), reduction="none")), "remainder beside a write": lambda x: (fill(x), x % 0.3),
        "log(sigmoid) beside a write": lambda x: (fill(x), torch.log(torch.sigmoid(x * 40))), "cummax beside a write": lambda x: (fill(x), x.cummax(1).values), "median beside a write": lambda x: (fill(x), x.median(1).values),
    }  # fmt: skip


def volumes() -> Named:
    """Operators of images of one more axis [2, 3, 5, 6, 7]."""
    return {
        "F.conv3d": lambda x: F.conv3d(x, like(x, 2, 3, 2, 2, 2)), "F.max_pool3d": lambda x: F.max_pool3d(x, 2), "F.avg_pool3d": lambda x: F.avg_pool3d(x, 2), "F.lp_pool2d": lambda x: F.lp_pool2d(x[:, 0].abs(), 2.0, 2),
        "F.adaptive_avg_pool3d": lambda x: F.adaptive_avg_pool3d(x, 1), "F.conv_transpose3d": lambda x: F.conv_transpose3d(x, like(x, 3, 2, 2, 2, 2), stride=2), "F.conv_transpose2d": lambda x: F.conv_transpose2d(x[:, :, 0], like(x, 3, 2, 2, 2)),
        "F.interpolate trilinear": lambda x: F.interpolate(x, size=(4, 8, 9), mode="trilinear"), "F.instance_norm of volumes": lambda x: F.instance_norm(x),
    }  # fmt: skip


def free_lengths() -> dict[str, Row]:
    """Pooling and convolution along the axis of free size [tokens, channels]."""
    does: Named = {
        "max_pool1d over a length": lambda x: F.max_pool1d(x.T[None], 3), "max_pool1d with stride over a length": lambda x: F.max_pool1d(x.T[None], 3, 2, 1),
        "max_pool1d rounded up over a length": lambda x: F.max_pool1d(x.T[None], 3, 2, ceil_mode=True), "avg_pool1d over a length": lambda x: F.avg_pool1d(x.T[None], 3),
        "conv1d over a length": lambda x: F.conv1d(x.T[None], like(x, 4, 5, 3), padding=1), "adaptive_max_pool1d to one over a length": lambda x: F.adaptive_max_pool1d(x.T[None], 1),
        "adaptive_avg_pool1d to one over a length": lambda x: F.adaptive_avg_pool1d(x.T[None], 1), "unfold over a length": lambda x: x.unfold(0, 3, 2), "median of a length": lambda x: x.median(0).values,
        "kthvalue of a length": lambda x: x.kthvalue(2, 0).values, "mode of a length": lambda x: x.round().mode(0).values, "cumprod of a length": lambda x: x.cumprod(0), "quantile of a length": lambda x: x.quantile(0.25, 0),
        "topk of a length": lambda x: x.topk(3, 0).values, "softmax of a length": lambda x: x.softmax(0), "var of a length": lambda x: x.var(0), "cdist of a length": lambda x: torch.cdist(x, x), "searchsorted of a length": lambda x: torch.searchsorted(x[:, 0].sort().values, x),
        "arange of a length": lambda x: torch.arange(x.shape[0], dtype=x.dtype) * 0.1, "positions of a length": lambda x: (torch.arange(x.shape[0])[:, None] - torch.arange(x.shape[0])).abs(), "roll over a length": lambda x: x.roll(1, 0), "flip over a length": lambda x: x.flip(0),
        "pad over a length": lambda x: F.pad(x, (0, 0, 1, 2)), "triu of a length": lambda x: torch.ones(x.shape[0], x.shape[0]).triu(1), "mean of halves": lambda x: x[: x.shape[0] // 2].mean(0), "repeat_interleave of a length": lambda x: x.repeat_interleave(2, 0),
    }  # fmt: skip
    given = (drawn(12, 5),)
    return {name: Row(one, given, scale=True) for name, one in does.items()}


def integers() -> dict[str, Row]:
    """Operators of integers that have no row of their own yet."""
    values = hard.pairs(torch.tensor([0, 1, 2, 6, 9, 12, 100, 2**20]), torch.tensor([1, 4, 6, 15]))
    does: Named = {"bitwise_left_shift": torch.bitwise_left_shift, "bitwise_right_shift": torch.bitwise_right_shift}
    ends = torch.tensor([[2**62, 12345], [2**62, 3], [2**62, -(2**53) - 1], [2**62, 2**53 + 1], [5, 7]])
    own: Named = {
        "sum of large": lambda x: x.sum(0), "sum of all large": lambda x: x.sum(), "sum of large, axis kept": lambda x: x.sum(1, keepdim=True), "max of large": lambda x: x.amax(0), "argmax of large": lambda x: x.argmax(0),
        "equal to large": lambda x: x == 2**53, "sort of large": lambda x: x.sort(0).values, "clamp of large": lambda x: x.clamp(-(2**53) - 1, 2**53 + 1), "power of large": lambda x: x**5, "sum to int32": lambda x: x.sum(0, dtype=torch.int32),
        "product of large": lambda x: (x[:, 1] | 1).cumprod(0), "mean of large": lambda x: x.float().mean(), "remainder of large": lambda x: x % 1000003, "hash of rows": lambda x: (x * torch.tensor([31, 17])).sum(-1) % 97,
    }  # fmt: skip
    return {name: Row(one, values) for name, one in does.items()} | {
        name: Row(one, (ends,)) for name, one in own.items()
    }


def shapes() -> dict[str, Row]:
    given, volume = (drawn(6, 8),), (drawn(2, 3, 5, 6, 7),)
    rows = {name: Row(one, given, free=False, scale=True) for name, one in (moved() | beside_writes()).items()}
    rows |= {name: Row(one, volume, scale=True) for name, one in volumes().items()}
    return rows | free_lengths() | integers()
