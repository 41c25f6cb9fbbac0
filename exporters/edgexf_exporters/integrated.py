"""Integrated gradients as one program: the path from a baseline to the input is a batch.

In: as `edgexf_exporters.explain`, with two inputs more: ``baseline``, token ids of the first input's shape, and ``path``
float32 [steps], points from 0 (the baseline) to 1 (the input). Out: besides relevance and residual the explained value
at the baseline, and how far relevance is from complete:

    relevance     = sum over width of (x - b) * mean over the path of df/dx at b + path * (x - b)
    completeness  = |f(x) - f(b) - sum of relevance| / |f(x) - f(b)|

Ids and mask are the input's at every point, embeddings alone change. Which class is explained is decided at the input.
Relevances of two paths average, so a caller may refine a path step by step and run long ones in parts. A loop in the
graph, which would double the steps by itself, was weighed: it hides the memory of a run from the caller, and few
bindings of ONNX Runtime can be stopped within one.
Source: Sundararajan et al. 2017, section 3, eq. 1 and proposition 1.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from edgexf_exporters.explained import ExplainProgram

TINY = 1e-12  # a change of the explained value that counts as none


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
        flat = replace(about, folded=about.folded[:-2]).flat(inputs_and_target)
        real = about.real(flat)
        count = path.shape[0] + 2
        start = self.tokens(baseline).detach()
        change = self.tokens(inputs[0]).detach() - start
        nodes = torch.cat((torch.tensor([1.0, 0.0]), path))
        points = self.points(start, change, nodes).requires_grad_(True)
        given = [repeated(one, count, row) for one, row in zip(inputs_and_target, rows, strict=True)]
        with self.method.rules():
            outputs = self.body(points, *given[: about.inputs])
        batch = inputs[0].shape[samples]
        answers = [
            output if axis is None else output.narrow(axis, 0, batch)
            for output, axis in zip(outputs, about.output_rows, strict=True)
        ]
        resolved = about.target.resolved(answers, flat[about.inputs :], real)
        resolved = [repeated(one, count, 0) for one in resolved]
        everywhere = None if real is None else repeated(real, count, samples)
        values = about.target.value(outputs, resolved, everywhere).unflatten(0, (count, batch))
        (gradient,) = torch.autograd.grad(values[2:].sum(), points)
        slope = gradient.detach().unflatten(samples, (count, batch)).narrow(samples, 2, path.shape[0]).mean(dim=samples)
        relevance = about.relevance(slope * change, real)
        at_input, at_baseline = values[0].detach(), values[1].detach()
        total = about.total(relevance)
        change_of_value = at_input - at_baseline
        completeness = (change_of_value - total).abs() / change_of_value.abs().clamp(min=TINY)
        return *(output.detach() for output in answers), relevance, at_input - total, at_baseline, completeness

    def points(self, start: Tensor, change: Tensor, nodes: Tensor) -> Tensor:
        """The embeddings at all nodes, one copy of the samples behind the other."""
        axis = self.explained.samples
        scale = nodes.reshape(-1, *[1] * (start.ndim - axis))
        found: Tensor = (start.unsqueeze(axis) + scale * change.unsqueeze(axis)).flatten(axis, axis + 1)
        return found.detach()
