"""What stands in for a token that is left out of an input.

In: how a bundle reads its input, and what a caller chose, if anything. Out: a `Baseline`, an id and its name, as
`Explanation.baseline` says it. Special tokens are never left out; the length, the attention mask, the segments and the
global tokens stay those of the whole input.

Text: the tokenizer's mask token, for a model that was trained with one has learned that something unknown stands there;
else its unknown token, which says the same; else padding. Padding comes last since models give it a meaning of its own:
Longformer counts positions from the ids that are not padding.

Bytes: the padding id, with the attention mask left at 1. It was chosen by what the four reference models answer:

- A row of NUL alone is an ELF file to all four, with a probability of 1.00, and a tenth of NULs among other bytes loses half of
  the labels. What stands in must not be evidence itself; 0xff is the same.
- A space is a byte like others to these models, but every eighth byte of the evaluation set is one. Replaced by itself its
  score is 0 in every method, also where indentation is what tells YAML or Python.
- Occlusion with each of them ranked the bytes of 60 files, cut to 128 bytes, and the ranking was judged without any
  stand-in, by cutting bytes out of the file: by how much more the label's logit falls when the most relevant 5 to 50 %
  go than when the least relevant do. "cut" is a ranking that was itself made by cutting single bytes out.

      model                   padding  space  newline  NUL   cut   padding - space (95 %)
      linformer                  7.2    6.1     3.9    4.0   7.2   1.1 +- 0.4
      longformer                 6.4    5.1     4.1    3.3   6.4   1.3 +- 0.4
      transformer (40 files)     7.1    6.0     4.4    3.5   7.4   1.1 +- 0.4

What speaks against it: no file holds the padding id, so its embedding was never trained at a real place, and a row of it
alone is not always an undecided one (longformer calls it XML with 0.97). The value of nothing, KernelSHAP's residual, is to be
read with that in mind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexf import bundle
from edgexf.bundle.manifest import Manifest
from edgexf.bundle.preprocess import Bytes
from edgexf.errors import UsageError
from edgexf_runtimes.inputs.text import Tokenizer, token_text

SETTINGS_FILES = ("tokenizer_config.json", "special_tokens_map.json")  # what names a tokenizer's tokens by their use
MASK_TOKENS = ("[MASK]", "<mask>")  # of BERT's and of RoBERTa's line: how tokenizer.json alone tells one
CLASS, PADDING = "[class]", "[padding]"


@dataclass(frozen=True)
class Baseline:
    """The id that is put in a left-out token's place, and how results name it."""

    token_id: int
    name: str


def of_bytes(reader: Bytes, baseline: str | int | None) -> Baseline:
    """For a model of bytes. A `baseline` is a byte as `Explanation.tokens` writes it (``a``, ``\\x00``), ``[padding]``,
    or an id. UsageError for another.
    """
    special = {PADDING: reader.padding_id, CLASS: reader.class_id}
    known = {**{token_text(byte): byte for byte in range(256)}, **special}
    token_id = reader.padding_id if baseline is None else chosen_id(baseline, known)
    text = next((text for text, known_id in known.items() if known_id == token_id), None)
    if token_id is None or text is None:
        raise UsageError(
            f"baseline must be a byte as tokens are written, {PADDING}, {CLASS} or an id of these, got {baseline!r}; choose one of them."
        )
    return Baseline(token_id, called(text, token_id))


def of_text(tokenizer: Tokenizer, path: Path, manifest: Manifest, baseline: str | int | None) -> Baseline:
    """For a model of text whose bundle is at `path`. A `baseline` is a token of the tokenizer's vocabulary, or an id.

    UsageError for another.
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
            f"baseline must be a token of the bundle's tokenizer or an id below {manifest.limits.vocab}, got {baseline!r}; choose one of them."
        )
    return Baseline(token_id, called(tokenizer.token(token_id) or "no token", token_id))


def chosen_id(baseline: str | int, known: Mapping[str, int]) -> int | None:
    """The id that a caller means: a token's text comes before a number written out."""
    if isinstance(baseline, str):
        found = known.get(baseline)
        return int(baseline) if found is None and re.fullmatch(r"[0-9]{1,9}", baseline) else found
    return baseline if isinstance(baseline, int) and not isinstance(baseline, bool) else None


def stand_in(tokenizer: Tokenizer, named: Mapping[str, str], known: Mapping[str, int]) -> str | None:
    """The mask token, else the unknown one, that the vocabulary holds."""
    masks = [text for text in MASK_TOKENS if text in tokenizer.special()]
    unknown = [text for text in (named.get("unk_token"), tokenizer.unknown()) if text is not None]
    wanted = [text for text in (named.get("mask_token"), *masks, *unknown) if text in known]
    return wanted[0] if wanted else None


def named_tokens(path: Path, manifest: Manifest) -> dict[str, str]:
    """Tokens by their use (``mask_token``, ``unk_token``), of the files that stand beside tokenizer.json."""
    found: dict[str, str] = {}
    for file in SETTINGS_FILES:
        for use, value in (bundle.read_json(path / file) if file in manifest.files else {}).items():
            text = content(value)
            if text is not None:
                found.setdefault(use, text)
    return found


def content(value: Any) -> str | None:
    """A token as these files write one: its text, or a record of it."""
    text = value.get("content") if isinstance(value, Mapping) else value
    return text if isinstance(text, str) else None


def called(text: str, token_id: int) -> str:
    """How a result names a token; a blank one by its code alone."""
    return f"{text} (id {token_id})" if text.strip() else f"{text!r} (id {token_id})"
