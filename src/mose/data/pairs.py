"""Read and check pair files: every error names file and line.

In: JSON lines, plain, ``.xz`` or ``.gz``, one object a line: ``{query, code, language, group?}``.
Out: ``Row`` objects.
"""

from __future__ import annotations

import gzip
import json
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from mose.data.tables.read import is_table
from mose.errors import DataError
from mose.json_reading import parse_json
from mose.storage import new_file

MOST_LINE_CHARS = 16_000_000
"""The longest line that is read: a few bytes of a compressed file can stand for endless ones."""
_MEND = "Correct or remove the line."


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a pair file."""

    text: str
    """Description of the code; empty if the file is code to code only."""
    code: str
    language: str
    group: str
    """Problem that several codes solve; empty if there is none."""
    kind: str = ""
    """How the pair was found, such as "doc" (field ``kind``); empty without it."""
    name: str = ""
    """Name that the code defines (field ``func``); empty without it."""
    path: str = ""
    """File that holds the code: field ``path``, or the one in a GitHub ``url``; empty without both."""
    negatives: tuple[str, ...] = ()
    """Codes that look like an answer but are not (field ``negatives``, in the row's language)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A query and the code that answers it, ready for the tokenizer."""

    query: str
    query_language: str
    """Language of a query that is code itself; empty for plain text."""
    code: str
    language: str
    keys: frozenset[int]
    """Hashes of group, query and code; pairs that share one are never negatives of each other."""
    negatives: tuple[str, ...] = ()
    """Hard negatives: codes in ``language`` that the query must not find."""


def key_of(text: str) -> int:
    """Stable 63-bit hash of a text; the amount of white space does not matter.

    Example:
        >>> key_of("a  b") == key_of("a b")
        True
    """
    folded = " ".join(text.split())
    return int.from_bytes(blake2b(folded.encode("utf8", "replace"), digest_size=8).digest(), "big") >> 1


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line number (from 1) and text of each line that is not blank; ``.xz`` and ``.gz`` are decompressed.

    Raises:
        DataError: The file is missing, cannot be read, is damaged or not UTF-8.
    """
    open_file: Any = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    try:
        with open_file(path, "rt", encoding="utf-8-sig") as file:  # some editors begin a file with a mark
            lines = iter(lambda: file.readline(MOST_LINE_CHARS + 1), "")
            for number, line in enumerate(lines, start=1):
                if len(line) > MOST_LINE_CHARS:
                    raise DataError(f"{path}, line {number} has more than {MOST_LINE_CHARS:,} characters", remedy=_MEND)
                if line.strip():
                    yield number, line
    except FileNotFoundError as error:
        raise DataError(
            f"no pair file {path}",
            remedy="Check the path; in training, set data.folder, or leave the source out (data.skip_missing).",
        ) from error
    except (OSError, UnicodeError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path} is damaged or not text ({error})", remedy="Write or copy the file again.") from error


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number (from 1) and object of each line that is not blank; of a parquet file or a folder, each row.

    Raises:
        DataError: The file is missing or damaged, or a line is not a JSON object of Unicode texts.
        MissingExtraError: It is a table, and pyarrow is not installed.
    """
    if is_table(path):
        from mose.data.curate.parquet import read_pair_table

        yield from enumerate(read_pair_table(path), start=1)
        return
    for number, line in read_lines(path):
        try:
            value = parse_json(line)
            if "\\u" in line:  # half of a surrogate pair is valid JSON, but no tokenizer accepts it
                json.dumps(value, ensure_ascii=False).encode()
        except UnicodeError as error:
            raise DataError(
                f"{path}, line {number} has a character that is not Unicode: {error}", remedy=_MEND
            ) from error
        except ValueError as error:
            raise DataError(
                f"{path}, line {number} is not JSON: {getattr(error, 'msg', error)}", remedy=_MEND
            ) from error
        if not isinstance(value, dict):
            raise DataError(f"{path}, line {number}", got=type(value).__name__, allowed="a JSON object")
        yield number, value


def write_objects(path: Path, values: Iterable[Mapping[str, Any]], *, replace: bool = True) -> None:
    """Write objects as JSON lines, atomically; compressed as the name says, with xz or gzip.

    Args:
        path: The file.
        values: The objects.
        replace: If False, a file of that name that holds something else stays.

    Raises:
        OutputError: There is such a file.
    """
    with ExitStack() as opened:
        file: Any = opened.enter_context(new_file(path, replace=replace))
        if path.suffix == ".xz":
            file = opened.enter_context(lzma.open(file, "w", preset=2))
        elif path.suffix == ".gz":
            file = opened.enter_context(gzip.GzipFile(fileobj=file, mode="w", mtime=0))  # the same bytes every time
        for value in values:
            file.write((json.dumps(value, ensure_ascii=False) + "\n").encode("utf8", "replace"))


def text_of(value: dict[str, Any], key: str, path: Path, number: int) -> str:
    """A text field that must be there and must not be empty.

    Raises:
        DataError: The field is missing, not a text, or empty.
    """
    if key not in value or value[key] is None:
        raise DataError(
            f"{path}, line {number} has no field {key!r}",
            remedy="Each line needs query, code and language (code-code: code, language and group).",
        )
    text = value[key]
    if not isinstance(text, str):
        raise DataError(f"{path}, line {number}, field {key!r}", got=text, allowed="a text")
    if not text.strip():
        raise DataError(f"{path}, line {number}: field {key!r} is empty", remedy="Remove the row.")
    return text


def read_rows(
    path: Path, *, with_text: bool = True, with_group: bool = False, languages: tuple[str, ...] = ()
) -> list[Row]:
    """Checked rows of a pair file without exact duplicates (white space apart).

    Args:
        path: The file.
        with_text: Each row needs a text.
        with_group: Each row needs a group.
        languages: Keep these only; empty keeps all.

    Raises:
        DataError: As ``stream_rows``.
    """
    rows: dict[tuple[int, int], Row] = {}
    for row in stream_rows(path, with_text=with_text, with_group=with_group):
        if not languages or row.language in languages:
            rows.setdefault((key_of(row.text), key_of(row.code)), row)
    return list(rows.values())


def stream_rows(
    path: Path, *, with_text: bool = True, with_group: bool = False, text_field: str = "query"
) -> Iterator[Row]:
    """Checked rows of one pair file, one by one.

    Args:
        path: The file.
        with_text: Each row needs a text.
        with_group: Each row needs a group.
        text_field: Field that holds the text.

    Raises:
        DataError: A field is missing or empty; the message names file and line.
    """
    for number, value in read_objects(path):
        code = text_of(value, "code", path, number)
        language = text_of(value, "language", path, number)
        text = text_of(value, text_field, path, number) if with_text else ""
        group = text_of(value, "group", path, number) if with_group else (value.get("group") or "")
        yield Row(
            text=text,
            code=code,
            language=language,
            kind=kind if isinstance(kind := value.get("kind"), str) else "",
            group=str(group),
            name=str(value.get("func") or "").rsplit(".", 1)[-1],
            path=_path(value),
            negatives=_negatives(value, path, number),
        )


_BLOB = re.compile(r"/blob/[^/]+/([^#?]+)")


def _path(value: dict[str, Any]) -> str:
    found = _BLOB.search(str(value.get("url") or ""))
    return str(value.get("path") or "") or (found[1] if found else "")


def _negatives(value: dict[str, Any], path: Path, number: int) -> tuple[str, ...]:
    negatives = value.get("negatives") or []
    if not isinstance(negatives, list) or not all(isinstance(code, str) and code.strip() for code in negatives):
        raise DataError(f"{path}, line {number}, field 'negatives'", got=negatives, allowed="a list of codes")
    return tuple(negatives)
