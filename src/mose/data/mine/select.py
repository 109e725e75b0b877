"""Select mined rows: no duplicates, boilerplate or near copies, and not too many of one kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

from mose.data.evaluation_sets import MIN_QUERY_WORDS, EvaluationRow, query_key
from mose.data.mine.harvest import Mined, draw
from mose.data.mine.manifest import MineConfig
from mose.data.near_copies import NearCopies, shingles
from mose.data.pairs import key_of

T = TypeVar("T")

_MOST_REPEATS = 3


class Evaluation:
    """Texts of evaluation rows, whose copies must not be trained on.

    Args:
        rows: The rows; of equal questions the first counts.
        threshold: As in ``NearCopies``.
    """

    def __init__(self, rows: Iterable[EvaluationRow], threshold: float) -> None:
        self.codes = NearCopies(threshold, contained=True)
        self.queries: dict[int, str] = {}
        """Hash of each question -> where it stands."""
        for row in rows:
            self.add(row)

    def add(self, row: EvaluationRow) -> None:
        """Add a row."""
        if row.code:
            self.codes.add(shingles(row.code))
        if len(row.query.split()) >= MIN_QUERY_WORDS:
            self.queries.setdefault(query_key(row.query), row.where)

    def fault(self, row: Mined) -> str:
        """Why a row may not be trained on, "" if it may."""
        if row.kind != "name" and query_key(row.query) in self.queries:
            return "query of an evaluation row"
        if self.codes and self.codes.has_near(shingles(row.code)):
            return "near copy of an evaluation row"
        return ""


def drop_copies(rows: list[Mined], near: float, dropped: Counter[str]) -> list[Mined]:
    """Rows without boilerplate, duplicates and near copies; the first of several near copies of one kind is kept.

    Args:
        rows: In order of preference.
        near: Similarity from which two codes are near copies.
        dropped: Counts of rows left out, by reason, are added here.
    """
    repeats = Counter(query_key(row.query) for row in rows)
    queries: set[tuple[str, str, int]] = set()
    codes: set[tuple[str, int]] = set()
    copies: dict[str, NearCopies] = {}
    kept = []
    for row in rows:
        query = (row.kind, row.language, query_key(row.query))
        code = (row.kind, key_of(row.code))
        if repeats[query[2]] > _MOST_REPEATS and row.kind != "name":
            dropped["boilerplate"] += 1
        elif query in queries or code in codes:
            dropped["duplicate"] += 1
        else:
            known = copies.setdefault(row.kind, NearCopies(near))
            text = shingles(row.code)
            if known.has_near(text):
                dropped["near copy"] += 1
                continue
            known.add(text)
            queries.add(query)
            codes.add(code)
            kept.append(row)
    return kept


def apply_caps(rows: list[Mined], label: str, config: MineConfig, dropped: Counter[str]) -> list[Mined]:
    """Rows of one package within the caps on files, packages and names, in the same order."""

    def luck(row: Mined) -> float:
        return draw(config.seed, label, row.kind, row.path, row.symbol, row.query)

    chosen = sorted(rows, key=luck)
    names = [row for row in chosen if row.kind == "name"]
    others = []
    in_file: Counter[str] = Counter()
    for row in chosen:
        if row.kind != "name":
            in_file[row.path] += 1
            if in_file[row.path] <= config.per_file:
                others.append(row)
            else:
                dropped["over the cap of a file"] += 1
    num_within = len(others)
    others = others[: config.per_package - int(config.per_package * config.name_share)]
    dropped["over the cap of a package"] += num_within - len(others)
    num_names = len(names)
    names = names[: int(len(others) * config.name_share / (1 - config.name_share))]
    dropped["over the share of names"] += num_names - len(names)
    kept = {id(row) for row in (*names, *others)}
    return [row for row in rows if id(row) in kept]


def limit_language_share(rows: list[T], language: Callable[[T], str], share: float) -> list[T]:
    """Rows in order, without the last ones of a language that exceeds its share of the result.

    Args:
        rows: In order of preference.
        language: Returns the language of a row.
        share: Largest part of the result that one language may have.

    Example:
        >>> limit_language_share(["py", "py", "py", "go", "c"], lambda row: row, 0.5)
        ['py', 'py', 'go', 'c']
    """
    counts = Counter(language(row) for row in rows)
    for name, count in counts.items():
        others = len(rows) - count
        most = int(others * share / (1 - share)) if share < 1 and others else count
        if count > most:
            seen = 0
            kept = []
            for row in rows:
                seen += language(row) == name
                if language(row) != name or seen <= most:
                    kept.append(row)
            return kept
    return rows
