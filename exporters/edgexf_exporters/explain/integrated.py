"""Integrated gradients as one program: the path from a baseline to the input is a batch.

In: as `edgexf_exporters.explain.compile`, with two inputs more: ``baseline``, token ids of the first input's shape, and ``path``
float32 [steps], points from 0 (the baseline) to 1 (the input). Out: besides relevance and residual the explained value at
each point, so that a path which begins with 0 tells how far relevance is from complete:

    relevance    = sum over width of (x - b) * mean over the path of df/dx at b + path * (x - b)
    path_values  = f at b + path * (x - b)
    completeness = |f(x) - f(b) - sum of relevance| / |f(x) - f(b)|, which a caller computes

Ids and mask are the input's at every point, embeddings alone change. Which class is explained is decided at the input,
which each run predicts: forward alone, since its gradient belongs to a path only where the path has the point 1.
Relevances of two paths average, so a caller may refine a path step by step and run long ones in parts. A loop in the
graph, which would double the steps by itself, was weighed: it hides the memory of a run from the caller, and few
bindings of ONNX Runtime can be stopped within one. So was the baseline as a row of every run, which tells how complete
each is: a path in many parts then predicts it as often.
Source: Sundararajan et al. 2017, section 3, eq. 1 and proposition 1.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from edgexf_exporters.explain.program import ExplainProgram


def repeated(tensor: Tensor, count: Tensor | int, axis: int | None) -> Tensor:
    """`count` copies of all samples, one behind the other along their axis; a tensor without one stays as it is."""
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
        with torch.no_grad():  # the input itself: a prediction, whose activations nobody keeps
            outputs = self.body(vectors, *inputs_and_target[: about.inputs])
            resolved = about.target.resolved(outputs, flat[about.inputs :], real)
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
