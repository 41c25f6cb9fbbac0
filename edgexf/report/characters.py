"""Text that a page or a terminal can show, from bytes and characters."""

from __future__ import annotations


def decoded(data: bytes) -> str:
    """Decodes UTF-8. A byte that belongs to no character becomes a lone surrogate; `encoded` restores the byte."""
    return data.decode("utf-8", "surrogateescape")


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def is_plain(char: str) -> bool:
    """Whether a view of several lines can show the character unchanged."""
    return char.isprintable() or char in "\n\t"


def visible(text: str) -> str:
    """`text` with a name in place of every invisible character, control character and lone surrogate."""
    return "".join(char if char.isprintable() else character_name(char) for char in text)


def character_name(char: str) -> str:
    r"""``\x1B`` for an ASCII character or an undecodable byte (U+DC80 to U+DCFF here), ``U+202E`` for any other."""
    code = ord(char)
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code & 0xFF:02X}"
    return f"U+{code:04X}"


def ascii_of(value: int) -> str:
    """The character that stands for a byte in the right column of a hex view."""
    return chr(value) if 0x20 <= value < 0x7F else "·"
