"""Operators: PyTorch's operators in operators whose ONNX form answers as PyTorch does.

In: the arguments of an aten operator. Out: what the operator answers, by operators that have an exact translation.

    log1p(x)   torch's translation: Log(1 + x), 0 at 1e-8    here: x * log(u) / (u - 1), u = 1 + x

    exponential  log1p, expm1 and what consists of them
    likelihood   logsigmoid, logaddexp, logsumexp and the losses that consist of them
    division     remainder, floor division, truncated division
    sign         atan2, hypot, copysign, fmax, fmin, xlogy
    errors       erfc, erfcx, erfinv
    running      cummax, cummin, cumprod, logcumsumexp
    order        stable sorts, median, kthvalue, mode, searchsorted
    distance     cdist
    convolution  conv3d without a bias
    gathered     scatter_reduce to a mean
    adding       index_put that adds
    bags         embedding_bag
    experts      products of groups of rows, each with its own matrix
    parts        roll and split of an axis of free length
    integers     sums and powers of integers
    small        sigmoid where a logarithm or a quotient sees its small values
    windows      adaptive poolings of axes of free length
    imaginary    a new axis of complex numbers
    refused      operators without a translation, and what to write instead

Each file has a table `OPERATORS` of functions by aten operator. A function may answer `NotImplemented`: then the operator
stays as it is. `prepare` traces the functions in place of the operators, after the gradient has been taken. So a reverse
pass is that of PyTorch's operator, and consists of operators that come here too.

Two alternatives were weighed. Translations that write ONNX nodes need casts of their own where torch promotes types, and
nothing but a runtime can test them. Functions of the standard of ONNX with a body are what runtimes inline anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgexf_exporters.trace.operators import (
    adding,
    bags,
    convolution,
    distance,
    division,
    errors,
    exponential,
    gathered,
    integers,
    likelihood,
    order,
    parts,
    running,
    sign,
    small,
    windows,
)

Table = Mapping[Any, Callable[..., Any]]


def joined(*tables: Table) -> dict[Any, Callable[..., Any]]:
    """One table. Raises ValueError if two tables hold the same operator."""
    found: dict[Any, Callable[..., Any]] = {}
    for table in tables:
        if twice := found.keys() & table.keys():
            raise ValueError(f"an operator must have one function, got several for {sorted(map(str, twice))}.")
        found |= table
    return found


OPERATORS = joined(
    adding.OPERATORS,
    bags.OPERATORS,
    convolution.OPERATORS,
    distance.OPERATORS,
    division.OPERATORS,
    errors.OPERATORS,
    exponential.OPERATORS,
    gathered.OPERATORS,
    integers.OPERATORS,
    likelihood.OPERATORS,
    order.OPERATORS,
    parts.OPERATORS,
    running.OPERATORS,
    sign.OPERATORS,
    small.OPERATORS,
    windows.OPERATORS,
)
TRANSLATIONS: Table = running.TRANSLATIONS
