"""What `speed.py` measures. In: a choice of models and layers. Out: cases, each a model of so many layers at one shape of input."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from benchmarks.contest.models import MODELS, Model

LENGTHS = (128, 512, 1024, 2048, 4096)
LONG = {"hf-longformer": (16384,), "hf-bigbird": (16384,), "hf-bert": (16384,)}  # the fewest layers, one row of a batch
QUICK = (128, 512, 4096)
BATCHES = {8: (128, 512, 2048)}  # the fewest layers
LAYERS = {4: LENGTHS, 12: (512, 4096)}
OWN_LAYERS = 2  # of a reference model


@dataclass(frozen=True)
class Case:
    """A model of `layers` layers, for inputs of `batch` rows with `length` tokens each.

    A reference model gets its class token besides, so that it reads one token more.
    """

    model: Model
    layers: int
    length: int
    batch: int = 1

    @property
    def tokens(self) -> int:
        return self.length + 1 if self.model.reference else self.length


@dataclass(frozen=True)
class Choice:
    """Which models and layers are prepared and measured.

    Attributes:
        quick: three lengths, no batches; the reference models alone where `models` is empty.
        models: names of models; empty for all.
        layers: numbers of layers; empty for all.
        lengths: lengths; empty for all.
    """

    quick: bool = False
    models: Collection[str] = ()
    layers: Collection[int] = ()
    lengths: Collection[int] = ()

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.models) - set(MODELS)):
            raise ValueError(f"no model is called {', '.join(unknown)}; the models are {', '.join(MODELS)}")

    def folders(self) -> Iterator[tuple[Model, int]]:
        """Models with layers: each pair is one bundle."""
        for model in MODELS.values():
            if model.name in self.models or (not self.models and (model.reference or not self.quick)):
                for layers in (OWN_LAYERS,) if model.reference else LAYERS:
                    if not self.layers or layers in self.layers:
                        yield model, layers

    def cases(self) -> Iterator[Case]:
        """Cases in the order in which they are measured, without lengths at which the eager model can't run."""
        for model, layers in self.folders():
            for length, batch in self.shapes(model, layers):
                if length % model.step == 0 and (not self.lengths or length in self.lengths):
                    yield Case(model, layers, length, batch)

    def shapes(self, model: Model, layers: int) -> Iterator[tuple[int, int]]:
        """Lengths with batches."""
        lengths = LENGTHS if model.reference else LAYERS[layers]
        yield from ((length, 1) for length in (QUICK if self.quick else lengths))
        if not self.quick and layers == (OWN_LAYERS if model.reference else min(LAYERS)):
            yield from ((length, batch) for batch, lengths in BATCHES.items() for length in lengths)
            yield from ((length, 1) for length in LONG.get(model.name, ()))
