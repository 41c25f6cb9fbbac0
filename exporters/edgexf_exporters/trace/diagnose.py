"""Finds where a trace stopped: the line of the model's code, and the module that runs this line.

In: an exception that torch.export raised, or the log of a trace in which a size became a number. Out: a clause such as
"at model.py:12 `if x.sum() > 0:` in encoder.0 (Block)". The clause lacks the line if only code of torch ran, and is
empty if no module of the model ran.

The error of torch.export names the symbol that became a number, not the line that fixed it. But torch logs it at the
moment when it happens, and a log handler can look at the stack at this moment. Two alternatives were weighed:
draft_export, which runs the whole export again and gives a report of many pages; and a patch of ShapeEnv, which breaks
with every version.
"""

from __future__ import annotations

import io
import linecache
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import nn

SYMBOLS = "torch.fx.experimental.symbolic_shapes"
FIXED = "set_replacement"  # the start of the log line that says that a symbol became a number
ASKED = "eval"  # the start of the log line that says that a trace asked about sizes
BRANCHES = "edgexf_branches"  # where a captured program keeps who asked
FOREIGN = tuple(
    f"{folder}{os.sep}"
    for folder in (Path(torch.__file__).parent, Path(logging.__file__).parent, Path(__file__).parents[1])
)
TORCH = Path(torch.__file__).parent
# Where torch answers what is asked about a size, and logs it.
ANSWERING = (
    *(str(TORCH / name) for name in ("__init__.py", f"fx{os.sep}experimental", "_library", "utils")),
    str(Path(logging.__file__).parent),
    __file__,
)
Frames = list[tuple[FrameType, int]]


def is_own(frame: FrameType) -> bool:
    """Whether a frame runs a file outside torch, outside logging (which calls the witness) and outside this package."""
    name = frame.f_code.co_filename
    return not name.startswith((*FOREIGN, "<"))


INSTEAD = (  # what a line calls to make a number of a size, and what to write instead
    (r"\bint\(", "write math.floor(x) or math.trunc(x) in place of int(x), which makes a number of a size"),
    (r"\bmath\.(?!floor|ceil|trunc)", "write n ** 0.5, or torch.full((), n).log() and the like, in place of functions of math"),
    (r"\bfloat\(", "leave out float(): n / 2 and n * 0.5 take a size as it is"),
    (r"\bdivmod\(", "write n // k and n % k in place of divmod"),
    (r"\brange\(|\.unbind\(", "compute with tensors over the whole axis, such as by cumsum or unfold, in place of a loop over it"),
)  # fmt: skip


def way_out(place: str, otherwise: str) -> str:
    """What to write in place of what a line does with a size. `place` is the clause of the line."""
    return next((said for pattern, said in INSTEAD if re.search(pattern, place)), otherwise)


@dataclass(frozen=True)
class Asked:
    """Who asked about sizes: the clause of the line, and whether the model's code asked, not an operator of torch."""

    place: str = ""
    branch: bool = False


def asked_by(frame: FrameType | None) -> Asked:
    """Who asks about a size by ``if`` or ``bool``, from the frame of a log handler outwards.

    It keeps no frame and reads no local variables: tensors that live longer than their code end as constants of a trace.
    """
    while frame is not None and frame.f_code.co_filename.startswith(ANSWERING):
        frame = frame.f_back
    branch = frame is not None and is_own(frame)
    while frame is not None and not is_own(frame):
        frame = frame.f_back
    return Asked("" if frame is None else shown(frame, frame.f_lineno), branch)


def shown(frame: FrameType, line: int) -> str:
    name = frame.f_code.co_filename
    return f"at {Path(name).name}:{line} `{linecache.getline(name, line).strip()}`"


def clause(frames: Frames, model: nn.Module) -> str:
    """The clause for a stack. `frames` begin with the outermost frame.

    In a model that holds a module twice, torch traces stand-ins of the modules, which share the attributes of theirs.
    """
    called = {id(vars(part)): name for name, part in model.named_modules()}
    inside = [frame.f_locals.get("self") for frame, _ in frames]
    places = [place for place, part in enumerate(inside) if isinstance(part, nn.Module) and id(vars(part)) in called]
    if not places:
        return ""
    first, last = places[0], places[-1]
    part = inside[last]
    assert isinstance(part, nn.Module)  # noqa: S101 (tells mypy the type; `places` holds modules only)
    where = f"in {called[id(vars(part))].removeprefix('module.').removeprefix('module') or 'the model'} ({type(part).__name__})"
    lines = [(frame, line) for frame, line in frames[first:] if is_own(frame)]
    if not lines:
        return where
    return f"{shown(*lines[-1])} {where}"


def of_error(error: BaseException, model: nn.Module) -> str:
    """The clause for an exception. Where its stack tells nothing, the clause comes from its cause or its context."""
    seen: BaseException | None = error
    found = ""
    while seen is not None and not found:
        found = clause([(frame, line) for frame, line in traceback.walk_tb(seen.__traceback__)], model)
        seen = seen.__cause__ or seen.__context__
    return found


class Witness(logging.Handler):
    """A log handler that remembers where symbols became numbers, and who asked about sizes.

    `at` holds a clause for each number, `asked` an `Asked` for each condition. It calls `noted` whenever torch notes
    something about a size.
    """

    def __init__(self, model: nn.Module, noted: Callable[[], None]) -> None:
        super().__init__(logging.INFO)
        self.model = model
        self.noted = noted
        self.at: dict[str, str] = {}
        self.asked: dict[str, Asked] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.noted()
        text = record.getMessage()
        if text.startswith(FIXED):
            _, _, became = text.partition(" = ")
            frames = list(traceback.walk_stack(sys._getframe()))
            self.at.setdefault(became.split()[0], clause(frames[::-1], self.model))
        elif text.startswith(ASKED) and isinstance(record.args, tuple) and len(record.args) > 1:
            condition = str(record.args[1])
            if not self.asked.get(condition, Asked()).branch:
                self.asked[condition] = asked_by(sys._getframe())


@contextmanager
def watching(model: nn.Module, noted: Callable[[], None]) -> Iterator[Witness]:
    """Yields a witness of the trace inside. Drops what torch prints about a failure, because the error reports it."""
    logger, witness, printed = logging.getLogger(SYMBOLS), Witness(model, noted), io.StringIO()
    level, before = logger.level, (logger.propagate, logger.disabled, logger.handlers)
    try:
        logger.setLevel(logging.INFO)
        logger.propagate, logger.disabled, logger.handlers = False, False, [witness]
        with redirect_stderr(printed):
            yield witness
        sys.stderr.write(printed.getvalue())
    finally:
        logger.setLevel(level)
        logger.propagate, logger.disabled, logger.handlers = before
