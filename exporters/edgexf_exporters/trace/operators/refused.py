"""Operators that have no form in plain ONNX, and what to write instead.

In: a captured program, its module and its inputs. Out: nothing, or an ExportError in one sentence: the operator, the line of
the model, the way out.

A program holds no lines, because they take time to collect. So the module runs once more, up to the operator.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils._python_dispatch import TorchDispatchMode

from edgexf.errors import ExportError
from edgexf_exporters.trace.diagnose import of_error

aten = torch.ops.aten
TABULATE = (
    "compute it before the export where its inputs are constants, or write a series of the accuracy that you need"
)
FACTOR = "compute the factors before the export where they are constants, or iterate with matrix products"
SPECIAL_FUNCTIONS = [
    "lgamma", "digamma", "polygamma", "mvlgamma", "special_gammaln", "special_psi", "special_polygamma",
    "special_multigammaln", "special_zeta", "igamma", "igammac", "special_gammainc", "special_gammaincc", "i0",
    "special_i0", "special_i0e", "special_i1", "special_i1e", "special_airy_ai", "special_bessel_j0",
    "special_bessel_j1", "special_bessel_y0", "special_bessel_y1", "special_modified_bessel_i0",
    "special_modified_bessel_i1", "special_modified_bessel_k0", "special_modified_bessel_k1",
    "special_scaled_modified_bessel_k0", "special_scaled_modified_bessel_k1", "special_spherical_bessel_j0",
    "special_chebyshev_polynomial_t", "special_hermite_polynomial_h", "special_laguerre_polynomial_l",
    "special_legendre_polynomial_p",
]  # fmt: skip
FACTORISATIONS = [
    "linalg_inv", "linalg_inv_ex", "inverse", "linalg_cholesky", "linalg_cholesky_ex", "cholesky", "linalg_qr",
    "linalg_svd", "_linalg_svd", "linalg_eigh", "_linalg_eigh", "linalg_eig", "linalg_solve", "linalg_solve_ex",
    "_linalg_solve_ex", "linalg_lu", "linalg_lu_factor", "linalg_lu_factor_ex", "linalg_pinv", "linalg_lstsq",
    "linalg_solve_triangular", "triangular_solve", "cholesky_solve", "cholesky_inverse", "linalg_matrix_exp",
    "linalg_eigvalsh", "linalg_eigvals", "linalg_svdvals", "linalg_ldl_factor", "linalg_ldl_solve", "lu_unpack",
    "matrix_exp", "slogdet", "linalg_slogdet", "_linalg_slogdet",
]  # fmt: skip
INSTEAD: dict[str, str] = {
    **dict.fromkeys(SPECIAL_FUNCTIONS, TABULATE),
    **dict.fromkeys(FACTORISATIONS, FACTOR),
    "gcd": "compute it before the export, from constants",
    "lcm": "compute it before the export, from constants",
    "nextafter": "multiply by 1 + 2**-23",
    "frexp": "divide by torch.exp2(torch.floor(torch.log2(x.abs())))",
    "nanmedian": "fill the NaN entries and call median or kthvalue",
    "index_reduce": "use scatter_reduce with an index of the shape of the source",
    "_pdist_forward": "use torch.cdist, and take the entries above its diagonal",
    "pdist": "use torch.cdist, and take the entries above its diagonal",
}


BFLOAT16 = "compute in float32 there, without autocast: onnxruntime has no kernel for it on a CPU"
CASTS = {"_to_copy", "to", "clone", "alias", "detach", "lift_fresh_copy", "copy"}
PRODUCTS = {
    "matmul", "mm", "bmm", "addmm", "baddbmm", "linear", "einsum", "convolution", "conv1d", "conv2d", "softmax", "layer_norm",
    "scaled_dot_product_attention", "sum", "mean",
}  # fmt: skip


def name_of(target: Any) -> str:
    """The name of an aten operator without its overload, or nothing."""
    name = getattr(getattr(target, "_schema", None), "name", "")
    space, _, operator = name.partition("::")
    return operator.removesuffix("_") if space == "aten" else ""


def way_out(target: Any, answer: Any) -> str:
    """What to write in place of an operator that answers so; nothing where it stays."""
    name = name_of(target)
    if name in INSTEAD:
        return INSTEAD[name]
    if not isinstance(answer, Tensor) or answer.dtype != torch.bfloat16 or not name:
        return ""
    computes = torch.Tag.pointwise in target.tags and name not in CASTS
    return BFLOAT16 if computes or name in PRODUCTS else ""


class Met(Exception):  # noqa: N818 (a signal, not an error)
    """The run has come to the operator."""


class Search(TorchDispatchMode):
    """A context that stops at the first operator that has one of these names, or at the first one that is refused."""

    def __init__(self, names: Collection[str] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = names

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if name_of(function) in self.names or name_of(function) in INSTEAD:
            raise Met
        answer = function(*args, **(kwargs or {}))
        if way_out(function, answer):
            raise Met
        return answer


def place_of(module: nn.Module, inputs: tuple[Tensor, ...], names: Collection[str] = ()) -> str:
    """The line at which a run of the module meets an operator, or nothing where a trace alone meets it."""
    try:
        with Search(names), torch.no_grad():
            module(*inputs)
    except Met as met:
        return of_error(met, module)
    return ""


def refuse(program: GraphModule, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Raises ExportError if a program, or a program inside it, holds an operator that has no form in ONNX."""
    parts = [part for part in program.modules() if isinstance(part, GraphModule)]
    for node in (node for part in parts for node in part.graph.nodes):
        if said := way_out(node.target, node.meta.get("val")):
            place = place_of(module, inputs)
            kind = " in bfloat16" if said is BFLOAT16 else ""
            raise ExportError(
                f"every operator of a model must have a form in ONNX, got {name_of(node.target).removeprefix('special_')}{kind}"
                f"{f' {place}' if place else ''}; {said}."
            )
