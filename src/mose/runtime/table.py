"""Exit 0: the sum of one vector for each token of each word. numpy alone.

A text is the sum of the vectors of its distinct words, each times the root of its count. The sum of a word's token
vectors is computed once and cached, except for a text that comes alone, such as a query: of these there is no end.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence, Sized
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose.errors import ModelError
from mose.runtime.tensors import TensorFile
from mose.tokenizer import CodeTokenizer
from mose.words import split_words, word_factors

_CACHE_BYTES = 64 << 20
_FIRST_ROWS = 4096
_AT_ONCE = 16_384
"""Words, and tokens, whose vectors are in memory at once: the chunks of a tree have no bound."""


class TokenTable:
    """Look up vectors of texts.

    Args:
        path: ``exit_0.safetensors``: ``vectors`` [V, width] (int8 or float32) and ``factors`` [V].
        tokenizer: Tokenizer of the model.

    Raises:
        ModelError: The file is missing, damaged, lacks an array, or has no row for some token.
    """

    def __init__(self, path: Path, tokenizer: CodeTokenizer) -> None:
        tensors = TensorFile(path)
        if missing := {"vectors", "factors"}.difference(tensors):
            raise ModelError(f"{path} has no {', '.join(sorted(missing))}", remedy="Export the model again.")
        self._vectors = tensors["vectors"]
        self._factors = tensors.floats("factors")
        if not np.isfinite(self._factors).all():
            raise ModelError(f"{path} holds numbers that are not finite", remedy="Export the model again.")
        if len(self._vectors) < tokenizer.vocab_size:
            allowed = f"{tokenizer.vocab_size}, as many as tokenizer.json has tokens"
            raise ModelError(f"rows of {path}", got=len(self._vectors), allowed=allowed)
        self.width = int(self._vectors.shape[1])
        self._tokenizer = tokenizer
        self._max_rows = max(_CACHE_BYTES // (4 * self.width), _FIRST_ROWS)
        self._lock = threading.Lock()
        self._row_of: dict[str, int] = {}
        self._rows = self._no_rows()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [N, width] of texts; a text without a known token gives zeros."""
        return self.encode_words([split_words(text) for text in texts])

    def encode_words(self, texts_words: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """As `encode`, for texts split by ``mose.words.split_words``."""
        factors = [word_factors(words) for words in texts_words]
        sums = np.zeros((len(factors), self.width), dtype=np.float32)
        if len(factors) == 1:
            (factor_of,) = factors
            rows = self._sum_tokens(self._tokenizer.word_ids(list(factor_of)))
            return unit_rows(np.fromiter(factor_of.values(), np.float32, len(factor_of))[None] @ rows)
        for window in _windows(factors):
            with self._lock:
                self._learn(set(chain.from_iterable(factors[window])))
                row_of, rows = self._row_of, self._rows
            for index, factor_of in enumerate(factors[window], window.start):
                if factor_of:
                    picked = rows[[row_of[word] for word in factor_of]]
                    np.dot(np.fromiter(factor_of.values(), np.float32, len(factor_of)), picked, out=sums[index])
        return unit_rows(sums)

    def _learn(self, words: set[str]) -> None:
        """Add a row to ``_rows`` for every new word."""
        if len(self._row_of) + len(words) > self._max_rows:
            self._row_of, self._rows = {}, self._no_rows()
        fresh = sorted(words.difference(self._row_of))
        if not fresh:
            return
        start, end = len(self._row_of), len(self._row_of) + len(fresh)
        while len(self._rows) < end:
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        # Other threads may be reading: existing rows do not change, and growth makes a new array.
        self._rows[start:end] = self._sum_tokens(self._tokenizer.word_ids(fresh))
        self._row_of.update(zip(fresh, range(start, end), strict=True))

    def _no_rows(self) -> NDArray[np.float32]:
        return np.empty((_FIRST_ROWS, self.width), dtype=np.float32)

    def _sum_tokens(self, ids_of: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The sum of the weighted vectors of each list of token ids; zeros for an empty one."""
        sums = np.zeros((len(ids_of), self.width), dtype=np.float32)
        for window in _windows(ids_of):
            lengths = np.array([len(ids) for ids in ids_of[window]])
            flat = np.fromiter(chain.from_iterable(ids_of[window]), np.int64, int(lengths.sum()))
            if len(flat):
                weighted = self._vectors[flat].astype(np.float32)
                weighted *= self._factors[flat, None]
                starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
                sums[window][lengths > 0] = np.add.reduceat(weighted, starts[lengths > 0], axis=0)
        return sums


def _windows(parts: Sequence[Sized]) -> Iterator[slice]:
    """Slices of consecutive parts with at most `_AT_ONCE` members together, or one part."""
    start = num_members = 0
    for number, part in enumerate(parts):
        if num_members + len(part) > _AT_ONCE and number > start:
            yield slice(start, number)
            start, num_members = number, 0
        num_members += len(part)
    if start < len(parts):
        yield slice(start, len(parts))


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1; rows of zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float32)
    unit = np.zeros_like(vectors)
    np.divide(vectors, lengths, out=unit, where=lengths > 0)
    return unit


def join(own: NDArray[np.float32], table: NDArray[np.float32], table_share: float) -> NDArray[np.float32]:
    """Join unit vectors of an exit and of exit 0: ``mose.model.heads.join`` in numpy."""
    both = (np.float32((1 - table_share) ** 0.5) * own, np.float32(table_share**0.5) * table)
    leading = [part[:, : part.shape[1] // 2] for part in both]
    trailing = [part[:, part.shape[1] // 2 :] for part in both]
    return unit_rows(np.concatenate([*leading, *trailing], axis=1))
