"""Ranking: words and vectors fused, then what a reader of code would look at.

Every signal lies between 0 and 1 and has one weight. A chunk's score is the weighted sum of its signals,
times a factor for places that are seldom meant (tests, vendored copies, re-exports), divided by the sum of
the weights in play, so that scores lie between 0 and 1 and each hit can show its parts.

Shapes: C candidates, F files, E exits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mose import languages
from mose.search.copies import is_old_copy
from mose.search.intent import Query, last_name
from mose.search.records import ChunkTable
from mose.words import split_words

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankWeights:
    """How much each signal counts. Round numbers: the ranking is flat around them."""

    text: float = 1.0
    """Words and vectors together."""
    dense: float = 0.6
    """Share of the vectors in ``text`` for a query in words; the rest is BM25."""
    dense_symbol: float = 0.3
    """The same for a query that is one name: spelling says more than meaning."""
    dense_shallow: float = 0.5
    """The same where only exit 0 has been read."""
    definition: float = 1.5
    """The chunk defines the name that is the whole query."""
    mention: float = 0.4
    """The chunk defines a name that a longer query mentions."""
    path: float = 0.8
    """Share of the query's words found in the file's name, half of that in its folder's name."""
    symbol: float = 0.2
    """Share of the query's words found in the names that the chunk defines."""
    file: float = 0.3
    """The file has many good chunks, not one lucky one."""
    signals: bool = True
    """False for the fused text score alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Chunks that may be an answer, with what is known of each."""

    rows: NDArray[np.int64]  # [C] into the chunk table
    lexical: Floats  # [C] BM25, 0 where no word occurs
    shallow: Floats  # [C] cosine at exit 0, nan where unknown
    deep: Floats  # [C] cosine at the exit asked for, nan where unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Scores [C] in the order of the candidates, and their parts: weighted, and summing to score / ``factor``."""

    score: Floats
    is_deep: NDArray[np.bool_]
    factor: Floats
    parts: dict[str, Floats] = field(default_factory=dict)


def rank(query: Query, table: ChunkTable, candidates: Candidates, weights: RankWeights | None = None) -> Ranking:
    """Scores of all candidates.

    A candidate whose deep vector is known is scored by it; the others are scored by exit 0 and placed
    below, for the two cosines cannot be compared.

    Args:
        query: What was asked.
        table: All chunks of the index.
        candidates: Those to score.
        weights: How much each signal counts.
    """
    weights = weights or RankWeights()
    is_deep = np.isfinite(candidates.deep)
    share = weights.dense_symbol if query.is_symbol else weights.dense
    deep = _score(query, table, candidates, candidates.deep, share, weights)
    if is_deep.all():
        return deep
    shallow_known = np.isfinite(candidates.shallow).any()
    share = min(share, weights.dense_shallow) if shallow_known else 0.0
    shallow = _score(query, table, candidates, candidates.shallow, share, weights)
    if not is_deep.any():
        return shallow
    below = np.float32(deep.score[is_deep].min() / max(float(shallow.score[~is_deep].max()), 1e-9))
    below = np.float32(0.999) * min(below, np.float32(1.0))
    return Ranking(
        score=np.where(is_deep, deep.score, shallow.score * below),
        is_deep=is_deep,
        factor=deep.factor,
        parts={name: np.where(is_deep, part, shallow.parts[name] * below) for name, part in deep.parts.items()},
    )


