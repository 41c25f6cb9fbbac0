"""What a call of `edgexf.export` asks for, checked as far as that needs neither torch nor a model.

In: the arguments of the call. Out: a `Request` whose arguments go together.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf.errors import ExportError, UsageError
from edgexf_exporters import VARIANTS
from edgexf_exporters.families import IMAGE_TASKS
from edgexf_exporters.sources.on_disk import check_model

if TYPE_CHECKING:
    from torch import nn

LARGEST = 16_384  # pixels of a side


@dataclass(frozen=True)
class Request:
    """The arguments of `edgexf.export` that say what is exported; `edgexf.export` describes them."""

    source: nn.Module | str | os.PathLike[str] | None = None
    example_inputs: Any = None
    dynamic_shapes: Any = None
    module: str | None = None
    variant: str | None = None
    task: str | None = None
    max_global: int | None = None
    tokenizer: Any = None
    weights: str | os.PathLike[str] | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    max_length: int | None = None
    image_size: int | tuple[int, int] | None = None

    def has(self, *names: str) -> bool:
        """Whether one of these arguments was given; an empty `sizes` counts as none."""
        given = {**vars(self), "sizes": self.sizes or None}
        return any(given[name] is not None for name in names)

    @property
    def name(self) -> str:
        """The name of the model as far as the request tells it; empty for a module."""
        if not isinstance(self.source, str | os.PathLike):
            return self.variant or ""
        path = Path(self.source)
        return path.resolve().name if path.is_dir() else os.fspath(self.source).rpartition("/")[2]


def check_request(request: Request) -> None:
    """Raises UsageError for arguments that don't go together or name nothing, and ExportError for no checkpoint."""
    check_max_length(request)
    check_image_size(request)
    if request.module is not None:
        if request.has("source", "variant", "task", "tokenizer", "sizes"):
            raise UsageError("a module brings its own attention, sizes and task, got others beside it; leave them out.")
        check_reference(request.module)
    elif request.source is None:
        check_variant(request)
    elif request.has("variant", "weights", "sizes"):
        raise UsageError("a model brings its own attention, weights and sizes, got others beside it; leave them out.")
    elif isinstance(request.source, str | os.PathLike) and not request.has("example_inputs", "dynamic_shapes"):
        check_task(request.task)
        if request.tokenizer is not None:
            raise UsageError("a checkpoint brings its own tokenizer, got another beside it; leave it out.")
        check_model(request.source)


def check_max_length(request: Request) -> None:
    most = request.max_length
    if most is None:
        return
    if not request.has("module", "source"):
        raise UsageError(
            "max_length bounds the inputs of a model or a module, got it beside a reference model; give it in sizes, with weights."
        )
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise UsageError(f"max_length must be a whole number of at least 1, got {most!r}; choose another.")


def check_image_size(request: Request) -> None:
    given = request.image_size
    if given is None:
        return
    if request.source is None or request.has("example_inputs", "dynamic_shapes"):
        raise UsageError(
            "image_size is that of a model of transformers, got it beside another; give example_inputs and dynamic_shapes of that size."
        )
    least, most = (given if len(given) == 2 else (0, 0)) if isinstance(given, tuple) else (given, given)
    whole = all(isinstance(one, int) and not isinstance(one, bool) and 1 <= one <= LARGEST for one in (least, most))
    if not whole or (isinstance(given, tuple) and least >= most):
        raise UsageError(
            f"image_size must be a number of pixels up to {LARGEST:,}, or the least and the most of them, got {given!r}; write 224 or (160, 320)."
        )


def check_reference(reference: str) -> None:
    """Raises UsageError for a text that names no factory, and ExportError if Python finds no module of its name."""
    where, _, name = reference.partition(":")
    if not where or not name:
        raise UsageError(f"a module is named as package.module:factory, got {reference!r}; write it like this.")
    package = where.partition(".")[0]
    with importing_from_here():
        found = bool(package) and (package in sys.modules or find_spec(package) is not None)
    if not found:
        raise ExportError(
            f"{where} must be a Python module that can be imported, got no {package} where Python looks; check its name, or run from its folder."
        )


@contextmanager
def importing_from_here() -> Iterator[None]:
    """Lets Python import from the working directory for the duration, as ``python -m`` does."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def check_variant(request: Request) -> None:
    if request.has("task", "max_global", "tokenizer", "example_inputs", "dynamic_shapes"):
        raise UsageError(
            "task, max_global, tokenizer, example_inputs and dynamic_shapes belong to a model, got one without it; leave it out."
        )
    known = [record.name for record in VARIANTS if record.reference]
    if request.variant is None:
        raise UsageError(f"an export needs a model, a module or a variant ({', '.join(known)}), got none; name one.")
    if request.variant not in known:
        raise UsageError(f"variant must be one of {', '.join(known)}, got {request.variant!r}; choose one of them.")
    if request.weights is None and request.sizes:
        raise UsageError(
            f"sizes describe the weights of a file, got {', '.join(request.sizes)} without them; add --weights FILE or leave the sizes out."
        )


def check_task(task: str | None) -> None:
    listed = {task for record in VARIANTS if record.family == "transformers" for task in record.tasks}
    known = sorted({*listed, *IMAGE_TASKS})
    if task is not None and task not in known:
        raise UsageError(f"task must be one of {', '.join(known)}, got {task!r}; choose one of them.")
