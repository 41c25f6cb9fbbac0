"""The user's own input, brought to each length of a measurement.

In: a session, and a file as `edgexf run` takes it for this bundle: text, any bytes, or an ``.npz`` of arrays. Out: a folder
with the inputs of each length, which the processes that measure read; and `Inputs`, which the report holds.

The file is read once. So it may be a pipe and may change meanwhile: all processes measure what was read, whose hash the
report holds.

    text     the tokens of its beginning. What the tokenizer puts in front of them and behind them, such as a class token,
             stays there at each length. The tokens between are cut, and repeated from the first one where they are too few
    bytes    likewise, behind the class token, which does not count as length
    ids      of a model without a tokenizer: one row, or the choices of one sample. All ids are cut and repeated alike, also
             special ones, with the segments that the file holds. Global tokens are not repeated, the tokens of a decoder stay
             as they are, and a mask must be ones
    arrays   of a custom module: one sample, or as few as the module takes. All other axes are cut and repeated
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.manifest import Manifest
from edgexf.bundle.preprocess import Bytes, Text
from edgexf.bundle.signature import Signature
from edgexf.errors import InputError, UsageError, temporary_room
from edgexf.report.latency.measured.inputs import FILE, Inputs
from edgexf_runtimes.inputs import made
from edgexf_runtimes.inputs.arrays import MOST_BYTES, arrays_in
from edgexf_runtimes.inputs.files import STDIN, read_file
from edgexf_runtimes.inputs.preprocess import Raw, encode
from edgexf_runtimes.inputs.text import Encoded
from edgexf_runtimes.session import Session

Arrays = dict[str, npt.NDArray[Any]]
Source = str | bytes
SPECIAL = (0, 0)  # the place of a token that stands for nothing in the text
CHARACTERS = 16  # of a token: so many are read first, and twice as many until there are enough tokens
NEAR = 8  # tokens around the wanted end of a text at which another end is tried


@dataclass(frozen=True)
class Brought:
    """An input of one length.

    Attributes:
        arrays: the inputs of the predict graph, of one sample.
        source: a text or bytes whose tokens are as many; None where there is none.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    source: Source | None = None


Bring = Callable[[int], Brought]


def keep(session: Session, path: Path, lengths: Iterable[int], folder: Path) -> Inputs:
    """Writes the input of each length to `folder`, from where `arrays_of` and `source_of` read it.

    Raises InputError, which names the file, for one that the bundle does not take, and UsageError for a length without room
    for a token of it.
    """
    name = "standard input" if str(path) == STDIN else path.name
    data = read_file(path, MOST_BYTES + 1, session.input_timeout)
    if len(data) > MOST_BYTES:
        raise InputError(f"an input must have at most {MOST_BYTES >> 20} MiB, got more in {name}; cut it.")
    try:
        bring = reader_of(session, data, Path(name))
        for length in lengths:
            write(session.manifest, bring(length), folder, length)
    except InputError as error:
        raise InputError(f"an input to measure must be one that the bundle takes, got {name}: {error}") from error
    return Inputs(FILE, name, sha256(data).hexdigest())


def reader_of(session: Session, data: bytes, name: Path) -> Bring:
    """What brings the content of a file to a length. Raises InputError for content that this model does not read."""
    preprocess = session.manifest.preprocess
    if isinstance(preprocess, Bytes):
        raw = session.read(data)
        return lambda length: of_bytes(session, raw, preprocess, length)
    if isinstance(preprocess, Text):
        text = session.read(data).text
        return OfText(session, str(text))
    arrays, signature = arrays_in(data, name), session.manifest.signature
    if signature is None:
        return OfIds(session, arrays)
    checked = checked_by(session, arrays)
    check_samples(session.manifest, signature, checked)
    return lambda length: Brought(checked_by(session, made.own(session.manifest, signature, checked, length)))


def of_bytes(session: Session, raw: Raw, preprocess: Bytes, length: int) -> Brought:
    data = np.resize(np.frombuffer(raw.data, dtype=np.uint8), length).tobytes()
    return Brought(session.arrays([encode(Raw(raw.name, data, False), preprocess)]), data)


class OfText:
    """Brings a text to a length in tokens."""

    def __init__(self, session: Session, text: str) -> None:
        self.session, self.text, self.window = session, text, beginning(session, text)
        special = [tuple(offset) == SPECIAL for offset in self.window.offsets]
        if all(special):
            raise InputError("a text must have a token of its own, got special ones alone; give more text.")
        self.front, self.back = special.index(False), special[::-1].index(False)

    def __call__(self, length: int) -> Brought:
        room = length - self.front - self.back
        if room < 1:
            raise UsageError(
                f"a length must leave room for a token beside the special ones ({self.front + self.back}), got {length}; measure a longer one."
            )
        ids, types = (self.resized(values, room) for values in (self.window.ids, self.window.types))
        inputs = self.session.arrays([Encoded(ids, types, (), ())])
        return Brought(made.written(self.session.manifest, inputs), self.source(length, room))

    def resized(self, values: npt.NDArray[np.int64], room: int) -> npt.NDArray[np.int64]:
        end = len(values) - self.back
        return np.concatenate((values[: self.front], np.resize(values[self.front : end], room), values[end:]))

    def source(self, length: int, room: int) -> str | None:
        """A beginning of the text, repeated where it is short, that has so many tokens; None where there is none.

        A tokenizer may read the end of a cut text in other tokens, so ends near the wanted one are tried too.
        """
        own = len(self.window.ids) - self.front - self.back
        text = " ".join([self.text] * ceil(room / own)) if room > own else self.text
        window = beginning(self.session, text)
        data, last = text.encode(), len(window.ids) - self.back - 1
        for place in sorted(range(self.front, last + 1), key=lambda place: abs(place - self.front - room + 1))[:NEAR]:
            found = data[: window.offsets[place][1]].decode("utf-8", "ignore")
            again = beginning(self.session, found) if found else window
            if len(again.ids) == length and not again.truncated:
                return found
        return None


