"""Why two texts are alike: an explanation of each, whose target is the embedding of the other.

In: a predictor, its `explain` and two texts. Out: two explanations. Both explain the same number, the cosine of the two
embeddings; each says what the tokens of its own text add to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgexf.errors import UsageError, quoted
from edgexf_runtimes.embeddings import embedding

if TYPE_CHECKING:
    from edgexf.report.explanation import Explanation
    from edgexf_runtimes.inputs.preprocess import Raw, Source
    from edgexf_runtimes.predictor import Predictor


def explain_similarity(
    predictor: Predictor,
    explain: Callable[[Raw, Any], Explanation],
    sources: tuple[Source | Raw, Source | Raw],
    prompt_names: tuple[str | None, str | None],
    truncate: bool,
) -> tuple[Explanation, Explanation]:
    """See the module's docstring. `explain` takes an input and a vector.

    Raises UsageError for a bundle without ``sentence_embedding``.
    """
    if not isinstance(prompt_names, tuple | list) or len(prompt_names) != 2:
        raise UsageError(
            f"prompt_names must be two, one for each text, got {quoted(prompt_names)}; write (None, None)."
        )
    prompts = [embedding.prompt_of(predictor, name, None) for name in prompt_names]
    one, other = (predictor.read(source, prompt) for source, prompt in zip(sources, prompts, strict=True))
    vectors = embedding.embed(
        predictor, [predictor.prepare(raw, truncate) for raw in (one, other)], whole(predictor), False
    )
    first, second = explain(one, vectors[1]), explain(other, vectors[0])
    return replace(first, target={shown(other): 1.0}), replace(second, target={shown(one): 1.0})


def whole(predictor: Predictor) -> int:
    """All dimensions, which the graph compares."""
    return int(predictor.head.compared.shape[-1])


def shown(raw: Raw) -> str:
    """A text as the name of a target."""
    return raw.text if isinstance(raw.text, str) else raw.data.decode("utf-8", "replace")
