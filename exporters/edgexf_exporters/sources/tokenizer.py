"""A model's tokenizer as the files that a device reads.

In: the folder or hub id of a checkpoint, or a tokenizer of transformers. Out: tokenizer.json, which `tokenizers` reads
without transformers, and the files that stand beside it. A checkpoint without a tokenizer gives no files: its bundle
takes token ids.

tokenizer.json is written from the tokenizer that transformers makes, not copied. transformers builds some parts of a
tokenizer from the class and the config. So a published file may give other ids than the ids that the model was fed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import transformers
from transformers.utils.hub import cached_file

from edgexf import names
from edgexf.errors import ExportError, UsageError, in_a_sentence

BESIDE = ("tokenizer_config.json", "special_tokens_map.json")
SLOW = ("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
CROSS_ENCODER = "config_sentence_transformers.json"
# The files of sentence-transformers' settings for a model; those behind the first are of its first versions.
SENTENCES = (
    "sentence_bert_config.json",
    *(
        f"sentence_{name}_config.json"
        for name in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
    ),
)
# They try case, accents, spaces, compatibility forms, an unknown sign, and a pair.
PROBES = (("Hello World",), ("naïve café",), ("two  spaces, and\na line",), ("ﬁne ２",), ("☃",), ("one", "Two"))
PLACES = ("name_or_path", "_name_or_path", "tokenizer_file", "special_tokens_map_file", "vocab_file", "merges_file")


@dataclass(frozen=True)
class Longest:
    """A number of tokens, and the setting that says it."""

    tokens: int
    setting: str


UNLIMITED = Longest(1 << 30, "no setting")  # transformers writes 1e30 tokens for a tokenizer without a limit


def check_longest(chosen: int, least: int, most: Longest) -> None:
    """Raises UsageError for a caller's longest input that is shorter than `least` tokens or longer than `most`."""
    if not least <= chosen <= most.tokens:
        bound = f"at least {least:,}" if chosen < least else f"at most {most.tokens:,}, by {most.setting}"
        raise UsageError(f"max_length must be {bound}, for this model, got {chosen:,}; choose another.")


@dataclass(frozen=True)
class Carried:
    """The tokenizer of a model, as a bundle carries it.

    Attributes:
        files: the files of the tokenizer, by name; empty without a tokenizer.
        segments: the tokenizer marks the two texts of a pair with token types.
        longest: the largest number of tokens that the model was meant for; `UNLIMITED` if nothing says it.
        note: how the tokenizer differs from the checkpoint's tokenizer.json; empty if it does not differ.
        padding: the id of the token behind a shorter text; 0 if the tokenizer has none.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    segments: bool = False
    longest: Longest = UNLIMITED
    note: str = ""
    padding: int = 0


def of_checkpoint(path_or_id: str, local: bool, vocabulary: int) -> Carried:
    """The tokenizer of a checkpoint. Raises ExportError for a tokenizer that can't be read."""
    found = {name: fetched(path_or_id, name, local) for name in (names.TOKENIZER_FILE, *BESIDE, *SLOW)}
    if found[names.TOKENIZER_FILE] is None and not any(found[name] for name in SLOW):
        return Carried()
    with in_a_sentence(f"a tokenizer must be whole ({path_or_id})", "save the tokenizer again beside the model"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            path_or_id, local_files_only=local, trust_remote_code=False
        )
    files = {name: path.read_bytes() for name, path in found.items() if path is not None and name not in SLOW}
    made = of_tokenizer(tokenizer, vocabulary)
    came = files.pop(names.TOKENIZER_FILE, made.files[names.TOKENIZER_FILE])
    told = of_sentences(path_or_id, local)
    longest = made.longest if told is UNLIMITED else told  # the library writes its own limit over the tokenizer's
    whole = {**checked({**made.files, **files}, vocabulary), **of_cross_encoder(path_or_id, local)}
    return Carried(whole, made.segments, longest, note_of(came, made.files), made.padding)


def of_cross_encoder(path_or_id: str, local: bool) -> dict[str, bytes]:
    """The settings of a cross-encoder of sentence-transformers, which name the function of its score; nothing of others."""
    path = fetched(path_or_id, CROSS_ENCODER, local)
    if path is None:
        return {}
    with in_a_sentence(f"{CROSS_ENCODER} must be whole", "save the model again"):
        data = path.read_bytes()
        kind = json.loads(data).get("model_type")
    return {CROSS_ENCODER: data} if kind == "CrossEncoder" else {}


