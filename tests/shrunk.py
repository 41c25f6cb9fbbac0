"""Shared by the tests of quantization: a few files of the evaluation set, and ways to read and change a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgexf import bundle, names
from edgexf.report.quantization import Outcome, from_json

DATA = Path(__file__).parent / "data"
FILES = [
    DATA / "evaluation" / f"{label}-0{number}.bin" for label in ("c", "python", "html", "zip") for number in (1, 2)
]
SHORT = (64,)  # bytes; graphs are timed at this length only, because these tests make no claim about speed


def listing(folder: Path, *, labelled: bool) -> Path:
    """Writes a listing of a few files of the evaluation set."""
    path = folder / f"{'labelled' if labelled else 'plain'}.jsonl"
    lines = [{"input": str(file), **({"label": file.name[:-7]} if labelled else {})} for file in FILES]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def outcomes(folder: Path) -> dict[str, Outcome]:
    return from_json((folder / names.QUANTIZE_FILE).read_bytes())


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the manifest of a bundle and corrects its digests."""
    values = json.loads((folder / names.MANIFEST_FILE).read_text())
    change(values)
    values["digest"] = bundle.digest_of({key: value for key, value in values.items() if key != "digest"})
    (folder / names.MANIFEST_FILE).write_text(json.dumps(values))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder.parent).as_posix(): path.read_bytes()
        for path in folder.parent.rglob("*")
        if path.is_file()
    }
