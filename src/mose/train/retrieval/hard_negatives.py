"""Hard negatives mined by the model itself: codes near a query that do not answer it.

In: a pair file. Out: the same rows with a field ``negatives``, which ``data.hard_negatives`` uses.
Three guards against false negatives: a window of ranks (the nearest are often unmarked answers), a margin below
the answer's own similarity, and the keys of the rows (codes of the same group, text or code are left out).
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from mose.data.pairs import Row, key_of, read_rows
from mose.errors import require
from mose.model.checkpoint import load_model
from mose.progress import Progress, ProgressCallback, no_progress
from mose.storage import new_file
from mose.tokenizer import CodeTokenizer
from mose.train.retrieval.inputs import Side
from mose.train.retrieval.validate import encode_side


@dataclass(frozen=True, slots=True, kw_only=True)
class MiningConfig:
    """Which codes count as hard negatives."""

    first_rank: int = 5
    """Skip this many codes nearest to the query."""
    last_rank: int = 60
    """Look no further than this rank."""
    margin: float = 0.95
    """A negative's similarity is at most this share of the answer's."""
    count: int = 4
    """Negatives of a row, at most, drawn from what is left."""
    exit_layer: int | None = None
    """Exit that finds them; the deepest if None. Exit 0 encodes thousands of rows a second."""
    text_tokens: int = 48
    code_tokens: int = 128

    def __post_init__(self) -> None:
        ranks = (self.first_rank, self.last_rank)
        require(0 <= ranks[0] < ranks[1], "ranks of hard negatives", ranks, "0 or more, first below last")
        require(self.margin > 0, "margin of hard negatives", self.margin, "above 0")
        require(self.count >= 1, "hard negatives of a row", self.count, "1 or more")


def choose_negatives(
    scores_N: NDArray[np.floating],
    answer: int,
    barred_N: NDArray[np.bool_],
    config: MiningConfig,
    rng: Generator,
) -> list[int]:
    """Numbers of the codes chosen as hard negatives of one query.

    Args:
        scores_N: Similarity of the query to every code.
        answer: The code that answers it.
        barred_N: True where a code may answer the query too.
        config: Window, margin, count.
        rng: Draws from what is left.

    Example:
        >>> scores = np.array([0.9, 0.89, 0.6, 0.5, 0.1])
        >>> config = MiningConfig(first_rank=0, last_rank=4, margin=0.9, count=9)
        >>> sorted(choose_negatives(scores, 0, np.zeros(5, bool), config, np.random.default_rng(0)))
        [2, 3]
    """
    window = np.argsort(-scores_N, kind="stable")[config.first_rank : config.last_rank]
    limit = scores_N[answer] * config.margin
    left = [int(n) for n in window if n != answer and not barred_N[n] and scores_N[n] <= limit]
    return [left[int(position)] for position in rng.permutation(len(left))[: config.count]]


def mine_hard_negatives(
    model_folder: str | Path,
    pairs: Path,
    out: Path,
    config: MiningConfig | None = None,
    *,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> dict[str, int]:
    """Write a pair file with negatives from the file's own codes, language by language.

    Args:
        model_folder: Encodes queries and codes.
        pairs: Text-to-code pairs.
        out: ``.jsonl`` or ``.jsonl.xz``; appears when it is complete.
        config: Window, margin, count, exit.
        seed: Fixes the draw.
        progress: Called with the progress so far, once for each language.

    Returns:
        ``rows``, how many got a negative (``with_negatives``), and the ``negatives`` of all.

    Raises:
        DataError: The pair file is missing or faulty.
        ModelError: The model folder is missing or damaged, or has no such exit.
    """
    config = config or MiningConfig()
    rows = read_rows(pairs)
    model = load_model(model_folder, last_exit=config.exit_layer, dtype=torch.float32)
    tokenizer = CodeTokenizer.load(model_folder)
    chosen = model.settings.exits[-1]
    words = model.settings.reads_words((chosen,))
    rng = np.random.default_rng([seed, 4])
    found: dict[int, list[str]] = {}
    for language in sorted({row.language for row in rows}):
        progress(Progress(f"encode {language}", len(found), len(rows)))
        numbers = [number for number, row in enumerate(rows) if row.language == language]
        some = [rows[number] for number in numbers]
        query = Side(
            texts=[row.text for row in some],
            kind="query",
            languages=["text"] * len(some),
            max_tokens=config.text_tokens,
        )
        code = Side(
            texts=[row.code for row in some],
            kind="code",
            languages=[language] * len(some),
            max_tokens=config.code_tokens,
        )
        query_ND, code_ND = (
            encode_side(side, tokenizer, lambda batch: model.embed(batch, exits=(chosen,)), words=words)[chosen].numpy()
            for side in (query, code)
        )
        keys = _key_columns(some)
        for row, number in enumerate(numbers):
            scores_N = code_ND @ query_ND[row]
            barred_N = np.logical_or.reduce([column == column[row] for column in keys])
            negatives = choose_negatives(scores_N, row, barred_N, config, rng)
            found[number] = [some[other].code for other in negatives]
    _write(out, rows, found)
    return {
        "rows": len(rows),
        "with_negatives": sum(1 for negatives in found.values() if negatives),
        "negatives": sum(map(len, found.values())),
    }


def _key_columns(rows: Sequence[Row]) -> list[NDArray[np.int64]]:
    """Hashes of group, text and code of every row; a row without a group has one of its own."""
    return [
        np.array([key_of("group " + row.group) if row.group else -1 - n for n, row in enumerate(rows)]),
        np.array([key_of(row.text) for row in rows]),
        np.array([key_of(row.code) for row in rows]),
    ]


def _write(out: Path, rows: Sequence[Row], found: dict[int, list[str]]) -> None:
    lines = []
    for number, row in enumerate(rows):
        values = {"query": row.text, "code": row.code, "language": row.language, "group": row.group or None}
        known = {"func": row.name, "path": row.path, "negatives": found[number]}
        lines.append(json.dumps({**values, **known}, ensure_ascii=False))
    data = ("\n".join(lines) + "\n").encode()
    with new_file(out, replace=False) as file:
        file.write(lzma.compress(data) if out.suffix == ".xz" else data)
