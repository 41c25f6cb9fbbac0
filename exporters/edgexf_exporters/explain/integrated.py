"""Integrated gradients as one program: the path from a baseline to the input is a batch.

In: as in `edgexf_exporters.explain.compile`, with two more inputs. ``baseline`` has the dtype and the shape of the
first input: token ids, or values. ``path`` float32 [steps] holds points from 0 (the baseline) to 1 (the input). Out:
relevance, residual, and the explained value at each point, so that a path that begins with 0 shows how far relevance is
from complete:

    relevance    = sum over width of (x - b) * mean over the path of df/dx at b + path * (x - b)
    path_values  = f at b + path * (x - b)
    completeness = |f(x) - f(b) - sum of relevance| / |f(x) - f(b)|, which a caller computes

Every point has the ids and the mask of the input; only the embeddings change. The prediction at the input decides
which class is explained. Each run makes this prediction, without its gradient: the gradient at the input belongs to a
path only where the path has the point 1. The relevance of two paths can be averaged, so a caller may refine a path step
by step, and run a long path in parts.

Two alternatives were weighed. A loop in the graph could double the steps by itself. But it hides the memory of a run
from the caller, and few bindings of ONNX Runtime can stop within a loop. The baseline as a row of every run would show
how complete each run is. But a path in many parts then predicts the baseline as many times.
Source: Sundararajan et al. 2017, section 3, eq. 1 and proposition 1.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from edgexf_exporters.explain.program import ExplainProgram


def repeated(tensor: Tensor, count: Tensor | int, axis: int | None) -> Tensor:
    """`count` copies of all samples, one copy behind the other along their axis.

    A tensor without an axis of samples stays as it is.
    """
    if axis is None:
        return tensor
    sizes = list(tensor.shape)
    return tensor.unsqueeze(axis).expand(*sizes[:axis], count, *sizes[axis:]).flatten(axis, axis + 1)  # type: ignore[arg-type]


class IntegratedGradients(ExplainProgram):
    """See the module's docstring."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        about = self.explained
        *inputs_and_target, baseline, path = inputs
        rows, samples = about.rows[:-2], about.samples
        flat = replace(about, blocked=about.blocked[:-2]).flat(inputs_and_target)
        real = about.real(flat)
        batch, count = inputs[0].shape[samples], path.shape[0]
        vectors, start = self.tokens(inputs[0]).detach(), self.tokens(baseline).detach()
        change = vectors - start
        with torch.no_grad():  # a prediction at the input, whose activations are not kept
            outputs = self.body(vectors, *inputs_and_target[: about.inputs])
            resolved = about.target.on_path(about.target.resolved(outputs, flat[about.inputs :], real))
            at_input = about.target.value(outputs, resolved, real)
        points = self.points(start, change, path).requires_grad_(True)
        given = [repeated(one, count, row) for one, row in zip(inputs_and_target, rows, strict=True)]
        everywhere = None if real is None else repeated(real, count, samples)
        with self.method.rules():
            answers = self.body(points, *given[: about.inputs])
            values = about.target.value(answers, [repeated(one, count, 0) for one in resolved], everywhere)
        (gradient,) = torch.autograd.grad(values.sum(), points)
        slope = gradient.unflatten(samples, (count, batch)).mean(dim=samples)
        relevance = about.relevance(slope * change, real)
        return *outputs, relevance, at_input - about.total(relevance), values.detach().unflatten(0, (count, batch)).t()

    def points(self, start: Tensor, change: Tensor, path: Tensor) -> Tensor:
        """The embeddings at all points, one copy of the samples behind the other."""
        axis = self.explained.samples
        scale = path.reshape(-1, *[1] * (start.ndim - axis))
        found: Tensor = (start.unsqueeze(axis) + scale * change.unsqueeze(axis)).flatten(axis, axis + 1)
        return found.detach()
