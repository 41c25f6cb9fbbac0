"""Turns text into token ids with the model's tokenizer. Needs only the package `tokenizers`.

In: a bundle's tokenizer.json and a text, or a pair of texts. Out: `Encoded` windows, each within the model's limit. A
text that fits or is truncated has one window. With a stride, a long text has several windows that overlap.

Otherwise, a text that is too long is an error: a model that silently reads only the beginning of a document answers
another question.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf.checks import is_count
from edgexf.errors import BundleError, InputError, MissingExtraError, UsageError, quoted
from edgexf_runtimes.calls.call import locked

if TYPE_CHECKING:
    from tokenizers import Encoding

Tokens = npt.NDArray[np.int64]
Text = str | tuple[str, str]


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
        prompt: the number of tokens at the beginning that a pooling leaves out.
    """

    ids: Tokens
    types: Tokens
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    truncated: bool = False
    prompt: int = 0


class Tokenizer:
    """A bundle's tokenizer. Several threads may use it. `longest` is in tokens, special tokens included."""

    def __init__(self, path: Path, longest: int) -> None:
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

    def vocabulary(self) -> dict[str, int]:
        """Every token and its id, special tokens and other added tokens included."""
        found: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        return found

    def token(self, token_id: int) -> str | None:
        """The text of a token, or None for an id without a token."""
        found: str | None = self._tokenizer.id_to_token(token_id)
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

    def encode(
        self, text: Text, truncate: bool = False, stride: int | None = None, name: str = "text"
    ) -> list[Encoded]:
        """Encodes a text into windows. `name` tells it from others in an error.

        If the text is too long, `truncate` keeps the first window. `stride` keeps all windows; each window shares
        `stride` tokens with the window before it. Of a pair, only the second text is cut.

        Raises InputError for a text that is too long, if neither `truncate` nor `stride` is given.
        """
        if stride is not None and not is_count(stride, 0):
            raise UsageError(f"a stride must be a whole number of tokens, got {quoted(stride)}; choose another.")
        if truncate and stride is not None:
            raise UsageError("a long text is truncated or read with a stride, got both; choose one of them.")
        pair = (text, None) if isinstance(text, str) else text
        start = offset_table(pair)
        whole = self._encode(pair)
        if len(whole.ids) <= self.longest:
            return [encoded(whole, start)]
        if not truncate and stride is None:
            raise InputError(
                f"a text must have at most {self.longest} tokens, got {len(whole.ids)} in {name}; shorten it, read only its beginning (--truncate, truncate=True), or predict it in windows (--stride N, stride=N)."
            )
        fixed = sum(whole.special_tokens_mask) + (0 if pair[1] is None else whole.sequence_ids.count(0))
        room = self.longest - fixed
        if room < 1:
            raise InputError(
                f"the first of a pair must leave room for the second in {self.longest} tokens, got {fixed} without it; shorten it."
            )
        if stride is not None and stride >= room:
            raise UsageError(
                f"a stride must be 0 to {room - 1} tokens for this model and text, got {quoted(stride)}; choose another."
            )
        first = self._encode(pair, stride or 0)
        windows = [first, *first.overflowing] if stride is not None else [first]
        return [encoded(window, start, truncate) for window in windows]

    def _encode(self, pair: tuple[str, str | None], stride: int | None = None) -> Encoding:
        """Encodes into windows if a stride is given. It changes the tokenizer's settings, so threads take turns."""
        with locked(self._lock):
            try:
                if stride is not None:
                    strategy = "longest_first" if pair[1] is None else "only_second"
                    self._tokenizer.enable_truncation(self.longest, stride=stride, strategy=strategy)
                found: Encoding = self._tokenizer.encode(*pair)
                return found
            except (TypeError, UnicodeError) as error:
                raise InputError("a text must be valid Unicode, got lone surrogates in it; decode it again.") from error
            finally:
                self._tokenizer.no_truncation()


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
    return Encoded(ids, types, tuple(window.tokens), tuple(offsets), truncated)


def token_text(byte: int) -> str:
    """A byte as a printable ASCII character, or as \\xNN."""
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"
