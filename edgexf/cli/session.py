"""Options that say how a command opens a session, and the session that they open.

In: a command. Out: the command with the options, which it gets as one argument, `opening`. `opened` makes a session of it.

    --providers cuda,cpu --provider-option cuda.device_id=1

Providers and their options are apart, as in onnxruntime_perf_test (`-e` and `-i`): values of options hold commas and colons
themselves, such as the shapes of TensorRT, so that an option within the list of providers would be ambiguous.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgexf.cli.options import Command, LazyHelp, dtype_option, input_timeout_option, threads_option
from edgexf.cli.streams import one_line
from edgexf.errors import UsageError

if TYPE_CHECKING:
    from edgexf_runtimes import Session

PROVIDERS, PROVIDER_OPTIONS, TIMEOUT = "providers", "provider_options", "timeout"


def provider_help() -> str:
    from edgexf_runtimes.device.asked import TABLE

    names = ", ".join(provider.name for provider in TABLE)
    return f"Where the graphs run, the first that can, with commas between: {names}."


def profile_help() -> str:
    from edgexf_runtimes.device.profiles import BALANCED, PROFILES

    return f"What the session is tuned for: {', '.join(PROFILES)}; by default as tuned, or {BALANCED.name}."


OPTIONS: Mapping[str, Sequence[Callable[[Command], Command]]] = {
    "dtype": [dtype_option],
    PROVIDERS: [
        click.option("--providers", PROVIDERS, multiple=True, cls=LazyHelp, text=provider_help),
        click.option(
            "--provider-option",
            PROVIDER_OPTIONS,
            multiple=True,
            metavar="NAME.KEY=VALUE",
            help="An option of ONNX Runtime for a provider, such as cuda.device_id=1; may be repeated.",
        ),
    ],
    "candidate": [
        click.option(
            "--candidate",
            help="Graphs that answer the same: a candidate of the bundle, portable, or by default what was tuned or preferred.",
        )
    ],
    "tuned": [click.option("--tuned", help="Whether what `edgexf tune` found counts: auto (the default), never.")],
    "profile": [click.option("--profile", cls=LazyHelp, text=profile_help)],
    "threads": [threads_option],
    "verify": [click.option("--verify", help="Hash the bundle's files: always (the default), once, never.")],
    "cache": [
        click.option(
            "--cache",
            metavar="FOLDER",
            help="Folder that remembers what was checked once; by default that of EDGEXF_CACHE, or none.",
        )
    ],
    TIMEOUT: [click.option("--timeout", type=float, help="Seconds that the whole work may take; by default no limit.")],
    "input_timeout": [input_timeout_option],
}


@dataclass(frozen=True)
class Opening:
    """How a session is opened.

    Attributes:
        arguments: arguments of `edgexf.load`, but for the path and the timeout. What the caller left out is not there.
        timeout: the seconds for the opening and all work of the session; None for no limit.
    """

    arguments: Mapping[str, Any]
    timeout: float | None = None


def session_options(*names: str) -> Callable[[Command], Command]:
    """Adds the options of these names in `OPTIONS`, or all of them, which the command gets as `opening`."""
    chosen = names or tuple(OPTIONS)

    def decorate(command: Command) -> Command:
        @wraps(command)
        def gathered(**given: Any) -> Any:
            asked = {name: given.pop(name, None) for name in (*chosen, PROVIDER_OPTIONS)}
            return command(opening=opening_of(asked), **given)

        found: Command = gathered
        for name in reversed(chosen):
            for option in reversed(OPTIONS[name]):
                found = option(found)
        return found

    return decorate


def opening_of(asked: Mapping[str, Any]) -> Opening:
    """The opening that options ask for. Raises UsageError for options of a provider that are no such text."""
    given = {name: value for name, value in asked.items() if value is not None}
    providers = with_options(given.pop(PROVIDERS, ()), given.pop(PROVIDER_OPTIONS, ()))
    timeout = given.pop(TIMEOUT, None)
    return Opening(given | ({PROVIDERS: providers} if providers else {}), timeout)


def with_options(providers: Sequence[str], options: Sequence[str]) -> list[str | tuple[str, dict[str, str]]]:
    """The argument `providers` of `edgexf.load`. Raises UsageError for an option of a provider that is not named."""
    listed = [name.strip() for part in providers for name in part.split(",")]
    found: dict[str, dict[str, str]] = {}
    for option in options:
        name, dot, setting = option.partition(".")
        key, equals, value = setting.partition("=")
        if not (name and dot and key and equals):
            raise UsageError(
                f"an option of a provider must be NAME.KEY=VALUE, got {option!r}; write it like cuda.device_id=1."
            )
        if name not in listed:
            raise UsageError(
                f"an option must be for a provider of --providers ({', '.join(listed) or 'none'}), got {option!r}; name {name} there."
            )
        found.setdefault(name, {})[key] = value
    return [(name, found[name]) if name in found else name for name in listed]


@contextmanager
def opened(bundle: Path, opening: Opening) -> Iterator[Session]:
    """Opens a session, which closes behind the block. The opening and the block together end within the timeout.

    Warnings that the runtime logs are shown as those of Python are. Raises the errors of `edgexf.load`, and TimedOut.
    """
    from edgexf_runtimes import load
    from edgexf_runtimes.calls.call import of_timeout

    start, timeout = time.monotonic(), opening.timeout
    with shown_log(), of_timeout(timeout), load(bundle, timeout=timeout, **opening.arguments) as session:
        left = None if timeout is None else max(timeout - (time.monotonic() - start), sys.float_info.min)
        with session.graphs.calls.enter(left):
            yield session


@contextmanager
def shown_log() -> Iterator[None]:
    """Shows what the logger ``edgexf`` gets in the block, a line each on standard error."""
    import logging  # here, because --help is quick; the runtime imports it too

    class Shown(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            click.echo(f"Warning: {one_line(record.getMessage())}", err=True)

    log, shown = logging.getLogger("edgexf"), Shown(logging.WARNING)
    log.addHandler(shown)
    try:
        yield
    finally:
        log.removeHandler(shown)
