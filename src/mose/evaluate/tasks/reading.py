"""Task files, read and checked: every complaint names file and line.

In: JSON lines, a JSON document, or tab-separated columns. Out: sides of a task whose ids are unique and whose
texts are not empty. What stands in a file is passed on with its *place*, "FILE, line N", for whoever finds
fault with it.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Literal

from mose.data.pairs import open_text, read_objects
from mose.errors import DataError
from mose.evaluate.tasks.values import RetrievalTask, Texts
from mose.parsing import parse_json

_PACKED = ("", ".gz", ".xz")


def find(folder: Path, name: str) -> Path | None:
    """The file ``name`` in a folder, plain or packed; None if there is none."""
    return next((path for ending in _PACKED if (path := folder / f"{name}{ending}").is_file()), None)


def need(folder: Path, name: str) -> Path:
    """The file ``name`` in a folder, plain or packed.

    Raises:
        DataError: It is not there.
    """
    path = find(folder, name)
    if path is None:
        raise DataError(
            f"{folder} has no file {name}",
            allowed=", ".join(f"{name}{ending}" for ending in _PACKED),
            remedy="Fetch the missing file, or take the folder away: a set is complete or not there.",
        )
    return path


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line that is not blank.

    Raises:
        DataError: The file is missing, damaged, or not UTF-8.
    """
    number = 0
    try:
        with open_text(path) as text:
            for number, line in enumerate(text, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except (UnicodeDecodeError, EOFError, lzma.LZMAError, OSError) as error:
        raise DataError(f"{path} cannot be read after line {number}: {error}", remedy="Fetch it again.") from error


def objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and object of each line of a JSON-lines file.

    Raises:
        DataError: The file is missing or damaged, or a line is no JSON object.
    """
    number = 0
    try:
        for number, value in read_objects(path):
            yield f"{path}, line {number}", value
    except (UnicodeDecodeError, EOFError, lzma.LZMAError, OSError) as error:
        raise DataError(f"{path} cannot be read after line {number}: {error}", remedy="Fetch it again.") from error


def document(path: Path) -> Any:
    """The value of a file that is one JSON document.

    Raises:
        DataError: The file is missing, damaged or not JSON.
    """
    text = "\n".join(line for _, line in lines(path))
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno} is not JSON: {error.msg}") from error


def columns(path: Path, names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Place and cells of a tab-separated file; a first line that repeats ``names`` is a header.

    Raises:
        DataError: The file is missing or damaged, or a line has another number of cells.
    """
    for number, line in lines(path):
        cells = line.split("\t")
        if len(cells) != len(names):
            raise DataError(f"{path}, line {number}", got=line, allowed=f"{', '.join(names)}, parted by tabs")
        if number > 1 or cells != list(names):
            yield f"{path}, line {number}", cells


def first_object(path: Path | None) -> dict[str, Any]:
    """The first object of a JSON-lines file, to tell a format by; empty if there is none."""
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
        raise DataError(f"{where} has no field {name!r}", got=sorted(value))
    found = value[name]
    if isinstance(found, list) and all(isinstance(token, str) for token in found):
        found = " ".join(found)
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str):
        raise DataError(f"{where}, field {name!r}", got=found, allowed="a text")
    if not found.strip():
        raise DataError(f"{where}: field {name!r} is empty", remedy="Drop the row.")
    return found


class Side:
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
        """A further text; its row number comes back.

        Raises:
            DataError: The id stands there already.
        """
        if identity in self._rows:
            raise DataError(f"{where}: an id stands twice", got=identity, remedy="Drop one of the rows.")
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
            raise DataError(f"{where}: refers to an unknown id", got=identity)
        return self._rows[identity]

    def done(self) -> Texts:
        """The side, complete."""
        return Texts(
            ids=tuple(self._rows), texts=tuple(self._texts), languages=tuple(self._languages), kind=self._kind
        )  # fmt: skip


def build_task(
    name: str,
    folder: Path,
    protocol: str,
    queries: Side,
    corpus: Side,
    relevant: Sequence[AbstractSet[int]],
    *,
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
        queries=queries.done(),
        corpus=corpus.done(),
        relevant=tuple(frozenset(rows) for rows in relevant),
        excluded=excluded,
        metric=metric,
    )
