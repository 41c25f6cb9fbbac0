"""What was checked once and need not be checked again: the hashes of a bundle, and its golden outputs on this device.

In: what was checked, as a key of JSON values. Out: whether it was checked before. The memory is that of the process, and a
folder that the caller names: ``cache=`` of `edgexf.load`, or the environment variable ``EDGEXF_CACHE``. Without either,
nothing is written. Nothing is written next to a bundle.

A key holds the identity of each file of the bundle: its device, inode, size and times to the nanosecond. The kernel sets
the time of change (ctime) at each write, so a file that changed has another key. Whoever may write into the folder may
also say what was checked: keep it as safe as the bundle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgexf import bundle, names
from edgexf.bundle.manifest import Manifest
from edgexf.checks import is_choice, is_path
from edgexf.errors import BundleError, UsageError, quoted

VARIABLE = "EDGEXF_CACHE"
SCHEMA_VERSION = 1  # goes up when a check finds more than before, too
VERIFY = ("always", "once", "never")
_known: set[str] = (
    set()
)  # the digests of keys, in this process; one step of a set needs no lock, which a fork could keep


class Remembered:
    """What was checked, in this process and in a folder, if there is one."""

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        """`folder` is made when it is first needed; by default it is that of `VARIABLE`. Raises UsageError for none."""
        chosen = os.environ.get(VARIABLE) or None if folder is None else folder
        if chosen is not None and not is_path(chosen):
            raise UsageError(f"cache must be the path of a folder, got {quoted(chosen)}; name one, or leave it out.")
        self.folder = None if chosen is None else Path(chosen).absolute()
        if self.folder is not None and os.path.isfile(self.folder):  # Path.is_file raises for a long name
            raise UsageError(f"cache must be the path of a folder, got the file {chosen}; name another one.")

    def knows(self, key: Mapping[str, Any]) -> bool:
        """Whether `note` was called with an equal key."""
        digest = digest_of(key)
        if digest in _known:
            return True
        if self.folder is None or not self._holds(self.folder / f"{digest}.json", key):
            return False
        _known.add(digest)
        return True

    def _holds(self, path: Path, key: Mapping[str, Any]) -> bool:
        try:
            found = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError, RecursionError) as error:
            warn("what %s remembers can't be read (%s); it is checked again.", path, error)
            return False
        if found != content(key):
            warn("%s must hold what its name says, got something else; it is checked again.", path)
            return False
        return True

    def note(self, key: Mapping[str, Any]) -> None:
        """Remembers a key. A folder that can't be written is logged: the next process then checks again."""
        digest = digest_of(key)
        _known.add(digest)
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write(self.folder / f"{digest}.json", json.dumps(content(key), indent=1).encode() + b"\n")
        except OSError as error:
            warn("what was checked can't be remembered in %s (%s).", self.folder, error.strerror)


def warn(message: str, *values: object) -> None:
    """Logs a warning to the logger ``edgexf``."""
    import logging  # here, because an application waits for the imports of the runtime

    logging.getLogger("edgexf").warning(message, *values)


def content(key: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps({"schema_version": SCHEMA_VERSION, "checked": key}))
    return found


def digest_of(key: Mapping[str, Any]) -> str:
    import hashlib  # here, because it loads OpenSSL

    return hashlib.sha256(json.dumps(content(key), sort_keys=True).encode()).hexdigest()


def write(path: Path, data: bytes) -> None:
    """Writes a file, or nothing: another process sees the old file or the new one."""
    import tempfile  # here, because an application waits for the imports of the runtime

    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def identity(path: Path) -> list[int]:
    """What tells a file from one that replaced or changed it. Raises OSError for a file that is not there."""
    found = path.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns, found.st_mtime_ns]


def bundle_key(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """The key of a bundle as it is on disk now. Raises BundleError if a listed file is gone."""
    folder = folder.absolute()
    try:
        files = {name: identity(folder / name) for name in (names.MANIFEST_FILE, *manifest.files)}
    except OSError as error:
        raise BundleError(
            f"every file of a bundle must be readable, got {error.filename} ({error.strerror}); check its permissions."
        ) from error
    return {"path": os.fsencode(folder).hex(), "digest": manifest.digest, "files": files}


def read(folder: Path, verify: str, remembered: Remembered, going_on: Callable[[], None] = lambda: None) -> Manifest:
    """The manifest of a bundle, whose listed files have the hashes that it lists.

    `verify`: ``always`` hashes each listed file, ``once`` hashes those that were not hashed since they changed, ``never``
    checks only names and sizes. A signature says something about the hashes, so that checking one will need ``always``.
    `going_on` is that of `edgexf.bundle.read`.
    Raises UsageError for another value, and BundleError if the folder is not what was exported.
    """
    if not is_choice(verify, VERIFY):
        raise UsageError(f"verify must be one of {', '.join(VERIFY)}, got {quoted(verify)}; choose one of them.")
    if verify != "once":
        return bundle.read(folder, verify == "always", going_on)
    manifest = bundle.read(folder, verify=False)
    key = {"what": "hashes", **bundle_key(folder, manifest)}
    if not remembered.knows(key):
        manifest = bundle.read(folder, going_on=going_on)
        if key == {"what": "hashes", **bundle_key(folder, manifest)}:  # else it changed while it was hashed
            remembered.note(key)
    return manifest


class OnDisk:
    """The bundle in a folder as it is now. Made before the bundle is read; tells later whether another one took its place.

    A folder without a manifest, such as that of graphs that are being measured, is never replaced.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder.absolute() / names.MANIFEST_FILE
        self._identity: list[int] | None = None
        with suppress(OSError):  # reading the bundle says what is wrong with the path
            self._identity = identity(self._file)

    def replaced(self, digest: str) -> bool:
        """Whether the manifest on disk is no longer the one with this digest. A file that was only touched is the same."""
        if self._identity is None:
            return False
        try:
            found = identity(self._file)
            if found != self._identity:
                if json.loads(self._file.read_bytes())["digest"] != digest:
                    return True
                self._identity = found
        except (OSError, ValueError, KeyError, TypeError):
            return True
        return False
