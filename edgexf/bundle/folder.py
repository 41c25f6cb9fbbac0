"""A bundle: a directory of graphs, weights and a manifest, hashed and written atomically.

In: files as bytes and a `Manifest`. Out: a directory. On reading, the result is the manifest, after a check that no
listed file has changed since it was written. `edgexf.json` holds the manifest.

Two alternatives were weighed for writing. One archive file is atomic by itself, but then no other reader (a browser, a
hub, another ONNX Runtime binding) can load the graphs as they are. Writing in place with a marker at the end leaves
half a bundle after a crash. A hidden sibling folder that is renamed when it is complete has neither fault.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from edgexf import names
from edgexf.bundle.manifest import Manifest
from edgexf.bundle.processes import alive
from edgexf.errors import BundleError, UsageError
from edgexf.records import Record

LARGEST_JSON = 16 << 20  # bytes
SIGNING_FILE = "edgexf.sig"
UNLISTED = (
    names.MANIFEST_FILE,
    names.CARD_FILE,
    SIGNING_FILE,
)  # not hashed; of these, only the manifest is read at run time
READ_AT_ONCE = 1 << 20


def canonical(values: Mapping[str, Any]) -> bytes:
    """The values as JSON with sorted keys, without spaces, in ASCII only, so that any text has canonical bytes."""
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode("ascii")


def digest_of(values: Mapping[str, Any]) -> str:
    """The sha256 of the canonical bytes of a manifest whose digest is empty."""
    return hash_of(canonical({**values, "digest": ""}))


def write(target: Path, files: Mapping[str, bytes], manifest: Manifest, overwrite: bool = False) -> Path:
    """Writes the bundle and returns `target`. UsageError if `target` is taken, or can't be written.

    Until the last moment `target` does not change. An error or an interrupt leaves nothing behind. The next write to
    the same place removes the remains of a killed process.
    """
    target = target.absolute()
    remove_remains(target)
    check_target(target, overwrite)
    listed = {path: entry_of(data) for path, data in sorted(files.items())}
    values = {**manifest.to_dict(), "files": {path: entry for path, entry in listed.items() if path not in UNLISTED}}
    values["digest"] = digest_of(values)
    content = {**files, names.MANIFEST_FILE: json.dumps(values, indent=1, sort_keys=True).encode() + b"\n"}
    try:
        write_aside(target, content)
    except OSError as error:
        raise UsageError(
            f"an output must be in a folder with room that can be written, got {target} ({error.strerror}); choose another."
        ) from error
    return target


def revise(
    folder: Path, changed: Mapping[str, bytes], dropped: Collection[str], before: Manifest, manifest: Manifest
) -> None:
    """Writes a bundle again in its place, all of it or nothing. `changed` files are new, `dropped` files go.

    The signature goes too, since it signed the old files. Other unlisted files stay, and so do permissions. UsageError
    if there is no room, BundleError if the files of the bundle are not those of the manifest `before`.
    """
    folder = folder.resolve()
    remove_remains(folder)
    if checked(folder, verify=False).files != before.files:
        raise BundleError(
            f"a bundle must stay as it is while it changes, got other files in {folder.name} than at the start; run it again."
        )
    gone = {*dropped, names.MANIFEST_FILE, SIGNING_FILE}
    there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    content: dict[str, bytes | Path] = {path: folder / path for path in there if path not in gone}
    content.update(changed)
    files = {path: entry for path, entry in manifest.files.items() if path in content and path not in changed}
    files |= {path: entry_of(data) for path, data in changed.items() if path not in UNLISTED}
    values = {**manifest.to_dict(), "files": dict(sorted(files.items()))}
    values["digest"] = digest_of(values)
    content[names.MANIFEST_FILE] = json.dumps(values, indent=1, sort_keys=True).encode() + b"\n"
    try:
        write_aside(folder, content)
    except OSError as error:
        raise UsageError(
            f"a bundle must have room beside it for a second one while it changes, got {folder} ({error.strerror}); make room, it is as it was."
        ) from error


def entry_of(data: bytes) -> dict[str, Any]:
    """The entry of a file in the manifest."""
    return {"sha256": hash_of(data), "bytes": len(data)}


def write_aside(target: Path, content: Mapping[str, bytes | Path]) -> None:
    """Writes the files into a hidden sibling of `target` and renames the sibling to `target`.

    A file in `content` is given by its bytes, or by the path to copy it from. Any error removes the sibling.
    """
    import shutil
    import tempfile  # both here, because an application that only reads bundles waits for its imports

    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{sibling(target, 'partial')}{os.getpid()}-", dir=target.parent))
    try:
        partial.chmod(target.stat().st_mode & 0o777 if target.is_dir() else 0o755)
        for path, data in content.items():
            write_synced(partial / path, data if isinstance(data, bytes) else data.read_bytes())
            if isinstance(data, Path):
                shutil.copymode(data, partial / path)
        for folder in {(partial / path).parent for path in content}:
            sync_folder(folder)
        replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def check_target(target: Path, overwrite: bool) -> None:
    """UsageError if `target` can't take a bundle. An export calls this before its long work."""
    if not is_utf8(target):
        raise UsageError(f"an output's path must be UTF-8 for onnxruntime, got {shown(target)}; choose another folder.")
    try:
        taken = sorted(listing(target)) if target.is_dir() else []
        empty = not target.is_dir() or not any(target.iterdir())
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise UsageError(
                f"an output must be a new or an empty folder, got {target}, which is a file or a link; choose another."
            )
    except OSError as error:
        raise UsageError(
            f"an output must be a folder that can be looked into, got {target} ({error.strerror}); choose another."
        ) from error
    if not empty and not overwrite:
        raise UsageError(
            f"an output folder must be empty, got {target} with files in it; choose another or pass --overwrite."
        )
    if not empty:
        check_replaceable(target, taken)
    parent = next(path for path in target.absolute().parents if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(
            f"an output must be in a folder that can be written, got {target} in {parent}; choose another."
        )


def is_utf8(path: Path) -> bool:
    """Whether the absolute path can be written in UTF-8. ONNX Runtime opens no file at another path."""
    return str(path.absolute()) == shown(path.absolute())


def shown(path: Path) -> str:
    """The path for a sentence. Bytes that are not UTF-8 are shown as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def check_replaceable(target: Path, taken: list[str]) -> None:
    """UsageError unless every file of `target` belongs to a bundle, so that overwriting loses nothing else."""
    try:
        own = set(read_json(target / names.MANIFEST_FILE)["files"]) | set(UNLISTED)
    except (BundleError, KeyError, TypeError) as error:
        raise UsageError(
            f"only a bundle may be overwritten, got {target} without a {names.MANIFEST_FILE}; choose another folder."
        ) from error
    hidden = [path.name for path in target.iterdir() if path.name.startswith(".")]
    foreign = hidden + [path for path in taken if path not in own]
    if foreign:
        raise UsageError(
            f"only a bundle's own files may be overwritten, got {foreign[0]} in {target}; move it, or choose another folder."
        )


def sibling(target: Path, what: str) -> str:
    """The start of the name of a hidden sibling of `target`: a ``partial`` bundle, or a ``replaced`` one."""
    return f".{target.name}.{what}-"


def remove_remains(target: Path) -> None:
    """Cleans up after killed processes: removes partial bundles, and puts back a bundle that was being replaced."""
    import shutil  # here, as in `write_aside`

    for what in ("replaced", "partial"):
        for path in sorted(target.parent.glob(f"{sibling(target, what)}*")):
            owner = re.match(r"\d+", path.name.removeprefix(sibling(target, what)))
            if owner is None or alive(int(owner.group())):
                continue
            if what == "replaced" and not target.exists():
                path.rename(target)
            else:
                shutil.rmtree(path)


def write_synced(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace(partial: Path, target: Path) -> None:
    """Renames `partial` to `target`. Moves an older bundle at `target` aside first, and back if the renaming fails."""
    import shutil  # here, as in `write_aside`

    old = target.parent / (sibling(target, "replaced") + partial.name.removeprefix(sibling(target, "partial")))
    if target.is_dir():  # an empty one too, since Windows renames no folder onto another
        target.rename(old)
    try:
        partial.rename(target)
    except BaseException:
        if old.exists():
            old.rename(target)
        raise
    sync_folder(target.parent)
    if old.exists():
        shutil.rmtree(old)


def sync_folder(folder: Path) -> None:
    """Writes the names in a folder to disk, so that a power cut does not lose them. Windows has no call for it."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(folder: Path, verify: bool = True, going_on: Callable[[], None] = lambda: None) -> Manifest:
    """The manifest of a bundle. BundleError if the directory is not what was written, or can't be read.

    `verify` hashes every listed file. Without `verify` only names and sizes are checked. `going_on` is called between
    the parts of a file, and may raise to end the reading.
    """
    try:
        return checked(folder, verify, going_on)
    except OSError as error:
        raise BundleError(
            f"every file of a bundle must be readable, got {error.filename} ({error.strerror}); check its permissions."
        ) from error


def checked(folder: Path, verify: bool, going_on: Callable[[], None] = lambda: None) -> Manifest:
    if not is_utf8(folder):
        raise BundleError(f"a bundle's path must be UTF-8 for onnxruntime, got {shown(folder)}; rename the folder.")
    if not folder.is_dir():
        raise BundleError(
            f"a bundle must be a folder that `edgexf export` wrote, got {folder}, which is none; check the path."
        )
    values = read_json(folder / names.MANIFEST_FILE)
    digest = values.pop("digest", None)
    if digest != digest_of(values):
        raise BundleError(
            f"{names.MANIFEST_FILE} must have the digest that it was written with, got another content in {folder}; export or copy it again."
        )
    manifest = Manifest.from_dict(values)
    present = {path for path in listing(folder) if path not in UNLISTED}
    if present != set(manifest.files):
        raise BundleError(
            f"a bundle holds exactly the files that {names.MANIFEST_FILE} lists, got unlisted {sorted(present - set(manifest.files))} "
            f"and missing {sorted(set(manifest.files) - present)}; export or copy it again."
        )
    for path, entry in manifest.files.items():
        check_file(folder, path, entry, verify, going_on)
    every = (*manifest.variants, *(graph for one in manifest.candidates for graph in one.graphs))
    wanted = [path for graph in every for path in (graph.file, graph.profile or graph.file)]
    unlisted = [path for path in wanted if path not in manifest.files]
    if unlisted:
        raise BundleError(
            f"a graph and its profile must be among the bundle's listed files, got {unlisted[0]!r}; don't use this bundle."
        )
    return dataclasses.replace(manifest, digest=digest)


def read_json(path: Path) -> dict[str, Any]:
    check_plain(path)
    if path.stat().st_size > LARGEST_JSON:
        raise BundleError(
            f"{path.name} must have at most {LARGEST_JSON} bytes, got {path.stat().st_size}; export the bundle again."
        )
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{path.name} must be JSON, got something else ({error}); export or copy the bundle again."
        ) from error
    if not isinstance(values, dict):
        raise BundleError(
            f"{path.name} must hold a JSON object, got a {type(values).__name__}; export or copy the bundle again."
        )
    return values


