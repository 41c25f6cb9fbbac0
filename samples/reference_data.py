"""Labelled files for the reference task: found under folders, split by folder, cut into crops.

In: folders on this machine. Out: two lists of `Labelled` files, and crops of them as token arrays.
A file's label follows from its extension; a binary file whose first bytes contradict it is left out.
Versions and copies of a folder are kept on one side of the split: all files whose two innermost folders
have the same names, digits aside, go together, and an identical copy of a file is dropped. That is not
every near-copy: translations of one catalogue and packages vendored under another name still straddle it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgexf.spec import CLASS_ID, LABELS, PADDING_ID

Tokens = npt.NDArray[np.int64]

EXTENSIONS = {
    "python": "py pyi", "c": "c h cc cpp cxx hpp hh hxx", "javascript": "js mjs cjs", "perl": "pl pm",
    "shell": "sh bash", "sql": "sql", "cmake": "cmake", "html": "html htm xhtml",
    "xml": "xml xsd xsl xslt pom rng", "json": "json", "yaml": "yaml yml", "css": "css", "rst": "rst",
    "markdown": "md markdown", "elf": "so o ko elf node", "png": "png", "zip": "zip jar whl egg xpi odt docx",
    "gzip": "gz tgz", "pyc": "pyc pyo", "gettext": "mo gmo po pot",
}  # fmt: skip
LABEL_OF_EXTENSION = {extension: label for label, names in EXTENSIONS.items() for extension in names.split()}
LABEL_OF_NAME = {"CMakeLists.txt": "cmake"}
MAGIC = {
    "elf": (b"\x7fELF",), "png": (b"\x89PNG",), "zip": (b"PK",), "gzip": (b"\x1f\x8b",),
    "gettext": (b"\xde\x12\x04\x95", b"\x95\x04\x12\xde", b"#", b"msgid", b"\n", b"\xef\xbb\xbf"),
}  # fmt: skip
HELD_OUT = 0.15  # the share of folder groups that training never sees
SMALLEST = 64  # bytes; a shorter file says too little
A_GROUP = 24  # files of one label taken from one folder group, so that no project dominates


@dataclass(frozen=True)
class Labelled:
    path: Path
    label: int
    group: str
    size: int


def label_of(path: Path) -> str | None:
    """The label that a file's name stands for, or None."""
    if path.name in LABEL_OF_NAME:
        return LABEL_OF_NAME[path.name]
    if re.search(r"\.so(\.\d+)+$", path.name):
        return "elf"
    return LABEL_OF_EXTENSION.get(path.suffix[1:].lower())


def group_of(path: Path) -> str:
    """The names of a file's two innermost folders, without digits and punctuation."""
    return "/".join(re.sub(r"[^a-z]", "", part.lower()) for part in path.parent.parts[-2:])


def walk(folders: Sequence[Path], exclude: Sequence[str]) -> Iterator[Path]:
    for folder in folders:
        for parent, names, files in os.walk(folder):
            kept = [name for name in sorted(names) if not any(fnmatch(f"{parent}/{name}", glob) for glob in exclude)]
            names[:] = kept
            yield from (Path(parent, name) for name in sorted(files))


def find(folders: Sequence[Path], exclude: Sequence[str] = ()) -> list[Labelled]:
    """Every readable labelled file once, at most `A_GROUP` a folder group and label."""
    taken: Counter[tuple[str, str]] = Counter()
    seen: set[bytes] = set()
    found = []
    for path in walk(folders, exclude):
        label, group = label_of(path), group_of(path)
        if label is None or taken[label, group] >= A_GROUP or path.is_symlink() or not os.access(path, os.R_OK):
            continue
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(1 << 16)
        digest = hashlib.sha256(start + size.to_bytes(8, "little")).digest()
        if size < SMALLEST or digest in seen or not start.startswith(MAGIC.get(label, (b"",))):
            continue
        seen.add(digest)
        taken[label, group] += 1
        found.append(Labelled(path, LABELS.index(label), group, size))
    return found


def split(files: Iterable[Labelled], seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """Training and held-out files; a folder group is on one side with all its labels."""
    sides: tuple[list[Labelled], list[Labelled]] = ([], [])
    for file in files:
        digest = hashlib.sha256(f"{seed}:{file.group}".encode()).digest()
        sides[int.from_bytes(digest[:8], "little") / 2**64 < HELD_OUT].append(file)
    return sides


def balanced(files: Sequence[Labelled], a_label: int, seed: int) -> list[Labelled]:
    """At most `a_label` files of each label, drawn at random."""
    by_label = defaultdict(list)
    for file in files:
        by_label[file.label].append(file)
    chance = np.random.default_rng(seed)
    return [files[i] for _, files in sorted(by_label.items()) for i in chance.permutation(len(files))[:a_label]]


def crop(file: Labelled, length: int, offset: int) -> Tokens:
    """The class token and `length` bytes from `offset`, int64 [1 + bytes]."""
    with file.path.open("rb") as handle:
        handle.seek(offset)
        data = np.frombuffer(handle.read(length), dtype=np.uint8)
    return np.concatenate(([CLASS_ID], data.astype(np.int64)))


def pad(crops: Sequence[Tokens]) -> tuple[Tokens, Tokens]:
    """input_ids and attention_mask, int64 [batch, longest crop]."""
    ids = np.full((len(crops), max(len(tokens) for tokens in crops)), PADDING_ID, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(crops):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return ids, mask


class Sampler:
    """Training batches: every label equally often, every folder group of a label equally often.

    A batch is a function of (seed, step), so that a resumed training sees what an unbroken one sees.
    """

    def __init__(self, files: Sequence[Labelled], seed: int) -> None:
        self.seed = seed
        groups: dict[int, dict[str, list[Labelled]]] = defaultdict(lambda: defaultdict(list))
        for file in files:
            groups[file.label][file.group].append(file)
        self.groups = {label: list(by_group.values()) for label, by_group in sorted(groups.items())}

    def batch(self, step: int, size: int, length: int) -> tuple[Tokens, Tokens, Tokens]:
        """input_ids, attention_mask [size, 1 + length] and labels [size]; a quarter of the crops is shorter."""
        chance = np.random.default_rng((self.seed, step))
        crops, labels = [], []
        for label in chance.choice(list(self.groups), size=size):
            groups = self.groups[int(label)]
            group = groups[chance.integers(len(groups))]
            file = group[chance.integers(len(group))]
            wanted = length if chance.random() < 0.75 else int(chance.integers(min(128, length), length + 1))
            last = max(file.size - wanted, 0)
            offset = int(chance.integers(last + 1)) if chance.random() < 0.5 else 0
            crops.append(crop(file, wanted, offset))
            labels.append(file.label)
        return (*pad(crops), np.array(labels))
