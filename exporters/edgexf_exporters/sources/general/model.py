"""A model of transformers of any family as a source.

In: a `PreTrainedModel` and what its checkpoint says besides. Out: a `Source` that is traced as it is, the way custom modules
take, with the labels, scores, task, config and tokenizer of a model of transformers.

    AlbertForSequenceClassification  ->  inputs by signature and config  ->  probe of a custom module  ->  Source

The head is found from what the model answers; the name of its class only tells tasks with the same answer apart. Known
attentions inside the model are lowered, as in a custom module. Two alternatives were weighed. A description for each
family, as the lowered ones have, is what a general way does without. `transformers.exporters` traces most models too,
but with the shapes of its own examples, and it doesn't say at which sizes a trace holds.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any

import transformers
from transformers import PreTrainedModel

from edgexf import names
from edgexf.bundle.heads import CLASSES, LABELS, TASKS, TOKEN_CLASSES, Head, head_of
from edgexf.bundle.signature import Signature
from edgexf.errors import EdgexfError, ExportError, UsageError
from edgexf_exporters.families import GENERAL, tested
from edgexf_exporters.hooks import frozen
from edgexf_exporters.source import Source
from edgexf_exporters.sources.calls import in_float32
from edgexf_exporters.sources.general import sizes
from edgexf_exporters.sources.general.inputs import IMAGE, VIDEO, WRITTEN, Given, inputs_of
from edgexf_exporters.sources.general.pictures import with_pictures
from edgexf_exporters.sources.heads import labels_of, portable, scores_of
from edgexf_exporters.sources.modules.memory import fresh_copy
from edgexf_exporters.sources.modules.module import from_module
from edgexf_exporters.sources.modules.probe import LONGEST
from edgexf_exporters.sources.modules.text import carries, reads
from edgexf_exporters.sources.notices import quiet
from edgexf_exporters.sources.tokenizer import UNLIMITED, Carried, Longest, check_longest

UNTOLD = Longest(1024, "edgexf, where neither config nor tokenizer says it")
IMAGE_SIZE = "image_size"
POSITIONS = "position_embedding_type"


def from_any_model(
    model: PreTrainedModel,
    max_global: int | None,
    name: str,
    origin: Mapping[str, Any] | None,
    carried: Carried,
    processor: Mapping[str, Any],
    max_length: int | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> Source:
    """The source of a model of a family or head that is not listed.

    Args:
        model: the model.
        max_global: how many tokens of a row a caller may make global in a library model inside the model.
        name: the name of the checkpoint.
        origin: where a checkpoint comes from, for the provenance.
        carried: its tokenizer.
        processor: the values of its preprocessor_config.json.
        max_length: the longest input in tokens; by default what the config and the tokenizer say, and `LONGEST` at most.
        image_size: the height and width of images in pixels, or the least and the most of both, which then vary.

    Raises ExportError for a model that answers no inputs that edgexf can make, and UsageError for a `max_length` or an
    `image_size` that the model does not take.
    """
    with about(type(model)):
        check_positions(model)
        model = in_float32(model)
        with quiet(), frozen(model):
            given = inputs_of(fresh_copy(model), processor, image_size)  # the first call may change a model for good
        if image_size is not None:
            check_reads(given, (IMAGE, VIDEO), "image_size is that of an image")
        longest = longest_of(model.config, carried)
        lengths = [max(one.shape[1:]) for name, one in given.tensors.items() if name not in given.axes]
        least = max([WRITTEN, *lengths])
        most = max(min(longest.tokens, LONGEST), least)
        chosen: dict[str, int] = {}
        if max_length is not None:
            check_reads(given, (names.INPUT_IDS,), "max_length bounds a text")
            shortest = given.tensors[names.INPUT_IDS].shape[-1]  # that of edgexf's example
            check_longest(max_length, shortest, UNLIMITED if longest is UNTOLD else longest)
            longest, chosen = Longest(max_length, "max_length"), {names.INPUT_IDS: max_length}
        source = from_module(
            model, {**given.tensors, **given.settings}, dict(given.axes) or None, origin, max_global, most, given.ends,
            chosen,
        )  # fmt: skip
        if isinstance(image_size, tuple):
            check_sides(image_size, source)
        if max_length is not None:
            check_longest(max_length, shortest, Longest(tokens_of(source), "what the model answers on this machine"))
        found = as_transformers(source, model, name, longest)
        if isinstance(image_size, int) and IMAGE_SIZE in found.config:  # which readers of config.json go by
            found = replace(found, config={**found.config, IMAGE_SIZE: image_size})
        return with_pictures(with_tokenizer(found, carried), processor, image_size)


def tokens_of(source: Source) -> int:
    """The largest number of tokens of a text."""
    own = source.module_inputs
    assert own is not None  # noqa: S101 (tells mypy: the source of a module has them)
    (text,) = (tensor for tensor in own.tensors if tensor.name == names.INPUT_IDS)
    last = text.shape[-1]
    return last if isinstance(last, int) else own.signature.axis(last).most


def check_reads(given: Given, wanted: tuple[str, ...], rule: str) -> None:
    """Raises UsageError for a model without any of the inputs that a caller's choice is for."""
    if not set(wanted) & set(given.tensors):
        raise UsageError(f"{rule}, got it for a model that reads {', '.join(given.tensors)}; leave it out.")


