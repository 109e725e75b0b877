from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from mose.data.pairs import read_rows
from mose.errors import DataError

ROW = {"query": "add two numbers", "code": "def add(a, b): return a + b", "language": "python"}


def written(tmp_path: Path, *rows: object, name: str = "pairs.jsonl") -> Path:
    file = tmp_path / name
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    file.write_bytes(lzma.compress(text.encode()) if name.endswith(".xz") else text.encode())
    return file


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.jsonl.xz"])
def test_rows_come_back_in_order(tmp_path: Path, name: str) -> None:
    second = {**ROW, "query": "sum", "group": "g", "func": "Box.add"}
    rows = read_rows(written(tmp_path, ROW, "", second, name=name))
    assert [row.text for row in rows] == ["add two numbers", "sum"]
    assert (rows[1].group, rows[1].name) == ("g", "add")


def test_duplicates_and_other_languages_are_left_out(tmp_path: Path) -> None:
    spaced = {**ROW, "code": "def add(a, b):\n    return a + b"}
    file = written(tmp_path, ROW, spaced, {**ROW, "language": "go"}, {**ROW, "query": "sum", "language": "go"})
    assert [row.text for row in read_rows(file)] == ["add two numbers", "sum"]
    assert [row.language for row in read_rows(file, languages=("go",))] == ["go", "go"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": "x", "language": "go"}, "line 2 has no field 'code'"),
        ({**ROW, "query": None}, "line 2 has no field 'query'"),
        ({**ROW, "query": "  "}, "line 2: field 'query' is empty"),
        ({**ROW, "code": 3}, "line 2, field 'code'"),
        ("{", "line 2 is not JSON"),
        ("[]", "a JSON object"),
    ],
)
def test_faulty_row_is_named_by_file_and_line(tmp_path: Path, row: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_rows(written(tmp_path, ROW, row))
    assert "pairs.jsonl" in str(caught.value)


def test_code_to_code_needs_groups_and_no_text(tmp_path: Path) -> None:
    grouped = {"code": "x", "language": "go", "group": "g", "query": None}
    assert len(read_rows(written(tmp_path, grouped), with_text=False, with_group=True)) == 1
    with pytest.raises(DataError, match="no field 'group'"):
        read_rows(written(tmp_path, ROW), with_text=False, with_group=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl.xz", lzma.compress(json.dumps(ROW).encode() * 50)[:-20], r"a\.jsonl\.xz is damaged or not text"),
        ("a.jsonl.xz", b"no archive", r"a\.jsonl\.xz is damaged or not text"),
        ("a.jsonl.gz", gzip.compress(json.dumps(ROW).encode() * 50)[:-20], r"a\.jsonl\.gz is damaged or not text"),
        ("a.jsonl.gz", gzip.compress(b"x" * 999)[:12] + b"\xff" * 20, r"a\.jsonl\.gz is damaged or not text"),
        ("a.jsonl", b'{"query": "\xff"}', r"a\.jsonl is damaged or not text"),
        ("a.jsonl", json.dumps({**ROW, "code": "x \ud800 y"}).encode(), r"line 1 has a character that is not Unicode"),
        ("a.jsonl", json.dumps({**ROW, "path": "x/\udc80.py"}).encode(), r"line 1 has a character that is not Unicode"),
    ],
)
def test_damaged_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / name)


def test_a_line_without_end_is_refused_before_it_is_all_read(tmp_path: Path, peak_memory: Callable[[], int]) -> None:
    with lzma.open(tmp_path / "a.jsonl.xz", "wb", preset=0) as file:
        for _ in range(300):
            file.write(b" " * 1_000_000)
    started = peak_memory()
    with pytest.raises(DataError, match=r"line 1 has more than 16,000,000 characters"):
        read_rows(tmp_path / "a.jsonl.xz")
    assert peak_memory() - started < 150_000_000


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match=r"folder\.jsonl is a folder without a table"):
        read_rows(tmp_path / "folder.jsonl")


def test_two_halves_of_a_character_are_one(tmp_path: Path) -> None:
    assert read_rows(written(tmp_path, {**ROW, "query": "\U0001f600"}))[0].text == "\U0001f600"


def test_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no pair file .*nowhere\.jsonl(.|\n)*data\.folder"):
        read_rows(tmp_path / "nowhere.jsonl")
