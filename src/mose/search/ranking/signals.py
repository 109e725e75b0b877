"""What a reader of code would look at, for every candidate: names, paths, and what kind of file it is.

Nothing here depends on vectors, so it is computed once a search.

Shapes: N chunks, C candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mose.search.chunking.names import TOP, DefinedName, bare_names
from mose.search.query import Query, name_parts
from mose.search.ranking.file_facts import facts_of
from mose.search.ranking.matching import Matcher
from mose.search.ranking.path_factors import FACADE_FACTOR, OLDER_FACTOR
from mose.search.store.records import ChunkTable
from mose.words import split_words

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


PRECISION = 0.75
"""How much a file's name loses by words that the query does not say: all of it at 1."""
CLEARLY = 0.5
"""Strength from which a definition may be the one that is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """One value a candidate each, 0 to 1."""

    definition: Floats  # [C] defines a name of the query
    path: Floats  # [C] words of the query in the names of file and folder
    symbol: Floats  # [C] words of the query in the names that the chunk defines
    asked: Floats  # [C] stands in the file, or on the line, that the query names
    factor: Floats  # [C] below 1 for files that are seldom meant


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Chunks that a query points at, by row of the chunk table, each with a strength up to 1."""

    defined: Mapping[int, float]
    """They define a name of it."""
    pointed: Mapping[int, float]
    """They stand in the file, or on the line, that it names."""


def read_evidence(query: Query, table: ChunkTable) -> Evidence:
    """What a query names that the tree has."""
    return Evidence(defined=definitions_of(query, table), pointed=asked_rows(query, table) if query.path else {})


def read_signals(query: Query, table: ChunkTable, rows: Rows, evidence: Evidence | None = None) -> Signals:
    """Signals of candidates.

    Args:
        query: What was asked.
        table: All chunks of the index.
        rows: Candidates, as rows of the table [C].
        evidence: What the query names, where it is known already.
    """
    evidence = evidence or read_evidence(query, table)
    listed = rows.tolist()
    row_of_file = table.file_row[rows]
    files = sorted(set(row_of_file.tolist()))
    facts = facts_of(table, files)
    file_at = np.searchsorted(files, row_of_file)  # [C], into files and facts
    path = symbol = np.zeros(len(rows), dtype=np.float32)
    if query.words:
        defined = [_defined_words(table.defined[row]) for row in listed]
        matcher = Matcher(query.words, frozenset().union(*defined, *(words for file in facts for words in file.words)))
        path = np.array([_path_signal(matcher, *file.words) for file in facts], dtype=np.float32)[file_at]
        symbol = np.array([matcher.share(matcher.bits(words)) for words in defined], dtype=np.float32)
    said = {"", *query.text.lower().split()}
    by_file = [file.factor * (1.0 if file.version in said else OLDER_FACTOR) for file in facts]
    factor = np.array(by_file, dtype=np.float32)[file_at]
    for position in np.flatnonzero(np.array([file.is_facade for file in facts], dtype=np.bool_)[file_at]).tolist():
        if table.kind[listed[position]] not in ("module", "text"):
            factor[position] /= FACADE_FACTOR  # this part of it defines something
    asked = strengths(evidence.pointed, listed)
    factor[asked > 0] = 1.0  # whoever names a file means it, be it a test or not
    definition = strengths(evidence.defined, listed)
    if query.is_name:
        factor = _lifted(factor, definition)
    return Signals(definition=definition, path=path, symbol=symbol, asked=asked, factor=factor)


def _lifted(factor: Floats, definition: Floats) -> Floats:
    """Factors of candidates for a name: one that only tests, copies or the like define is meant there."""
    highest = factor[definition >= CLEARLY].max(initial=0.0)
    return np.where((definition > 0) & (highest > 0), np.minimum(factor / max(highest, 1e-9), 1.0), factor)


def strengths(found: Mapping[int, float], rows: list[int]) -> Floats:
    """How strongly each row is named, 0 where it is not."""
    return np.array([found.get(row, 0.0) for row in rows] if found else np.zeros(len(rows)), dtype=np.float32)


def _path_signal(matcher: Matcher, own: frozenset[str], folder: frozenset[str]) -> float:
    """How much of the query a file's name says, less where it says much besides; and half of that for its folder."""
    in_name = matcher.bits(own)
    in_folder = matcher.bits(folder) & ~in_name
    said = 1 - PRECISION * (1 - matcher.explained(own)) if in_name else 0.0
    return said * matcher.share(in_name) + 0.5 * matcher.share(in_folder)


@lru_cache(maxsize=200_000)
def _defined_words(defined: str) -> frozenset[str]:
    return frozenset(word for name in bare_names(defined) for word in split_words(name))


def definitions_of(query: Query, table: ChunkTable) -> dict[int, float]:
    """Rows of the chunks that define a name of the query, and how well each answers it."""
    found: dict[int, float] = {}
    is_spelled_out = _is_spelled_out(query, table)
    for name in query.names:
        *leading, last = name_parts(name)
        for row in table.rows_defining(last):
            path = table.paths[table.file_row[row]]
            strength = max(
                _strength(own, leading, last, path, is_spelled_out)
                for own in table.names_of(row)
                if own.name.lower() == last.lower()
            )
            found[row] = max(found.get(row, 0.0), strength)
    if is_spelled_out and found:  # whoever spells a name out means it, be it only a member
        best = max(found.values())
        found = {row: strength / best for row, strength in found.items()}
    return found


def _is_spelled_out(query: Query, table: ChunkTable) -> bool:
    """Whether the query is a name and can be nothing else: a plain word may be a file or a folder of the tree."""
    return query.is_symbol or (query.text in query.names and query.text.lower() not in table.path_names)


def best_definition(query: Query, names: tuple[DefinedName, ...], path: str) -> DefinedName | None:
    """The name among those of one chunk that answers the query best, of equals one in its case; None if none does."""
    best: tuple[float, bool, DefinedName | None] = (0.0, False, None)
    for name in query.names:
        *leading, last = name_parts(name)
        for own in names:
            if own.name.lower() == last.lower():
                found = _strength(own, leading, last, path, query.is_symbol), own.name == last, own
                best = max(best, found, key=lambda strength: strength[:2])
    return best[2]


def _strength(own: DefinedName, leading: list[str], last: str, path: str, is_spelled_out: bool) -> float:
    """1 for the declaration of just that name at the top level; less for members, and for another case.

    What stands before the last part of a name may be a class around it, a namespace, or a file or folder.
    """
    strength = 1.0 if own.level == TOP else 0.5
    if leading:
        around = {part.lower() for part in (*name_parts(own.qualifier), *path.replace(".", "/").split("/"))}
        strength = 1.0 if all(part.lower() in around for part in leading) else strength / 2
    if own.name == last:
        return strength
    return strength / 8 if is_spelled_out or not last.islower() else strength / 2  # capitals are typed on purpose


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
    namesakes = table.files_named(asked.rpartition("/")[2])
    rows = [row for row in namesakes if ("/" + lower[row]).endswith("/" + asked)]
    if not rows and "/" in asked:  # the path from somewhere above the tree
        above = [row for row in namesakes if asked.endswith("/" + lower[row])]
        rows = sorted(above, key=lambda row: -len(lower[row]))[:1]
    exact = [row for row in rows if table.paths[row].endswith(path)]
    rows = sorted(exact or rows, key=lambda row: (lower[row].count("/"), row))[:_MAX_NAMESAKES]
    return {row: 1.0 if lower[row] == asked or len(rows) == 1 else 0.8 for row in rows}
