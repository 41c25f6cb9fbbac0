"""What `edgexf explain` does behind its options: several methods and targets of one input, and how they are shown.

In: a session, an input, and what the command line says. Out: explanations, a column for each target and method; and
their page, JSON lines or terminal view.

A contrast is written `--target c --against python`: how much more c than python. `--target c-python` was weighed, but a
label may hold any sign; weights (`--target c=1,python=-1`) say no more that people have asked for, and Python takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf.errors import UsageError
from edgexf.names import RUNTIME_METHODS

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgexf.report import Explanation
    from edgexf_runtimes import Session

EACH = "each"

Target = str | dict[str, float] | None


def only_input(text: str | None, source: Path | None) -> str | Path:
    """The one input that was given, as text or as a file."""
    inputs: list[str | Path] = [given for given in (text, source) if given is not None]
    if len(inputs) != 1:
        raise UsageError(
            "an explanation needs one input, got none or two; name a file, - for standard input, or --text."
        )
    return inputs[0]


def check_page(html: Path | None, source: Path | None) -> None:
    """UsageError for a page that would replace the file that it explains."""
    if html is not None and source is not None and html.exists() and source.exists() and html.samefile(source):
        raise UsageError(
            f"a page must not replace the file that it explains, got {html} for both; choose another name."
        )


def chosen_targets(targets: Sequence[str], against: str | None) -> list[Target]:
    """What `Session.explain` takes as target, for each column; the predicted label where none is named."""
    if against is None:
        return [*targets] or [None]
    if not targets or against in targets:
        raise UsageError(
            f"a contrast needs a target and another label against it, got {', '.join(targets) or 'no target'} against {against}; name both."
        )
    return [{target: 1.0, against: -1.0} for target in targets]


def chosen_methods(methods: Sequence[str], compiled: Sequence[str]) -> list[str | None]:
    """The methods by name, each once; `each` is those of the bundle and those that any bundle has at run time."""
    if EACH in methods and len(methods) > 1:
        raise UsageError(f"--method {EACH} stands alone, got {', '.join(methods)}; leave it out, or the others.")
    if EACH in methods:
        return [*compiled, *RUNTIME_METHODS]
    return list(dict.fromkeys(methods)) or [None]
