"""What a reader of code would look at, for every candidate: names, paths, and what kind of file it is.

Nothing here depends on vectors, so it is computed once a search.

Shapes: N chunks, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mose.search.chunking.names import TOP, DefinedName, bare_names
from mose.search.query import Query, name_parts
from mose.search.ranking.copies import older_version, original_of
from mose.search.ranking.matching import Matcher
from mose.search.ranking.paths import (
    FACADE_FACTOR,
    GENERATED_FACTOR,
    OLDER_FACTOR,
    is_package_facade,
    path_factor,
    path_words,
)
from mose.search.store.records import ChunkTable
from mose.words import split_words

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


PRECISION = 0.75
"""How much a file's name loses by words that the query does not say: all of it at 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """One value a candidate each, 0 to 1."""

    definition: Floats  # [C] defines a name of the query
    path: Floats  # [C] words of the query in the names of file and folder
    symbol: Floats  # [C] words of the query in the names that the chunk defines
    asked: Floats  # [C] stands in the file, or on the line, that the query names
    factor: Floats  # [C] below 1 for files that are seldom meant


def read_signals(query: Query, table: ChunkTable, rows: Rows) -> Signals:
    """Signals of candidates.

    Args:
        query: What was asked.
        table: All chunks of the index.
        rows: Candidates, as rows of the table [C].
    """
    files = table.file_row[rows]
    definition = np.zeros(len(rows), dtype=np.float32)
    asked = np.zeros(len(rows), dtype=np.float32)
    path = symbol = np.zeros(len(rows), dtype=np.float32)
    if query.names:
        strengths = definitions_of(query, table)
        definition = np.array([strengths.get(row, 0.0) for row in rows.tolist()], dtype=np.float32)
    if query.path:
        chosen = asked_rows(query, table)
        asked = np.array([chosen.get(row, 0.0) for row in rows.tolist()], dtype=np.float32)
    if query.words:
        matcher = Matcher(query.words)
        path = _path_signal(matcher, table, files)
        symbol = _symbol_signal(matcher, table, rows)
    factor = _factors(query, table, files)
    for position, row in enumerate(rows.tolist()):
        if asked[position] > 0:
            factor[position] = 1.0  # whoever names a file means it, be it a test or not
        elif is_package_facade(table.paths[files[position]]) and table.kind[row] not in ("module", "text"):
            factor[position] /= FACADE_FACTOR  # this part of it defines something
    return Signals(definition=definition, path=path, symbol=symbol, asked=asked, factor=factor)


def _path_signal(matcher: Matcher, table: ChunkTable, files: NDArray[np.int32]) -> Floats:
    """How much of the query a file's name says, less where it says much besides; and half of that for its folder."""
    by_file: dict[int, float] = {}
    for row in set(files.tolist()):
        own, folder = path_words(table.paths[row])
        in_name = matcher.bits(own)
        in_folder = matcher.bits(folder) & ~in_name
        said = 1 - PRECISION * (1 - matcher.explained(own)) if in_name else 0.0
        by_file[row] = said * matcher.share(in_name) + 0.5 * matcher.share(in_folder)
    return np.array([by_file[row] for row in files.tolist()], dtype=np.float32)


@lru_cache(maxsize=200_000)
def _defined_words(defined: str) -> frozenset[str]:
    return frozenset(word for name in bare_names(defined) for word in split_words(name))


def _symbol_signal(matcher: Matcher, table: ChunkTable, rows: Rows) -> Floats:
    defined = table.defined
    shares = [matcher.share(matcher.bits(_defined_words(defined[row]))) if defined[row] else 0.0 for row in rows]
    return np.array(shares, dtype=np.float32)


