"""Tables of source files, parquet or JSON lines: a row is a file, or a repository with a list of ``files``.

Column names of The Stack v2 are known. Its rows name their content by reference (``blob_id``, ``src_encoding``);
who has an agreement with Software Heritage gives a function that fetches it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from mose.data.pairs import read_objects
from mose.data.tables.read import table_rows
from mose.errors import DataError

TABLES = (".parquet", ".jsonl", ".jsonl.xz", ".jsonl.gz")
COLUMNS = {
    "repository": ("repository", "repo_name", "repository_name"),
    "path": ("path",),
    "content": ("content", "text"),
    "licence": ("licence", "license", "detected_licenses"),
}
"""What is read of a row, and the columns that may hold it; the first one there counts."""
UNFETCHED = "content that cannot be fetched"
NO_CONTENT = "row without content"
OTHERS_CODE = {"is_vendor": "vendored", "is_generated": "generated"}
"""Columns of The Stack v2 that are true for files to leave out."""
_ROWS = 2_048
_FETCHERS = 16

Row = Mapping[str, Any]
Fetch = Callable[[Row], bytes | str | None]
"""Returns the content of a row, None if there is none; called in several threads."""


class TableRow(NamedTuple):
    """One file of a table."""

    repository: str
    path: str
    content: bytes | str
    licence: str


Rows = Callable[[Counter[str]], Iterator[TableRow]]


def read_table(path: Path, columns: Mapping[str, str], fetch: Fetch | None) -> Iterator[tuple[str, Rows]]:
    """Name of each part of a table, and a function that reads it and counts what is left out.

    Args:
        path: The table.
        columns: Key of `COLUMNS` -> column that holds it.
        fetch: Returns the content of a row that has none.

    Raises:
        DataError: The table is missing, damaged, or lacks a column.
        MissingExtraError: pyarrow is not installed.
    """
    rows = table_rows(path) if path.suffix == ".parquet" else (value for _, value in read_objects(path))
    first = 1
    while batch := list(islice(rows, _ROWS)):
        where = f"rows {first} to {first + len(batch) - 1} of {path}"
        yield where, partial(_read_rows, batch, where, columns, fetch)
        first += len(batch)


def _read_rows(
    rows: Sequence[Row],
    where: str,
    columns: Mapping[str, str],
    fetch: Fetch | None,
    dropped: Counter[str],
) -> Iterator[TableRow]:
    files = (file for row in rows for file in _files_of(row))
    with ThreadPoolExecutor(_FETCHERS) as pool:
        while batch := list(islice(files, _ROWS)):
            found = [_read_row(row, where, columns, fetch) for row in batch]
            missing = [number for number, one in enumerate(found) if one.content is None] if fetch else []
            fetched = dict(zip(missing, pool.map(fetch, (batch[n] for n in missing)) if fetch else (), strict=True))
            for number, (row, one) in enumerate(zip(batch, found, strict=True)):
                content = fetched.get(number, one.content)
                reason = next((why for column, why in OTHERS_CODE.items() if row.get(column) is True), "")
                if not reason and content is None:
                    reason = UNFETCHED if number in fetched else NO_CONTENT
                if reason:
                    dropped[reason] += 1
                elif content is not None:
                    yield one._replace(content=content)


def _files_of(row: Row) -> Iterator[Row]:
    """The row, or what it says of each of its ``files``."""
    files = row.get("files")
    if not isinstance(files, list):
        yield row
        return
    shared = {name: value for name, value in row.items() if name != "files"}
    for file in files:
        yield {**shared, **file} if isinstance(file, dict) else shared


def _read_row(row: Row, where: str, columns: Mapping[str, str], fetch: Fetch | None) -> TableRow:
    found: dict[str, Any] = {}
    for key, known in COLUMNS.items():
        name = columns.get(key) or next((name for name in known if name in row), "")
        if key in columns and name not in row:
            raise DataError(f"{where}: column of the {key}", got=sorted(row), allowed=name,
                            remedy="Correct --columns.")  # fmt: skip
        found[key] = row.get(name)
        if key in ("repository", "path") and not (isinstance(found[key], str) and found[key]):
            raise DataError(
                f"{where}: column of the {key}", got=found[key] if name in row else sorted(row),
                allowed=f"a text in {name or ' or '.join(known)}", remedy=f"Name it: --columns {key}=COLUMN",
            )  # fmt: skip
        if key == "content" and not name and fetch is None:
            raise DataError(
                f"{where}: column of the content", got=sorted(row), allowed=" or ".join(known),
                remedy="Name it: --columns content=COLUMN. If the content is elsewhere (blob_id), build the corpus\n"
                "from Python with a function that fetches it: mose.data.corpus.build.build_corpus(..., fetch=...)",
            )  # fmt: skip
    licence, content = found["licence"], found["content"]
    if isinstance(licence, list):
        licence = " AND ".join(map(str, licence))
    if not isinstance(licence, str | None):
        raise DataError(f"{where}: licence of {found['path']}", got=licence, allowed="a text or a list of texts")
    if not isinstance(content, str | bytes | None):
        raise DataError(f"{where}: content of {found['path']}", got=type(content).__name__, allowed="a text or bytes")
    return TableRow(found["repository"], found["path"], content, licence or "")  # type: ignore[arg-type]
