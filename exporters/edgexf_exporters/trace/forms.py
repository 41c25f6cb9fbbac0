"""The forms in which a captured program can be written as a graph: other nodes, the same answers.

In: a `Form`, within whose block a program is translated. Out: the form for the translations that have several.

    portable      the usual form: operators of the ONNX standard
    ort-cpu       also operators of ONNX Runtime's own, where one of them was measured to save more than a tenth of the time
    ort-cuda      the same for its CUDA provider; nobody measured it there yet
    queries-64    full attention in slices of so many queries

A form has no say in what is captured, so each further one costs a translation and its verification, not another trace.
Source of the operators: ONNX Runtime, `docs/ContribOperators.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from edgexf.bundle.graphs import OPS, PORTABLE
from edgexf.products import ROWS

OTHER_ROWS = (64, 512)  # queries of a slice: a small cache likes fewer, a fast processor more


@dataclass(frozen=True)
class Form:
    """A form.

    Attributes:
        name: the name of the candidate that is written in this form.
        ops: the operators that it may hold, a name of `edgexf.bundle.graphs.OPS`.
        rows: the most queries of a slice of full attention.
    """

    name: str = PORTABLE
    ops: str = PORTABLE
    rows: int = ROWS


PLAIN = Form()
FORMS = tuple(Form(name, name) for name in OPS if name != PORTABLE) + tuple(
    Form(f"queries-{rows}", rows=rows) for rows in OTHER_ROWS
)
_current: ContextVar[Form] = ContextVar("form", default=PLAIN)


def forms_of(ops: str, candidates: bool) -> tuple[Form, ...]:
    """The further forms that an export writes: the one of the operators `ops`, or with `candidates` all."""
    return tuple(form for form in FORMS if candidates or (form.ops == ops and ops != PORTABLE))


def current() -> Form:
    """The form in which a program is being translated."""
    return _current.get()


@contextmanager
def written_in(form: Form) -> Iterator[None]:
    """Programs are translated in a form within the block."""
    token = _current.set(form)
    try:
        yield
    finally:
        _current.reset(token)
