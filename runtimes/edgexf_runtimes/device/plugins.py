"""Providers that come as a plugin library, in a package of their own.

In: a provider of the table, and options. Out: the devices that its library shows, for a session to run on.

A library is registered once in a process and stays: sessions that use it may live on in other threads.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import onnxruntime as ort

from edgexf.errors import UsageError
from edgexf_runtimes.device.asked import Asked, Provider

SINCE = "1.23"
DEVICE_TYPE, DEVICE_ID = "device_type", "device_id"  # options that choose a device, and that the library does not take
_registered: set[str] = set()
_lock = threading.Lock()


def is_plugin(provider: Provider) -> bool:
    """Whether the provider is a plugin library: a session must be given its devices, since its name alone is ignored."""
    return provider.ort in _registered or bundled(provider) or (installed(provider) and not built_in(provider))


def bundled(provider: Provider) -> bool:
    """Whether onnxruntime brings the provider as a library that it registers when it is imported, as for cuda."""
    return hasattr(ort, "get_build_info") and f", {provider.name}-plugin-ep=" in ort.get_build_info()


def built_in(provider: Provider) -> bool:
    return provider.ort in ort.get_available_providers()


def installed(provider: Provider) -> bool:
    return bool(provider.plugin) and find_spec(provider.plugin) is not None


def devices(one: Asked) -> list[Any]:
    """The device of the plugin library that the options choose, in a list; by default the first that the library shows.

    ``device_type`` chooses by kind (``CPU``, ``GPU``, ``NPU``), ``device_id`` by the place among those. Raises UsageError if
    there is none, and on an onnxruntime without plugin libraries.
    """
    provider = one.provider
    if not bundled(provider):
        register(provider)
    shown = [device for device in ort.get_ep_devices() if device.ep_name == provider.ort]
    if not shown:
        raise UsageError(
            f"a provider must show a device to run on, got none from {provider.name} ({provider.plugin or provider.package}), which is installed and loads; check the hardware and its driver, or ask for cpu."
        )
    kind, place = one.options.get(DEVICE_TYPE, ""), one.options.get(DEVICE_ID, "0")
    fitting = [device for device in shown if kind.upper() in ("", device.device.type.name)]
    if not place.isdecimal() or int(place) >= len(fitting):
        kinds = ", ".join(device.device.type.name for device in shown)
        raise UsageError(
            f"a device of {provider.name} must be one that it shows ({kinds}), got {DEVICE_TYPE}={kind or 'any'}, {DEVICE_ID}={place}; choose one of them."
        )
    return [fitting[int(place)]]


def options_of(one: Asked) -> Mapping[str, str]:
    """The options for the library itself."""
    return {name: value for name, value in one.options.items() if name not in (DEVICE_TYPE, DEVICE_ID)}


def register(provider: Provider) -> None:
    """Registers the library with ONNX Runtime. Raises UsageError if ONNX Runtime refuses it or has no plugin libraries."""
    needed = (ort, "register_execution_provider_library"), (ort.SessionOptions, "add_provider_for_devices")
    if not all(hasattr(owner, name) for owner, name in needed):
        raise UsageError(
            f"{provider.name} as a plugin library needs onnxruntime {SINCE} or later, got {ort.__version__}; update onnxruntime, or install a package that has the provider built in ({provider.package})."
        )
    with _lock:
        if provider.ort in _registered:
            return
        try:
            ort.register_execution_provider_library(provider.ort, import_module(provider.plugin).get_library_path())
        except Exception as error:  # the binding's status types share no base class; a package may lack its library
            if "already registered" not in str(error):  # by the program that embeds edgexf
                raise UsageError(
                    f"the library of {provider.plugin} must load in onnxruntime {ort.__version__}, got {type(error).__name__}: {str(error).strip()}; install versions that fit together."
                ) from error
        _registered.add(provider.ort)
