"""Modules that catch the errors of a trace. The graph would hold a way that PyTorch never takes, so they are refused."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import einops
import numpy as np
import pytest
import torch
from modules import Between, exports, ids
from torch import Tensor, nn
from torch.export import Dim
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from edgexf.errors import ExportError
from edgexf_exporters.trace.export import capture

pytestmark = pytest.mark.slow
ROWS = [{0: Dim.DYNAMIC}]


class Condition(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        try:
            return values * 2 if values.sum() > 0 else values
        except RuntimeError:
            return values * 3


class Item(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        try:
            largest = values.max().item()
            return values / (largest if largest > 1 else 1.0)
        except Exception:  # noqa: BLE001 (people write this)
            return values


class Bare(nn.Module):
    """Reads a single value as a float. Its handler catches everything."""

    def forward(self, values: Tensor) -> Tensor:
        try:
            return values * math.exp(float(values.mean()))
        except:  # noqa: E722 (people write this)
            return values


class Numpy(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        try:
            return values + float(np.median(values.numpy()))
        except (RuntimeError, TypeError):
            return values


class Array(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        with contextlib.suppress(Exception):
            return values + float(
                np.asarray(values).ptp() if hasattr(np.ndarray, "ptp") else np.ptp(np.asarray(values))
            )
        return values


class Listed(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        try:
            return values + max(values[0].tolist())
        except Exception:  # noqa: BLE001 (people write this)
            return values


class Equal(nn.Module):
    """Compares tensors by a function whose answer is no tensor."""

    def forward(self, values: Tensor) -> Tensor:
        with contextlib.suppress(RuntimeError):
            return values if torch.equal(values, values.abs()) else -values
        return values * 3


class Count(nn.Module):
    """Branches on a number of rows that depends on values."""

    def forward(self, values: Tensor) -> Tensor:
        try:
            return values * 2 if len(values[:, 0].nonzero()) > 2 else values
        except RuntimeError:
            return values * 3


def sign(values: Tensor) -> float:
    """Catches the error outside any module."""
    try:
        return 1.0 if values.sum() > 0 else -1.0
    except RuntimeError:
        return 0.5


class InAHelper(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values * sign(values)


class Reworded(nn.Module):
    """Raises an error of its own where the values can't be read, and catches that one further out."""

    def read(self, values: Tensor) -> float:
        try:
            return values.sum().item() * 1.0 if values.any() else 0.0
        except RuntimeError as error:
            raise LookupError from error

    def forward(self, values: Tensor) -> Tensor:
        try:
            return values * self.read(values)
        except LookupError:
            return values


class Hashed(nn.Module):
    """Looks a size up, which needs its hash. The size of a trace has none."""

    def forward(self, values: Tensor) -> Tensor:
        try:
            return values * {200: 2.0}.get(values.shape[0], 1.0)
        except TypeError:
            return values


SWALLOWING = [Condition, Item, Bare, Numpy, Array, Listed, Equal, Count, InAHelper, Reworded, Hashed]


@pytest.mark.parametrize("kind", SWALLOWING)
def test_an_error_of_the_trace_that_a_module_catches_is_refused_with_its_line(kind: type[nn.Module]) -> None:
    with pytest.raises(ExportError, match=r"that the model catches, at test_swallowed.py:\d+ `.*values"):
        capture(kind(), (torch.randn(3, 4),), ROWS)


def test_no_bundle_is_written_where_the_grid_meets_one_way_only(tmp_path: Path) -> None:
    """Every drawn input takes the way of the handler: only the error of the trace tells."""

    class Rare(Between):
        def between(self, ids: Tensor, hidden: Tensor) -> Tensor:
            try:
                return hidden * 2 if ids.sum() < -3 else hidden
            except RuntimeError:
                return hidden

    with pytest.raises(ExportError, match=r"catches, at test_swallowed.py:\d+ .* in the model \(Rare\)"):
        exports(Rare().eval(), (ids(2, 6),), tmp_path, max_length=20)


class Ambiguous(nn.Module):
    """Catches an error that PyTorch raises too: many values are no condition."""

    def forward(self, values: Tensor) -> Tensor:
        try:
            return values * 2 if values > 0 else values
        except RuntimeError:
            return values * 3


class ByEinops(nn.Module):
    """Calls einops, which looks sizes up in a cache, and computes the same where they have no hash."""

    def forward(self, values: Tensor) -> Tensor:
        found: Tensor = einops.rearrange(values, "rows (one two) -> rows two one", two=2)
        return found


class InsideTorch(nn.Module):
    """Calls code of torch that catches the error."""

    def forward(self, values: Tensor) -> Tensor:
        size = values.sum().long().item()
        if hasattr(size, "node"):
            environment: ShapeEnv = size.node.shape_env
            assert not environment.has_guarding_hint(size.node.expr)
        return values * 2


@pytest.mark.parametrize("kind", [Ambiguous, InsideTorch, ByEinops])
def test_what_pytorch_raises_or_catches_itself_is_no_matter(kind: type[nn.Module]) -> None:
    program, values = capture(kind(), (torch.randn(3, 4),), ROWS).module(), torch.randn(5, 4)
    torch.testing.assert_close(program(values), kind()(values))
