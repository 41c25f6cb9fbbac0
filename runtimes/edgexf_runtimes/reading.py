"""How an open bundle reads its inputs: the base of a `Predictor`.

In: texts, bytes, paths, pairs of texts, pictures. Out: a `Raw` as it was read, and the windows of its tokens.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf import bundle, names
from edgexf.bundle.embedding import Embedding
from edgexf.bundle.manifest import Manifest
from edgexf.bundle.preprocess import Bytes, Image, Text
from edgexf.checks import check_flag
from edgexf.errors import BundleError, UsageError, quoted
from edgexf_runtimes import pictures
from edgexf_runtimes.calls.call import locked
from edgexf_runtimes.inputs import preprocess
from edgexf_runtimes.inputs.files import check_timeout
from edgexf_runtimes.inputs.preprocess import Raw, Source

if TYPE_CHECKING:  # an application waits for the imports of the runtime, so these are imported at their first use
    from edgexf_runtimes.inputs.baseline import Baseline
    from edgexf_runtimes.inputs.text import Encoded, Reading, Tokenizer

Pair = tuple[str, str]


class InputReader:
    """Reads and tokenizes the inputs of a bundle. Several threads may use it at a time.

    Attributes:
        path: the folder of the bundle.
        manifest: its manifest, with the graphs of one dtype.
        input_timeout: the time in seconds that a named pipe or a device may give nothing.
    """

    def __init__(self, path: Path, manifest: Manifest, input_timeout: float) -> None:
        self.path = path.absolute()  # graphs open later, perhaps from another working directory
        self.manifest, self.input_timeout = manifest, check_timeout(input_timeout)
        self._tokenizer: Tokenizer | None = None
        self._lock = threading.Lock()

    def listed(self, inputs: Any) -> list[Any]:
        """The inputs as a list. A single input becomes a list of one. Raises UsageError for what is no input."""
        return pictures.listed(inputs) if isinstance(self.manifest.preprocess, Image) else preprocess.listed(inputs)

    def read(self, source: Source | Pair | Raw, prompt: str | None = None) -> Raw:
        """Reads the part of a source that the model uses. A `Raw` is already read and stays as it is.

        A model of embeddings reads it behind a `prompt`, by default the bundle's; see `edgexf_runtimes.inputs.prompts`.
        """
        if isinstance(self.manifest.preprocess, Image):
            return pictures.read(source, self.input_timeout)
        reader = self.reader
        if isinstance(source, Raw):
            if isinstance(reader, Text) and source.text is None:
                raise UsageError(
                    f"a Raw for a model of text must hold its text, got {source.name} without; call read of this session."
                )
            return source
        if isinstance(reader, Text):
            return self._behind(prompt, preprocess.read_text(source, self.input_timeout))
        if isinstance(source, tuple):
            raise UsageError("a pair of texts is for models that read text, got one for a model of bytes; join them.")
        return preprocess.read_raw(source, reader.max_bytes, self.input_timeout)

    def _behind(self, prompt: str | None, raw: Raw) -> Raw:
        about = self.manifest.embedding
        if about is None and not prompt:
            return raw
        from edgexf_runtimes.inputs import prompts

        return prompts.put_before(raw, prompts.chosen(about or Embedding({}), prompt=prompt))

    @property
    def reader(self) -> Bytes | Text:
        """How this model reads its input. Raises UsageError for a model that takes token ids."""
        if self.manifest.preprocess is None:
            raise UsageError(
                f"files and text are for models with a tokenizer, got {self.manifest.name}, which takes token ids or other arrays{self._unread}; call session.run with them, or name an .npz of them at the prompt."
            )
        if isinstance(self.manifest.preprocess, Image):
            raise UsageError(
                f"tokens are for models that read text or bytes, got {self.manifest.name}, which reads pictures; predict them, or explain them by a method of the bundle."
            )
        return self.manifest.preprocess

    @property
    def _unread(self) -> str:
        """Why a model of images reads no pictures, as its export said it, in brackets; empty for other models."""
        reason = self.manifest.provenance.get(names.PICTURES, "")
        return f" (pictures are {reason})" if reason else ""

    def windows(self, raw: Raw, reading: Reading) -> list[Encoded]:
        """Turns an input into windows of tokens: one window, or several if a stride is given."""
        check_flag("truncate", reading.truncate)
        reader = self.reader
        if isinstance(reader, Text):
            most, longest = self.manifest.limits.max_length, reading.longest
            if longest is not None and longest > most and not reading.clipped:
                raise UsageError(f"a window must have at most {most} tokens, got {longest}; choose fewer.")
            longest = None if longest is None else min(longest, most)
            windows = self.tokenizer.encode(
                raw.text or "", reading.truncate, reading.stride, raw.name, longest, reading.cut
            )
            return self._marked(windows, raw.prompt) if raw.prompt else windows
        if reading.stride is not None:
            raise UsageError(
                f"a stride is for models that read text, got {quoted(reading.stride)} for a model of bytes; leave it out."
            )
        return [preprocess.encode(raw, reader)]

    def _marked(self, windows: list[Encoded], prompt: str) -> list[Encoded]:
        about = self.manifest.embedding
        if about is None or about.include_prompt:
            return windows
        from edgexf_runtimes.inputs import prompts

        return prompts.marked(windows, prompt, self.tokenizer)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of a model that reads text."""
        with locked(self._lock):
            if self._tokenizer is None:
                if names.TOKENIZER_FILE not in self.manifest.files:
                    raise BundleError(
                        f"a bundle that reads text must list {names.TOKENIZER_FILE}, got none; export it again."
                    )
                from edgexf_runtimes.inputs.text import Tokenizer
                from edgexf_runtimes.inputs.tokenizer_settings import tidies

                path, longest = self.path / names.TOKENIZER_FILE, self.manifest.limits.max_length
                self._tokenizer = Tokenizer(path, longest, tidies(self.path, self.manifest))
            return self._tokenizer

    def json_file(self, name: str) -> Mapping[str, Any]:
        """The values of a JSON file of the bundle; empty if it has no such file."""
        found: Mapping[str, Any] = bundle.read_json(self.path / name) if name in self.manifest.files else {}
        return found

    def named_token(self, use: str) -> str | None:
        """The token that the tokenizer's settings name for a use, such as ``mask_token``; None for no token."""
        return self._named_tokens.get(use)

    def named_id(self, use: str) -> int | None:
        """The id of `named_token`."""
        token = self.named_token(use)
        return None if token is None else self.tokenizer.id_of(token)

    @cached_property
    def _named_tokens(self) -> Mapping[str, str]:
        from edgexf_runtimes.inputs.tokenizer_settings import named_tokens

        return named_tokens(self.path, self.manifest)

    def baseline(self, chosen: str | int | None = None) -> Baseline:
        """The replacement for a token that is left out of an input. `chosen` is a token's text or its id."""
        from edgexf_runtimes.inputs.baseline import of_bytes, of_text

        reader = self.reader
        if isinstance(reader, Text):
            return of_text(self.tokenizer, self.path, self.manifest, chosen)
        return of_bytes(reader, chosen)
