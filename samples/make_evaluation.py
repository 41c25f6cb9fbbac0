"""Make the evaluation set: crops of files for each of the 20 labels, all free to redistribute.

    python samples/make_evaluation.py CPYTHON_SOURCE OUTPUT_FOLDER

In: the unpacked source distribution of CPython 3.11.2, and tests/data/evaluation_sources. That folder holds plan.toml
(which files to take and which to make), files written for this set (a folder for each label), and inputs of tools
(inputs). Out: OUTPUT_FOLDER/evaluation/<label>-NN.bin, at most 4,096 bytes each, and OUTPUT_FOLDER/evaluation.jsonl
with input, label, source, offset and licence of each crop.

tests/data/README.md lists the tools; a missing tool is an error. A seed fixes the choice of crops, but other versions
of the tools give other bytes.
"""

from __future__ import annotations

import difflib
import gzip
import html.entities
import io
import json
import os
import py_compile
import pydoc
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

if TYPE_CHECKING:
    from PIL import Image

# Each tool is imported where it is used, so that --help needs none of them.
SEED = 2024
LIMIT = 4096  # the most bytes of a crop
LENGTHS = (1024, 2048, 4096)  # bytes of a crop that starts inside a file
WHOLE = 1500  # bytes; the crop of a file up to this size is the whole file
VARIETY = 16  # the fewest different bytes in a crop from inside a file: zeros between two sections say nothing
FEWEST, MOST = 12, 16  # crops of a label
EPOCH = 1675814400  # 2023-02-08, the day of CPython 3.11.2: the time stamp of generated files
FIXED = {"SOURCE_DATE_EPOCH": str(EPOCH), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
SOURCES = Path(__file__).resolve().parent.parent / "tests" / "data" / "evaluation_sources"
PLAN: dict[str, Any] = tomllib.loads((SOURCES / "plan.toml").read_text())
PSF, OURS = "PSF-2.0", "Apache-2.0"
BINARY = ("elf", "png", "zip", "gzip", "pyc")


@dataclass(frozen=True)
class Item:
    """A whole file with its label.

    Attributes:
        label: one of the 20 labels.
        source: where the file comes from.
        data: the bytes of the file.
        licence: the SPDX identifier of its licence.
    """

    label: str
    source: str
    data: bytes
    licence: str = PSF


@dataclass(frozen=True)
class Workshop:
    """The folder in which all files are made. It holds `cpython` and `ours`, the paths that plan.toml uses."""

    folder: Path

    def run(self, line: str, *more: str) -> bytes:
        """Runs a command and returns its standard output. ClickException if the tool is missing or fails."""
        tool, *arguments = shlex.split(line)
        program = shutil.which(tool)
        if program is None:
            raise click.ClickException(f"The tool {tool} must be on the PATH; install it (see tests/data/README.md).")
        command = [program, *(name for argument in arguments for name in self.expanded(argument)), *more]
        # All commands come from plan.toml.
        done = subprocess.run(command, cwd=self.folder, capture_output=True, env=os.environ | FIXED)  # noqa: S603
        if done.returncode != 0:
            raise click.ClickException(f"{line} must succeed, got {done.returncode}: {done.stderr.decode()[-800:]}")
        return done.stdout

    def expanded(self, argument: str) -> list[str]:
        if not argument.startswith("cpython/"):
            return [argument]
        return [path.relative_to(self.folder).as_posix() for path in self.files(argument)]

    def files(self, pattern: str) -> list[Path]:
        """The files that match a glob, sorted. ClickException if no file matches."""
        found = sorted(path for path in self.folder.glob(pattern) if path.is_file())
        if not found:
            raise click.ClickException(
                f"The file {pattern} must be there; check that CPYTHON_SOURCE is CPython 3.11.2."
            )
        return found

    def read(self, pattern: str) -> bytes:
        return self.files(pattern)[0].read_bytes()

    def text(self, pattern: str) -> str:
        return self.read(pattern).decode()

    def cleaned(self, item: Item) -> Item:
        """The item marked as generated. In text, /project replaces this folder, and a fixed time replaces the time."""
        data = item.data
        if item.label not in BINARY:
            data = data.replace(str(self.folder).encode(), b"/project")
            data = re.sub(rb"(POT-Creation-Date: )[-+:\d ]*", rb"\g<1>2023-02-08 00:00+0000", data)
        return replace(item, data=data, source=f"generated: {item.source}")


def taken(shop: Workshop) -> Iterator[Item]:
    """Files of CPython, unchanged."""
    for label, paths in PLAN["cpython"].items():
        for path in paths:
            yield Item(label, f"CPython 3.11.2 {path}", shop.read(f"cpython/{path}"))


def written(shop: Workshop) -> Iterator[Item]:
    """Files written for this set."""
    for path in shop.files("ours/*/*"):
        label, name = path.parts[-2:]
        if label != "inputs":
            yield Item(label, f"evaluation_sources/{label}/{name}", path.read_bytes(), OURS)


def printed(shop: Workshop) -> Iterator[Item]:
    for licence, commands in PLAN["printed"].items():
        for label, lines in commands.items():
            for line in lines:
                yield Item(label, line, shop.run(line), licence)


def made(shop: Workshop) -> Iterator[Item]:
    for step in PLAN["make"]:
        for line in step["commands"]:
            shop.run(line)
        for label, patterns in step["files"].items():
            for pattern in patterns:
                yield Item(label, f"{step['by']}: {pattern}", shop.read(pattern), step["licence"])


def compiled(shop: Workshop) -> Iterator[Item]:
    """Object files, libraries and programs for several processors."""
    include, output = sysconfig.get_path("include"), shop.folder / "compiled"
    python = ["-DNDEBUG", "-DPy_BUILD_CORE_MODULE", "-Icpython/Include", "-Icpython/Include/internal", f"-I{include}"]
    includes = {PSF: python, OURS: ["-Iours/inputs/tidewater/include"]}
    relocated = [f"-ffile-prefix-map={place}=/project" for place in (include, shop.folder)]
    for licence, lines in PLAN["compiled"].items():
        for line in lines:
            shop.run(line, *includes[licence], *relocated, "-o", str(output))
            yield Item("elf", line, output.read_bytes(), licence)


def bytecode(shop: Workshop) -> Iterator[Item]:
    for name, (level, stale, path) in PLAN["pyc"].items():
        source, target = shop.folder / f"{name}.py", shop.folder / f"{name}.pyc"
        source.write_bytes(shop.read(f"cpython/{path}"))
        os.utime(source, (EPOCH, EPOCH))
        mode = py_compile.PycInvalidationMode[stale]
        py_compile.compile(str(source), str(target), dfile=path, doraise=True, optimize=level, invalidation_mode=mode)
        yield Item("pyc", f"py_compile (optimize={level}, {stale}) of CPython {path}", target.read_bytes())


def packed(shop: Workshop) -> Iterator[Item]:
    """Archives that the zipfile and gzip modules and numpy write."""
    for level, path in PLAN["zlib"]["files"]:
        data = gzip.compress(shop.read(f"cpython/{path}"), level, mtime=EPOCH)
        yield Item("gzip", f"Python's gzip.compress, level {level}, of CPython {path}", data)
    for method, patterns in PLAN["zipfile"].items():
        for pattern in patterns:
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                for path in shop.files(f"cpython/{pattern}"):
                    entry = zipfile.ZipInfo(path.relative_to(shop.folder).as_posix(), (2023, 2, 8, 0, 0, 0))
                    archive.writestr(entry, path.read_bytes(), getattr(zipfile, f"ZIP_{method}"))
            yield Item("zip", f"Python's zipfile, {method}, of CPython {pattern}", buffer.getvalue())
    chance, buffer = np.random.default_rng(SEED), io.BytesIO()
    weights: dict[str, Any] = {f"weight_{n}": chance.normal(size=(16, 8 * n)).astype("float16") for n in range(1, 9)}
    np.savez_compressed(buffer, **weights)
    yield Item("zip", "numpy.savez_compressed of random weights", buffer.getvalue(), OURS)


def tables(shop: Workshop) -> dict[str, list[dict[str, Any]]]:
    """Data of CPython as rows of tables, for dumps in SQL, YAML and JSON."""
    abi = tomllib.loads(shop.text("cpython/Misc/stable_abi.toml"))
    del abi["feature_macro"]  # its columns are different
    downloads = json.loads(shop.read("cpython/Tools/peg_generator/data/top-pypi-packages-365-days.json"))
    opcodes = pydoc.importfile(str(shop.folder / "cpython/Lib/opcode.py")).opmap
    entities = html.entities.html5.items()
    return {
        "stable_abi": [{"name": name, "kind": kind, **row} for kind, rows in abi.items() for name, row in rows.items()],
        "entity": [{"name": name, "text": text, "points": [ord(sign) for sign in text]} for name, text in entities],
        "opcode": [{"code": code, "name": name, "hex": f"{code:#04x}"} for name, code in opcodes.items()],
        "download": [{"rank": rank, **row, "checked": None} for rank, row in enumerate(downloads["rows"], 1)],
    }


def sql_dump(name: str, rows: list[dict[str, Any]]) -> str:
    first, second, third = list(rows[0])[:3]
    values = [(row[first], row[second], str(row[third])) for row in rows]
    with sqlite3.connect(":memory:") as connection:
        connection.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, {first} NOT NULL, {second} TEXT, {third})")
        connection.execute(f"CREATE INDEX {name}_{first} ON {name} ({first})")
        # All names come from `tables`.
        connection.executemany(f"INSERT INTO {name} ({first}, {second}, {third}) VALUES (?, ?, ?)", values)  # noqa:S608
        return "\n".join(connection.iterdump()) + "\n"


