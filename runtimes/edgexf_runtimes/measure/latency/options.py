"""Every option of an open session, as ONNX Runtime tells it, for a report that somebody else must be able to repeat.

In: a session. Out: names and values as text. The optimizers that edgexf leaves out are not among them, because ONNX Runtime
does not tell them; they follow from the profile, see `edgexf_runtimes.device.weights`.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import onnxruntime as ort

from edgexf_runtimes.device.asked import short

# ONNX Runtime tells an entry only to a caller who knows its name: these are the entries that edgexf sets, see
# `edgexf_runtimes.device.session_options`, `weights` and `providers`.
ENTRIES = (
    "session.intra_op.allow_spinning",
    "session.disable_prepacking",
    "session.disable_cpu_ep_fallback",
    "session.record_ep_graph_assignment_info",
)
FILES = ("logid", "optimized_model_filepath", "profile_file_prefix")  # names of files and messages


def options_of(session: ort.InferenceSession) -> dict[str, str]:
    """Options of a session and of its providers, by name, such as ``intra_op_num_threads`` and ``cuda.use_tf32``."""
    options = session.get_session_options()
    found = {
        name: text(getattr(options, name))
        for name in dir(options)
        if not name.startswith("_") and name not in FILES and not callable(getattr(options, name))
    }
    found |= {name: value for name in ENTRIES if (value := entry(options, name)) is not None}
    of_providers = session.get_provider_options().items()
    return found | {f"{short(name)}.{key}": str(value) for name, given in of_providers for key, value in given.items()}


def entry(options: ort.SessionOptions, name: str) -> str | None:
    """The value of an entry, None where nobody set it."""
    try:
        return str(options.get_session_config_entry(name))
    except RuntimeError:  # all that ONNX Runtime says of an absent one
        return None


def text(value: Any) -> str:
    return value.name if isinstance(value, Enum) or hasattr(value, "name") else str(value)
