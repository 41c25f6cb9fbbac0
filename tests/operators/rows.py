"""Every operator that is compared with PyTorch, and its inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from operators import hard
from operators.layers import layers
from operators.lengths import lengths
from operators.measure import Row
from operators.shapes import shapes
from torch import Tensor, special

LINE, PLAIN = hard.line(), hard.line(beyond=False)
GATED = PLAIN[PLAIN.abs() <= 30]  # where a product with a sigmoid is compared at the size of the largest
INFINITE = torch.tensor([math.inf, -math.inf])
NAN = torch.tensor([math.nan])
HUGE = torch.tensor([3e38, -3e38])
UNARY = [
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "deg2rad", "erf", "erfc",
    "erfinv", "exp", "exp2", "expm1", "floor", "frac", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "log",
    "log10", "log1p", "log2", "logit", "nan_to_num", "neg", "positive", "rad2deg", "reciprocal", "round", "rsqrt",
    "signbit", "sin", "sinc", "sinh", "sqrt", "square", "tan", "tanh", "trunc",
]  # fmt: skip
SPECIAL = ["entr", "erfcx", "log_ndtr", "ndtr", "ndtri"]
ACTIVATIONS = [
    "celu", "elu", "hardshrink", "hardsigmoid", "hardtanh", "leaky_relu", "logsigmoid", "mish", "relu", "relu6",
    "selu", "softplus", "softshrink", "softsign",
]  # fmt: skip
BINARY = [
    "add", "atan2", "div", "eq", "fmax", "fmin", "ge", "gt", "hypot", "ldexp", "le", "logaddexp", "logaddexp2",
    "lt", "maximum", "minimum", "mul", "ne", "pow", "sub", "true_divide", "xlogy",
]  # fmt: skip


def unary() -> dict[str, Row]:
    small = torch.cat([PLAIN[PLAIN.abs() <= 30], hard.unit()])
    rows = {name: Row(getattr(torch, name), (torch.cat([LINE, hard.unit()]),)) for name in UNARY}
    rows |= {f"special.{name}": Row(getattr(special, name), (LINE,)) for name in SPECIAL}
    rows |= {f"F.{name}": Row(getattr(F, name), (LINE,)) for name in ACTIVATIONS}
    rows["F.gelu tanh"] = Row(lambda x: F.gelu(x, approximate="tanh"), (GATED,), scale=True)  # 1 + tanh(x) cancels
    rows["F.elu of 0.3"] = Row(lambda x: F.elu(x, alpha=0.3), (LINE,))
    rows["F.celu of 0.3"] = Row(lambda x: F.celu(x, alpha=0.3), (LINE,))
    rows["F.softplus of 2"] = Row(lambda x: F.softplus(x, beta=2, threshold=10), (LINE,))
    rows["F.threshold"] = Row(lambda x: F.threshold(x, 0.1, 20.0), (LINE,))
    rows["F.glu"] = Row(lambda x: F.glu(torch.stack([x, x.flip(0)]), 0), (GATED,), scale=True)
    rows["F.prelu"] = Row(lambda x: F.prelu(x, torch.tensor([0.3], dtype=x.dtype)), (PLAIN,))
    rows["F.rrelu"] = Row(F.rrelu, (PLAIN,))
    rows["clamp"] = Row(lambda x: x.clamp(-1, 2), (LINE,))
    rows["round to 2"] = Row(lambda x: torch.round(x, decimals=2), (small,))
    rows["pow of 2"] = Row(lambda x: x**2, (LINE,))
    rows["pow of 0.5"] = Row(lambda x: x**0.5, (LINE,))
    rows["pow of -1"] = Row(lambda x: x**-1, (LINE,))
    rows["pow of 3"] = Row(lambda x: x**3, (PLAIN,))
    rows["2 to the"] = Row(lambda x: 2**x, (LINE,))
    rows |= {name: Row(getattr(torch, name), (torch.cat([PLAIN, INFINITE, HUGE]),)) for name in ("sign", "sgn")}
    rows |= {f"{name} of NaN": Row(getattr(torch, name), (NAN,), free=False) for name in ("sign", "sgn")}
    rows |= {f"F.{name}": Row(getattr(F, name), (PLAIN,)) for name in ("gelu", "hardswish")}
    rows |= {f"F.{name} of 3e38": Row(getattr(F, name), (HUGE,)) for name in ("gelu", "hardswish")}
    rows["F.gelu of infinity"] = Row(F.gelu, (INFINITE,))
    rows |= {f"F.{name}": Row(getattr(F, name), (GATED,), scale=True) for name in ("sigmoid", "silu")}
    rows |= {
        f"F.{name} below -18": Row(getattr(F, name), (torch.tensor([-20.0, -30.0]),)) for name in ("sigmoid", "silu")
    }
    rows["F.tanhshrink"] = Row(
        F.tanhshrink, (LINE[(LINE.abs() >= 1e-4) | (LINE == 0) | LINE.isnan()],)
    )  # float64 cancels too
    rows["-log(-log(u))"] = Row(lambda x: -torch.log(-torch.log(x)), (hard.unit(),))
    rows["log(1 - exp(-x))"] = Row(lambda x: torch.log(-torch.expm1(-x)), (PLAIN[PLAIN > 0],))
    return rows


def binary() -> dict[str, Row]:
    crossed = hard.pairs(LINE)
    rows = {name: Row(getattr(torch, name), crossed) for name in BINARY}
    rows["ldexp"] = Row(torch.ldexp, hard.pairs(PLAIN, torch.arange(-20, 20)))
    rows["pow"] = Row(
        torch.pow, hard.pairs(PLAIN[PLAIN.abs() <= 200], torch.tensor([-3.0, -2, -0.5, 0, 0.5, 1, 2, 3, 2.5]))
    )
    rows["float_power"] = Row(torch.float_power, hard.pairs(PLAIN[PLAIN.abs() <= 30], torch.tensor([-2.0, 0.5, 2])))
    rows["xlog1py"] = Row(special.xlog1py, hard.pairs(PLAIN))
    rows["heaviside"] = Row(torch.heaviside, hard.pairs(torch.cat([PLAIN, INFINITE]), PLAIN))
    rows["heaviside of NaN"] = Row(torch.heaviside, hard.pairs(NAN, PLAIN))
    rows["copysign"] = Row(torch.copysign, hard.pairs(LINE, torch.cat([PLAIN, INFINITE, HUGE])))
    rows["copysign by NaN"] = Row(torch.copysign, hard.pairs(PLAIN[PLAIN > 0], -NAN))
    parts = {name: getattr(torch, name) for name in ("fmod", "remainder", "floor_divide")}
    finite = torch.cat([PLAIN, INFINITE, NAN])
    rows |= {name: Row(does, hard.pairs(finite, LINE)) for name, does in parts.items()}
    rows |= {f"{name} of 3e38": Row(does, hard.pairs(HUGE, PLAIN)) for name, does in parts.items()}
    for mode in ("floor", "trunc"):
        rows[f"div {mode}"] = Row(lambda x, y, mode=mode: torch.div(x, y, rounding_mode=mode), hard.pairs(finite, LINE))
        rows[f"div {mode} of multiples"] = Row(rows[f"div {mode}"].does, hard.multiples())
    for name, does in {"remainder": torch.remainder, "fmod": torch.fmod, "floor_divide": torch.floor_divide}.items():
        rows[f"{name} of multiples"] = Row(does, hard.multiples())
    numbers: dict[str, Callable[[Tensor], Any]] = {
        "x % 0.1": lambda x: x % 0.1, "x // 0.1": lambda x: x // 0.1, "x % -3": lambda x: x % -3,
        "x // 3": lambda x: x // 3, "7 % x": lambda x: 7 % x, "7.5 // x": lambda x: 7.5 // x,
        "x fmod 0.1": lambda x: torch.fmod(x, 0.1), "div trunc by 0.1": lambda x: torch.div(x, 0.1, rounding_mode="trunc"),
    }  # fmt: skip
    rows |= {name: Row(does, (torch.cat([PLAIN, hard.multiples()[0]]),)) for name, does in numbers.items()}
    rows["7 % x"] = Row(numbers["7 % x"], (PLAIN[PLAIN.abs() >= 1e-4],))  # PyTorch's vector kernel answers NaN below
    rows["lerp"] = Row(lambda x, y: torch.lerp(x, y, 0.3), hard.pairs(PLAIN))
    rows["addcmul"] = Row(lambda x, y: torch.addcmul(x, y, y, value=0.5), hard.pairs(PLAIN))
    rows["addcdiv"] = Row(lambda x, y: torch.addcdiv(x, x, y, value=0.5), hard.pairs(PLAIN, PLAIN[PLAIN != 0]))
    return rows


def integers() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for dtype in (torch.int64, torch.int32, torch.int8):
        crossed = hard.pairs(hard.whole(dtype))
        by = hard.whole(dtype)
        divided = hard.pairs(by, by[(by != 0) & (by != -1)])
        name = str(dtype).removeprefix("torch.")
        for operator in ("add", "sub", "mul", "maximum", "minimum", "eq", "lt"):
            rows[f"{operator} {name}"] = Row(getattr(torch, operator), crossed)
        for operator in ("remainder", "floor_divide", "fmod"):
            rows[f"{operator} {name}"] = Row(getattr(torch, operator), divided)
        rows[f"div trunc {name}"] = Row(lambda x, y: torch.div(x, y, rounding_mode="trunc"), divided)
        rows[f"div {name}"] = Row(torch.div, divided)
        for operator in ("bitwise_and", "bitwise_or", "bitwise_xor"):
            rows[f"{operator} {name}"] = Row(getattr(torch, operator), crossed)
        own: dict[str, Callable[[Tensor], Any]] = {
            "abs": torch.abs, "neg": torch.neg, "sign": torch.sign, "square": torch.square, "x + 100": lambda x: x + 100,
            "x * 31": lambda x: x * 31, "31 - x": lambda x: 31 - x, "x % 5": lambda x: x % 5, "x // -3": lambda x: x // -3,
            "sum": lambda x: x.sum(), "cumsum": lambda x: x.cumsum(0), "prod": lambda x: x.prod(), "x ** 2": lambda x: x**2,
            "x ** 3": lambda x: x**3, "bitwise_not": torch.bitwise_not, "x << 1": lambda x: x << 1, "x >> 1": lambda x: x >> 1,
            "max": lambda x: x.max(), "float": lambda x: x.float(), "clamp": lambda x: x.clamp(-3, 5),
            "hash": lambda x: ((x * 31 + 7) ^ (x >> 2)) * 17, "to int8": lambda x: x.to(torch.int8),
            "to int32": lambda x: x.to(torch.int32), "x / 3": lambda x: x / 3, "bool": lambda x: x.bool(),
            "x * 0.5": lambda x: x * 0.5, "where": lambda x: torch.where(x > 0, x + x, x - 1), "dot": lambda x: (x * x).sum(),
        }  # fmt: skip
        rows |= {f"{operator} {name}": Row(does, (hard.whole(dtype),)) for operator, does in own.items()}
    rows["float to int64"] = Row(lambda x: x.to(torch.int64), (PLAIN,))
    rows["float to int32"] = Row(lambda x: x.to(torch.int32), (PLAIN,))
    rows["float to int8"] = Row(lambda x: x.to(torch.int8), (PLAIN[PLAIN.abs() < 127],))
    rows["float to bool"] = Row(lambda x: x.bool(), (LINE,))
    return rows


def reductions() -> dict[str, Row]:
    given = (hard.rows(),)
    does: dict[str, Callable[[Tensor], Any]] = {
        "sum": lambda x: x.sum(-1), "mean": lambda x: x.mean(-1), "prod": lambda x: x.prod(-1),
        "amax": lambda x: x.amax(-1), "amin": lambda x: x.amin(-1), "max": lambda x: tuple(x.max(-1)),
        "min": lambda x: tuple(x.min(-1)), "argmax": lambda x: x.argmax(-1), "argmin": lambda x: x.argmin(-1),
        "max of all": lambda x: x.max(), "argmax of all": lambda x: x.argmax(), "min of all": lambda x: x.min(),
        "aminmax": lambda x: tuple(torch.aminmax(x, dim=-1)), "any": lambda x: (x > 1).any(-1), "all": lambda x: (x > 1).all(-1),
        "std": lambda x: x.std(-1), "var": lambda x: x.var(-1), "var biased": lambda x: x.var(-1, unbiased=False),
        "std_mean": lambda x: torch.std_mean(x, -1), "var_mean": lambda x: torch.var_mean(x, -1),
        "norm": lambda x: x.norm(dim=-1), "norm 1": lambda x: x.norm(1, -1), "norm inf": lambda x: x.norm(float("inf"), -1),
        "norm 3": lambda x: x.norm(3, -1), "norm 0": lambda x: x.norm(0, -1), "F.normalize": lambda x: F.normalize(x),
        "logsumexp": lambda x: x.logsumexp(-1), "nansum": lambda x: x.nansum(-1), "nanmean": lambda x: x.nanmean(-1),
        "count_nonzero": lambda x: x.count_nonzero(-1), "softmax": lambda x: x.softmax(-1),
        "log_softmax": lambda x: x.log_softmax(-1), "softmin": lambda x: F.softmin(x, -1), "softmax of columns": lambda x: x.softmax(0),
        "cumsum": lambda x: x.cumsum(-1), "cumprod": lambda x: x.cumprod(-1), "cumprod of columns": lambda x: (x / 100).cumprod(0),
        "cummax": lambda x: tuple(x.cummax(-1)), "cummin": lambda x: tuple(x.cummin(-1)), "cummax of columns": lambda x: tuple(x.cummax(0)),
        "logcumsumexp": lambda x: x.logcumsumexp(-1), "logcumsumexp of columns": lambda x: x.logcumsumexp(0),
        "sort stable": lambda x: tuple(x.sort(dim=-1, stable=True)), "argsort stable": lambda x: x.argsort(dim=-1, stable=True),
        "sort stable descending": lambda x: tuple(torch.sort(x, stable=True, dim=-1, descending=True)),
        "sort stable of columns": lambda x: tuple(x.sort(dim=0, stable=True)),
        "argsort stable descending": lambda x: x.argsort(dim=-1, stable=True, descending=True),
        "sort, values": lambda x: x.sort(-1).values, "sort descending, values": lambda x: x.sort(-1, descending=True).values,
        "sort of columns, values": lambda x: x.sort(0).values, "msort": lambda x: torch.msort(x),
        "sort by gather": lambda x: x.gather(-1, x.argsort(-1)),
        "topk, values": lambda x: x.topk(3, -1).values, "topk smallest, values": lambda x: x.topk(3, -1, largest=False).values,
        "topk by gather": lambda x: x.gather(-1, x.topk(3, -1).indices),
        "median of all": lambda x: x.median(), "median, values": lambda x: x.median(-1).values,
        "kthvalue, values": lambda x: x.kthvalue(3, -1).values,
        "mode, values": lambda x: x.mode(-1).values, "quantile": lambda x: x.quantile(0.3, -1),
        "quantiles": lambda x: x.quantile(torch.tensor([0.25, 0.5], dtype=x.dtype), -1),
        "searchsorted": lambda x: torch.searchsorted(torch.tensor([-1.0, 0, 0, 0.3, 0.3, 2, 3, 300], dtype=x.dtype), x),
        "searchsorted right": lambda x: torch.searchsorted(torch.tensor([-1.0, 0, 0, 0.3, 0.3, 2, 3, 300], dtype=x.dtype), x, right=True),
        "searchsorted of rows": lambda x: torch.searchsorted(x.sort(-1).values, x),
        "bucketize": lambda x: torch.bucketize(x, torch.tensor([-1.0, 0, 0.3, 2, 3])),
        "bucketize right": lambda x: torch.bucketize(x, torch.tensor([-1.0, 0, 0.3, 2, 3]), right=True),
        "diff of rows": lambda x: torch.diff(x, dim=-1),
        "renorm": lambda x: x.renorm(2, 0, 1.0), "dist": lambda x: torch.dist(x, x + 1),
    }  # fmt: skip
    rows = {name: Row(one, given) for name, one in does.items()}
    for name in ("softmax", "log_softmax", "logsumexp", "max", "amax", "argmax", "logcumsumexp", "cummax"):
        rows[f"{name} of hidden rows"] = Row(does[name], (hard.hidden(),))
    absent = hard.rows()
    absent[0, 3] = absent[2, 0] = math.nan
    for name in ("amax", "amin", "argmax", "sort stable", "cummax", "median, values"):
        rows[f"{name} of NaN"] = Row(does[name], (absent,))
    for kind in (torch.float32, torch.int64, torch.int32):
        entries = (torch.arange(6000).reshape(2, 3000) * 7919 % 100).to(kind)
        rows[f"sort stable of 3000 {kind}"] = Row(does["sort stable"], (entries,))
        rows[f"argsort stable descending of 3000 {kind}"] = Row(does["argsort stable descending"], (entries,))
    for name in (
        "sum",
        "mean",
        "std",
        "var",
        "std_mean",
        "var_mean",
        "cumsum",
        "nansum",
        "nanmean",
        "var biased",
        "norm 0",
    ):
        rows[name] = Row(does[name], given, scale=True)
    return rows


def table() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for made in (unary(), binary(), integers(), reductions(), layers(), shapes() | lengths()):
        assert not rows.keys() & made.keys(), rows.keys() & made.keys()
        rows |= made
    return rows