def beginning(session: Session, text: str) -> Encoded:
    """The tokens of a text, as far as the model takes them. A long text is not read to its end."""
    most = CHARACTERS * session.manifest.limits.max_length
    while True:
        (window,) = session.tokenizer.encode(text[:most], truncate=True)
        if window.truncated or most >= len(text):
            return window
        most *= 2


class OfIds:
    """Brings the token ids of a file to a length, for a model without a tokenizer."""

    def __init__(self, session: Session, given: Arrays) -> None:
        self.session, self.manifest = session, session.manifest
        shapes = {tensor.name: tensor.shape for tensor in self.manifest.variants[0].inputs}
        odd = [name for name in given if name not in shapes]
        if odd or names.INPUT_IDS not in given:
            raise InputError(f"arrays must be {names.INPUT_IDS}, and others of {', '.join(shapes)}, got {', '.join(given)}; give these.")  # fmt: skip
        for name, array in given.items():
            if array.ndim != len(shapes[name]) or len(array) != 1 or 0 in array.shape or array.dtype.kind not in "iu":
                raise InputError(
                    f"{name} must be whole numbers {list(shapes[name])} of one sample, got {array.dtype} {list(array.shape)}; keep one, and repeat it with --batches."
                )
        if names.ATTENTION_MASK in given and not np.all(given[names.ATTENTION_MASK] == 1):
            raise InputError(f"{names.ATTENTION_MASK} must be ones, got others; leave the padding out.")
        ids = given[names.INPUT_IDS]
        alike = [name for name in given if name != names.DECODER_INPUT_IDS and given[name].shape != ids.shape]
        if alike:
            raise InputError(f"{alike[0]} must have the shape of {names.INPUT_IDS} {list(ids.shape)}, got {list(given[alike[0]].shape)}; make them alike.")  # fmt: skip
        self.given = given

    def __call__(self, length: int) -> Brought:
        found = {name: self.resized(name, array, length) for name, array in self.given.items()}
        return Brought(checked_by(self.session, made.written(self.manifest, found)))

    def resized(self, name: str, array: npt.NDArray[Any], length: int) -> npt.NDArray[Any]:
        if name == names.DECODER_INPUT_IDS:
            return array
        found = array.take(np.arange(length), axis=-1, mode="wrap")
        if name == names.GLOBAL_ATTENTION_MASK:
            found[..., array.shape[-1] :] = 0
        return found


def check_samples(manifest: Manifest, signature: Signature, arrays: Arrays) -> None:
    """Raises InputError for more samples than the fewest that a custom module takes."""
    if not signature.samples:
        return
    shapes = {tensor.name: tensor.shape for tensor in manifest.variants[0].inputs}
    count = signature.sizes(shapes, {name: array.shape for name, array in arrays.items()})[signature.samples]
    least = signature.axis(signature.samples).least
    if count != least:
        raise InputError(f"{signature.samples} must be {least} in a file to measure, got {count}; keep as many.")


def checked_by(session: Session, arrays: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """The inputs as a session checks them. Wrong names are an error of the file too."""
    try:
        return dict(session.checked(arrays))
    except UsageError as error:
        raise InputError(str(error)) from error


def write(manifest: Manifest, brought: Brought, folder: Path, length: int) -> None:
    with temporary_room("an input to measure"):
        with (folder / f"{length}.npz").open("wb") as file:  # by place, since names of inputs may be those of arguments
            np.savez(file, *(brought.arrays[tensor.name] for tensor in manifest.variants[0].inputs))
        if brought.source is not None:
            source = brought.source
            (folder / f"{length}.source").write_bytes(source if isinstance(source, bytes) else source.encode())


def arrays_of(manifest: Manifest, folder: Path, length: int) -> Arrays:
    """The inputs of the predict graph that `keep` wrote."""
    with np.load(folder / f"{length}.npz", allow_pickle=False) as found:
        return dict(zip((tensor.name for tensor in manifest.variants[0].inputs), found.values(), strict=True))


def source_of(manifest: Manifest, folder: Path, length: int) -> Source | None:
    """The text or the bytes that `keep` wrote, or None."""
    file = folder / f"{length}.source"
    if not file.exists():
        return None
    data = file.read_bytes()
    return data if isinstance(manifest.preprocess, Bytes) else data.decode()