def dumped(shop: Workshop) -> Iterator[Item]:
    """Dumps of CPython's data in SQL, YAML and JSON."""
    import yaml

    rows = tables(shop)
    for name, some in rows.items():
        yield Item("sql", f"sqlite3 dump of CPython's data: {name}", sql_dump(name, some).encode())
    for name, style in PLAN["yaml"].items():
        text = yaml.safe_dump({name: rows[name]}, sort_keys=False, **style)
        yield Item("yaml", f"PyYAML dump of CPython's data: {name}", text.encode())
    yield Item("json", "json.dumps of CPython's opcodes", json.dumps(rows["opcode"], indent=4).encode())
    yield Item("json", "json.dumps of CPython's stable ABI", json.dumps(rows["stable_abi"]).encode())


def translated(shop: Workshop) -> Iterator[Item]:
    """SQL in other dialects, style sheets from SCSS, and HTML from modules of Python."""
    import sass
    import sqlglot

    for name, (read, write) in PLAN["sqlglot"].items():
        options = {"pretty": name == "retention", "comments": False}
        statements = sqlglot.transpile(shop.text(f"ours/sql/{name}.sql"), read=read, write=write, **options)
        text = "".join(f"{statement};\n" for statement in statements if statement)
        yield Item("sql", f"sqlglot, {read} to {write}, of {name}.sql", text.encode(), OURS)
    for style in ("expanded", "compressed"):
        sheet = sass.compile(string=shop.text("ours/inputs/components.scss"), output_style=style)
        yield Item("css", f"libsass, {style}, of inputs/components.scss", sheet.encode(), OURS)
    module = pydoc.importfile(str(shop.folder / "cpython/Lib/heapq.py"))
    page = pydoc.html.page("heapq", pydoc.html.document(module, "heapq"))
    yield Item("html", "pydoc of CPython Lib/heapq.py", page.encode())
    old, new = (path.read_text().splitlines() for path in shop.files("cpython/Tools/demo/rpython*.py"))
    table = difflib.HtmlDiff(wrapcolumn=80).make_file(old, new)
    yield Item("html", "difflib.HtmlDiff of CPython Tools/demo/rpython.py and rpythond.py", table.encode())


