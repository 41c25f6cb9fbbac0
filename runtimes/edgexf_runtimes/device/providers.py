"""Opens a graph on the hardware that was asked for.

In: provider names that users type. Out: ONNX Runtime sessions. A session runs on the provider that was asked for, or
fails.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import onnxruntime as ort

from edgexf.errors import BundleError, EdgexfError, UsageError
from edgexf_runtimes.calls.call import Call
from edgexf_runtimes.device.profiles import Settings
from edgexf_runtimes.device.session_options import session_options

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
CPU = Settings()


def named(settings: Settings) -> str:
    """The first provider of the settings by ONNX Runtime's name."""
    return PROVIDERS.get(settings.providers[0], settings.providers[0]) if settings.providers else ""


def create(path: Path, call: Call | None = None, *, settings: Settings = CPU) -> ort.InferenceSession:
    """Opens a session of the graph at `path` on the first provider of `settings`, within its call if there is one.

    Raises UsageError for an unknown or missing provider, and BundleError for a graph that ONNX Runtime refuses.
    """
    wanted = [PROVIDERS.get(name, name) for name in settings.providers]
    missing = [name for name in wanted if name not in ort.get_available_providers()]
    if missing or not wanted:
        raise UsageError(
            f"providers must be among those of this onnxruntime ({', '.join(ort.get_available_providers())}), "
            f"got {', '.join(settings.providers) or 'none'}; install the onnxruntime package that has it."
        )
    options = session_options(settings)
    if PROVIDERS["cpu"] not in wanted:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")  # run on that provider or fail
    try:
        with nullcontext() if call is None else call.stoppable(lambda: options.set_load_cancellation_flag(True)):
            session = ort.InferenceSession(str(path), options, providers=wanted)
    except EdgexfError:
        raise
    except Exception as error:  # the binding raises its C++ status types, which share no base class
        raise BundleError(
            f"{path.name} must be a graph that this onnxruntime {ort.__version__} can load, got: {error}."
        ) from error
    if session.get_providers()[0] != wanted[0]:
        raise UsageError(
            f"a graph must run on the provider that was asked for, got {session.get_providers()[0]} for {wanted[0]}; "
            "check its driver, or ask for cpu."
        )
    return session
