"""Bytes and characters as text that a page or a terminal can show."""

from __future__ import annotations


def decoded(data: bytes) -> str:
    """UTF-8 as text; a byte that belongs to no character becomes a lone surrogate, which `encoded` undoes."""
    return data.decode("utf-8", "surrogateescape")


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def is_plain(char: str) -> bool:
    """Whether a character can be shown as it is where lines break."""
    return char.isprintable() or char in "\n\t"


def visible(text: str) -> str:
    """`text` with every character that is invisible, a control or a lone surrogate written as its name."""
    return "".join(char if char.isprintable() else character_name(char) for char in text)


def character_name(char: str) -> str:
    r"""``\x1B`` for a control character or an undecodable byte (U+DC80 to U+DCFF here), else ``U+202E``."""
    code = ord(char)
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code & 0xFF:02X}"
    return f"U+{code:04X}"


def ascii_of(value: int) -> str:
    """A byte in the right-hand column of a hex view."""
    return chr(value) if 0x20 <= value < 0x7F else "·"
