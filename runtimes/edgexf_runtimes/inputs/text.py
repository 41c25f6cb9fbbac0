"""Turns text into token ids with the model's tokenizer. Needs only the package `tokenizers`.

In: a bundle's tokenizer.json and a text, or a pair of texts. Out: `Encoded` windows, each within the model's limit. A
text that fits or is truncated has one window. With a stride, a long text has several windows that overlap.

Otherwise, a text that is too long is an error: a model that silently reads only the beginning of a document answers
another question.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf.checks import is_count
from edgexf.errors import BundleError, InputError, MissingExtraError, UsageError, quoted
from edgexf.records import Record
from edgexf_runtimes.calls.call import locked

if TYPE_CHECKING:
    from tokenizers import Encoding

Tokens = npt.NDArray[np.int64]
Text = str | tuple[str, str]
FIRST, SECOND, LONGER = "first", "second", "longer"  # of the texts of a pair
# What transformers' `clean_up_tokenization` takes out of a decoded text, in its order.
TIDIED = tuple((f" {mark}", mark.rstrip()) for mark in (".", "?", "!", ",", "' ", "n't", "'m", "'s", "'ve", "'re"))
NOWHERE = -1  # the text and the word of a token that stands in no text, such as a class token


class Reading(Record):
    """How an input becomes windows. See `Tokenizer.encode`.

    Attributes:
        truncate: only the first window of a long text is read.
        stride: the tokens that windows share; None for one window.
        longest: the most tokens of a window; None for the most that the model takes.
        clipped: a `longest` that is more than the model takes means what it takes.
        cut: which text of a pair is cut: the ``first``, the ``second``, or, where it is truncated, always the ``longer``.
    """

    truncate: bool = False
    stride: int | None = None
    longest: int | None = None
    clipped: bool = False
    cut: str = SECOND


@dataclass(frozen=True, eq=False)
class Places:
    """Where the tokens of one window stand in the texts.

    Attributes:
        texts: for each token 0 for the first text of an input, 1 for the second, `NOWHERE` for none, int64 [tokens].
        spans: the [start, end) of each token in its text, in code points, int64 [tokens, 2].
        words: the place of each token's word in its text, `NOWHERE` for none, int64 [tokens].
    """

    texts: Tokens
    spans: Tokens
    words: Tokens


@dataclass(frozen=True, eq=False)
class Encoded:
    """The tokens of one window.

    Attributes:
        ids: token ids, int64 [tokens].
        types: segments, int64 [tokens].
        tokens: the tokens as text.
        offsets: the [start, end) of each token in the bytes of the input. A token that stands for nothing in the input,
            such as a class token, has (0, 0).
        truncated: the input goes on after the last token.
        source: what the package `tokenizers` said of this window; None for bytes.
        prompt: the number of tokens at the beginning that a pooling leaves out.
    """

    ids: Tokens
    types: Tokens
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    truncated: bool = False
    source: Encoding | None = None
    prompt: int = 0

    @cached_property
    def places(self) -> Places:
        """Where the tokens stand in the texts. UsageError for the tokens of bytes."""
        if self.source is None:
            raise UsageError("places in a text are for models that read text, got tokens of bytes; use the offsets.")
        texts, words = self.source.sequence_ids, self.source.word_ids
        return Places(
            np.array([NOWHERE if text is None else text for text in texts], dtype=np.int64),
            np.array(self.source.offsets, dtype=np.int64).reshape(-1, 2),
            np.array([NOWHERE if word is None else word for word in words], dtype=np.int64),
        )


class Tokenizer:
    """A bundle's tokenizer. Several threads may use it.

    Attributes:
        longest: the most tokens of a window, special tokens included.
        tidies: decoding takes out the spaces before punctuation, as the tokenizer's settings ask.
    """

    def __init__(self, path: Path, longest: int, tidies: bool = False) -> None:
        try:
            import tokenizers
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "text needs the extra `text`, got no tokenizers in this environment; install it with: pip install 'edgexf[text]'."
            ) from error
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the binding raises plain Exception
            raise BundleError(
                f"{path.name} must be a tokenizer that tokenizers {tokenizers.__version__} can read, got: {error}; export the bundle again."
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()  # tokenizer.json may carry the settings of the training
        self._lock = threading.Lock()
        self.longest = longest
        self.tidies = tidies and type(self._tokenizer.model).__name__ != "BPE"  # whose tokens keep their spaces

    def vocabulary(self) -> dict[str, int]:
        """Every token and its id, special tokens and other added tokens included."""
        found: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        return found

    def token(self, token_id: int) -> str | None:
        """The text of a token, or None for an id without a token."""
        found: str | None = self._tokenizer.id_to_token(token_id)
        return found

    def id_of(self, token: str) -> int | None:
        """The id of a token, or None for a text that is no token."""
        found: int | None = self._tokenizer.token_to_id(token)
        return found

    def special(self) -> set[str]:
        """The tokens that the tokenizer marks as special, such as a class token."""
        return {token.content for token in self._tokenizer.get_added_tokens_decoder().values() if token.special}

    def unknown(self) -> str | None:
        """The token for a text that has no token, or None if every text has one."""
        model = json.loads(self._tokenizer.to_str())["model"]
        if model.get("unk_id") is not None:  # only the unigram model gives its id
            return self.token(model["unk_id"])
        found: str | None = model.get("unk_token")
        return found

    @property
    def continuation(self) -> str:
        """What a token that continues a word begins with, such as ``##``; empty if no token says it."""
        return getattr(self._tokenizer.model, "continuing_subword_prefix", None) or ""

    def decode(self, ids: Sequence[int], keep_special: bool = True) -> str:
        """The text of token ids."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=not keep_special)
        return tidied(text) if self.tidies else text

    def joined(self, tokens: Sequence[str]) -> str:
        """The text of tokens that stand one behind the other."""
        decoder = self._tokenizer.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(list(tokens)))

    def first_id(self, text: str) -> int | None:
        """The id of the first token of a text, without special tokens; None for a text without tokens."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return int(ids[0]) if ids else None

    def encode(
        self, text: Text, truncate: bool = False, stride: int | None = None, name: str = "text",
        longest: int | None = None, cut: str = SECOND,
    ) -> list[Encoded]:  # fmt: skip
        """Encodes a text into windows. `name` tells it from others in an error.

        If the text is too long, `truncate` keeps the first window. `stride` keeps all windows; each window shares
        `stride` tokens with the window before it. A window has at most `longest` tokens, by default as many as the model
        takes. Of a pair, only one text is cut: the ``second``, or the ``first``. With ``longer``, `truncate` takes tokens
        from whichever is longer, and a stride cuts the second.

        Raises InputError for a text that is too long, if neither `truncate` nor `stride` is given.
        """
        most = self.longest if longest is None else longest
        if stride is not None and not is_count(stride, 0):
            raise UsageError(f"a stride must be a whole number of tokens, got {quoted(stride)}; choose another.")
        if truncate and stride is not None:
            raise UsageError("a long text is truncated or read with a stride, got both; choose one of them.")
        pair = (text, None) if isinstance(text, str) else text
        start = offset_table(pair)
        whole = self._encode(pair)
        if len(whole.ids) <= most:
            return [encoded(whole, start)]
        if not truncate and stride is None:
            raise InputError(
                f"a text must have at most {most} tokens, got {len(whole.ids)} in {name}; shorten it, read only its beginning (--truncate, truncate=True), or predict it in windows (--stride N, stride=N)."
            )
        special = sum(whole.special_tokens_mask)
        if stride is not None and stride >= most - special:
            raise UsageError(
                f"a stride must be 0 to {most - special - 1} tokens for this model, got {quoted(stride)}; choose another."
            )
        if pair[1] is None or (truncate and cut == LONGER):
            strategy = "longest_first"
        else:
            cut = FIRST if cut == FIRST else SECOND
            strategy = f"only_{cut}"
            check_room(most - special - whole.sequence_ids.count(1 if cut == FIRST else 0), cut, most, stride, name)
        first = self._encode(pair, (most, stride or 0, strategy))
        windows = [first, *first.overflowing] if stride is not None else [first]
        return [encoded(window, start, truncate) for window in windows]

    def _encode(self, pair: tuple[str, str | None], windows: tuple[int, int, str] | None = None) -> Encoding:
        """Encodes into windows if their tokens, their stride and what is cut are given. It changes the tokenizer's
        settings, so threads take turns.
        """
        with locked(self._lock):
            try:
                if windows is not None:
                    most, stride, strategy = windows
                    self._tokenizer.enable_truncation(most, stride=stride, strategy=strategy)
                found: Encoding = self._tokenizer.encode(*pair)
                return found
            except (TypeError, UnicodeError) as error:
                raise InputError("a text must be valid Unicode, got lone surrogates in it; decode it again.") from error
            finally:
                self._tokenizer.no_truncation()