def of_sentences(path_or_id: str, local: bool) -> Longest:
    """The longest text of a model of sentence-transformers, which keeps a limit of its own."""
    paths = (fetched(path_or_id, name, local) for name in SENTENCES)
    path = next((path for path in paths if path is not None), None)
    if path is None:
        return UNLIMITED
    with in_a_sentence(f"{path.name} must be whole", "save the model again"):
        found = json.loads(path.read_bytes()).get("max_seq_length")
    return longest_of(found, f"max_seq_length of {path.name}")


def longest_of(found: Any, setting: str) -> Longest:
    """The limit that a setting gives; `UNLIMITED` where it gives none."""
    return Longest(found, setting) if isinstance(found, int) and 0 < found < UNLIMITED.tokens else UNLIMITED


def note_of(came: bytes, made: Mapping[str, bytes]) -> str:
    """Says whether the tokenizer that transformers `made` gives other ids than the checkpoint's file that `came`.

    Both tokenize the texts of `PROBES`. The note is empty if all ids are the same.
    """
    import tokenizers

    with in_a_sentence("tokenizer.json must be whole", "save the tokenizer again beside the model"):
        own, library = (tokenizers.Tokenizer.from_str(data.decode()) for data in (came, made[names.TOKENIZER_FILE]))
    for tokenizer in (own, library):
        tokenizer.no_truncation()
        tokenizer.no_padding()
    differ = [text for text in PROBES if own.encode(*text).ids != library.encode(*text).ids]
    return f"tokenizer.json gives other ids than transformers does, as for {differ[0]!r}" if differ else ""


def of_tokenizer(tokenizer: Any, vocabulary: int) -> Carried:
    """A tokenizer in memory, with the files that it saves beside tokenizer.json.

    Raises ExportError for a tokenizer that is written in Python only, and for one that can't be saved.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ExportError(
            f"a tokenizer must be one that tokenizer.json can hold, got {type(tokenizer).__name__}; use the fast one of the same name."
        )
    with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
        with in_a_sentence("a tokenizer must be one that can be saved", "mend it, so that save_pretrained works"):
            tokenizer.save_pretrained(folder)
        files = {
            path.name: path.read_bytes()
            for path in sorted(Path(folder).iterdir())
            if path.is_file() and path.name not in SLOW
        }
    files = checked({**files, names.TOKENIZER_FILE: backend.to_str().encode()}, vocabulary)
    longest = longest_of(tokenizer.model_max_length, "model_max_length of the tokenizer")
    padding = getattr(tokenizer, "pad_token_id", None) or 0
    return Carried(files, names.TOKEN_TYPE_IDS in tokenizer.model_input_names, longest, padding=padding)


def fetched(path_or_id: str, name: str, local: bool) -> Path | None:
    """Fetches a file of a checkpoint. None if the checkpoint has no file of this name."""
    with in_a_sentence(f"a file of {path_or_id} must be one that can be fetched", "check the network"):
        path = cached_file(
            path_or_id, name, local_files_only=local,
            _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False,
        )  # fmt: skip
    return None if path is None else Path(path)


def checked(files: Mapping[str, bytes], vocabulary: int) -> dict[str, bytes]:
    """The files without the paths of the machine that saved them.

    Raises ExportError for files that can't be read, and for a token without an embedding.
    """
    import tokenizers

    with in_a_sentence("tokenizer.json must be whole", "save the tokenizer again beside the model"):
        tokenizer = tokenizers.Tokenizer.from_str(files[names.TOKENIZER_FILE].decode())
        settings = {name: json.loads(files[name]) for name in BESIDE if name in files}
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if highest >= vocabulary:
        raise ExportError(
            f"every token must have an embedding, got the id {highest} in tokenizer.json for a vocabulary of {vocabulary}; "
            "resize the model's embeddings, or save it with its own tokenizer."
        )
    kept = {
        name: {key: value for key, value in values.items() if key not in PLACES} for name, values in settings.items()
    }
    return {
        **files,
        **{name: json.dumps(values, indent=1, ensure_ascii=False).encode() + b"\n" for name, values in kept.items()},
    }
