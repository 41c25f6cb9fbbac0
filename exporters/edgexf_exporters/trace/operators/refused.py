"""Operators that have no form in plain ONNX, and what to write instead.

In: a captured program, its module and its inputs. Out: nothing, or an ExportError in one sentence: the operator, the line of
the model, the way out.

A program holds no lines, because they take time to collect. So the module runs once more, up to the operator.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph
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
}


def name_of(target: Any) -> str:
    """The name of an aten operator without its overload, or nothing."""
    name = getattr(getattr(target, "_schema", None), "name", "")
    space, _, operator = name.partition("::")
    return operator.removesuffix("_") if space == "aten" and operator in INSTEAD else ""


class Met(Exception):  # noqa: N818 (a signal, not an error)
    """The run has come to a refused operator."""


class Search(TorchDispatchMode):
    """A context that stops at the first refused operator."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if name_of(function):
            raise Met
        return function(*args, **(kwargs or {}))


def place_of(module: nn.Module, inputs: tuple[Tensor, ...]) -> str:
    """The line at which a run of the module meets a refused operator, or nothing where a trace alone meets it."""
    try:
        with Search(), torch.no_grad():  # type: ignore[no-untyped-call]
            module(*inputs)
    except Met as met:
        return of_error(met, module)
    return ""


def refuse(graph: Graph, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Raises ExportError if the graph holds an operator that has no form in ONNX."""
    for node in graph.nodes:
        if name := name_of(node.target):
            place = place_of(module, inputs)
            raise ExportError(
                f"every operator of a model must have a form in ONNX, got {name.removeprefix('special_')}"
                f"{f' {place}' if place else ''}; {INSTEAD[name]}."
            )
