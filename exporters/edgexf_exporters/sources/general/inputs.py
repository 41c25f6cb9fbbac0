"""Inputs that a model of transformers answers, made of its signature and its config.

In: a `PreTrainedModel`, and the values of its preprocessor_config.json. Out: `Given`: tensors by name, settings, and the
axes that vary.

    forward(input_ids, attention_mask, token_type_ids, ...)     ids [2, 12], ones [2, 12], types [2, 12]
    forward(input_ids, decoder_input_ids, ...)                  and ids [2, 7] of the decoder
    forward(pixel_values, ...)                                  floats [2, channels, height, width]; with a range of sizes,
                                                                height and width vary

A model may read text, images, or both, and its signature does not say which it needs: each is tried, what
`main_input_name` names first, and the first that the model answers is taken. Of both, another number of texts than of images
is tried first: a model that compares all texts with all images has two axes there, not one. Two alternatives were weighed. A table of
families is what this way replaces. `dummy_inputs` of the library are the same ids for most models, and raise for images.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim
from transformers import PreTrainedModel

from edgexf import names
from edgexf.errors import ExportError, said_by
from edgexf_exporters.answers import named_outputs
from edgexf_exporters.sources.general import sizes
from edgexf_exporters.sources.modules.examples import BOXES, special_ids

# Of an example. They differ, since axes of equal size vary together.
ROWS, TOKENS, WRITTEN, CHOICES, TEXTS = 2, 12, 7, 3, 5
INTERPOLATED = "interpolate_pos_encoding"
UNREAD = 1000  # ids below this number stand in an example where no embedding tells how many there are
IMAGE, VIDEO, TEXT = "pixel_values", "pixel_values_videos", names.INPUT_IDS
PLAIN = {
    "use_cache": False,
    "use_mems": False,
    "return_dict": True,
}  # a cache is no answer, and names come with a dictionary
AS_MODULE = "export it as a module, with example_inputs that it answers"


@dataclass(frozen=True)
class Given:
    """Inputs that a model answers.

    Attributes:
        tensors: the inputs, by the argument names of ``forward``.
        settings: the arguments that are no tensors, by name.
        axes: `dynamic_shapes` of the inputs whose axes don't all vary.
        ends: the id that each row must end with, by the name of the input: some classifiers read the vector there.
    """

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)
    ends: Mapping[str, int] = field(default_factory=dict)


def inputs_of(
    model: PreTrainedModel, processor: Mapping[str, Any], image_size: int | tuple[int, int] | None = None
) -> Given:
    """The inputs of a model, which is frozen. Images have the height and width `image_size` in place of what the config or
    `processor` says; or sizes from its first number to its second.

    Raises ExportError for a model that answers none of those that can be made.
    """
    maker, reason = Maker(model, processor, image_size), ""
    for taken, texts, ended in maker.candidates():
        unknown = [name for name in taken if not maker.makes(name)]
        if unknown:
            reason = reason or f"{', '.join(unknown)} in its forward"
            continue
        try:
            given = maker.given(taken, texts, ended)
            with torch.no_grad():
                named_outputs(model(**given.tensors, **given.settings))
        except ExportError:
            raise
        except Exception as error:  # noqa: BLE001 (a model may raise any error at inputs that it does not take)
            reason = reason or f"{said_by(error)} for {', '.join(taken)}"
        else:
            return given
    raise ExportError(
        f"a model must answer inputs that edgexf can make of its signature and config, got {reason or 'neither text nor images'}; {AS_MODULE}."
    )


class Maker:
    """Makes inputs for the arguments of a model's ``forward``."""

    def __init__(
        self, model: PreTrainedModel, processor: Mapping[str, Any], image_size: int | tuple[int, int] | None = None
    ) -> None:
        self.model, self.config, self.processor, self.image_size = model, model.config, processor, image_size
        taken = inspect.signature(model.forward).parameters.values()
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        self.taken = {one.name: one.default is inspect.Parameter.empty for one in taken if one.kind in named}
        self.random = torch.Generator().manual_seed(0)
        longest = sizes.longest_text(self.config) or TOKENS
        self.tokens = min(TOKENS, longest)
        choices = (CHOICES,) if type(model).__name__.endswith("ForMultipleChoice") else ()
        self.row = (ROWS, *choices, self.tokens)

    def candidates(self) -> Iterator[tuple[tuple[str, ...], int, bool]]:
        """The names of inputs to try, the number of texts, and whether each text ends with its token for that: the main input,
        each with what goes with it, then both; last, what is required alone.
        """
        kinds = {TEXT: self.text(), IMAGE: self.images()}
        main = getattr(self.model, "main_input_name", TEXT)
        order = sorted((kind for kind, found in kinds.items() if found), key=lambda kind: kind != main)
        tried = [kinds[kind] for kind in order]
        tried += [(*kinds[TEXT], *kinds[IMAGE])] if len(tried) > 1 else []
        needed = tuple(name for name, required in self.taken.items() if required)
        tried += [tuple(name for name in one if name != names.DECODER_INPUT_IDS) for one in tried]
        whole = [tuple(name for name in self.taken if name in {*one, *needed}) for one in tried]
        for names_of in dict.fromkeys([*whole, *([needed] if needed else []), *((kind,) for kind in order)]):
            if {TEXT, IMAGE} <= set(names_of):
                yield names_of, TEXTS, False
            yield names_of, ROWS, False
            if TEXT in names_of and self.written() and names.DECODER_INPUT_IDS not in names_of:
                yield names_of, ROWS, True

    def text(self) -> tuple[str, ...]:
        """The arguments that go with a text."""
        if TEXT not in self.taken:
            return ()
        types = (names.TOKEN_TYPE_IDS,) if getattr(self.config, "type_vocab_size", 0) > 1 else ()
        wanted = (TEXT, names.ATTENTION_MASK, *types, BOXES, *self.written())
        return tuple(name for name in wanted if name in self.taken)

    def images(self) -> tuple[str, ...]:
        """The arguments that go with an image."""
        return tuple(name for name in (IMAGE, *self.written()) if name in self.taken) if IMAGE in self.taken else ()

    def written(self) -> tuple[str, ...]:
        return (names.DECODER_INPUT_IDS,) if getattr(self.config, "is_encoder_decoder", False) else ()

    def makes(self, name: str) -> bool:
        return name in (TEXT, IMAGE, VIDEO, BOXES) or name.endswith(("_ids", "mask"))

    def given(self, taken: tuple[str, ...], texts: int, ended: bool) -> Given:
        self.row = (texts, *self.row[1:])
        tensors = {name: self.tensor(name) for name in taken}
        end = getattr(self.config, "eos_token_id", None)
        ends = {TEXT: end} if ended and isinstance(end, int) else {}
        for name, one in ends.items():
            tensors[name][..., -1] = one
        asked = {} if self.image_size is None else {INTERPOLATED: True}  # of the positions of patches, for another size
        settings = {name: value for name, value in {**PLAIN, **asked}.items() if name in self.taken}
        axes = {name: free for name in taken if (free := self.axes(name, tensors[name]))}
        return Given(tensors, settings, axes, ends)

    def tensor(self, name: str) -> Tensor:
        """The tensor of one argument."""
        if name in (TEXT, names.DECODER_INPUT_IDS):
            shape = self.row if name == TEXT else (ROWS, WRITTEN)
            usual = [one for one in range(self.below()) if one not in special_ids(self.model)]
            return torch.tensor(usual or [0])[torch.randint(len(usual or [0]), shape, generator=self.random)]
        if name in (IMAGE, VIDEO):
            return torch.randn(self.image_shape(), generator=self.random)
        if name.endswith("mask"):
            image = name.startswith("pixel")
            return torch.ones((ROWS, *self.image_shape()[-2:]) if image else self.row, dtype=torch.int64)
        if name == BOXES:
            return torch.randint(0, 8, (*self.row, 4), generator=self.random).sort(dim=-1).values
        return torch.randint(0, 2, self.row, generator=self.random)

    def axes(self, name: str, tensor: Tensor) -> dict[int, Any]:
        """The axes of an input that vary, where not all of them do or they have names: an image keeps its size, a decoder may
        begin with one token, and a row holds choices.
        """
        if name.startswith("pixel"):
            rows = {0: Dim("num_images") if self.row[0] == TEXTS else Dim.DYNAMIC}
            if not isinstance(self.image_size, tuple):
                return rows
            least, most = self.image_size
            sides = (Dim(side, min=least, max=most) for side in (names.HEIGHT, names.WIDTH))
            return {**rows, **dict(zip((tensor.ndim - 2, tensor.ndim - 1), sides, strict=True))}
        if len(tensor) == TEXTS and tensor.ndim > 1:
            return {0: Dim("num_texts"), **dict.fromkeys(range(1, tensor.ndim), Dim.DYNAMIC)}
        if name == names.DECODER_INPUT_IDS:
            return {0: Dim.DYNAMIC, 1: Dim(names.DECODER_SEQUENCE)}
        if CHOICES in self.row[1:-1] and tensor.shape == self.row:
            return {0: Dim.DYNAMIC, 1: Dim(names.CHOICES), 2: Dim(names.SEQUENCE)}
        return dict.fromkeys(range(tensor.ndim - 1), Dim.DYNAMIC) if name == BOXES else {}

    def below(self) -> int:
        """The number that all token ids are below."""
        try:
            rows = getattr(self.model.get_input_embeddings(), "num_embeddings", None)
        except (NotImplementedError, AttributeError):  # what transformers raises for a model that reads no ids
            rows = None
        told = sizes.said(self.config, ("vocab_size",))
        return min((one for one in (rows, told) if isinstance(one, int) and one > 0), default=UNREAD)

    def pixels(self) -> tuple[int, int] | None:
        """The height and width of an example: the caller's. Of a range they are what the model says, if that is inside, else the
        largest multiple of the highest power of 2: a model may answer multiples of its patches alone.
        """
        told = sizes.image_size(self.config, self.processor)
        if not isinstance(self.image_size, tuple):
            return told if self.image_size is None else (self.image_size, self.image_size)
        least, most = self.image_size
        if told is not None and least <= min(told) <= max(told) <= most:
            return told
        steps = (1 << power for power in reversed(range(most.bit_length())))
        side = next(most // step * step for step in steps if most // step * step >= least)
        return side, side

    def image_shape(self) -> tuple[int, ...]:
        """The shape of the images of an example. Raises ExportError where nothing tells their size."""
        pixels = self.pixels()
        if pixels is None:
            raise ExportError(
                "a model of images must say their size in its config or its preprocessor_config.json, got neither; "
                f"name it by image_size (--image-size), save its image processor beside it, or {AS_MODULE}."
            )
        number = sizes.frames(self.config)
        video = () if number is None else (number,)
        return (ROWS, *video, sizes.channels(self.config), *pixels)
