"""What `edgexf tune` found to be the fastest way to run a bundle on this device.

In: a bundle's folder and manifest. Out: a `Tuned`, or None where nothing was tuned for this bundle on a device like this one.

    <bundle>.tuned.json           beside the folder, where tuning writes by default
    FOLDER/<digest>.tuned.json    in the folder of ``cache=`` or ``EDGEXF_CACHE``, which is looked into first
    <bundle>.cuda.tuned.json      of another provider than cpu, likewise in the folder of a cache

Nothing is written into a bundle: a signature would no longer hold. A file counts only for the bundle with its digest, on a
processor of the same name with the same instruction sets, as many processors, and the same version of onnxruntime. The
name of a GPU is not asked. `edgexf.load` takes from it what its caller leaves open; ``tuned="never"`` does not look. It takes
no dtype that a session would not take by itself, such as one that was forced into the bundle: a wrong file makes a session
slow, not wrong.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

import onnxruntime as ort

from edgexf.bundle.graphs import PORTABLE
from edgexf.bundle.manifest import Manifest
from edgexf.checks import is_count, require, require_text, wrong_keys
from edgexf.dtypes import FP32, NAMES
from edgexf.errors import EdgexfError, UsageError, quoted
from edgexf.records import Record
from edgexf_runtimes.device.asked import CPU, TABLE
from edgexf_runtimes.device.device import processor
from edgexf_runtimes.device.profiles import BALANCED, PROFILES, Settings
from edgexf_runtimes.device.session_options import available_threads, threads_of
from edgexf_runtimes.remembered import Remembered, warn, write

SCHEMA_VERSION = 1
LARGEST = 1 << 20  # bytes of a file


class Tuned(Record):
    """A way to run a bundle.

    Attributes:
        dtype: the dtype of the graphs.
        candidate: the name of a candidate, or ``portable`` for the bundle's own graphs.
        threads: the threads that work at a time.
        profile: the name of a profile.
    """

    dtype: str = FP32
    candidate: str = PORTABLE
    threads: int = 1
    profile: str = BALANCED.name

    def __post_init__(self) -> None:
        require_text(self)
        require(self.dtype in NAMES, f"dtype must be one of {', '.join(NAMES)}", self.dtype)
        require(self.profile in PROFILES, f"profile must be one of {', '.join(PROFILES)}", self.profile)
        require(is_count(self.threads, 1), "threads must be a whole number of at least 1", self.threads)

    def __str__(self) -> str:
        graphs = self.dtype if self.candidate == PORTABLE else f"{self.dtype} {self.candidate}"
        return f"{graphs}, {self.threads} {'thread' if self.threads == 1 else 'threads'}, {self.profile}"


class TunedFile(Record):
    """The content of a file.

    Attributes:
        digest: the digest of the bundle.
        device: what `device` says of the device that it was measured on.
        provider: the provider by its short name.
        chosen: the fastest way.
        measured: the report of the measurement, for people; not interpreted.
        schema_version: the version of this format.
    """

    digest: str
    device: Mapping[str, Any]
    provider: str
    chosen: Tuned
    measured: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


def device() -> dict[str, Any]:
    """What a measurement depends on: the processor, how many of it this process may use, and the version of onnxruntime."""
    return {**processor(), "processors": available_threads(), "onnxruntime": ort.__version__}


def places(folder: Path, digest: str, provider: str, remembered: Remembered) -> list[Path]:
    """The files that may hold the choice for a bundle on a provider. The first one that is there counts; the last one lies
    beside the bundle.
    """
    folder = Path(os.path.abspath(folder))
    ending = "tuned.json" if provider == CPU.name else f"{provider}.tuned.json"
    cached = [] if remembered.folder is None else [remembered.folder / f"{digest}.{ending}"]
    return [*cached, folder.with_name(f"{folder.name}.{ending}")]


def note(folder: Path, remembered: Remembered, found: TunedFile) -> Path:
    """Writes what was found, and returns the file: in the folder of the cache if there is one, else beside the bundle.

    Raises the errors of `check_place`.
    """
    path = check_place(folder, found.digest, found.provider, remembered)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, json.dumps(asdict(found), indent=1, sort_keys=True).encode() + b"\n")
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def check_place(folder: Path, digest: str, provider: str, remembered: Remembered) -> Path:
    """The file that `note` would write for a bundle and a provider. A measurement calls this before its long work. Writes nothing that stays.

    Raises UsageError if the file can't be written, or if it would lie in the bundle.
    """
    import tempfile  # here, because an application waits for the imports of the runtime

    path = places(folder, digest, provider, remembered)[0]
    if path.parent.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            f"what was tuned is remembered outside the bundle, which holds listed files alone, got {quoted(str(path.parent))}; name another folder with --cache."
        )
    try:
        with tempfile.TemporaryFile(dir=next(parent for parent in path.parents if parent.exists())):
            return path
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"what was tuned is remembered in a folder that can be written, got {path.parent} ({error.strerror}); name another one with --cache."
    )


def forget(folder: Path, digest: str, remembered: Remembered) -> list[Path]:
    """Removes what is remembered for a bundle on any provider, and returns the files that are gone.

    Raises UsageError if one can't be removed.
    """
    known = (path for one in TABLE for path in places(folder, digest, one.name, remembered))
    gone = [path for path in known if path.is_file()]
    for path in gone:
        try:
            path.unlink()
        except OSError as error:
            raise unwritable(path, error) from error
    return gone


def recalled(folder: Path, manifest: Manifest, provider: str, remembered: Remembered) -> Tuned | None:
    """The fastest way to run a bundle here on a provider, by its short name; None where nobody tuned that.

    A file that can't be read, or that names what the bundle does not hold, is logged and does not count.
    """
    for path in places(folder, manifest.digest, provider, remembered):
        try:
            if not path.is_file() or path.stat().st_size > LARGEST:
                continue
            found = read(json.loads(path.read_bytes()))
            if (found.digest, found.device, found.provider) != (manifest.digest, device(), provider):
                continue
            manifest.with_candidate(found.chosen.candidate).graph("predict", found.chosen.dtype)
            threads_of(Settings(found.chosen.threads))
        except (OSError, ValueError, TypeError, RecursionError, EdgexfError) as error:
            warn("what was tuned is not used, since %s holds something else (%s); run edgexf tune again.", path, error)
            continue
        return found.chosen
    return None


def read(values: Any) -> TunedFile:
    """The content of a file. Raises ValueError for another schema version, keys or values."""
    require(isinstance(values, Mapping), "the file must hold an object", values)
    version = values.get("schema_version")
    require(version == SCHEMA_VERSION, f"schema_version must be {SCHEMA_VERSION}", version)
    for cls, got in ((TunedFile, values), (Tuned, values.get("chosen"))):
        wrong = wrong_keys(cls, got)
        require(not wrong, f"{cls.__name__} {wrong}", got)
    return TunedFile(**{**values, "chosen": Tuned(**values["chosen"])})
