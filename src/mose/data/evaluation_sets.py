"""Rows of evaluation sets, whose copies must not be trained on: code and questions of files and folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mose.data.pairs import key_of, read_objects
from mose.errors import DataError
from mose.json_reading import read_json

MIN_QUERY_WORDS = 4
"""Shorter queries are the same by chance."""
_QUERIES = ("query", "intent", "problem_statement")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRow:
    """Texts of one row of an evaluation set."""

    where: str
    """File and line, or number of the question."""
    code: str
    query: str


def evaluation_files(paths: Iterable[Path]) -> list[Path]:
    """Files as named, and those of folders: JSON lines whose names do not say "train", and JSON with questions.

    A folder called "mined" in them is left out: it holds pairs to train on.

    Raises:
        DataError: A path is missing, or a folder has no such file.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_file():
            found.append(path)
            continue
        inside = [
            file for pattern in ("*.jsonl", "*.jsonl.xz", "*.jsonl.gz", "*.json") for file in path.rglob(pattern)
            if "train" not in file.name and "mined" not in file.relative_to(path).parts
        ]  # fmt: skip
        if not inside:
            raise DataError("evaluation sets", got=str(path), allowed="a file or a folder of JSON lines",
                            remedy="Name the folder DATA of docs/data.md, or single files.")  # fmt: skip
        found += sorted(inside)
    return found


def read_evaluation(files: Iterable[Path]) -> Iterator[EvaluationRow]:
    """Rows of evaluation sets: fields ``code``, and ``query``, ``intent`` and ``problem_statement``.

    Raises:
        DataError: A file is faulty, or no row of any has a code or question.
    """
    files, is_empty = list(files), True
    for file in files:
        name = f"{file.parent.name}/{file.name}"
        for number, value in _objects(file):
            code, *queries = (text if isinstance(text := value.get(key), str) else "" for key in ("code", *_QUERIES))
            is_empty = is_empty and not (code or any(queries))
            for query in dict.fromkeys(filter(None, queries)) or ("",):
                yield EvaluationRow(where=f"{name}:{number}", code=code, query=query)
                code = ""
    if files and is_empty:  # "no copy found" would be said of rows that were compared with nothing
        names = ", ".join(str(file) for file in files[:3]) + (", ..." if len(files) > 3 else "")
        raise DataError("rows of evaluation sets", got=f"none in {names}",
                        allowed=f"a field code, {', '.join(_QUERIES[:-1])} or {_QUERIES[-1]} in each row",
                        remedy="Name other files, or write theirs in this form.")  # fmt: skip


def _objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if file.suffix != ".json":
        yield from read_objects(file)
        return
    try:
        value = read_json(file)
    except ValueError as error:
        raise DataError(f"{file} is not JSON of an evaluation set ({error})",
                        remedy="Mend it, or move it out of the folder.") from error  # fmt: skip
    rows = value.get("queries", []) if isinstance(value, dict) else value
    for number, row in enumerate(rows if isinstance(rows, list) else [], start=1):
        if isinstance(row, dict):
            yield number, row


def query_key(query: str) -> int:
    """Hash of a question; case, white space and the last sign do not matter."""
    return key_of(query.casefold().rstrip(".!?"))