def _score(
    query: Query,
    table: ChunkTable,
    candidates: Candidates,
    cosine: Floats,
    dense_share: float,
    weights: RankWeights,
) -> Ranking:
    files = table.file_row[candidates.rows]
    # The root lifts the middle: training on contrasts leaves few cosines near the best, though many places are good.
    dense = dense_share * np.sqrt(stretched(cosine))
    lexical = (1 - dense_share) * to_one(candidates.lexical)
    parts = {"dense": weights.text * dense, "lexical": weights.text * lexical}
    total = weights.text
    factor = np.ones(len(files), dtype=np.float32)
    if weights.signals:
        text = parts["dense"] + parts["lexical"]
        parts["file"] = weights.file * file_coherence(text, files)
        total += weights.file
        if query.words:
            matcher = _Matcher(query.words)
            parts["path"] = weights.path * _path_signal(matcher, table, files)
            parts["symbol"] = weights.symbol * _symbol_signal(matcher, table, candidates.rows)
            total += weights.path + weights.symbol
        if query.names:
            definition = weights.definition if query.is_name else weights.mention
            parts["definition"] = definition * _definition_signal(query.names, table, candidates.rows)
            total += definition
        factor = _factors(table, files)
    parts = {name: (part / total).astype(np.float32) for name, part in parts.items()}
    score = np.sum(list(parts.values()), axis=0, dtype=np.float32) * factor
    return Ranking(score=score, is_deep=np.isfinite(cosine), factor=factor, parts=parts)


def stretched(values: Floats) -> Floats:
    """Values stretched so that the lowest is 0 and the highest 1; unknown ones (nan) count as lowest.

    Example:
        >>> stretched(np.array([0.2, np.nan, 0.6, 0.4], dtype=np.float32)).round(2).tolist()
        [0.0, 0.0, 1.0, 0.5]
    """
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(values), dtype=np.float32)
    low, high = values[known].min(), values[known].max()
    if high - low < 1e-9:
        return known.astype(np.float32)
    return np.where(known, (values - low) / (high - low), 0.0).astype(np.float32)


def to_one(values: Floats) -> Floats:
    """Values divided by the highest; all 0 if none is above 0."""
    high = values.max(initial=0.0)
    return (values / high if high > 0 else np.zeros_like(values)).astype(np.float32)


def file_coherence(text: Floats, files: NDArray[np.int32], best: int = 50) -> Floats:
    """How much of the best chunks' score is in each candidate's file, the richest file at 1 [C].

    Only what a chunk has above the last of the ``best`` counts, so that long files gain nothing by length.
    """
    if not len(text):
        return text
    order = np.argsort(-text, kind="stable")[:best]
    above = text[order] - text[order[-1]]
    sums = np.zeros(int(files.max()) + 1, dtype=np.float32)
    np.add.at(sums, files[order], above)
    return to_one(sums)[files]


class _Matcher:
    """Which words of a query a word of the code stands for; remembered, since code repeats its words."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words
        self.known: dict[str, int] = {}

    def bits(self, found: frozenset[str]) -> int:
        """Bit i is set if query word i is related to any of the words found."""
        bits = 0
        for word in found:
            mask = self.known.get(word)
            if mask is None:
                begin = word[:3]  # words that are related begin alike; most are told apart by that
                mask = 0
                for place, own in enumerate(self.words):
                    if own[:3] == begin and related(own, word):
                        mask |= 1 << place
                self.known[word] = mask
            bits |= mask
        return bits

    def share(self, bits: int) -> float:
        return bits.bit_count() / len(self.words)


def related(one: str, other: str) -> bool:
    """Two words are forms of one: equal, one begins the other, or they share most of a long beginning.

    Example:
        >>> related("route", "routing"), related("auth", "authentication"), related("get", "gevent")
        (True, True, False)
    """
    if one == other:
        return True
    shorter, longer = (one, other) if len(one) <= len(other) else (other, one)
    if len(shorter) < 3:
        return False
    if longer.startswith(shorter):
        return True
    common = 0
    for left, right in zip(shorter, longer, strict=False):
        if left != right:
            break
        common += 1
    return common >= 4 and common >= 0.7 * len(shorter)


@lru_cache(maxsize=200_000)
def _path_words(path: str) -> tuple[frozenset[str], frozenset[str]]:
    """Words of a file's name, and of its folder's name. A package's own file speaks for the folder."""
    place = PurePosixPath(path)
    stem = place.name.split(".", 1)[0] or place.name
    own = frozenset() if stem in _NAMED_BY_FOLDER else frozenset(split_words(stem))
    return own, frozenset(split_words(place.parent.name))


