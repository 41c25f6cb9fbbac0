"""Records of JSON lines and CSV files, and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgexf.errors import InputError, UsageError
from edgexf_runtimes.inputs.preprocess import Raw
from edgexf_runtimes.inputs.records import Fields, csv_rows, files_in, json_lines


def test_json_lines_give_texts_and_pairs_and_one_error_for_each_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"body": "one", "to": "two"}\n\n[1]\n{"body": 5}\n{"body": ""}\n{"x": "y"}\n{bad\n{"body": "last"}'
    )
    found = list(json_lines(path, Fields("body")))
    assert [one.text if isinstance(one, Raw) else "error" for one in found] == ["one", *["error"] * 5, "last"]
    assert [str(one).split(" got ")[1].split(" in ")[0].split(";")[0] for one in found[2:5]] == [
        "int",
        "none",
        "no such field",
    ]
    assert isinstance(found[0], Raw)
    assert found[0].name == f"{path}:1"
    (pair, *_) = json_lines(path, Fields("body", "to"))
    assert isinstance(pair, Raw)
    assert pair.text == ("one", "two")


def test_a_line_with_other_bytes_is_refused_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "\xff"}\n{"text": "next"}\n{"text": "\\ud800"}\n')
    bad, good, lone = json_lines(path, Fields())
    assert isinstance(good, Raw)
    assert all(isinstance(one, InputError) and f"{path}:" in str(one) for one in (bad, lone))


def test_csv_rows_are_read_by_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,body\n1,"two\nlines, one field"\n2,\n3,x\n', encoding="utf-8")
    found = list(csv_rows(path, Fields("body")))
    assert [one.text if isinstance(one, Raw) else "error" for one in found] == ["two\nlines, one field", "error", "x"]
    assert isinstance(found[0], Raw)
    assert found[0].name == f"{path}:3"  # the line on which the row ends
    with pytest.raises(UsageError, match=r"column of the header \(id, body\), got text"):
        list(csv_rows(path, Fields()))
    path.write_bytes(b'a,text\n1,"open')
    with pytest.raises(InputError, match="must be CSV"):
        list(csv_rows(path, Fields()))
    path.write_bytes(b"text\nfirst\n\xff\xfe\nlast\n")
    found = list(csv_rows(path, Fields()))
    assert [one.text if isinstance(one, Raw) else str(one).split(",")[0] for one in found] == [
        "first", "a field must be valid UTF-8", "last",
    ]  # fmt: skip


def test_a_folder_gives_its_files_but_no_hidden_ones_and_no_links(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "sub/c.txt", ".hidden", ".git/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    assert [str(file.relative_to(tmp_path)) for file in files_in(tmp_path)] == ["a.txt", "b.txt", "sub/c.txt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="must hold files, got none"):
        files_in(tmp_path / "empty")
