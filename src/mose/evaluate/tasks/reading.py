"""Read and check task files: every error names file and line.

In: JSON lines, a JSON document, or tab-separated columns. Out: tasks whose ids are unique and whose texts are not
empty. Values come with their *location*, "FILE, line N", for error messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Literal

from mose.data.pairs import read_lines, read_objects
from mose.errors import DataError
from mose.evaluate.tasks.values import RetrievalTask, Texts
from mose.json_reading import parse_json

MEND = "Fetch the file again, or correct it."
_PACKED = ("", ".gz", ".xz")


def find(folder: Path, name: str) -> Path | None:
    """The file ``name`` in a folder, plain or compressed; None if there is none."""
    return next((path for ending in _PACKED if (path := folder / f"{name}{ending}").is_file()), None)


def need(folder: Path, name: str) -> Path:
    """The file ``name`` in a folder, plain or compressed.

    Raises:
        DataError: There is no such file.
    """
    path = find(folder, name)
    if path is None:
        raise DataError(
            f"{folder} has no file {name}",
            allowed=", ".join(f"{name}{ending}" for ending in _PACKED),
            remedy="Fetch the missing file, or remove the folder.",
        )
    return path


def objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Location and object of each line of a JSON-lines file.

    Raises:
        DataError: The file is missing or damaged, or a line is not a JSON object.
    """
    for number, value in read_objects(path):
        yield f"{path}, line {number}", value


def document(path: Path) -> Any:
    """The value of a file that is one JSON document.

    Raises:
        DataError: The file is missing, damaged or not JSON.
    """
    try:
        return parse_json("".join(line for _, line in read_lines(path)))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno} is not JSON: {error.msg}", remedy=MEND) from error


def columns(path: Path, names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Location and cells of each line of a tab-separated file; a first line that repeats ``names`` is a header.

    Raises:
        DataError: The file is missing or damaged, or a line has another number of cells.
    """
    for number, line in read_lines(path):
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) != len(names):
            raise DataError(f"{path}, line {number}", got=line.rstrip(), allowed=f"{', '.join(names)}, tab-separated")
        if number > 1 or cells != list(names):
            yield f"{path}, line {number}", cells


def first_object(path: Path | None) -> dict[str, Any]:
    """The first object of a JSON-lines file, to detect a format by; empty if there is none."""
    try:
        return next(objects(path), ("", {}))[1] if path else {}
    except DataError:
        return {}


def text_in(value: dict[str, Any], name: str, where: str) -> str:
    """A field's text: a string, a number (ids often are), or a list of tokens, joined by spaces.

    Raises:
        DataError: It is missing, empty, or of another kind.
    """
    if value.get(name) is None:
        raise DataError(f"{where} has no field {name!r}", got=sorted(value), remedy=MEND)
    found = value[name]
    if isinstance(found, list) and all(isinstance(token, str) for token in found):
        found = " ".join(found)
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str):
        raise DataError(f"{where}, field {name!r}", got=found, allowed="a text")
    if not found.strip():
        raise DataError(f"{where}: field {name!r} is empty", remedy="Remove the row.")
    return found


def texts_in(value: dict[str, Any], where: str, *names: str) -> Iterator[str]:
    """``text_in`` of several fields."""
    return (text_in(value, name, where) for name in names)


class TextsBuilder:
    """One side of a task while it is read.

    Args:
        kind: Template that an encoder puts the texts in.
    """

    def __init__(self, kind: Literal["query", "code"]) -> None:
        self._kind: Literal["query", "code"] = kind
        self._rows: dict[str, int] = {}
        self._texts: list[str] = []
        self._languages: list[str] = []

    def __len__(self) -> int:
        return len(self._texts)

    def __contains__(self, identity: str) -> bool:
        return identity in self._rows

    def add(self, identity: str, text: str, language: str, where: str) -> int:
        """Add a text; return its row number.

        Raises:
            DataError: The id is a duplicate.
        """
        if identity in self._rows:
            raise DataError(f"{where}: duplicate id", got=identity, remedy="Remove one of the rows.")
        self._rows[identity] = len(self._texts)
        self._texts.append(text)
        self._languages.append(language)
        return len(self._texts) - 1

    def row(self, identity: str, where: str) -> int:
        """Row number of an id that a line refers to.

        Raises:
            DataError: There is no such id.
        """
        if identity not in self._rows:
            raise DataError(f"{where}: refers to an unknown id", got=identity, remedy=MEND)
        return self._rows[identity]

    def build(self) -> Texts:
        """The finished side."""
        ids, texts, languages = tuple(self._rows), tuple(self._texts), tuple(self._languages)
        return Texts(ids=ids, texts=texts, languages=languages, kind=self._kind)


def build_task(
    name: str,
    folder: Path,
    protocol: str,
    queries: TextsBuilder,
    corpus: TextsBuilder,
    relevant: Sequence[AbstractSet[int]],
    *,
    clusters: Sequence[str] = (),
    excluded: tuple[frozenset[int], ...] = (),
    family: Literal["text-code", "code-code"] = "text-code",
    metric: str = "mrr",
) -> RetrievalTask:
    """The task, once both sides are read.

    Raises:
        DataError: It has no queries.
    """
    if not len(queries):
        raise DataError(f"{folder}: task {name} has no queries", remedy="The files hold no row for it.")
    return RetrievalTask(
        name=name,
        family=family,
        dataset=folder.name,
        protocol=protocol,
        queries=queries.build(),
        corpus=corpus.build(),
        relevant=tuple(frozenset(rows) for rows in relevant),
        clusters=tuple(clusters),
        excluded=excluded,
        metric=metric,
    )
