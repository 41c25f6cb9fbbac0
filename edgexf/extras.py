"""Checks that the packages of an extra are installed, before the long work that needs them."""

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