def definitions_of(query: Query, table: ChunkTable) -> dict[int, float]:
    """Rows of the chunks that define a name of the query, and how well each answers it."""
    found: dict[int, float] = {}
    for name in query.names:
        *leading, last = name_parts(name)
        for row in table.rows_defining(last):
            path = table.paths[table.file_row[row]]
            strength = max(
                _strength(own, leading, last, path) for own in table.names_of(row) if own.name.lower() == last.lower()
            )
            found[row] = max(found.get(row, 0.0), strength)
    if query.is_symbol and found:  # whoever spells a name out means it, be it only a member
        best = max(found.values())
        found = {row: strength / best for row, strength in found.items()}
    return found


def best_definition(query: Query, names: tuple[DefinedName, ...], path: str) -> DefinedName | None:
    """The name among those of one chunk that answers the query best; None if none does."""
    best: tuple[float, DefinedName | None] = (0.0, None)
    for name in query.names:
        *leading, last = name_parts(name)
        for own in names:
            if own.name.lower() == last.lower():
                best = max(best, (_strength(own, leading, last, path), own), key=lambda pair: pair[0])
    return best[1]


def _strength(own: DefinedName, leading: list[str], last: str, path: str) -> float:
    """1 for the declaration of just that name at the top level; less for members, and for another case.

    What stands before the last part of a name may be a class around it, a namespace, or a file or folder.
    """
    strength = 1.0 if own.level == TOP else 0.5
    if leading:
        around = {part.lower() for part in (*name_parts(own.qualifier), *path.replace(".", "/").split("/"))}
        strength = 1.0 if all(part.lower() in around for part in leading) else strength / 2
    if own.name == last:
        return strength
    return strength / 2 if last.islower() else strength / 8  # capitals are typed on purpose


def asked_rows(query: Query, table: ChunkTable) -> dict[int, float]:
    """Rows of the chunks in the file that the query names, or on its line; the exact path outranks its namesakes."""
    found: dict[int, float] = {}
    for path_row, strength in _asked_files(query.path, table).items():
        rows = table.rows_of_file(path_row)
        if query.line is not None and len(rows):
            if query.line <= table.last_line[rows].max():
                found[_nearest(query.line, table, rows)] = strength
                continue
            strength /= 2  # a namesake may have that line
        found.update(dict.fromkeys(rows.tolist(), strength))
    return found


def _nearest(line: int, table: ChunkTable, rows: Rows) -> int:
    """The smallest chunk that holds the line, or the next one if it is a blank line between two."""
    first, last = table.first_line[rows], table.last_line[rows]
    return int(rows[np.lexsort((last - first, np.maximum(first - line, 0), last < line))[0]])


_MAX_NAMESAKES = 20


def _asked_files(path: str, table: ChunkTable) -> dict[int, float]:
    asked = path.lower()
    lower = table.lower_paths
    rows = [
        row for row, own in enumerate(lower) if own.endswith(asked) and own[-len(asked) - 1 : -len(asked)] in ("", "/")
    ]
    if not rows and "/" in asked:  # the path from somewhere above the tree
        above = [row for row, own in enumerate(lower) if asked.endswith("/" + own)]
        rows = sorted(above, key=lambda row: -len(lower[row]))[:1]
    exact = [row for row in rows if table.paths[row].endswith(path)]
    rows = sorted(exact or rows, key=lambda row: (lower[row].count("/"), row))[:_MAX_NAMESAKES]
    return {row: 1.0 if lower[row] == asked or len(rows) == 1 else 0.8 for row in rows}


def _factors(query: Query, table: ChunkTable, files: NDArray[np.int32]) -> Floats:
    said = set(query.text.lower().split())
    by_file = {
        row: path_factor(table.paths[row], table.languages[row])
        * (0.5 if original_of(table, row) else 1.0)
        * (GENERATED_FACTOR if table.generated[row] else 1.0)
        * (1.0 if older_version(table, row) in {"", *said} else OLDER_FACTOR)
        for row in set(files.tolist())
    }
    return np.array([by_file[row] for row in files.tolist()], dtype=np.float32)
