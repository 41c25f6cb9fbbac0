"""Explain one input by several methods and for several targets, for `edgexf explain`.

In: a session, an input, and the options of the command line. Out: explanations, one for each target and method; and
their HTML page or terminal view.

`--target c --against python` is a contrast: how much more c than python. Two alternatives were weighed.
`--target c-python` is ambiguous, since a label may hold any sign. Weights (`--target c=1,python=-1`) add nothing that
people have asked for, and the Python API takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf.errors import UsageError
from edgexf.progress import Steps

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgexf.report.explanation import Explanation
    from edgexf.report.picture import PictureExplanation
    from edgexf_runtimes import Session

    Explained = Explanation | PictureExplanation

EACH = "each"

Target = str | dict[str, float] | None
Bar = Callable[[str], AbstractContextManager[Steps]]


def only_input(text: str | None, source: Path | None) -> str | Path:
    """The input, which must be given once: as text or as a file. UsageError for none or two."""
    inputs: list[str | Path] = [given for given in (text, source) if given is not None]
    if len(inputs) != 1:
        raise UsageError(
            "an explanation needs one input, got none or two; name a file, - for standard input, or --text."
        )
    return inputs[0]


def place_of(position: str | None) -> int | str | None:
    """A position as `Session.explain` takes it: whole numbers are places of tokens, other texts are parts of the input."""
    number = position is not None and position.removeprefix("-").isdecimal()
    return int(position) if number and position is not None else position


def number_of(position: str | None) -> int | None:
    """The place of a token of a model of arrays, which has no text. UsageError for a text."""
    place = place_of(position)
    if isinstance(place, str):
        raise UsageError(f"a position among arrays must be a token's number, got {place}; count from 0.")
    return place


def check_page(html: Path | None, source: Path | None) -> None:
    """UsageError for a page that would replace the file that it explains, or whose folder does not exist."""
    if html is not None and not html.parent.is_dir():
        raise UsageError(f"a page must be in a folder that is there, got {html}; make the folder, or choose another.")
    if html is not None and source is not None and html.exists() and source.exists() and html.samefile(source):
        raise UsageError(
            f"a page must not replace the file that it explains, got {html} for both; choose another name."
        )


def chosen_targets(targets: Sequence[str], against: str | None) -> list[Target]:
    """The targets for `Session.explain`, one for each column; None, the predicted label, if `targets` is empty.

    UsageError for a contrast without a target, or against its own target.
    """
    if against is None:
        return [*targets] or [None]
    if not targets or against in targets:
        raise UsageError(
            f"a contrast needs a target and another label against it, got {', '.join(targets) or 'no target'} against {against}; name both."
        )
    return [{target: 1.0, against: -1.0} for target in targets]


def chosen_methods(methods: Sequence[str], compiled: Sequence[str], at_run_time: Sequence[str]) -> list[str]:
    """The methods by name, each once: the first method of the bundle if none is named, and all methods for ``each``.

    `at_run_time` are the runtime's methods that can run here (`installed`).

    A bundle without an explain graph has no first method; `Session.explain` then raises. UsageError for ``each`` beside
    other methods.
    """
    if EACH in methods and len(methods) > 1:
        raise UsageError(f"--method {EACH} stands alone, got {', '.join(methods)}; leave it out, or the others.")
    if EACH in methods:
        return [*compiled, *at_run_time]
    return list(dict.fromkeys(methods)) or list(compiled[:1])


def installed() -> list[str]:
    """The runtime's methods whose packages are installed, by name."""
    from edgexf_runtimes.explain.methods import METHODS

    return [method.name for method in METHODS if method.installed]


def left_out(methods: Sequence[str]) -> str:
    """What ``each`` leaves out because a package is not installed, as a line; empty if it leaves nothing out."""
    from edgexf_runtimes.explain.methods import METHODS

    missing = [method for method in METHODS if EACH in methods and not method.installed]
    if not missing:
        return ""
    extras = ",".join(dict.fromkeys(method.extra for method in missing))
    return f"left out: {', '.join(method.name for method in missing)}; add with: pip install 'edgexf[{extras}]'"


