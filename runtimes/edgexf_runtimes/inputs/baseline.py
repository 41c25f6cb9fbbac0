"""The replacement for a token that is left out of an input.

In: how a bundle reads its input, and the caller's choice, if any. Out: a `Baseline`, a token id and its name, as it
stands in `Explanation.baseline`. Special tokens are never left out. The length, the attention mask, the segments and
the global tokens stay the same as in the whole input.

For text, the replacement is the first of these tokens that the tokenizer has:

- The mask token: a model that was trained with a mask token has learned that it stands for something unknown.
- The unknown token, which says the same.
- Padding. It comes last because models give padding a meaning: Longformer counts positions from the ids that are not
  padding.

For bytes, the replacement is the padding id, and the attention mask stays 1. The answers of the four reference models
decided this:

- A row of only NUL bytes is an ELF file to all four models, with a probability of 1.00. A tenth of NUL bytes among
  other bytes loses half of the labels. A replacement must not be evidence itself. The byte 0xff behaves the same.
- A space is a byte like others to these models, but every eighth byte of the evaluation set is a space. A space that is
  replaced by a space has the score 0 in every method, even where indentation is what identifies YAML or Python.
- Occlusion with each replacement ranked the bytes of 60 files, cut to 128 bytes. The ranking was then judged without
  any replacement, by cutting bytes out of the file: how much more does the label's logit fall when the most relevant 5
  to 50 % of the bytes go than when the least relevant ones go? "cut" is a ranking that was itself made by cutting out
  single bytes.

      model                   padding  space  newline  NUL   cut   padding - space (95 %)
      linformer                  7.2    6.1     3.9    4.0   7.2   1.1 +- 0.4
      longformer                 6.4    5.1     4.1    3.3   6.4   1.3 +- 0.4
      transformer (40 files)     7.1    6.0     4.4    3.5   7.4   1.1 +- 0.4

The padding id also has a drawback. No file holds it, so its embedding was never trained at a real position. The model
is not always undecided about a row of padding alone: longformer calls it XML with 0.97. KernelSHAP's residual is the
value of an input with every token left out, so read the residual with that in mind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgexf.bundle.manifest import Manifest
from edgexf.bundle.preprocess import Bytes
from edgexf.errors import UsageError, quoted
from edgexf_runtimes.inputs.convert import is_whole
from edgexf_runtimes.inputs.text import Tokenizer, token_text
from edgexf_runtimes.inputs.tokenizer_settings import named_tokens

MASK_TOKENS = ("[MASK]", "<mask>")  # of BERT's and RoBERTa's families, if only tokenizer.json is there
CLASS, PADDING = "[class]", "[padding]"


@dataclass(frozen=True)
class Baseline:
    """The replacement for a token that is left out.

    Attributes:
        token_id: the id that takes the token's place.
        name: the name of the replacement in results.
    """

    token_id: int
    name: str


def of_bytes(reader: Bytes, baseline: str | int | None) -> Baseline:
    """The replacement for a model of bytes.

    `baseline` is a byte as `Explanation.tokens` writes it (``a``, ``\\x00``), ``[padding]``, ``[class]``, or an id.
    Raises UsageError for any other value.
    """
    special = {PADDING: reader.padding_id, CLASS: reader.class_id}
    known = {**{token_text(byte): byte for byte in range(256)}, **special}
    token_id = reader.padding_id if baseline is None else chosen_id(baseline, known)
    text = next((text for text, known_id in known.items() if known_id == token_id), None)
    if token_id is None or text is None:
        raise UsageError(
            f"baseline must be a byte as tokens are written, {PADDING}, {CLASS} or an id of these, got {quoted(baseline)}; choose one of them."
        )
    return Baseline(token_id, called(text, token_id))


def of_text(tokenizer: Tokenizer, path: Path, manifest: Manifest, baseline: str | int | None) -> Baseline:
    """The replacement for a model of text whose bundle is at `path`.

    `baseline` is a token of the tokenizer's vocabulary, or an id. Raises UsageError for any other value.
    """
    known = tokenizer.vocabulary()
    padding_id = getattr(manifest.preprocess, "padding_id", None)
    if baseline is not None:
        token_id = chosen_id(baseline, known)
    else:
        text = stand_in(tokenizer, named_tokens(path, manifest), known)
        token_id = padding_id if text is None else known[text]
    if token_id is None or not 0 <= token_id < manifest.limits.vocab:
        raise UsageError(
            f"baseline must be a token of the bundle's tokenizer or an id below {manifest.limits.vocab}, got {quoted(baseline)}; choose one of them."
        )
    return Baseline(token_id, called(tokenizer.token(token_id) or "no token", token_id))


def chosen_id(baseline: str | int, known: Mapping[str, int]) -> int | None:
    """The id that a caller means. The text of a token takes precedence over an id that is written as text."""
    if isinstance(baseline, str):
        found = known.get(baseline)
        return int(baseline) if found is None and re.fullmatch(r"[0-9]{1,9}", baseline) else found
    return int(baseline) if is_whole(baseline) else None


def stand_in(tokenizer: Tokenizer, named: Mapping[str, str], known: Mapping[str, int]) -> str | None:
    """The mask token if the vocabulary holds it, else the unknown token."""
    masks = [text for text in MASK_TOKENS if text in tokenizer.special()]
    unknown = [text for text in (named.get("unk_token"), tokenizer.unknown()) if text is not None]
    wanted = [text for text in (named.get("mask_token"), *masks, *unknown) if text in known]
    return wanted[0] if wanted else None


def called(text: str, token_id: int) -> str:
    """The name of a token in results: its text and its id. A blank text is shown in quotes."""
    return f"{text} (id {token_id})" if text.strip() else f"{text!r} (id {token_id})"
