"""A bundle: a directory of graphs, weights and a manifest, hashed and written atomically.

In: files as bytes and a `Manifest`. Out: a directory, or on reading the manifest, after every listed
file was found to be what it was when it was written. `edgexf.json` holds the manifest.

Two alternatives were weighed for writing. One archive file is atomic by itself, but then no other
reader (a browser, a hub, another ONNX Runtime binding) can load the graphs as they are. Writing in
place with a marker at the end leaves half a bundle after a crash. A hidden sibling that is renamed when
it is complete has neither fault.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, Self

from edgexf import names
from edgexf.errors import BundleError, UsageError

SCHEMA_VERSION = 1
LARGEST_JSON = 16 << 20  # bytes
UNLISTED = (
    names.MANIFEST_FILE,
    names.CARD_FILE,
    "edgexf.sig",
)  # neither hashed nor read at run time, but the manifest itself
READ_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What an input must keep to. Lengths and `block` are in tokens; ids are below `vocabulary`.

    `padding` is ``invariant`` (padding behind the real tokens changes no answer), ``to_multiple(n)`` or ``none``.
    """

    vocabulary: int
    min_length: int
    max_length: int
    block: int
    padding: str


@dataclass(frozen=True)
class Tensor:
    """A graph's input or output; -1 in `shape` is a size that the caller chooses."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Bytes:
    """How raw bytes become token ids: `class_id`, then a byte's own value, `padding_id` behind a shorter input."""

    kind: str
    class_id: int
    padding_id: int
    max_bytes: int


@dataclass(frozen=True)
class Graph:
    """A graph file: what it is for (``predict`` or an explanation's method) and in which dtype."""

    purpose: str
    dtype: str
    file: str


@dataclass(frozen=True)
class Manifest:
    """All that a reader needs. `grid` and `provenance` are for people and are not interpreted."""

    name: str
    task: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    limits: Limits
    labels: tuple[str, ...]
    preprocess: Bytes
    graphs: tuple[Graph, ...]
    grid: dict[str, Any]
    provenance: dict[str, Any]
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; BundleError for an unknown schema version, an unknown or a missing key."""
        version = values.get("schema_version")
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"schema_version of a bundle must be {SCHEMA_VERSION}, got {version!r}; "
                "load it with the edgexf that wrote it, or export it again."
            )
        try:
            return cls(**typed(record(cls, values)))
        except (TypeError, ValueError, AttributeError) as error:
            raise BundleError(
                f"{names.MANIFEST_FILE} must hold values of the right kind, got others ({error}); export the bundle again."
            ) from error

    def graph(self, purpose: str, dtype: str) -> Graph:
        """The graph for a purpose; UsageError names those that the bundle has."""
        for graph in self.graphs:
            if (graph.purpose, graph.dtype) == (purpose, dtype):
                return graph
        have = ", ".join(f"{graph.purpose} in {graph.dtype}" for graph in self.graphs)
        raise UsageError(f"a graph must be one of the bundle's ({have}), got {purpose} in {dtype}; choose one of them.")

    @property
    def methods(self) -> tuple[str, ...]:
        """Explanation methods in the bundle, the default first."""
        return tuple(graph.purpose for graph in self.graphs if graph.purpose != "predict" and graph.dtype == "fp32")


def typed(known: dict[str, Any]) -> dict[str, Any]:
    """The manifest's values with their records and tuples restored."""

    def tensors(side: Any) -> tuple[Tensor, ...]:
        return tuple(Tensor(**{**record(Tensor, tensor), "shape": tuple(tensor["shape"])}) for tensor in side)

    restored = {
        "limits": Limits(**record(Limits, known["limits"])),
        "preprocess": Bytes(**record(Bytes, known["preprocess"])),
        "graphs": tuple(Graph(**record(Graph, graph)) for graph in known["graphs"]),
        "inputs": tensors(known["inputs"]),
        "outputs": tensors(known["outputs"]),
        "labels": tuple(known["labels"]),
        "files": dict(known["files"]),
    }
    return {**known, **restored}


def record(cls: type, values: Any) -> dict[str, Any]:
    """The values as keyword arguments of `cls`; BundleError names unknown and missing keys."""
    wanted = {item.name for item in fields(cls)}
    found = set(values) if isinstance(values, Mapping) else set()
    if found != wanted:
        raise BundleError(
            f"{cls.__name__} in {names.MANIFEST_FILE} takes exactly the keys {sorted(wanted)}, got unknown "
            f"{sorted(found - wanted)} and missing {sorted(wanted - found)}; export the bundle again."
        )
    return dict(values)