def given_options(options: Mapping[str, Any], takes: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """For each method, the given options that it takes. UsageError for an option that no method takes."""
    given = {name: value for name, value in options.items() if value is not None}
    unused = [name for name in given if not any(name in names for names in takes.values())]
    if unused:
        raise UsageError(
            f"an option must be one that a chosen method takes, got --{unused[0].replace('_', '-')} for {', '.join(takes) or 'none'}; leave it out, or choose another method."
        )
    return {method: {name: given[name] for name in given if name in names} for method, names in takes.items()}


def explain_each(
    session: Session,
    source: str | Path,
    targets: Sequence[Target],
    methods: Sequence[str],
    options: Mapping[str, Any],
    truncate: bool = False,
    bar: Bar | None = None,
    position: int | str | None = None,
    truth: str = "",
    question: str | None = None,
) -> list[Explained]:
    """An explanation for each target and method, in their order. All explain the same input: the source is read once.

    `bar` opens a progress bar from its title. `truth` is the true label, if the caller knows it.
    With a `question`, the source is its context.
    """
    from edgexf.bundle.preprocess import gives_tokens
    from edgexf_runtimes.explain.methods import takes

    of_tokens = gives_tokens(session.manifest.preprocess)
    chosen = chosen_methods(methods, session.manifest.methods, installed() if of_tokens else ())
    own = given_options(options, {method: takes(method) for method in chosen})
    check_names(session, targets, chosen)
    raw = session.read(source)
    if question is not None:
        ((raw,),) = session.task(question=question).asked(session, raw).questions
    each: list[str | None] = [*chosen] or [None]
    found: list[Explained] = []
    for target, method in product(targets, each):
        with nullcontext() if bar is None else bar(method or "") as told:
            why = session.explain(
                raw, target, method, truncate, position=position, progress=told, **own.get(method or "", {})
            )
        found.append(replace(why, truth=truth))
    return found


def check_names(session: Session, targets: Sequence[Target], methods: Sequence[str]) -> None:
    """UsageError for an unknown method or target, and for a method whose package is not installed, before the first
    explanation runs for long.
    """
    from edgexf_runtimes.explain.methods import find
    from edgexf_runtimes.explain.target import column_of

    for method in methods:
        at_run_time = find(method)
        if at_run_time is None:
            session.method(method)
        else:
            at_run_time.check_installed()
    if session.manifest.labels:
        for target in targets:
            for label in () if target is None else [target] if isinstance(target, str) else target:
                column_of(session.head, label)


def page_of(explanations: Sequence[Explained]) -> str:
    """The HTML page of one explanation, or of several: side by side, or of a picture below each other."""
    from edgexf.report.comparison import Comparison
    from edgexf.report.html.picture import picture_page

    pictures, texts = parted(explanations)
    if pictures:
        return picture_page(pictures)
    return texts[0].to_html() if len(texts) == 1 else Comparison(tuple(texts)).to_html()


def text_of(explanations: Sequence[Explained], width: int) -> RenderableType:
    """The terminal view of one explanation, or of several as on the page."""
    from rich.console import Group

    from edgexf.report.comparison import Comparison
    from edgexf.report.terminal.comparison import comparison_text
    from edgexf.report.terminal.explanation import explanation_text
    from edgexf.report.terminal.picture import picture_text

    pictures, texts = parted(explanations)
    if pictures:
        return Group(*map(picture_text, pictures))
    if len(texts) == 1:
        return explanation_text(texts[0], width)
    return comparison_text(Comparison(tuple(texts)), width)


def parted(explanations: Sequence[Explained]) -> tuple[list[PictureExplanation], list[Explanation]]:
    """The explanations of pictures, and the others. One of both lists is empty: all explain one input."""
    from edgexf.report.picture import PictureExplanation

    pictures = [one for one in explanations if isinstance(one, PictureExplanation)]
    return pictures, [one for one in explanations if not isinstance(one, PictureExplanation)]