def check_room(room: int, cut: str, most: int, stride: int | None, name: str) -> None:
    """Raises InputError where the text of a pair that is not cut leaves no room in a window of `most` tokens."""
    whole = SECOND if cut == FIRST else FIRST
    if room < 1 or (stride is not None and stride >= room):
        shared = "" if stride is None else f" and share {stride}"
        raise InputError(
            f"the {whole} of a pair must leave room for the {cut} in windows that have {most} tokens{shared}, got room for {max(room, 0)} in {name}; shorten it."
        )


def offset_table(pair: tuple[str, str | None]) -> tuple[npt.NDArray[np.int64], ...]:
    """For each text of a pair, the byte at which each of its characters starts. Bytes are counted through both texts,
    with a line break between them.
    """
    tables, before = [], 0
    for text in pair:
        if text is not None:
            sizes = [len(char.encode("utf-8", "surrogatepass")) for char in text]
            tables.append(np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))) + before)
            before = int(tables[-1][-1]) + 1  # a line break stands between the texts
    return tuple(tables)


def encoded(window: Encoding, start: tuple[npt.NDArray[np.int64], ...], truncated: bool = False) -> Encoded:
    offsets = [
        (0, 0) if text is None else (int(start[text][first]), int(start[text][last]))
        for text, (first, last) in zip(window.sequence_ids, window.offsets, strict=True)
    ]
    ids, types = (np.array(values, dtype=np.int64) for values in (window.ids, window.type_ids))
    return Encoded(ids, types, tuple(window.tokens), tuple(offsets), truncated, window)


def tidied(text: str) -> str:
    """A decoded text without the spaces that stand before punctuation and in contractions of English."""
    for spaced, close in TIDIED:
        text = text.replace(spaced, close)
    return text


def token_text(byte: int) -> str:
    """A byte as a printable ASCII character, or as \\xNN."""
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"
