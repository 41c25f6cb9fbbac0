"""Labelled files for the reference task: finds files in folders, splits them by folder group, cuts them into crops.

In: folders on this machine. Out: two lists of `Labelled` files, and crops of the files as arrays of tokens. The
extension of a file gives its label. A file whose first bytes contradict the label is left out.

Two rules keep near-copies on one side of the split. First, versions, vendored copies and translations share a *group*,
and a group is on one side. Second, a held-out file is left out if it shares half of its fingerprints with one training
file; this rule finds the copies that the first rule misses. The fingerprints are the 16-byte windows with a small hash
(Manber 1994, "Finding similar files in a large file system", section 2), so an insertion changes no other fingerprint.
"""

from __future__ import annotations

import argparse
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
PACKAGE_ROOTS = {
    "site-packages", "dist-packages", "node_modules", "nodejs", "npm", "_vendor", "vendor", "vendored", "third_party",
}  # fmt: skip
SAYS_NOTHING = {"locale", "locales", "lcmessages", "po", "pycache", "package", "dist", "src", "lib"}
LOCALE = re.compile(r"[a-z]{2}|[a-z]{2,3}([_-][A-Z][A-Za-z]{1,3}|@\w+)+")
HELD_OUT = 0.15  # the share of groups that are not used for training
SMALLEST = 64  # bytes; a shorter file has too little content
ALIKE = 0.5  # a file with this share of its fingerprints in one other file is a near-copy
READ = 1 << 16  # the bytes of a file that are compared
A_GROUP = 24  # the most files of one label from one group, so that no project dominates


@dataclass(frozen=True)
class Labelled:
    path: Path
    label: int
    group: str
    size: int


def label_of(path: Path) -> str | None:
    """The label that the name of a file gives, or None."""
    if path.name in LABEL_OF_NAME:
        return LABEL_OF_NAME[path.name]
    if re.search(r"\.so(\.\d+)+$", path.name):
        return "elf"
    return LABEL_OF_EXTENSION.get(path.suffix[1:].lower())


def group_of(path: Path) -> str:
    """The group that copies of a file share: the package and the folder without versions, or the name of a catalogue.

    Only the part of the path behind the folder of packages (site-packages, vendor ...) counts, without locale names.
    """
    parts = path.parent.parts
    roots = [i for i, part in enumerate(parts) if part.lower() in PACKAGE_ROOTS]
    parts = parts[roots[-1] + 1 :] if roots else parts
    names = [re.sub(r"[^a-z]", "", part.lower()) for part in parts if not LOCALE.fullmatch(part)]
    names = [name for name in names if name and name not in SAYS_NOTHING] or [path.name.split(".")[0]]
    if LABEL_OF_EXTENSION.get(path.suffix[1:].lower()) == "gettext":
        named_by_locale = LOCALE.fullmatch(path.stem) or len(path.stem) <= 3  # po/pt_BR.po, po/ast.po
        if path.parent.name == "LC_MESSAGES" or not named_by_locale:
            return re.sub(r"[^a-z]", "", path.stem.lower())
        return names[-1]
    return "/".join(names[-2:])


def walk(folders: Sequence[Path], exclude: Sequence[str]) -> Iterator[Path]:
    for folder in folders:
        for parent, names, files in os.walk(folder):
            kept = [name for name in sorted(names) if not any(fnmatch(f"{parent}/{name}", glob) for glob in exclude)]
            names[:] = kept
            yield from (Path(parent, name) for name in sorted(files))


def find(folders: Sequence[Path], exclude: Sequence[str] = ()) -> list[Labelled]:
    """Finds every readable file with a label once, at most `A_GROUP` files for each group and label."""
    taken: Counter[tuple[str, str]] = Counter()
    seen: set[bytes] = set()
    found = []
    for path in walk(folders, exclude):
        label, group = label_of(path), group_of(path)
        if label is None or taken[label, group] >= A_GROUP or path.is_symlink() or not os.access(path, os.R_OK):
            continue
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(READ)
        digest = hashlib.sha256(start + size.to_bytes(8, "little")).digest()
        if size < SMALLEST or digest in seen or not start.startswith(MAGIC.get(label, (b"",))):
            continue
        seen.add(digest)
        taken[label, group] += 1
        found.append(Labelled(path, LABELS.index(label), group, size))
    return found


