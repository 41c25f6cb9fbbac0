"""ONNX Runtime's own messages, in the logger ``edgexf``.

In: a level of `logging`. Out: records whose message begins with the category of ONNX Runtime.

ONNX Runtime has one sink for a process, which edgexf replaces only when it is asked to. Messages from ONNX Runtime's own
threads still go to standard error, because waiting for Python there could block the process.
"""

from __future__ import annotations

import onnxruntime as ort

from edgexf.checks import is_choice
from edgexf.errors import UsageError, quoted

LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3, "critical": 4}  # the severities of ONNX Runtime
OF_SEVERITY = (10, 20, 30, 40, 50)  # the same levels as numbers of `logging`
SINCE = "1.32"


def severity(level: str) -> int:
    """ONNX Runtime's number for a level. Raises UsageError for an unknown one."""
    if not is_choice(level, LEVELS):
        raise UsageError(f"log_level must be one of {', '.join(LEVELS)}, got {quoted(level)}; choose one of them.")
    return LEVELS[level]


def route(level: str) -> None:
    """Sends ONNX Runtime's messages of at least a level to the logger ``edgexf``, for the whole process.

    Raises UsageError for an unknown level, and on an onnxruntime that can't.
    """
    number = severity(level)
    if not hasattr(ort, "set_default_logger_callback"):
        raise UsageError(
            f"log_level needs onnxruntime {SINCE} or later, got {ort.__version__}; update it, or leave log_level out."
        )
    ort.set_default_logger_callback(receive, number)


def receive(severity: int, category: str, logid: str, location: str, message: str) -> None:
    """Takes a message of ONNX Runtime, in the thread that it comes from."""
    import logging  # here, because an application waits for the imports of the runtime

    logging.getLogger("edgexf").log(
        OF_SEVERITY[severity], "%s: %s (%s%s)", category, message, f"{logid}, " if logid else "", location
    )