_NAMED_BY_FOLDER = frozenset({"__init__", "__main__", "index", "mod", "package", "package-info", "init"})


def _path_signal(matcher: _Matcher, table: ChunkTable, files: NDArray[np.int32]) -> Floats:
    by_file: dict[int, float] = {}
    for row in set(files.tolist()):
        own, folder = _path_words(table.paths[row])
        in_name = matcher.bits(own)
        in_folder = matcher.bits(folder) & ~in_name
        by_file[row] = matcher.share(in_name) + 0.5 * matcher.share(in_folder)
    return np.array([by_file[row] for row in files.tolist()], dtype=np.float32)


@lru_cache(maxsize=200_000)
def _defined_words(defined: str) -> frozenset[str]:
    return frozenset(word for name in defined.split("\n") for word in split_words(last_name(name)))


def _symbol_signal(matcher: _Matcher, table: ChunkTable, rows: NDArray[np.int64]) -> Floats:
    defined = table.defined
    shares = [matcher.share(matcher.bits(_defined_words(defined[row]))) if defined[row] else 0.0 for row in rows]
    return np.array(shares, dtype=np.float32)


def _definition_signal(names: tuple[str, ...], table: ChunkTable, rows: NDArray[np.int64]) -> Floats:
    """1 where a chunk defines one of the names at the top level of a file; less for members, and for another case."""
    wanted = [(name, last_name(name), last_name(name).lower()) for name in names]
    signal = np.zeros(len(rows), dtype=np.float32)
    for place, row in enumerate(rows.tolist()):
        defined = table.defined[row]
        if not defined:
            continue
        lower = defined.lower()
        if any(last in lower for _, _, last in wanted):
            signal[place] = max(
                _definition_strength(own, table.symbol[row], name, last, last_lower)
                for own in defined.split("\n")
                for name, last, last_lower in wanted
            )
    return signal


def _definition_strength(own: str, symbol: str, name: str, last: str, last_lower: str) -> float:
    """How well a defined name, in a chunk whose qualified symbol is given, answers a wanted name."""
    own = last_name(own)
    if own.lower() != last_lower:
        return 0.0
    is_member = symbol != own and last_name(symbol) == own
    if own != last:
        return 0.25 if is_member else 0.5
    if not is_member or (name != last and symbol.endswith(name)):
        return 1.0
    return 0.5


@lru_cache(maxsize=200_000)
def path_factor(path: str, language: str) -> float:
    """Below 1 for places that are seldom meant, the lowest where several reasons meet.

    Example:
        >>> path_factor("src/http/client.py", "python"), path_factor("tests/test_client.py", "python")
        (1.0, 0.5)
    """
    factor = 1.0
    if languages.is_test(path) or languages.is_example(path):
        factor *= 0.5
    if languages.is_vendored(path) or languages.is_generated(path) or _SUPERSEDED.search(path):
        factor *= 0.5
    if PurePosixPath(path).name.split(".", 1)[0] in _PACKAGE_FACADES:
        factor *= 0.7
    if languages.is_documentation(path):
        factor *= 0.7
    elif language in _DATA_LANGUAGES:
        factor *= 0.6
    return factor


_SUPERSEDED = re.compile(r"(?i)(^|/)_?(legacy|compat|deprecated|obsolete)(/|\.\w+$)")
_PACKAGE_FACADES = frozenset({"__init__", "__main__", "package-info"})
_DATA_LANGUAGES = frozenset({"json", "yaml", "toml", "ini", "xml"})


def _factors(table: ChunkTable, files: NDArray[np.int32]) -> Floats:
    by_file = {
        row: path_factor(table.paths[row], table.languages[row]) * (0.5 if is_old_copy(table, row) else 1.0)
        for row in set(files.tolist())
    }
    return np.array([by_file[row] for row in files.tolist()], dtype=np.float32)