def fingerprints(data: bytes) -> npt.NDArray[np.uint64]:
    """The fingerprints of `data`, uint64 [fingerprints], sorted: about one in 64 of the hashes of 16-byte windows."""
    hashes = []
    for offset in range(8):
        words = np.frombuffer(data[offset:], dtype="<u8", count=max(len(data) - offset, 0) // 8)
        mixed = words[:-1] * np.uint64(0x9E3779B97F4A7C15) + words[1:] * np.uint64(0xC2B2AE3D27D4EB4F)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        hashes.append(mixed[mixed >> np.uint64(58) == 0])
    return np.unique(np.concatenate(hashes))


def prints_of(file: Labelled) -> npt.NDArray[np.uint64]:
    with file.path.open("rb") as handle:
        return fingerprints(handle.read(READ))


def without_near_copies(candidates: Sequence[Labelled], originals: Sequence[Labelled]) -> list[Labelled]:
    """The candidates that share less than `ALIKE` of their fingerprints with each of the originals."""
    prints = [prints_of(file) for file in candidates]
    owners = np.repeat(np.arange(len(prints)), [len(of_file) for of_file in prints])
    pool = np.concatenate([*prints, np.empty(0, np.uint64)])
    order = pool.argsort(kind="stable")
    pool, owners = pool[order], owners[order]
    sizes = np.array([max(len(of_file), 1) for of_file in prints])
    copies = np.zeros(len(prints), dtype=bool)
    for file in originals:
        own = prints_of(file)
        first, last = pool.searchsorted(own, "left"), pool.searchsorted(own, "right")
        spans = [owners[a:b] for a, b in zip(first, last, strict=True) if b > a]
        if spans:
            copies |= np.bincount(np.concatenate(spans), minlength=len(prints)) >= ALIKE * sizes
    return [file for file, copy in zip(candidates, copies, strict=True) if not copy]


def split(files: Iterable[Labelled], seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """Splits files into training and held-out files. A group is on one side, with the files of all its labels."""
    sides: tuple[list[Labelled], list[Labelled]] = ([], [])
    for file in files:
        digest = hashlib.sha256(f"{seed}:{file.group}".encode()).digest()
        sides[int.from_bytes(digest[:8], "little") / 2**64 < HELD_OUT].append(file)
    return sides


def balanced(files: Sequence[Labelled], a_label: int, seed: int) -> list[Labelled]:
    """Draws at most `a_label` files of each label at random."""
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
    """Pads crops to input_ids and attention_mask, int64 [batch, longest crop]."""
    ids = np.full((len(crops), max(len(tokens) for tokens in crops)), PADDING_ID, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(crops):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return ids, mask


class Sampler:
    """Draws training batches: every label equally often, and every group of a label equally often.

    A batch is a function of (seed, step), so a resumed training gets the same batches as an uninterrupted training.
    """

    def __init__(self, files: Sequence[Labelled], seed: int) -> None:
        self.seed = seed
        groups: dict[int, dict[str, list[Labelled]]] = defaultdict(lambda: defaultdict(list))
        for file in files:
            groups[file.label][file.group].append(file)
        self.groups = {label: list(by_group.values()) for label, by_group in sorted(groups.items())}

    def batch(self, step: int, size: int, length: int) -> tuple[Tokens, Tokens, Tokens]:
        """input_ids, attention_mask [size, 1 + length] and labels [size].

        A quarter of the crops is shorter. A third of the crops starts at the first byte.
        """
        chance = np.random.default_rng((self.seed, step))
        crops, labels = [], []
        for label in chance.choice(list(self.groups), size=size):
            groups = self.groups[int(label)]
            group = groups[chance.integers(len(groups))]
            file = group[chance.integers(len(group))]
            wanted = length if chance.random() < 0.75 else int(chance.integers(min(128, length), length + 1))
            last = max(file.size - wanted, 0)
            offset = int(chance.integers(last + 1)) if chance.random() < 2 / 3 else 0
            crops.append(crop(file, wanted, offset))
            labels.append(file.label)
        return (*pad(crops), np.array(labels))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A part of samples/train_reference.py; run that.")
    parser.parse_args()
    parser.error("this file holds functions alone; run samples/train_reference.py")
