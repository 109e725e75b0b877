"""Pairs of near copies in a large table: MinHash, bands, and the true Jaccard similarity of what they propose.

SynthCoNL was deduplicated so, with 256 permutations over runs of five characters at a similarity of 0.7 (mose-spec,
section 7). MinHash: Broder, "On the resemblance and containment of documents", 1997; bands: Leskovec, Rajaraman,
Ullman, "Mining of Massive Datasets", section 3.4. ``mose.data.near_copies`` compares one text after the other, and
finds copies inside longer texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from tempfile import TemporaryFile
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mose.errors import MissingExtraError, require
from mose.progress import Progress, ProgressCallback, no_progress

Grams: TypeAlias = NDArray[np.uint32]
"""Distinct hashes of a text's runs of five characters, ascending."""
Numbers: TypeAlias = NDArray[np.int64]

PERMUTATIONS = 256
_LENGTH = 5
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_BATCH_GRAMS = 4_000_000
_MOST_PAIRED = 64
"""So many texts that share a band are all compared with each other; more are with the first and the one before."""


def grams(text: str) -> Grams:
    """Hashes of all runs of five characters, white space folded; of the whole text if it is shorter.

    Example:
        >>> len(grams("a  = b + c")), len(grams("abc"))
        (5, 1)
    """
    letters = np.frombuffer(" ".join(text.split()).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    count = max(1, len(letters) - _LENGTH + 1)
    hashes = np.zeros(count, np.uint64)
    for offset in range(min(_LENGTH, len(letters))):
        hashes = (hashes ^ letters[offset : offset + count]) * _FACTOR
        hashes ^= hashes >> np.uint64(29)
    return np.unique((hashes >> np.uint64(32)).astype(np.uint32))


def jaccard(first: Grams, second: Grams) -> float:
    """Shared share of two sets, 0 to 1."""
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / (len(first) + len(second) - common)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """Groups of permutations: two texts are compared if they agree in all rows of one band."""

    count: int
    rows: int

    def chance(self, similarity: float) -> float:
        """Probability, 0 to 1, that two texts of this Jaccard similarity are compared: 1 - (1 - s^rows)^count.

        Example:
            >>> round(Bands(count=36, rows=7).chance(0.7), 3)
            0.955
        """
        return 1 - (1 - similarity**self.rows) ** self.count

    def error_mass(self, threshold: float) -> tuple[float, float]:
        """Area under the curve of ``chance`` below the threshold, and above the curve from the threshold on.

        Both in 0 to 1: how much is compared in vain, and how much is missed, were all similarities as frequent.
        """
        steps = np.linspace(0, 1, 2001)
        found = 1 - (1 - steps**self.rows) ** self.count
        below = steps < threshold
        return float(found[below].sum() / 2000), float((1 - found[~below]).sum() / 2000)


def choose_bands(threshold: float, *, least_chance: float = 0.95) -> Bands:
    """The longest bands of 256 permutations that compare two texts at the threshold with this probability.

    Raises:
        ConfigError: The threshold is not above 0 and at most 1.
    """
    require(0 < threshold <= 1, "jaccard", threshold, "above 0, at most 1")
    sizes = (Bands(count=PERMUTATIONS // rows, rows=rows) for rows in range(32, 0, -1))
    return next((bands for bands in sizes if bands.chance(threshold) >= least_chance), Bands(count=256, rows=1))


class GramTable:
    """Grams of many texts in a temporary file, so that memory does not grow with them."""

    def __init__(self, texts: Iterable[str]) -> None:
        ends = [0]
        with TemporaryFile() as file:
            for text in texts:
                found = grams(text)
                file.write(found.tobytes())
                ends.append(ends[-1] + len(found))
            file.flush()
            self._values: NDArray[np.uint32] = np.memmap(file, np.uint32, "r") if ends[-1] else np.zeros(0, np.uint32)
        self._ends = np.array(ends, np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> Grams:
        return self._values[self._ends[number] : self._ends[number + 1]]

    @property
    def sizes(self) -> Numbers:
        """Number of grams of each text."""
        return np.diff(self._ends)

    def batches(self) -> Iterator[tuple[NDArray[np.uint32], list[int]]]:
        """Grams of texts in a row, and where each begins."""
        first = 0
        while first < len(self):
            last = int(np.searchsorted(self._ends, self._ends[first] + _BATCH_GRAMS, side="right")) - 1
            last = max(first + 1, last)
            starts = self._ends[first : last + 1] - self._ends[first]
            yield self._values[self._ends[first] : self._ends[last]], starts.tolist()
            first = last


def near_pairs(
    table: GramTable,
    threshold: float,
    *,
    reference: int = 0,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> Numbers:
    """Pairs of texts whose Jaccard similarity is at least the threshold; almost all of them, and no others.

    Args:
        table: All texts.
        threshold: Above 0, at most 1.
        reference: If above 0, only pairs of one of the first texts, so many, with one of the others.
        seed: Fixes the permutations.
        progress: Called with the progress so far.

    Returns:
        int64 [pairs, 2], the smaller number first, ascending.

    Raises:
        ConfigError: The threshold is out of range.
        MissingExtraError: rensa is not installed.
    """
    bands = choose_bands(threshold)
    keys = _band_keys(table, bands, seed, progress)
    size = len(table)
    proposed = np.zeros(0, np.int64)
    for number in range(bands.count):
        progress(Progress("compare bands", number, bands.count))
        pairs = [first * size + second for first, second in _sharing(keys[number], reference)]
        proposed = np.union1d(proposed, np.array(pairs, np.int64))
    firsts, seconds = proposed // max(size, 1), proposed % max(size, 1)
    sizes = table.sizes
    # Sets cannot be more alike than the smaller one fits into the larger one.
    possible = np.minimum(sizes[firsts], sizes[seconds]) >= threshold * np.maximum(sizes[firsts], sizes[seconds])
    firsts, seconds = firsts[possible], seconds[possible]
    alike = np.zeros(len(firsts), bool)
    for at, (first, second) in enumerate(zip(firsts.tolist(), seconds.tolist(), strict=True)):
        if at % 5_000 == 0:
            progress(Progress("compare texts", at, len(firsts)))
        alike[at] = jaccard(table[first], table[second]) >= threshold
    return np.stack([firsts[alike], seconds[alike]], axis=1)


def group_pairs(pairs: Numbers, size: int) -> Numbers:
    """Number of the first text of the group that each text belongs to: what is linked by pairs is one group.

    Args:
        pairs: int64 [pairs, 2].
        size: Number of texts.

    Returns:
        int64 [size].

    Example:
        >>> group_pairs(np.array([[1, 3], [3, 4]]), 5).tolist()
        [0, 1, 2, 1, 1]
    """
    parents = list(range(size))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for first, second in pairs.tolist():
        low, high = sorted((root(first), root(second)))
        parents[high] = low
    return np.array([root(number) for number in range(size)], np.int64)


def _band_keys(table: GramTable, bands: Bands, seed: int, progress: ProgressCallback) -> NDArray[np.uint64]:
    """uint64 [bands, texts]: equal where two texts agree in all rows of a band."""
    try:
        from rensa import RMinHash
    except ImportError as error:
        raise MissingExtraError("near copies need the package rensa",
                                remedy="Install it with: pip install 'mose[data]'") from error  # fmt: skip
    keys = np.zeros((bands.count, len(table)), np.uint64)
    used = bands.count * bands.rows
    rng = np.random.default_rng([seed, 5])
    factors = rng.integers(1, 2**63, bands.rows, dtype=np.uint64) | np.uint64(1)
    done = 0
    for values, starts in table.batches():
        progress(Progress("sign texts", done, len(table)))
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(values.astype(np.uint64), starts, PERMUTATIONS, seed)
        signatures = np.array(matrix.to_rows(), np.uint64)[:, :used].reshape(-1, bands.count, bands.rows)
        mixed = np.zeros(signatures.shape[:2], np.uint64)
        for row, factor in enumerate(factors):
            mixed = (mixed ^ signatures[:, :, row]) * factor
            mixed ^= mixed >> np.uint64(31)
        keys[:, done : done + len(mixed)] = mixed.T
        done += len(mixed)
    return keys


def _sharing(keys: NDArray[np.uint64], reference: int) -> Iterator[tuple[int, int]]:
    """Pairs of texts with the same key, the smaller number first."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, np.int64)
    ends = np.r_[starts[1:], len(ordered)]
    for start, end in zip(starts[ends - starts > 1].tolist(), ends[ends - starts > 1].tolist(), strict=True):
        members = order[start:end].tolist()
        if reference:
            known = [number for number in members if number < reference][:_MOST_PAIRED]
            yield from ((first, second) for second in members[len(known) :] if second >= reference for first in known)
        elif len(members) <= _MOST_PAIRED:
            yield from combinations(members, 2)
        else:
            yield from ((members[0], number) for number in members[1:])
            yield from pairwise(members)


def describe_bands(threshold: float) -> str:
    """What the bands for a threshold find, in one sentence."""
    bands = choose_bands(threshold)
    in_vain, missed = bands.error_mass(threshold)
    chances = ", ".join(f"{at:.1f}: {bands.chance(at):.3f}" for at in (0.3, 0.5, threshold, 0.8, 0.9))
    return (
        f"{bands.count} bands of {bands.rows} permutations; chance to be compared by similarity {chances};"
        f" false-positive mass {in_vain:.3f} (compared, then rejected), false-negative mass {missed:.3f}"
    )
