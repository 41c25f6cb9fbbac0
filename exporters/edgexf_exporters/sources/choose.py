"""Which source a call of `edgexf.export` asks for.

In: the arguments of the call. Out: a `Source`. UsageError for arguments that do not go together.

    module="package.module:factory"     a custom module that the factory builds
    variant="linformer", or nothing     a reference model
    a module and example_inputs         a custom module
    a folder, a hub id, or a model      a model of transformers, or an encoder of `edgexf.models`
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf import bundle
from edgexf.errors import UsageError
from edgexf.extras import require_packages
from edgexf_exporters.sources.request import Request, check_request

if TYPE_CHECKING:
    from edgexf_exporters.source import Source


def choose(request: Request) -> Source:
    """The source of a request.

    Raises UsageError for arguments that do not go together, and ExportError for a model that can't be read.
    """
    check_request(request)
    if request.module is not None:
        return choose_factory(request)
    if request.source is None:
        return choose_reference(request.variant or "", request.weights, request.sizes)
    from edgexf_exporters.sources.wrapped import unwrapped

    source = unwrapped(request.source)
    if request.has("example_inputs", "dynamic_shapes"):
        made = choose_module(source, request)
        return made if request.tokenizer is None else with_tokenizer(made, request.tokenizer)
    return choose_model(source, request)


def choose_reference(variant: str, weights: str | os.PathLike[str] | None, sizes: Mapping[str, int]) -> Source:
    """A reference model with its trained weights or with the user's weights."""
    from edgexf_exporters.sources import reference

    return reference.from_variant(variant, None if weights is None else Path(weights), sizes)


def choose_model(source: Any, request: Request) -> Source:
    """A checkpoint of transformers by its folder or hub id, a model of transformers in memory, or an encoder."""
    from edgexf.models.encoder import Encoder
    from edgexf_exporters.sources import reference

    if isinstance(source, Encoder):
        if request.has("task", "max_global", "max_length", "image_size", "tokenizer"):
            raise UsageError(
                "task, max_global, max_length, image_size and tokenizer belong to a model of transformers, got them beside an encoder; leave them out."
            )
        return reference.from_encoder(source)
    bases = {base.__module__.partition(".")[0] for base in type(source).__mro__}
    if isinstance(source, str | os.PathLike) or "transformers" in bases:
        require_packages("export", "transformers", "optimum")
        from transformers import PreTrainedModel

        from edgexf_exporters.sources import checkpoint

        if isinstance(source, str | os.PathLike):
            return checkpoint.from_checkpoint(
                os.fspath(source), request.task, request.max_global, request.max_length, request.image_size
            )
        if isinstance(source, PreTrainedModel) and request.task is None:
            return checkpoint.from_model(
                source, request.max_global, tokenizer=request.tokenizer, max_length=request.max_length,
                image_size=request.image_size,
            )  # fmt: skip
        if isinstance(source, PreTrainedModel):
            raise UsageError(f"a model in memory has its task already, got {request.task!r} beside it; leave it out.")
    raise UsageError(
        f"a module that is neither an encoder of edgexf.models nor a model of transformers needs example_inputs, got {type(source).__name__} without; "
        "give a tuple of tensors that its forward takes."
    )


def choose_factory(request: Request) -> Source:
    """A custom module by the name of its factory. The factory may also give example inputs and dynamic shapes."""
    from edgexf_exporters.sources.modules import factory
    from edgexf_exporters.sources.modules.module import from_module
    from edgexf_exporters.sources.wrapped import unwrapped

    name, weights = request.module or "", request.weights
    built, examples, shapes = factory.build(name)
    built = unwrapped(built)
    if weights is not None:
        factory.load_weights(built, Path(weights))
    examples = request.example_inputs if request.example_inputs is not None else examples
    if examples is None:
        examples = factory.guess_examples(built, request.max_length)
    shapes = shapes if request.dynamic_shapes is None else request.dynamic_shapes
    origin = {"source": name, **({} if weights is None else {"weights_sha256": bundle.sha256(Path(weights))})}
    return from_module(built, examples, shapes, origin, request.max_global, request.max_length)


def choose_module(source: Any, request: Request) -> Source:
    """A custom module, by inputs that it answers."""
    from torch import nn

    from edgexf_exporters.sources.modules.module import from_module

    if not isinstance(source, nn.Module) or request.example_inputs is None or request.task is not None:
        raise UsageError(
            f"example_inputs go with a torch.nn.Module, and dynamic_shapes with them; task doesn't, got {type(source).__name__}; leave the others out."
        )
    return from_module(
        source, request.example_inputs, request.dynamic_shapes,
        max_global=request.max_global, max_length=request.max_length,
    )  # fmt: skip


def with_tokenizer(source: Source, tokenizer: Any) -> Source:
    """A custom module that reads text by a tokenizer of transformers."""
    require_packages("export", "transformers")
    from edgexf_exporters.sources.modules.text import reads_text

    return reads_text(source, tokenizer)
