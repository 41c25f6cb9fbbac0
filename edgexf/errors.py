"""Errors that a user can meet. The message of each is one sentence: rule, expected value, actual value, remedy.

The class of an error says who must act. The command line takes its exit code from the class (`exit_code`): 1 for a
refused result, 2 for a wrong call.
"""

import errno
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

LINE_BREAKS = {ord("\n"): "\\n", ord("\r"): "\\r"}
LONGEST = 200  # characters of a value in an error


def quoted(value: object) -> str:
    """A caller's value as an error tells it: its repr, cut at `LONGEST`; the name of its type where it has none."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 (an object may raise anything, and a number of 5,000 digits raises too)
        return type(value).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def enumerated(names: Iterable[object]) -> str:
    """Names that a caller gave, sorted, as an error tells them. They need not be text."""
    return ", ".join(sorted(name if isinstance(name, str) else quoted(name) for name in names))


class EdgexfError(Exception):
    """The base class of every error that edgexf raises on purpose. Raised by itself: a result was refused.

    Its text is one line, also where it tells a name from outside that holds line breaks.
    """

    exit_code = 1

    def __str__(self) -> str:
        return super().__str__().translate(LINE_BREAKS)


class UsageError(EdgexfError):
    """The call itself is wrong: an unknown variant, an option out of range, a folder that is not empty."""

    exit_code = 2


class InputError(EdgexfError):
    """An input can't be read, or breaks the limits of the model: a missing file, a directory, a too long array."""


class TimedOut(EdgexfError):  # noqa: N818 (the name that callers catch says what happened, as TimeoutError's does)
    """A call did not end within its `timeout`. Its answer is discarded, also where it came in later."""


class Cancelled(EdgexfError):  # noqa: N818 (as above)
    """A call was ended by its `edgexf.Cancel` token, or by `session.cancel()`."""


class ClosedError(UsageError):
    """A session is used after it was closed."""


class AnswerError(EdgexfError):
    """An answer holds NaN or infinity, and the session refuses such answers (``nan`` of `edgexf.load`)."""


class BundleError(EdgexfError):
    """A bundle on disk can't be trusted: it has a changed byte, an unlisted file or an unknown schema version."""


class DeviceError(EdgexfError):
    """A graph of a bundle answers otherwise on this device than the model does: wrong kernels, a wrong driver."""


class ExportError(EdgexfError):
    """A model can't be exported as a graph, or the weights don't fit the specification."""


class VerificationError(EdgexfError):
    """The graph differs from the model by more than the tolerance, so no bundle is written.

    Attributes:
        grid: the whole result of the verification, in the form that a manifest holds. Behind three cells that fail, a
            difference over the tolerance fails without the question whether it is rounding.
    """

    def __init__(self, sentence: str, grid: dict[str, Any]) -> None:
        super().__init__(sentence)
        self.grid = grid


class ExportWarning(UserWarning):
    """An export succeeded, but the bundle lacks something or keeps something that a user may not expect."""


class RefusedError(EdgexfError):
    """Every quantized graph is slower or worse than the user allows. Nothing was written.

    Attributes:
        outcomes: the `Outcome` of each mode that was tried, with everything that was measured.
    """

    def __init__(self, sentence: str, outcomes: tuple[Any, ...]) -> None:
        super().__init__(sentence)
        self.outcomes = outcomes


class MissingExtraError(UsageError):
    """An optional part of edgexf is not installed. The message names the extra that installs it."""


def said_by(error: Exception) -> str:
    """The type and the first line of the exception that is the root cause of `error`."""
    root: BaseException = error
    while root.__cause__ is not None:  # the outer exceptions only say at which step it happened
        root = root.__cause__
    first_line = (str(root).strip().splitlines() or [""])[0].rstrip(".")
    return f"{type(root).__name__}: {first_line}"


@contextmanager
def in_a_sentence(rule: str, remedy: str) -> Iterator[None]:
    """Turns any exception that code of other packages raises in the block into an ExportError, with its cause attached.

    Such code raises dozens of unrelated types. An EdgexfError passes unchanged.
    """
    try:
        yield
    except EdgexfError:
        raise
    except Exception as error:
        raise ExportError(f"{rule}, got {said_by(error)}; {remedy}.") from error


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextmanager
def temporary_room(what: str) -> Iterator[None]:
    """Raises UsageError if the folder for temporary files can't hold what the block writes. `what` names the work."""
    try:
        yield
    except OSError as error:
        nowhere = error.errno == errno.ENOENT and error.filename is None  # what tempfile raises without a folder
        if error.errno not in NO_ROOM and not nowhere:
            raise
        raise UsageError(
            f"{what} needs room in the folder for temporary files, got none ({error.strerror}); make room, or set TMPDIR."
        ) from error


def first_three(keys: Collection[str]) -> str:
    """The first three, and how many there are."""
    listed = sorted(map(str, keys))
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