def drawings(shop: Workshop) -> dict[str, Image.Image]:
    from PIL import Image, ImageDraw

    chance = np.random.default_rng(SEED)
    y, x = np.mgrid[0:240, 0:320] / 240
    plane = (np.sin(9 * x * y) + np.cos(5 * (x - y) ** 2) + 2) / 4  # [height, width], 0 to 1
    grain = np.clip(90 + 80 * plane[..., None] + chance.normal(0, 12, (240, 320, 3)), 0, 255)
    bars = chance.integers(0, 2, (1, 95), bool).repeat(2, axis=1).repeat(60, axis=0)
    icon = Image.new("RGBA", (96, 96))
    ImageDraw.Draw(icon).rounded_rectangle((6, 6, 90, 90), 20, fill=(20, 83, 45, 220), outline="white", width=4)
    text = Image.new("L", (480, 300), 250)
    ImageDraw.Draw(text).multiline_text((12, 12), shop.text("ours/inputs/tidewater/include/tidewater.h"), 15, spacing=3)
    grey = Image.fromarray((plane * 255).astype(np.uint8))
    return {
        "gradient": Image.fromarray((np.stack([x / 1.34, y, plane], axis=-1) * 255).astype(np.uint8)),
        "grain": Image.fromarray(grain.astype(np.uint8)),
        "depth map, 16 bits": Image.fromarray((plane * 65535).astype(np.uint16)),
        "palette": grey.convert("P", palette=Image.Palette.ADAPTIVE, colors=32),
        "bar code": Image.fromarray(bars),
        "icon": icon,
        "page of text": text,
    }


