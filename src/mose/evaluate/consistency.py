"""Consistency filter: a pair stays if our own retriever finds the code among the first of its repository.

SweRank (arXiv 2505.07849) found that written questions without such a filter make a retriever worse. In: pair files,
and the codes to search. Out: a stage's folder, each kept row with its ``rank``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.data.curate.stage import Fate, Row, described, pair_files, read_pairs, require_same_run, write_stage
from mose.errors import require
from mose.evaluate.systems.bm25 import Bm25Index
from mose.progress import Progress, ProgressCallback, no_progress
from mose.runtime.encoder import Encoder

ABSENT = "its code is not among those searched"


def keep_found(
    inputs: Sequence[Path],
    out: Path,
    *,
    among: Sequence[Path] = (),
    first: int = 20,
    encoder: Encoder | None = None,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Write the rows whose own code is found among the codes of their repository (field ``source``).

    Args:
        inputs: Pair files and folders of them.
        out: Folder to write.
        among: Pair files and folders with the codes to search; the inputs themselves if empty.
        first: Keep rows whose code has at most this rank.
        encoder: Scores texts and codes, together with BM25; the shipped model at exit 0 if None.
        progress: Called with the progress so far.

    Returns:
        What ``stage.json`` holds.

    Raises:
        DataError: A file is faulty.
        ConfigError: ``first`` is below 1.
        OutputError: ``out`` holds something else, or the rows of another run.
    """
    require(first >= 1, "first", first, "1 or more")
    files = pair_files(inputs)
    settings = {"first": first, "among": [str(path) for path in among]}
    require_same_run(out, described("filter", files, settings))
    rows = [row for _, row in read_pairs(files, needs=("code", "query"))]
    codes = rows if not among else [row for _, row in read_pairs(pair_files(among))]
    ranks = rank_own_codes(rows, codes, encoder or Encoder.load("small", exit=0), progress=progress)

    def judge(number: int, row: Row) -> Fate | None:
        rank = ranks[number]
        if rank is None:
            return Fate(reason=ABSENT)
        return Fate(reason=f"not among the first {first}") if rank > first else None

    return write_stage(
        "filter", files, out, judge, settings=settings, change=lambda number, row: row | {"rank": ranks[number]}
    )


def rank_own_codes(
    rows: Sequence[Mapping[str, Any]],
    codes: Sequence[Mapping[str, Any]],
    encoder: Encoder,
    *,
    progress: ProgressCallback = no_progress,
) -> list[int | None]:
    """Rank of each row's own code, from 1, among the codes of its source; None if it is not among them.

    Rows of one ``group`` (a definition) are one code; for rows of a kind ``file-...`` those of one ``path`` are. The
    query of a translation is its code.
    """
    of_source: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for code in codes:
        of_source[_source_of(code)].append(code)
    asked: dict[tuple[str, bool, bool], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        kind = str(row.get("kind") or "")
        asked[_source_of(row), kind.startswith("file-"), kind == "translation"].append(number)
    ranks: list[int | None] = [None] * len(rows)
    haystacks: dict[bool, Haystack] = {}
    searched = None
    for done, ((source, whole_files, is_code), numbers) in enumerate(sorted(asked.items())):
        progress(Progress("rank", done, len(asked)))
        if source != searched:
            haystacks, searched = {}, source
        if whole_files not in haystacks:
            haystacks[whole_files] = Haystack(of_source[source], encoder, whole_files=whole_files)
        queries = [str(rows[number]["code" if is_code else "query"]) for number in numbers]
        keys = [_key_of(rows[number], whole_files=whole_files) for number in numbers]
        found = haystacks[whole_files].ranks(queries, keys, "code" if is_code else "text")
        for number, rank in zip(numbers, found, strict=True):
            ranks[number] = rank
    return ranks


class Haystack:
    """Codes of one source, grouped by definition or by file; a group's score is that of its best code."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], encoder: Encoder, *, whole_files: bool) -> None:
        keyed = sorted(
            {
                (_key_of(row, whole_files=whole_files), str(row["code"]))
                for row in rows
                if row.get("kind") != "translation" and (row.get("path") if whole_files else row.get("kind") != "file")
            }
        )
        names = [key for key, _ in keyed]
        self._numbers = {key: number for number, key in enumerate(dict.fromkeys(names))}
        self._starts = np.array([at for at, key in enumerate(names) if not at or names[at - 1] != key], np.int64)
        codes = [code for _, code in keyed]
        self._encoder = encoder
        self._vectors = encoder.encode(codes) if codes else None
        self._words = Bm25Index(codes) if codes else None

    def ranks(self, queries: Sequence[str], keys: Sequence[str], language: str) -> list[int | None]:
        """Rank of each query's own group, by words and vectors together; None if it has none."""
        if self._words is None or self._vectors is None:
            return [None] * len(queries)
        ranks: list[int | None] = []
        for query, key, vector in zip(queries, keys, self._encoder.encode(list(queries)), strict=True):
            if key not in self._numbers:
                ranks.append(None)
                continue
            scores = _from_0_to_1(self._vectors @ vector) + _from_0_to_1(self._words.scores(query, language))
            groups = np.maximum.reduceat(scores, self._starts)
            ranks.append(1 + int((groups > groups[self._numbers[key]]).sum()))
        return ranks


def _source_of(row: Mapping[str, Any]) -> str:
    return str(row.get("source") or "")


def _key_of(row: Mapping[str, Any], *, whole_files: bool) -> str:
    return str(row.get("path") or "") if whole_files else str(row.get("group") or row.get("id") or row["code"])


def _from_0_to_1(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)