def canonical(values: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(values: Mapping[str, Any]) -> str:
    """sha256 of the manifest's canonical bytes with its digest blanked."""
    return hashlib.sha256(canonical({**values, "digest": ""})).hexdigest()


def write(target: Path, files: Mapping[str, bytes], manifest: Manifest, overwrite: bool = False) -> Path:
    """Writes the bundle and returns `target`. UsageError where `target` is taken.

    Until the last moment nothing stands at `target`; an error or an interrupt leaves nothing behind, and
    the remains of a killed process are removed by the next write to the same place.
    """
    check_target(target, overwrite)
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_remains(target)
    listed = {
        path: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for path, data in sorted(files.items())
    }
    values = {**manifest.to_dict(), "files": {path: entry for path, entry in listed.items() if path not in UNLISTED}}
    values["digest"] = digest_of(values)
    content = {
        **files,
        names.MANIFEST_FILE: json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n",
    }
    partial = Path(tempfile.mkdtemp(prefix=f"{partial_prefix(target)}{os.getpid()}-", dir=target.parent))
    try:
        partial.chmod(0o755)
        for path, data in content.items():
            write_synced(partial / path, data)
        replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return target


def check_target(target: Path, overwrite: bool) -> None:
    """UsageError where `target` can't take a bundle."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UsageError(
            f"an output must be a new or an empty folder, got {target}, which is a file or a link; choose another."
        )
    if target.is_dir() and any(target.iterdir()):
        if not overwrite:
            raise UsageError(
                f"an output folder must be empty, got {target} with files in it; choose another or pass --overwrite."
            )
        if not (target / names.MANIFEST_FILE).is_file():
            raise UsageError(
                f"only a bundle may be overwritten, got {target} without {names.MANIFEST_FILE}; choose another folder."
            )


def partial_prefix(target: Path) -> str:
    return f".{target.name}.partial-"


def remove_remains(target: Path) -> None:
    """Removes partial bundles for `target` whose process is gone."""
    for path in target.parent.glob(f"{partial_prefix(target)}*"):
        owner = re.match(r"\d+", path.name.removeprefix(partial_prefix(target)))
        if owner and not alive(int(owner.group())):
            shutil.rmtree(path)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_synced(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace(partial: Path, target: Path) -> None:
    """Renames `partial` to `target`; an older bundle there is moved away first and then removed."""
    old = None
    if target.is_dir() and any(target.iterdir()):
        old = partial.with_name(f"{partial.name}-old")
        target.rename(old)
    partial.rename(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    if old is not None:
        shutil.rmtree(old)


def read(folder: Path, verify: bool = True) -> Manifest:
    """The manifest of a bundle. BundleError where the directory is not what was written.

    `verify` hashes every listed file; without it only names and sizes are checked.
    """
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
        check_file(folder, path, entry, verify)
    unlisted = [graph.file for graph in manifest.graphs if graph.file not in manifest.files]
    if unlisted:
        raise BundleError(
            f"a graph must be one of the bundle's listed files, got {unlisted[0]!r}; don't use this bundle."
        )
    return manifest


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
    """Relative paths of every file in the tree; top-level dot-files don't count. BundleError for a link to a folder."""
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
    """BundleError unless `path` is a regular file of its own."""
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


def check_file(folder: Path, path: str, entry: Any, verify: bool) -> None:
    """BundleError unless the listed file has a safe path, and the size and hash it was written with."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise BundleError(f"a listed path must stay inside the bundle, got {path!r}; don't use this bundle.")
    check_plain(folder / path)
    size = (folder / path).stat().st_size
    if not isinstance(entry, Mapping) or set(entry) != {"sha256", "bytes"} or entry["bytes"] != size:
        raise BundleError(
            f"{path} must have the size that {names.MANIFEST_FILE} lists, got {size} bytes; export or copy the bundle again."
        )
    if verify and sha256(folder / path) != entry["sha256"]:
        raise BundleError(
            f"{path} must be unchanged since the export, got another sha256; export or copy the bundle again."
        )


def sha256(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_AT_ONCE):
            hasher.update(block)
    return hasher.hexdigest()
