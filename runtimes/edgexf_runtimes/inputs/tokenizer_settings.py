"""What the files next to tokenizer.json say: tokens by their use, and how decoded text is tidied.

In: a bundle's folder and its manifest. Out: names of tokens such as ``mask_token``, and settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgexf import bundle
from edgexf.bundle.manifest import Manifest

SETTINGS_FILES = ("tokenizer_config.json", "special_tokens_map.json")
TIDIES = "clean_up_tokenization_spaces"


def named_tokens(path: Path, manifest: Manifest) -> dict[str, str]:
    """Tokens by their use (``mask_token``, ``unk_token``)."""
    found: dict[str, str] = {}
    for settings in settings_of(path, manifest):
        for use, value in settings.items():
            text = content(value)
            if text is not None:
                found.setdefault(use, text)
    return found


def tidies(path: Path, manifest: Manifest) -> bool:
    """Whether decoding takes out the spaces before punctuation."""
    return any(settings.get(TIDIES) is True for settings in settings_of(path, manifest))


def settings_of(path: Path, manifest: Manifest) -> list[Mapping[str, Any]]:
    return [bundle.read_json(path / file) for file in SETTINGS_FILES if file in manifest.files]


def content(value: Any) -> str | None:
    """The text of a token in these files, which hold either the text itself or a record of the token."""
    text = value.get("content") if isinstance(value, Mapping) else value
    return text if isinstance(text, str) else None
