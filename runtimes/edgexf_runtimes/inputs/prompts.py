"""Prompts: texts that stand before an input of a model of embeddings.

In: a manifest's `Embedding`, and what a caller chose. Out: the input with its prompt, and the number of tokens of the
prompt in its windows, where the pooling leaves them out.

A caller who chooses nothing gets the bundle's default prompt, in every call that reads texts: what a text is explained
by is what it is embedded by. An empty prompt is no prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edgexf.bundle.embedding import Embedding
from edgexf.checks import is_choice
from edgexf.errors import UsageError, quoted
from edgexf_runtimes.inputs.preprocess import Raw, as_bytes

if TYPE_CHECKING:
    from edgexf_runtimes.inputs.text import Encoded, Tokenizer


def chosen(about: Embedding, name: str | None = None, prompt: str | None = None) -> str:
    """The prompt that a caller means by its name or its text; by default the bundle's.

    Raises UsageError for a name that the bundle lacks, for both, and for what is no text.
    """
    if name is not None and prompt is not None:
        raise UsageError(f"a prompt is chosen by its name or its text, got {quoted(name)} and a text; leave one out.")
    if prompt is not None:
        if not isinstance(prompt, str):
            raise UsageError(f"prompt must be a text, got {type(prompt).__name__}; give the text before the input.")
        return prompt
    if name is None:
        return about.prompts.get(about.default_prompt, "")
    if not is_choice(name, tuple(about.prompts)):
        known = ", ".join(about.prompts) or "none"
        raise UsageError(
            f"prompt_name must be one of the bundle's ({known}), got {quoted(name)}; give the text as prompt."
        )
    return about.prompts[name]


def put_before(raw: Raw, prompt: str) -> Raw:
    """The input behind its prompt. Of a pair of texts, the first one is."""
    if not prompt or raw.text is None:
        return raw
    text = prompt + raw.text if isinstance(raw.text, str) else (prompt + raw.text[0], raw.text[1])
    return replace(raw, text=text, data=as_bytes(prompt) + raw.data, prompt=prompt)


def marked(windows: Sequence[Encoded], prompt: str, tokenizer: Tokenizer) -> list[Encoded]:
    """The windows, of which the first says how many of its first tokens the pooling leaves out: only there the prompt stands.

    That many tokens has the prompt alone, without a special token at its end. A tokenizer that joins the end of the prompt
    and the beginning of the text makes fewer; the library counts in the same way.
    """
    (alone,) = tokenizer.encode(prompt, truncate=True)
    count = len(alone.tokens)
    count -= count > 0 and alone.tokens[-1] in tokenizer.special()
    first, *others = windows
    return [replace(first, prompt=min(count, len(first.tokens))), *others]
