"""Rows that copy a row of an evaluation set: exact, renamed, near, or inside a longer text.

In: rows, and files or folders of evaluation sets. Out: for each copy its reason and the evaluation row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mose.data.curate.near_pairs import GramTable, near_pairs
from mose.data.curate.stage import Fate
from mose.data.mine.manifest import held_out_name
from mose.data.near_copies import NearCopies, shingles
from mose.data.pairs import key_of, read_objects
from mose.data.rename import renamed_form
from mose.errors import DataError
from mose.json_reading import read_json
from mose.progress import ProgressCallback, no_progress

HELD_OUT = "source of a held-out repository"
SAME_CODE = "code of an evaluation row"
SAME_QUERY = "query of an evaluation row"
RENAMED = "renamed copy of an evaluation row"
NEAR = "near copy of an evaluation row"
INSIDE = "an evaluation row inside"

_CODES = ("code",)
_QUERIES = ("query", "intent", "problem_statement")
_MIN_QUERY_WORDS = 4
_MIN_RENAMED_TOKENS = 60
"""Shorter codes, such as "lock, return a field" in Go, are alike by chance (13 of 293,657 mined rows at 30)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRow:
    """Texts of one row of an evaluation set."""

    where: str
    """File and line, or number of the question."""
    code: str
    query: str


def evaluation_files(paths: Iterable[Path]) -> list[Path]:
    """Files as named, and those of folders: JSON lines whose names do not say "train", and JSON with questions.

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
            if "train" not in file.name and not any(part in ("mined", "parts") for part in file.parts)
        ]  # fmt: skip
        if not inside:
            raise DataError("evaluation sets", got=str(path), allowed="a file or a folder of JSON lines",
                            remedy="Name the folder DATA of docs/data.md, or single files.")  # fmt: skip
        found += sorted(inside)
    return found


def read_evaluation(files: Iterable[Path]) -> Iterator[EvaluationRow]:
    """Rows of evaluation sets: fields ``code``, and ``query``, ``intent`` and ``problem_statement``.

    Raises:
        DataError: A file is faulty.
    """
    for file in files:
        name = f"{file.parent.name}/{file.name}"
        for number, value in _objects(file):
            code = next((value[key] for key in _CODES if isinstance(value.get(key), str)), "")
            for at, key in enumerate(_QUERIES):
                query = value.get(key) if isinstance(value.get(key), str) else ""
                if query or not at:
                    yield EvaluationRow(where=f"{name}:{number}", code=code if not at else "", query=query or "")


def _objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if file.suffix != ".json":
        yield from read_objects(file)
        return
    value = read_json(file)
    rows = value.get("queries", []) if isinstance(value, dict) else value
    for number, row in enumerate(rows if isinstance(rows, list) else [], start=1):
        if isinstance(row, dict):
            yield number, row


def find_copies(
    rows: Sequence[Mapping[str, Any]],
    evaluation: Sequence[EvaluationRow],
    *,
    threshold: float = 0.7,
    progress: ProgressCallback = no_progress,
) -> dict[int, Fate]:
    """Rows that an evaluation must not have been trained on, with the first reason that holds.

    Args:
        rows: With ``code`` and ``query``; with ``source``, the repository must not be held out either.
        evaluation: The sets.
        threshold: Jaccard similarity of runs of five characters (near) and share of the words of the smaller code
            (inside), from which two codes are copies.
        progress: Called with the progress so far.

    Returns:
        Number of the row -> its fate.
    """
    codes = [row for row in evaluation if row.code.strip()]
    known = {key_of(row.code): row.where for row in reversed(codes)}
    renamed = {key: row.where for row in reversed(codes) if (key := _renamed_key(row.code))}
    queries = {
        query_key(row.query): row.where
        for row in reversed(evaluation) if len(row.query.split()) >= _MIN_QUERY_WORDS
    }  # fmt: skip
    inside = NearCopies(threshold, contained=True)
    for known_row in codes:
        inside.add(shingles(known_row.code))
    texts = [str(row.get("code") or "") for row in rows]
    near = _near(codes, texts, threshold, progress)
    found: dict[int, Fate] = {}
    for number, (row, code) in enumerate(zip(rows, texts, strict=True)):
        source = str(row.get("source") or row.get("package") or "")
        if held_out_name(source.rpartition(":")[2]):
            found[number] = Fate(reason=HELD_OUT)
        elif key_of(code) in known:
            found[number] = Fate(reason=SAME_CODE, copy_of=known[key_of(code)])
        elif query_key(str(row.get("query") or "")) in queries:
            found[number] = Fate(reason=SAME_QUERY, copy_of=queries[query_key(row["query"])])
        elif _renamed_key(code) in renamed:
            found[number] = Fate(reason=RENAMED, copy_of=renamed[_renamed_key(code)])
        elif number in near:
            found[number] = Fate(reason=NEAR, copy_of=codes[near[number]].where)
        elif inside.has_near(shingles(code)):
            found[number] = Fate(reason=INSIDE)
    return found


def query_key(query: str) -> int:
    """Hash of a question; case, white space and the last sign do not matter."""
    return key_of(query.casefold().rstrip(".!?"))


def count_reasons(found: Mapping[int, Fate]) -> dict[str, int]:
    """Number of copies by reason, most frequent first."""
    return dict(Counter(fate.reason for fate in found.values()).most_common())


def _near(
    codes: Sequence[EvaluationRow], texts: Sequence[str], threshold: float, progress: ProgressCallback
) -> dict[int, int]:
    """Number of a text -> number of the first evaluation code that it is near."""
    if not codes:
        return {}
    table = GramTable([*(row.code for row in codes), *texts])
    pairs = near_pairs(table, threshold, reference=len(codes), progress=progress)
    return {second - len(codes): first for first, second in reversed(pairs.tolist())}


def _renamed_key(code: str) -> int:
    form = renamed_form(code)
    return key_of(form) if len(form.split()) >= _MIN_RENAMED_TOKENS else 0
