"""Copies: files that repeat others of the tree.

Packages keep a former version of themselves in a folder inside (``pydantic/v1/fields.py`` beside
``pydantic/fields.py``); who searches wants the one above. A file is taken for a copy if one of the same name in a
folder above defines half of its names, or if half of the files in its folder have a namesake in the folder above.

What a build leaves behind (``dist/cjs/Observable.js`` beside ``src/Observable.ts``) repeats its source in another
language or dialect: the folder's name says so, and the source is in the tree.
"""

from __future__ import annotations

import re
from weakref import WeakKeyDictionary

from mose.search.chunking.names import bare_names
from mose.search.store.records import ChunkTable

_BUILT = re.compile(r"(?:^|/)(?:dist|build|out|output|target|_build|bundles?|umd|cjs|esm?\d*|lib)/", re.IGNORECASE)


_VERSION = re.compile(r"(?:^|(?<=/))v(\d{1,4})(?=/)")


class _Copies:
    """What has been found out about the files of one table."""

    def __init__(self, table: ChunkTable) -> None:
        self.row_of = {path: row for row, path in enumerate(table.paths)}
        self.originals: dict[int, str] = {}
        self.files_of: dict[str, list[str]] = {}
        self.sources: dict[str, list[str]] = {}
        """Files that no build wrote, by their stem."""
        self.outputs: dict[str, bool] = {}
        """Folders by the names of what builds write: whether most of what is in them has a source."""
        self.newest: dict[str, int] = {}
        """The highest version among the folders ``v1``, ``v2``, ... of a folder."""
        for path in table.paths:
            for version in _VERSION.finditer(path):
                parent = path[: version.start()]
                self.newest[parent] = max(self.newest.get(parent, 0), int(version[1]))
            folder, _, name = path.rpartition("/")
            self.files_of.setdefault(folder, []).append(name)
            if _BUILT.search(path) is None:
                self.sources.setdefault(_stem(name), []).append(path)

    def names(self, table: ChunkTable, row: int) -> set[str]:
        return {name for chunk in table.rows_of_file(row).tolist() for name in bare_names(table.defined[chunk])}


_known: WeakKeyDictionary[ChunkTable, _Copies] = WeakKeyDictionary()


def original_of(table: ChunkTable, file_row: int) -> str:
    """Path of what a file repeats: another file, or the folder that its own folder repeats; "" if it is no copy.

    Args:
        table: All chunks of the index.
        file_row: The file, as a row of ``table.paths``.
    """
    copies = _of(table)
    answer = copies.originals.get(file_row)
    if answer is None:
        answer = copies.originals[file_row] = _former(table, copies, file_row) or _built(table, copies, file_row)
    return answer


def older_version(table: ChunkTable, file_row: int) -> str:
    """The folder of a file, such as "v1", if there is one of a newer version beside it; "" if not.

    Args:
        table: All chunks of the index.
        file_row: The file, as a row of ``table.paths``.
    """
    path = table.paths[file_row]
    for version in _VERSION.finditer(path):
        if int(version[1]) < _of(table).newest[path[: version.start()]]:
            return version[0]
    return ""


def _of(table: ChunkTable) -> _Copies:
    copies = _known.get(table)
    if copies is None:
        copies = _known[table] = _Copies(table)
    return copies


def _former(table: ChunkTable, copies: _Copies, file_row: int) -> str:
    folder, _, name = table.paths[file_row].rpartition("/")
    if _repeats_parent(copies, folder):
        parent = folder.rpartition("/")[0]
        namesake = f"{parent}/{name}" if parent else name
        return namesake if namesake in copies.row_of else parent or "."
    own: set[str] | None = None
    while folder:
        folder = folder.rpartition("/")[0]
        path = f"{folder}/{name}" if folder else name
        above = copies.row_of.get(path)
        if above is None:
            continue
        if own is None:
            own = copies.names(table, file_row)
        if len(own) >= 2 and 2 * len(own & copies.names(table, above)) >= len(own):
            return path
    return ""


def _repeats_parent(copies: _Copies, folder: str) -> bool:
    """True if half of a folder's files, and more than a few, have a namesake in the folder above."""
    if not folder:
        return False
    above = set(copies.files_of.get(folder.rpartition("/")[0], ()))
    own = [name for name in copies.files_of[folder] if name.split(".", 1)[0] not in _EVERYWHERE]
    return len(own) >= _MIN_FILES and 2 * sum(name in above for name in own) >= len(own)


def _built(table: ChunkTable, copies: _Copies, file_row: int) -> str:
    """The source of a file in a folder for what a build writes; its root where most of what is in there has one."""
    path = table.paths[file_row]
    output = _BUILT.search(path)
    if output is None:
        return ""
    source = _source(table, copies, file_row)
    if source:
        return source
    root = path[: output.end()]
    if root not in copies.outputs:
        inside = [row for row, other in enumerate(table.paths) if other.startswith(root)][:_MAX_SAMPLE]
        copies.outputs[root] = 2 * sum(bool(_source(table, copies, row)) for row in inside) >= len(inside) > 1
    return root.rstrip("/") if copies.outputs[root] else ""


def _source(table: ChunkTable, copies: _Copies, file_row: int) -> str:
    """The file outside of build folders that has the same stem and half of the names."""
    folder, _, name = table.paths[file_row].rpartition("/")
    namesakes = copies.sources.get(_stem(name), ())
    if not namesakes:
        return ""
    own = copies.names(table, file_row)
    parent = [folder.rpartition("/")[2]]
    for source in sorted(namesakes, key=lambda source: source.split("/")[-2:-1] != parent):
        theirs = copies.names(table, copies.row_of[source])
        fewer = min(len(own), len(theirs))
        if 2 * len(own & theirs) >= fewer if fewer else source.split("/")[-2:-1] == parent:
            return source
    return ""


def _stem(name: str) -> str:
    return name.partition(".")[0]


_EVERYWHERE = frozenset({"__init__", "__main__", "index", "mod", "package", "package-info", "Makefile", "README"})
_MIN_FILES = 4
_MAX_SAMPLE = 60
