"""Pictures are read as transformers' pipelines read them; where that is silently wrong, or a file is bad, a sentence says so."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import pixels, saved
from PIL import Image
from transformers.image_utils import load_image

from edgexf.bundle.steps import Resize
from edgexf.errors import EdgexfError, InputError, MissingExtraError, UsageError
from edgexf_runtimes.inputs.image import listed, read_picture
from edgexf_runtimes.inputs.pixels import pixel_values

PLAIN = Image.fromarray(pixels(20, 30))


def turned(tag: int) -> bytes:
    exif = Image.Exif()
    exif[0x112] = tag  # orientation
    return saved(PLAIN, "JPEG", exif=exif)


def transparent() -> Image.Image:
    see_through = PLAIN.convert("RGBA")
    see_through.putalpha(Image.fromarray(pixels(20, 30, 1)[:, :, 0]))
    return see_through


def moving() -> bytes:
    frames = [Image.fromarray(pixels(9, 8, seed)) for seed in range(3)]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:])


FILES: dict[str, bytes] = {
    "rgb": saved(PLAIN, "PNG"),
    "grey": saved(PLAIN.convert("L"), "PNG"),
    "palette": saved(PLAIN.convert("P"), "PNG"),
    "bits": saved(PLAIN.convert("1"), "PNG"),
    "alpha": saved(transparent(), "PNG"),
    "grey with alpha": saved(transparent().convert("LA"), "PNG"),
    "palette with one transparent colour": saved(PLAIN.convert("P"), "PNG", transparency=3),
    "cmyk": saved(PLAIN.convert("CMYK"), "JPEG"),
    "webp": saved(PLAIN, "WEBP"),
    "tiff": saved(PLAIN, "TIFF"),
    "animated": moving(),
    **{f"exif {tag}": turned(tag) for tag in range(1, 9)},
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_pipelines_read_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(FILES[name])
    wanted = np.asarray(load_image(str(path)))
    for source in (path, str(path), FILES[name], Image.open(path)):
        found = read_picture(source)
        assert np.array_equal(found.pixels, wanted)
        assert found.truncated == (name == "animated")


def test_an_array_is_a_picture_as_it_is() -> None:
    array = pixels(5, 7)
    assert np.array_equal(read_picture(array).pixels, array)
    assert np.array_equal(read_picture(array[:, ::-1]).pixels, array[:, ::-1])  # of any strides


def test_sixteen_bits_of_grey_keep_their_range() -> None:
    """Pillow's own conversion makes 255 of every value above 255."""
    values = np.array([[0, 257, 32_768, 65_535]], dtype=np.uint16)
    found = read_picture(saved(Image.fromarray(values), "PNG")).pixels
    assert found[0].tolist() == [[value] * 3 for value in (0, 1, 128, 255)]


def png_of(width: int, height: int) -> bytes:
    """A PNG that says its size and holds no pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


BAD: dict[str, tuple[Any, type[EdgexfError], str]] = {
    "empty": (b"", InputError, "at least one byte"),
    "text": (b"no picture", InputError, "a picture that Pillow reads"),
    "cut PNG": (FILES["rgb"][: len(FILES["rgb"]) // 2], InputError, "must be whole"),
    "cut JPEG": (FILES["cmyk"][: len(FILES["cmyk"]) // 2], InputError, "must be whole"),
    "floats": (saved(PLAIN.convert("F"), "TIFF"), InputError, "mode F"),
    "32 bits": (saved(PLAIN.convert("I"), "TIFF"), InputError, "mode I"),
    # Pillow warns of the first bomb and refuses the second.
    "bomb": (png_of(10_000, 10_000), InputError, "at most 89,478,485 pixels"),
    "large bomb": (png_of(60_000, 60_000), InputError, "at most 89,478,485 pixels"),
    "without pixels": (Image.new("RGB", (0, 5)), InputError, "must have pixels"),
    "no file": ("nowhere.png", InputError, "readable file"),
    "floats in an array": (np.zeros((4, 4, 3)), InputError, "uint8 [height, width, 3], got float64"),
    "channels first": (np.zeros((3, 4, 4), np.uint8), InputError, "uint8 [height, width, 3], got uint8 [3, 4, 4]"),
    "array without pixels": (np.zeros((0, 4, 3), np.uint8), InputError, "uint8 [height, width, 3]"),
    "number": (3, UsageError, "got int"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_an_error_of_one_sentence(name: str) -> None:
    source, kind, words = BAD[name]
    with pytest.raises(kind) as caught:
        read_picture(source)
    said = str(caught.value)
    assert words in said
    assert said.endswith(".")
    assert "\n" not in said


def test_a_large_picture_in_memory_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="at most 100 pixels"):
        read_picture(PLAIN)


def test_without_pillow_a_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """An array needs it too, for a resize."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    for call in (
        lambda: read_picture(FILES["rgb"]),
        lambda: pixel_values(pixels(4, 5), (Resize("resize", "exact", (2, 2), "bicubic"),)),
    ):
        with pytest.raises(MissingExtraError, match="pip install 'edgexf\\[image\\]'"):
            call()


def test_one_picture_is_a_list_of_one_and_an_array_of_four_axes_holds_several() -> None:
    for one in ("a.png", Path("a.png"), b"bytes", PLAIN, pixels(4, 5)):
        assert len(listed(one)) == 1
    assert len(listed([PLAIN, "a.png"])) == 2
    assert len(listed(np.stack([pixels(4, 5)] * 3))) == 3
    for wrong in (3, [3], [["a.png"]]):
        with pytest.raises(UsageError, match="must be a path"):
            listed(wrong)
