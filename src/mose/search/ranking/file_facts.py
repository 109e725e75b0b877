"""What ranking knows of a file whatever is asked: worked out when it first matters, kept with the chunk table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from mose.languages import is_documentation
from mose.search.ranking.copies import older_version, original_of
from mose.search.ranking.path_factors import GENERATED_FACTOR, is_package_facade, path_factor, path_words
from mose.search.store.records import ChunkTable

COPY_FACTOR = 0.5
"""For files that repeat another one of the tree."""


class FileFacts(NamedTuple):
    """What is known of one file."""

    words: tuple[frozenset[str], frozenset[str]]  # of its name, and of its folder's
    factor: float  # below 1 for files that are seldom meant
    version: str  # its folder, such as "v1", if there is a newer one beside it; "" if not
    is_facade: bool  # the file that every package has
    is_prose: bool  # documentation, or templates for those who report and contribute


_known: WeakKeyDictionary[ChunkTable, dict[int, FileFacts]] = WeakKeyDictionary()


def facts_of(table: ChunkTable, files: Sequence[int]) -> list[FileFacts]:
    """What is known of some files."""
    known = _known.setdefault(table, {})
    return [known.get(row) or known.setdefault(row, _read(table, row)) for row in files]


def _read(table: ChunkTable, row: int) -> FileFacts:
    path = table.paths[row]
    return FileFacts(
        words=path_words(path),
        factor=path_factor(path, table.languages[row])
        * (COPY_FACTOR if original_of(table, row) else 1.0)
        * (GENERATED_FACTOR if table.generated[row] else 1.0),
        version=older_version(table, row),
        is_facade=is_package_facade(path),
        is_prose=is_documentation(path) or path.startswith(".github/"),
    )
