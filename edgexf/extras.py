"""Checks that the packages of an extra are installed, before the long work that needs them.

onnxruntime is checked apart. Several packages hold it, for other hardware each, and they overwrite each other's files.
Therefore no part of edgexf pulls one in but the extra ``cpu``.
"""

from __future__ import annotations

from edgexf.errors import MissingExtraError


def require_packages(extra: str, *packages: str) -> None:
    """Raises MissingExtraError, which names the extra, if a package is not installed."""
    from importlib.metadata import version  # takes a third of the time of `edgexf --help`

    for package in packages:
        try:
            version(package)
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"this needs the extra `{extra}`, got no {package} in this environment; install it with: pip install 'edgexf[{extra}]'."
            ) from error


def require_onnxruntime() -> None:
    """Raises MissingExtraError, which names the packages that hold onnxruntime, if none is installed."""
    from importlib.util import find_spec

    found = find_spec("onnxruntime")
    if found is None or found.origin is None:  # a folder without the package is what pip may leave of two packages
        raise MissingExtraError(
            "running a graph needs one onnxruntime package, got none in this environment; install it with: pip install 'edgexf[cpu]', or install the one for your hardware, such as onnxruntime-gpu, onnxruntime-openvino or onnxruntime-directml."
        )
