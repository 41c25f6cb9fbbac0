"""Answer an ``.npz`` of arrays, for `edgexf run` on a bundle that reads neither text nor bytes.

In: a session and a file of arrays by the names of the bundle's inputs. Out: an `ArrayAnswer`, which `edgexf run` prints
as a line of JSON, or writes as an ``.npz``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf.bundle.preprocess import Image
from edgexf.errors import InputError, UsageError
from edgexf.report.prediction import rounded

if TYPE_CHECKING:
    from edgexf_runtimes import Session

Array = npt.NDArray[Any]
STDIN = "-"


@dataclass(frozen=True)
class ArrayAnswer:
    """What a model answers to the arrays of a file.

    Attributes:
        input: the name of the file.
        outputs: the outputs by name.
        ms: the time in milliseconds.
    """

    input: str
    outputs: Mapping[str, Array]
    ms: float

    def to_line(self, file: Path | None = None) -> dict[str, Any]:
        """What `edgexf run` prints: the outputs, or their dtypes and shapes if they stand in a `file`."""
        outputs = {
            name: plain_values(array) if file is None else f"{array.dtype} {list(array.shape)}"
            for name, array in self.outputs.items()
        }
        return {
            "input": self.input,
            "outputs": outputs,
            **({} if file is None else {"arrays": str(file)}),
            "ms": round(self.ms, 3),
        }

    def save(self, file: Path) -> None:
        """Writes the outputs as an ``.npz``. UsageError for a file that can't be written."""
        try:
            with file.open("wb") as opened:
                np.savez(opened, allow_pickle=False, **dict(self.outputs))
        except OSError as error:
            raise UsageError(
                f"arrays must go to a folder that can be written, got {file} ({error.strerror}); choose another."
            ) from error


def plain_values(array: Array) -> Any:
    """The values as nested lists. Floats have the seven digits that float32 carries; null stands for no finite number."""
    values = array.tolist()
    return rounded(values) if array.dtype.kind == "f" else values


def read_checked(session: Session, path: Path) -> dict[str, Array]:
    """The arrays of a file, checked for the bundle. Raises InputError for arrays that the model does not take."""
    from edgexf_runtimes.inputs.arrays import read_arrays

    found = read_arrays(path, session.input_timeout)
    try:
        return dict(session.checked(found))
    except (InputError, UsageError) as error:  # wrong names are an error of this file, not of the call
        raise InputError(f"{path}: {error}") from error


def answer(session: Session, path: Path) -> ArrayAnswer:
    """The answer to the arrays of a file. See `read_checked` for errors."""
    inputs = read_checked(session, path)
    start = time.perf_counter()
    outputs = session.run_graph("predict", inputs)
    return ArrayAnswer(str(path), outputs, (time.perf_counter() - start) * 1e3)


def takes_arrays(session: Session, sources: Sequence[str | Path]) -> bool:
    """Whether the inputs are files of arrays. A model of images reads pictures, and arrays where all files are ``.npz``.

    UsageError for a text for a model of images, which would take it for the path of a picture.
    """
    texts = [one for one in sources if isinstance(one, str)]
    if isinstance(session.manifest.preprocess, Image) and texts:
        raise UsageError(
            f"--text is for models that read text, got it for {session.manifest.name}, which reads pictures; name a file."
        )
    reader, files = session.manifest.preprocess, all(Path(one).suffix == ".npz" for one in sources)
    return reader is None or (isinstance(reader, Image) and files)


def check_array_call(session: Session, **others: object) -> None:
    """UsageError for an option that only a model of text has."""
    given = [name for name, value in others.items() if value]
    if given:
        wanted = ", ".join(f"{one.name} {one.dtype}" for one in session.manifest.variants[0].inputs)
        raise UsageError(
            f"{session.manifest.name} takes an .npz of arrays ({wanted}), got {given[0]}; leave it out, and name a file that numpy.savez wrote."
        )


def output_files(paths: Sequence[Path], folder: Path | None) -> list[Path | None]:
    """The file of each input's outputs in a folder; None without a folder.

    UsageError for a folder that does not exist, for two inputs of one name, and for a file that would replace an input.
    """
    if folder is None:
        return [None] * len(paths)
    if not folder.is_dir():
        raise UsageError(f"--output-arrays names a folder that is there, got {folder}; make it, or choose another.")
    files = [folder / f"{'stdin' if str(path) == STDIN else path.stem}.npz" for path in paths]
    if len(set(files)) < len(files):
        raise UsageError("inputs must have different names to write a file for each, got one twice; run them apart.")
    read = {path.resolve() for path in paths if str(path) != STDIN}
    replaced = [file for file in files if file.resolve() in read]
    if replaced:
        raise UsageError(f"outputs must not replace an input, got {replaced[0]} for both; choose another folder.")
    return list(files)