def listing(folder: Path) -> list[str]:
    """The relative paths of all files in the tree, except dot-files at the top. BundleError for a link to a folder."""
    found = []
    for parent, directories, files in os.walk(folder):
        for name in directories:
            if Path(parent, name).is_symlink():
                raise BundleError(
                    f"a bundle holds no links, got {name}, a link to a folder; copy the plain files instead."
                )
        found += [Path(parent, name).relative_to(folder).as_posix() for name in files]
    return [path for path in found if "/" in path or not path.startswith(".")]


def check_plain(path: Path) -> None:
    """BundleError unless `path` is a regular file that no other name links to."""
    if path.is_symlink():
        raise BundleError(
            f"a bundle holds no links, got {path.name}, a symbolic link; copy the files themselves (`cp -rL`, or download with local_dir=)."
        )
    if not path.is_file():
        raise BundleError(f"a bundle must hold {path.name}, got none in {path.parent}; export or copy it again.")
    if path.stat().st_nlink > 1:
        raise BundleError(
            f"a bundle holds no hard links, got {path.name}, which another name shares; copy the file itself."
        )


def check_file(folder: Path, path: str, entry: Any, verify: bool, going_on: Callable[[], None] = lambda: None) -> None:
    """BundleError unless the listed file has a safe path, and the size and hash that it was written with."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise BundleError(f"a listed path must stay inside the bundle, got {path!r}; don't use this bundle.")
    check_plain(folder / path)
    size = (folder / path).stat().st_size
    if not isinstance(entry, Mapping) or set(entry) != {"sha256", "bytes"} or entry["bytes"] != size:
        raise BundleError(
            f"{path} must have the size that {names.MANIFEST_FILE} lists, got {size} bytes; export or copy the bundle again."
        )
    if verify and sha256(folder / path, going_on) != entry["sha256"]:
        raise BundleError(
            f"{path} must be unchanged since the export, got another sha256; export or copy the bundle again."
        )


def hash_of(data: bytes) -> str:
    """The sha256 of bytes."""
    import hashlib  # here, because it loads OpenSSL

    return hashlib.sha256(data).hexdigest()


def sha256(path: Path, going_on: Callable[[], None] = lambda: None) -> str:
    """The sha256 of a file."""
    import hashlib  # here, as in `hash_of`

    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_AT_ONCE):
            going_on()
            hasher.update(block)
    return hasher.hexdigest()


class Bundle(Record):
    """A bundle on disk and its manifest."""

    path: Path
    manifest: Manifest

    def __repr__(self) -> str:
        graphs = ", ".join(dict.fromkeys(f"{graph.method} {graph.dtype}" for graph in self.manifest.variants))
        return f"Bundle({shown(self.path)!r}: {self.manifest.name}, {self.manifest.task}: {graphs})"
