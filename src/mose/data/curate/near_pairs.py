"""Pairs of near copies in a large table: MinHash, bands, and the true Jaccard similarity of what they propose.

SynthCoNL was deduplicated so, with 256 permutations over runs of five characters at a similarity of 0.7 (mose-spec,
section 7). MinHash: Broder, "On the resemblance and containment of documents", 1997; bands: Leskovec, Rajaraman,
Ullman, "Mining of Massive Datasets", section 3.4. ``mose.data.near_copies`` compares one text after the other, and
finds copies inside longer texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mose.data.curate.grams import GramTable, jaccard
from mose.errors import MissingExtraError, require
from mose.progress import Progress, ProgressCallback, no_progress

Numbers: TypeAlias = NDArray[np.int64]

PERMUTATIONS = 256
_BATCH_TEXTS, _BATCH_GRAMS = 2_000, 1_000_000
"""So many are signed at once: the numbers of 2,000 signatures take 20 MB."""
_MOST_PAIRED = 64
"""So many texts that share a band are all compared with each other; more are with the first and the one before."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTexts:
    """Texts with the hashes by which near copies meet. T texts."""

    table: GramTable
    threshold: float
    """Jaccard similarity from which two texts are near copies."""
    keys: NDArray[np.uint64]
    """[bands, T]: equal where two texts agree in all permutations of a band."""


def sign_texts(
    table: GramTable, threshold: float, *, seed: int = 0, progress: ProgressCallback = no_progress
) -> SignedTexts:
    """Texts ready to be paired.

    Args:
        table: The texts.
        threshold: Above 0, at most 1.
        seed: Fixes the permutations.
        progress: Called with the progress so far.

    Raises:
        ConfigError: The threshold is out of range.
        MissingExtraError: rensa is not installed.
    """
    keys = _band_keys(table, choose_bands(threshold), seed, progress)
    return SignedTexts(table=table, threshold=threshold, keys=keys)


def near_pairs(
    signed: SignedTexts,
    *,
    among: Numbers | None = None,
    reference: int = 0,
    progress: ProgressCallback = no_progress,
) -> Numbers:
    """Pairs of texts whose Jaccard similarity is at least the threshold; almost all of them, and no others.

    Args:
        signed: The texts.
        among: Numbers of those to compare, ascending; all if None.
        reference: If above 0, only pairs of one of the first of these, so many, with one of the others.
        progress: Called with the progress so far.

    Returns:
        int64 [pairs, 2], positions in ``among``, the smaller one first, ascending.
    """
    table, threshold = signed.table, signed.threshold
    numbers = np.arange(len(table)) if among is None else among
    proposed = np.zeros(0, np.int64)
    for band, keys in enumerate(signed.keys):
        progress(Progress("compare bands", band, len(signed.keys)))
        pairs = [first * len(numbers) + second for first, second in _sharing(keys[numbers], reference)]
        proposed = np.union1d(proposed, np.array(pairs, np.int64))
    firsts, seconds = proposed // max(len(numbers), 1), proposed % max(len(numbers), 1)
    sizes = table.sizes[numbers]
    # Sets cannot be more alike than the smaller one fits into the larger one.
    possible = np.minimum(sizes[firsts], sizes[seconds]) >= threshold * np.maximum(sizes[firsts], sizes[seconds])
    firsts, seconds = firsts[possible], seconds[possible]
    alike = np.zeros(len(firsts), bool)
    for at, (first, second) in enumerate(zip(numbers[firsts].tolist(), numbers[seconds].tolist(), strict=True)):
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
    for values, ends in table.batches(max_texts=_BATCH_TEXTS, max_grams=_BATCH_GRAMS):
        progress(Progress("sign texts", done, len(table)))
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            values.astype(np.uint64), ends.tolist(), PERMUTATIONS, seed
        )
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