def check_sides(image_size: tuple[int, int], source: Source) -> None:
    """Raises UsageError for a range of sizes that a model of one size was asked for."""
    own = source.module_inputs
    assert own is not None  # noqa: S101 (tells mypy: the source of a module has them)
    if not {names.HEIGHT, names.WIDTH} <= {axis.name for axis in own.signature.axes}:
        images = next(tensor for tensor in own.tensors if tensor.name in (IMAGE, VIDEO))
        size = next((one for one in images.shape[-2:] if isinstance(one, int)), image_size[-1])
        raise UsageError(
            f"image_size must be one number for a model whose height and width can't vary by themselves, got {' to '.join(map(str, image_size))}; write {size}."
        )


def longest_of(config: Any, carried: Carried) -> Longest:
    """The longest input in tokens, and what says it."""
    told = sizes.longest_text(config)
    known = [] if told is None else [Longest(told, "the config")]
    known += [] if carried.longest is UNLIMITED else [carried.longest]
    return min(known or [UNTOLD], key=attrgetter("tokens"))


@contextmanager
def about(cls: Any) -> Iterator[None]:
    """Names the class of a model in front of what edgexf says of it: a general way can't say it in its rule."""
    try:
        yield
    except EdgexfError as error:
        start = f"{cls.__name__}: "
        if error.args and not str(error.args[0]).startswith(start):
            error.args = (start + str(error.args[0]), *error.args[1:])
        raise


@contextmanager
def said_of(cls: Any) -> Iterator[None]:
    """Silences the library, and names the class in errors."""
    with about(cls), quiet():
        yield


def check_positions(model: PreTrainedModel) -> None:
    """Raises ExportError for positions that an older transformers computed and this one ignores."""
    kind = getattr(model.config, POSITIONS, None)
    modules = {base.__module__ for base in type(model).__mro__ if base.__module__.startswith("transformers.models.")}
    if kind in (None, "absolute") or any(POSITIONS in inspect.getsource(sys.modules[one]) for one in modules):
        return
    raise ExportError(
        f"a model must have the positions that its config names, got {POSITIONS} {kind!r}, which transformers "
        f"{transformers.__version__} ignores; export a model that was trained with absolute ones."
    )


def as_transformers(source: Source, model: PreTrainedModel, name: str, longest: Longest) -> Source:
    """The source with the name, task, labels, scores and config of a model of transformers."""
    config: Any = model.config
    own = source.module_inputs
    assert own is not None  # noqa: S101 (tells mypy: the source of a module has them)
    head = head_of(source.outputs, own.signature.samples)
    labels = labels_in(config, head, type(model).__name__)
    known = tested(config.model_type)
    by = f"by {longest.setting}" if source.limits.max_length == longest.tokens else "by what edgexf tried"
    return replace(
        source,
        name=name or config.model_type,
        task=task_in(type(model).__name__, head, source.inputs),
        variant=replace(source.variant, name=GENERAL if known is None else known.name),
        labels=labels or source.labels,
        scores=scores_of(config) if labels else source.scores,
        module_inputs=replace(own, signature=without_settings(own.signature)),
        quiet=partial(said_of, type(model)),
        config=portable(config, type(model).__name__),
        provenance={
            **source.provenance,
            "architecture": type(model).__name__,
            "transformers": transformers.__version__,
            **({"longest": by} if names.INPUT_IDS in source.inputs else {}),
        },
    )


def without_settings(signature: Signature) -> Signature:
    """A signature that does not warn of settings which no caller chose."""
    return replace(signature, frozen={})


def labels_in(config: Any, head: Head | None, architecture: str) -> tuple[str, ...]:
    """The names of the classes, if the model answers with one logit for each label of its config; else empty."""
    if not config.id2label:  # PVT's default
        return ()
    classes = head is not None and head.kind in (CLASSES, TOKEN_CLASSES) and head.columns == config.num_labels
    return labels_of(config) if classes and "Classification" in architecture else ()


def task_in(architecture: str, head: Head | None, inputs: tuple[str, ...]) -> str:
    """The task of a model: that of its kind of head, among several the one that the class is named after.

    A head that no task of the hub has is ``module``: what forward answers.
    """
    kind = None if head is None else head.kind
    named = [task for task in TASKS if task.kind == kind and architecture.endswith(task.suffixes)]
    if IMAGE in inputs and kind == CLASSES and "ImageClassification" in architecture:
        return "image-classification"
    if any(task.columns == LABELS for task in named) and IMAGE in inputs and "ForSequence" not in architecture:
        return "module"
    return named[0].name if named else "module"


def with_tokenizer(source: Source, carried: Carried) -> Source:
    """The source with its tokenizer, where a text alone makes its inputs; else without, and the provenance says so."""
    if not carried.files:
        return replace(source, provenance={**source.provenance, "tokenizer": "none"})
    if not reads(source):
        said = f"left out: no text alone makes {', '.join(source.inputs)}"
        return replace(source, provenance={**source.provenance, "tokenizer": said})
    return carries(source, carried, carried.note or "as transformers reads it")
