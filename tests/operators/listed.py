"""What is not compared: rows that stay different, with the reason, and operators that are refused."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, special


def autocast(x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = x @ x
    return found.float()


# Rows that PyTorch answers differently on different processors. A graph answers them as PyTorch does in float64.
BY_KERNEL = {
    "F.gelu of infinity": "PyTorch's kernel for AVX-512 answers NaN, its formula infinity",
    "F.gelu of 3e38": "PyTorch's kernel for AVX-512 overflows, its formula doesn't",
}
# Rows that PyTorch and a graph answer differently, and why they stay. Each is seen to differ.
APART = {
    "sign of NaN": "PyTorch answers 0, Sign of ONNX NaN",
    "sgn of NaN": "PyTorch answers 0, Sign of ONNX NaN",
    "heaviside of NaN": "PyTorch answers 0",
    "copysign by NaN": "ONNX can't see the sign of a NaN",
    "F.hardswish of 3e38": "PyTorch multiplies before it divides by 6, and overflows",
    "fmod of 3e38": "PyTorch's vector kernel answers NaN, its scalar kernel the number",
    "remainder of 3e38": "PyTorch's vector kernel answers NaN, its scalar kernel the number",
    "F.sigmoid below -18": "Sigmoid of onnxruntime answers 0: 2e-8 away. Where its small values count, the graph has an exact form",
    "F.silu below -18": "Sigmoid of onnxruntime answers 0: 4e-7 away",
    "amax of NaN": "ReduceMax of onnxruntime passes over NaN. Where a model itself answers NaN, nothing is verified",
    "amin of NaN": "ReduceMin of onnxruntime passes over NaN",
    "argmax of NaN": "ArgMax of onnxruntime passes over NaN",
    "F.instance_norm": "InstanceNormalization of onnxruntime: 3e-5 where the mean is 300 times the deviation, PyTorch 1e-5",
}
REFUSED = {
    **{name: getattr(torch, name) for name in ("lgamma", "digamma", "i0")},
    **{f"special.{name}": getattr(special, name) for name in (
        "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "i0e", "i1", "i1e", "modified_bessel_i0",
        "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1", "scaled_modified_bessel_k0",
        "scaled_modified_bessel_k1", "spherical_bessel_j0", "gammaln", "psi",
    )},
    "gcd": lambda x: torch.gcd(x.long(), x.long()), "lcm": lambda x: torch.lcm(x.long(), x.long()), "slogdet": lambda x: torch.slogdet(x)[1],
    "multigammaln": lambda x: special.multigammaln(x, 1), "polygamma": lambda x: torch.polygamma(1, x),
    "zeta": lambda x: special.zeta(x, x), "gammainc": lambda x: special.gammainc(x, x), "nextafter": lambda x: torch.nextafter(x, x),
    "nanmedian": lambda x: x.nanmedian(-1).values, "index_reduce": lambda x: x.index_reduce(0, torch.tensor([0, 1]), x[:2], "mean"),
    "pdist": F.pdist, "histc without bounds": lambda x: torch.histc(x, 5), "bfloat16": lambda x: (x.bfloat16() * 2).float(), "autocast": autocast,
    "inverse": torch.linalg.inv, "cholesky": torch.linalg.cholesky, "solve": lambda x: torch.linalg.solve(x, x),
    "qr": lambda x: torch.linalg.qr(x)[0], "svd": torch.linalg.svdvals, "eigh": torch.linalg.eigvalsh, "matrix_exp": torch.matrix_exp,
}  # fmt: skip
# Sizes that become numbers while a model is traced: refused by the line of the model.
FIXES_A_SIZE = {
    "math.log": lambda x: x * math.log(x.shape[0]), "math.sqrt": lambda x: x / math.sqrt(x.shape[0]),
    "math.log2": lambda x: x * math.log2(x.shape[0]), "math.exp": lambda x: x * math.exp(x.shape[0]), "math.sin": lambda x: x * math.sin(x.shape[0]),
}  # fmt: skip
# Where PyTorch states no choice among equals, and what it was seen to take on a CPU. A graph takes the lowest place.
UNSPECIFIED = {
    "topk, places": "any, at every length",
    "sort, argsort, places": "the lowest place up to 16 entries, beyond it any",
    "median, kthvalue, places": "any",
    "mode, places": "the last place up to 16 entries, beyond it any; of several values the smallest",
}
