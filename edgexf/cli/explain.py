"""`edgexf explain`: explains the answer to one input; with `--evaluate`, measures how faithful methods are.

In: a bundle, and an input or labelled data. Out: a terminal view, JSON lines or a page; or a table of faithfulness.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgexf.cli.options import bundle_argument, method_options, target_options, truncate_option, write_text
from edgexf.cli.session import Opening, opened, session_options
from edgexf.cli.streams import say
from edgexf.errors import UsageError

if TYPE_CHECKING:
    from edgexf.pipeline.explain_input import Explained


def refuse_stride(_context: click.Context, _option: click.Parameter, value: int | None) -> None:
    """UsageError that says what to do instead: scores of overlapping windows don't add up to one explained value."""
    if value is not None:
        raise UsageError(
            f"an explanation reads one window, got --stride {value}; read the beginning with --truncate, or explain the parts of the text one by one."
        )


@click.command()
@bundle_argument
@click.argument("source", metavar="[INPUT]", type=click.Path(path_type=Path), required=False)
@click.option("--text", help="Text to explain instead of a file.")
@click.option("--question", help="Of question answering: what is asked of the input, which is its context.")
@click.option("--similar-to", help="Of a model of embeddings: another text. Explain both sides of their cosine.")
@click.option("--prompts", nargs=2, metavar="NAME NAME", help="With --similar-to: the bundle's prompts of both texts.")
@truncate_option
@click.option("--stride", type=int, hidden=True, expose_value=False, callback=refuse_stride)
@target_options
@method_options
@click.option(
    "--evaluate",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON lines of input and label: measure by deletion curves how faithful methods are on them.",
)
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a self-contained page.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line for each target and method.")
@click.option(
    "--label", "truth", default="", help="The true label, which the page and the JSON show beside the answer."
)
@click.option(
    "--sample", type=int, help="Of an .npz: the sample to explain, counted from 0; by default all, with --json."
)
@session_options()
def explain(
    bundle: Path, source: Path | None, text: str | None, question: str | None, similar_to: str | None, prompts: tuple[str, str] | None, truncate: bool, sample: int | None, targets: tuple[str, ...], against: str | None, position: str | None, methods: tuple[str, ...], evaluate: Path | None, html: Path | None, as_json: bool, truth: str, opening: Opening, **options: Any
) -> None:  # fmt: skip
    """Show why the model answers as it does for one file (- is standard input).

    Several methods or targets stand side by side. `--target c --against python` explains the logit of c minus the logit
    of python.

    With `--similar-to`, what the tokens of both texts add to the cosine of their embeddings.

    A model that takes arrays reads them from an .npz file, by the names of its inputs. The tokens shown are its ids. A
    model of images reads a picture; the page lays the relevance of its patches over it.
    """
    from edgexf.cli.console import show, told_progress, width
    from edgexf.pipeline.answer_arrays import check_array_call, takes_arrays
    from edgexf.pipeline.evaluate_methods import check_alone
    from edgexf.pipeline.explain_arrays import explain_arrays, without_baseline
    from edgexf.pipeline.explain_input import (
        check_page,
        chosen_targets,
        explain_each,
        left_out,
        number_of,
        only_input,
        page_of,
        place_of,
        text_of,
    )
    from edgexf.pipeline.explain_similarity import check_alone as check_two

    two = {"--target": targets, "--against": against, "--position": position is not None, "--evaluate": evaluate}
    check_two(similar_to, prompts, **two, **{"--label": truth, "--sample": sample is not None})
    if line := left_out(methods):
        say(line, to_stderr=True)
    if evaluate is not None:
        check_alone(
            INPUT=source,
            **{
                "--text": text,
                "--target": targets,
                "--against": against,
                "--position": position is not None,
                "--question": question,
                "--html": html,
                "--label": truth,
            },
        )
        return show_evaluation(bundle, evaluate, methods, options, truncate, as_json, opening)
    given, wanted = only_input(text, source), chosen_targets(targets, against)
    check_page(html, source)
    if similar_to is not None:
        return show_similarity(bundle, (given, similar_to), prompts, methods, options, truncate, html, as_json, opening)
    found: Sequence[Explained]
    with opened(bundle, opening) as session:
        if takes_arrays(session, [given]):
            check_array_call(session, **{"--text": text, "--question": question, "--truncate": truncate})
            file = Path(given)
            if dropped := without_baseline(session, methods, options):
                say(f"left out: {', '.join(dropped)}, which replace tokens; add with: --baseline ID", to_stderr=True)
            view = html is not None or not as_json
            found = explain_arrays(
                session, file, wanted, methods, options, told_progress, number_of(position), truth, sample, view
            )
        elif sample is not None:
            raise UsageError(f"--sample is for an .npz of arrays, got {sample} for a text or file; leave it out.")
        else:
            found = explain_each(
                session, given, wanted, methods, options, truncate, told_progress, place_of(position), truth, question
            )
    if html is not None:
        write_text(html, page_of(found))
        say(f"wrote {html}", to_stderr=True)
    if as_json:
        for explanation in found:
            click.echo(explanation.to_json())
    elif html is None:
        show(text_of(found, width()))
    return None


def show_similarity(
    bundle: Path, texts: tuple[str | Path, str], prompts: tuple[str, str] | None, methods: tuple[str, ...], options: dict[str, Any], truncate: bool, html: Path | None, as_json: bool, opening: Opening
) -> None:  # fmt: skip
    """Shows both sides of a similarity: a terminal view, JSON lines or a page."""
    from edgexf.cli.console import show, told_progress, width
    from edgexf.pipeline.explain_similarity import explain_similarity
    from edgexf.report.html.similarity import similarity_page
    from edgexf.report.terminal.similarity import similarity_text

    with opened(bundle, opening) as session:
        found = explain_similarity(session, texts, prompts, methods, options, truncate, told_progress)
    if html is not None:
        write_text(html, similarity_page(found))
        say(f"wrote {html}", to_stderr=True)
    if as_json:
        for explanation in found.explanations:
            click.echo(explanation.to_json())
    elif html is None:
        show(similarity_text(found, width()))


def show_evaluation(
    bundle: Path, listing: Path, methods: tuple[str, ...], options: dict[str, Any], truncate: bool, as_json: bool, opening: Opening
) -> None:  # fmt: skip
    """Shows how faithful methods are on labelled data, as a table or JSON."""
    from edgexf.cli.console import progress, show_table
    from edgexf.pipeline.evaluate_methods import evaluate

    with opened(bundle, opening) as session:
        found = evaluate(session, listing, methods, options, truncate, progress)
    if as_json:
        click.echo(found.to_json())
    else:
        show_table(*found.table())
        click.echo(found.legend())