def pictures(shop: Workshop) -> Iterator[Item]:
    from matplotlib.figure import Figure

    for name, picture in drawings(shop).items():
        buffer = io.BytesIO()
        picture.save(buffer, "png", optimize=name == "palette")
        yield Item("png", f"Pillow: {name}", buffer.getvalue(), OURS)
    walk = np.random.default_rng(SEED).normal(size=(400, 3)).cumsum(axis=0)
    for name, values in (("plot", walk), ("imshow", walk[::10].T)):
        figure, buffer = Figure(figsize=(5, 3)), io.BytesIO()
        getattr(figure.subplots(), name)(values)
        figure.savefig(buffer, format="png", metadata={"Software": "matplotlib"})
        yield Item("png", f"matplotlib: {name}", buffer.getvalue(), OURS)


GENERATORS = (printed, made, compiled, bytecode, packed, dumped, translated, pictures)


def crops(items: list[Item], label: str) -> Iterator[tuple[Item, int, bytes]]:
    """A crop of each file, with its offset. If sizes allow, half of the crops start inside a file, half at byte 0."""
    chance, balance = np.random.default_rng([SEED, *label.encode()]), 0
    for number in chance.permutation(len(items)):
        data, offset, length = items[number].data, 0, LIMIT
        inside = len(data) > WHOLE and balance <= 0
        if inside:
            length = int(chance.choice([length for length in LENGTHS if length < len(data)]))
        while inside and (offset == 0 or len(set(data[offset : offset + length])) < VARIETY):
            offset = int(chance.integers(1, len(data) - length + 1))
        balance += 1 if inside else -1
        yield items[number], offset, data[offset : offset + length]


def write(items: list[Item], output: Path, secret: list[Path]) -> None:
    """Writes the crops and their list.

    ClickException for too few or too many crops of a label, and for a crop that names a `secret` folder.
    """
    lines: list[str] = []
    (output / "evaluation").mkdir(parents=True, exist_ok=True)
    for old in (output / "evaluation").glob("*.bin"):
        old.unlink()
    for label in sorted({item.label for item in items}):
        some = [item for item in items if item.label == label]
        if not FEWEST <= len(some) <= MOST:
            raise click.ClickException(f"A label must have {FEWEST} to {MOST} crops, got {len(some)} of {label}.")
        for number, (item, offset, data) in enumerate(crops(some, label)):
            if any(str(place).encode() in data for place in secret):
                raise click.ClickException(f"A crop must not name a folder of this machine, got one in {item.source}.")
            name = f"evaluation/{label}-{number:02}.bin"
            (output / name).write_bytes(data)
            line = {"input": name, "label": label, "source": item.source, "offset": offset, "licence": item.licence}
            lines.append(json.dumps(line, ensure_ascii=False))
    (output / "evaluation.jsonl").write_text("".join(f"{line}\n" for line in lines))


@click.command()
@click.argument("cpython_source", type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path))
@click.argument("output_folder", type=click.Path(file_okay=False, resolve_path=True, path_type=Path))
def main(cpython_source: Path, output_folder: Path) -> None:
    """Make the evaluation set from an unpacked source distribution of CPython 3.11.2."""
    sys.dont_write_bytecode = True  # CPYTHON_SOURCE must not change
    with tempfile.TemporaryDirectory() as temporary:
        shop = Workshop(Path(temporary).resolve())
        (shop.folder / "cpython").symlink_to(cpython_source)
        shutil.copytree(SOURCES, shop.folder / "ours")
        items = [*taken(shop), *written(shop)]
        items += [shop.cleaned(item) for generator in GENERATORS for item in generator(shop)]
        write(items, output_folder, [shop.folder, cpython_source, Path.home()])
    click.echo(f"{len(items)} crops in {output_folder}")


if __name__ == "__main__":
    main()
