"""The few PNG pictures that a report needs: 8 bits a channel, RGB or RGBA, without filters.

In: uint8 [height, width, 3 or 4]. Out: the bytes of a PNG file; and back from such bytes. A report has numpy alone, so
Pillow writes none of them. Format: W3C, Portable Network Graphics, sections 5 (chunks) and 11.2 (IHDR, IDAT, IEND).
"""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode

import numpy as np
import numpy.typing as npt

from edgexf.checks import require

Pixels = npt.NDArray[np.uint8]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = {3: 2, 4: 6}  # the colour type of a number of channels
MOST_PIXELS = 1 << 26  # of a picture that is read
LENGTH = 4  # bytes of the length, the name and the checksum of a chunk


def write_png(pixels: Pixels) -> bytes:
    height, width, channels = pixels.shape
    rows = np.zeros(
        (height, 1 + width * channels), dtype=np.uint8
    )  # the 0 at the front says that the row has no filter
    rows[:, 1:] = pixels.reshape(height, width * channels)
    head = struct.pack(">IIBBBBB", width, height, 8, COLOURS[channels], 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 9)
    return SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def read_png(data: bytes) -> Pixels:
    """The pixels of what `write_png` wrote of RGB, uint8 [height, width, 3]. ValueError for any other bytes."""
    require(data.startswith(SIGNATURE), "a picture must be a PNG", data[: len(SIGNATURE)])
    chunks = dict(chunks_of(data))
    require(list(chunks) == [b"IHDR", b"IDAT", b"IEND"], "a PNG must have the chunks that a report writes", [*chunks])
    require(len(chunks[b"IHDR"]) == 13, "the head of a PNG must have 13 bytes", chunks[b"IHDR"])
    width, height, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    require(rest == [8, COLOURS[3], 0, 0, 0], "a PNG must be RGB of 8 bits", rest)
    require(0 < width * height <= MOST_PIXELS, f"a PNG must have 1 to {MOST_PIXELS} pixels", (width, height))
    size, unpacked = height * (1 + 3 * width), zlib.decompressobj()
    try:
        raw = unpacked.decompress(chunks[b"IDAT"], size)
    except zlib.error as error:
        raise ValueError(f"the data of a PNG must be whole, not {error}") from error
    require(len(raw) == size and not unpacked.unconsumed_tail, "a PNG must hold its pixels", len(raw))
    rows = np.frombuffer(raw, dtype=np.uint8).reshape(height, 1 + 3 * width)
    require(not rows[:, 0].any(), "rows of a PNG must have no filter", rows[:, 0].max())
    return np.ascontiguousarray(rows[:, 1:]).reshape(height, width, 3)


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """The name and the data of each chunk. ValueError for a chunk that is cut or has another checksum."""
    found, place = [], len(SIGNATURE)
    while place < len(data):
        length = int.from_bytes(data[place : place + LENGTH])
        end = place + 2 * LENGTH + length
        name, inside, check = (
            data[place + LENGTH : place + 2 * LENGTH],
            data[place + 2 * LENGTH : end],
            data[end : end + LENGTH],
        )
        require(check == struct.pack(">I", zlib.crc32(name + inside)), "a chunk of a PNG must be whole", name)
        found.append((name, inside))
        place = end + LENGTH
    return found


def data_uri(pixels: Pixels) -> str:
    """A picture as the address of an ``<img>``."""
    return f"data:image/png;base64,{b64encode(write_png(pixels)).decode('ascii')}"
