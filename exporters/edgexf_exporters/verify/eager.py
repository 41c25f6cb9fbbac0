"""What the graphs must answer, from the untouched eager model and torch autograd.

In: a source, the inputs of a cell, the methods. Out: the outputs, and the relevance and residual of each method. For
the first method their names are plain; for a further method their names hold the method. A method along a path also
gives the explained values at the points of the path, and a method with weights also gives the attention weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from edgexf import names
from edgexf.errors import ExportError
from edgexf_exporters.explain.methods import METHODS, Method
from edgexf_exporters.explain.mixing import Watching, marked
from edgexf_exporters.explain.rollout import scores
from edgexf_exporters.hooks import layers_again, started_from, vectors_of
from edgexf_exporters.source import Source, Values

Feeds = dict[str, npt.NDArray[Any]]


def answers(source: Source, inputs: Mapping[str, Tensor]) -> Feeds:
    with torch.no_grad():
        return {name: output.numpy() for name, output in source.answer(inputs).items()}


def eager(source: Source, feeds: Feeds, methods: Sequence[str] = ()) -> Feeds:
    """See the module's docstring."""
    inputs = {name: torch.from_numpy(feeds[name].copy()) for name in source.inputs}  # forward may write to its inputs
    if not methods:
        return answers(source, inputs)
    found: Feeds = {}
    for place, method in enumerate(methods):
        asked = EagerExplanation(source, METHODS[method], inputs, feeds)
        outputs, relevance, value = asked.relevance()
        residual = value - relevance.sum([axis for axis in range(relevance.ndim) if axis != source.row_axis])
        found |= {name: output.detach().numpy() for name, output in outputs.items()}
        found[names.relevance_of(method, place == 0)] = relevance.numpy()
        found[names.residual_of(method, place == 0)] = residual.numpy()
        if METHODS[method].path:
            found[names.PATH_VALUES] = asked.path_values.numpy()
        if METHODS[method].weights:
            found[names.ATTENTION] = asked.weights.numpy()
    return found


class EagerExplanation:
    """Asks an eager model for the relevance of a method.

    Relevance is float32, in the shape of the first input without channels, and 0 at padding. After a call of
    `relevance`, `path_values` and `weights` hold the further results of the method. Raises ExportError for a model
    without an embedding or without a target.
    """

    def __init__(self, source: Source, method: Method, inputs: Mapping[str, Tensor], feeds: Feeds) -> None:
        if source.embedding is None or source.target is None:
            raise ExportError(
                "an explained model must have an embedding of its tokens, got none; export it with --explain none."
            )
        self.source, self.method, self.inputs, self.feeds = source, method, inputs, feeds
        self.embedding, self.target = source.embedding, source.target
        self.given = [torch.from_numpy(feeds[tensor.name]) for tensor in source.target.head.targets]
        self.real = torch.from_numpy(source.shown(feeds))  # in the shape of the first input without channels
        self.masked = (
            None if source.mask is None else self.real
        )  # what the target takes: the pixels of an image are no tokens
        self.resolved: list[Tensor] = []
        self.path_values = self.weights = torch.zeros(())

    def relevance(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """The outputs, the relevance in the shape of the first input, and the explained value [samples]."""
        if self.method.attends:
            return self.by_attention()
        return self.along_the_path() if self.method.path else self.at_the_input()

    def slope(self, instead: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
        """The outputs, the explained value [samples], the vectors of the embedding, and the value's derivative by them.

        `instead` takes the place of the vectors.
        """
        # The context surrounds the reverse pass too, in which a reversible model runs its layers again.
        module = self.source.module
        again = layers_again(module, self.real.numel()) if self.source.sliced else nullcontext()
        with self.method.rules(), self.source.call_context(module), again:
            with started_from(self.embedding, self.inputs, instead) as (inputs, leaves):
                outputs = self.source.answer(inputs)
            values = tuple(outputs.values())
            if not self.resolved:
                found = self.target.resolved(values, self.given, self.masked)
                self.resolved = self.target.on_path(found) if self.method.path else found
            value = self.target.value(values, self.resolved, self.masked)
            (gradient,) = torch.autograd.grad(value.sum(), leaves[0])  # the first: LED calls its embedding again to pad
        return outputs, value.detach(), leaves[0].detach(), gradient

    def shown(self, scores: Tensor) -> Tensor:
        """Relevance in the shape of the first input, from scores of the vectors: the sums over width, or over channels.

        A library may pad the vectors at the end.
        """
        if isinstance(self.embedding, Values):
            return scores if self.source.channels is None else scores.sum(self.source.channels)
        rows: Tensor = scores.sum(-1)[..., : self.real.shape[-1]].reshape(self.real.shape)
        return rows * self.real

    def at_the_input(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        outputs, value, vectors, gradient = self.slope()
        return outputs, self.shown(gradient * vectors), value

    def along_the_path(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        outputs, value, vectors, _ = self.slope()
        start = self.start(vectors)
        change = vectors - start
        points = [self.slope(start + node * change) for node in self.feeds[names.PATH].tolist()]
        self.path_values = torch.stack([at for _, at, *_ in points], dim=-1)
        slope = torch.stack([gradient for *_, gradient in points]).mean(dim=0)
        return outputs, self.shown(slope * change), value

    def start(self, vectors: Tensor) -> Tensor:
        """The vectors of the baseline."""
        given = torch.from_numpy(self.feeds[names.BASELINE])
        if isinstance(self.embedding, Values):
            return given
        start, length = vectors.clone(), given.shape[-1]
        start[..., :length, :] = self.embedding(given).reshape(*start.shape[:-2], length, -1).detach()
        return start

    def by_attention(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        about, module = self.source.variant.mixing, self.source.module
        if about is None:
            raise ExportError("attention's weights need to be marked, got a model without; explain by another method.")
        with marked(module, about, about.turned), Watching() as watching, self.source.call_context(module):
            with vectors_of(self.embedding):
                outputs = self.source.answer(self.inputs)
            values = tuple(outputs.values())
            resolved = self.target.resolved(values, self.given, self.masked)
            value = self.target.value(values, resolved, self.masked)
            found = scores(value, watching, self.method.weights, self.source.multiple_choice)
        relevance, *more = (one[..., : self.real.shape[-1]] for one in found)
        for one in more:
            self.weights = one.reshape(*self.real.shape[:-1], *one.shape[1:]) * self.real[..., None, None, :]
        return outputs, relevance.reshape(self.real.shape) * self.real, value.detach()
