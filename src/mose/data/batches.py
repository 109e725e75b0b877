"""Batches of pairs without false negatives, in an order fixed by the seed.

In: ``Source`` objects. Out: ``PairBatch``. The position (``state``) is small, is part of every checkpoint, and
restores exactly the batches that would have followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mose.data.neighbours import neighbour_order
from mose.data.pairs import Pair
from mose.data.passes import changed_data
from mose.data.sources import Source
from mose.errors import DataError

_PATIENCE = 50
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBatch:
    """Pairs of one step; no two share a group, a query or a code."""

    step: int
    source: str
    """Name of the source, "mixed" if there are several."""
    pairs: tuple[Pair, ...]

    def __len__(self) -> int:
        return len(self.pairs)


class PairBatches:
    """Endless batches; the whole batch is the same on every process of a run.

    Each source is read in a new random order per pass, in groups of similar units if vectors are given. A unit that
    shares a key with the current batch is held for the next batch of its source, so that none is lost.

    Args:
        sources: Sources of the pairs.
        pairs: Pairs per batch.
        seed: Fixes all random choices.
        mixed: Draw the source of each pair, not of each batch.
        vectors: Vectors [units, width] of sources by name; their units come in groups of similar ones.
        neighbours: Units in such a group.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        pairs: int,
        seed: int,
        mixed: bool = False,
        vectors: Mapping[str, np.ndarray[Any, Any]] | None = None,
        neighbours: int = 1,
    ) -> None:
        self._sources = list(sources)
        self._pairs = pairs
        self._seed = seed
        self._mixed = mixed
        self._vectors = vectors or {}
        self._neighbours = neighbours
        weights = np.array([source.weight for source in self._sources])
        self._shares = weights / weights.sum()
        self._offset = float(np.random.default_rng([seed, 0]).random())
        self._step = 0
        self._pass = [0] * len(self._sources)
        self._at = [0] * len(self._sources)
        self._waiting: list[list[int]] = [[] for _ in self._sources]
        self._orders: dict[int, tuple[int, np.ndarray[Any, Any]]] = {}

    def __iter__(self) -> PairBatches:
        return self

    def __next__(self) -> PairBatch:
        rng = np.random.default_rng([self._seed, 1, self._step])
        pairs: list[Pair] = []
        keys: set[int] = set()
        held: list[list[int]] = [[] for _ in self._sources]
        chosen = self._choose(rng)
        used_up: set[int] = set()
        for number in chosen:
            pair = None if number in used_up else self._draw(number, rng, keys, held[number])
            if pair is None:
                used_up.add(number)
                pair = self._substitute(rng, keys, held, used_up)
            pairs.append(pair)
        for waiting, late in zip(self._waiting, held, strict=True):
            # Without the check, the list of a source that is too small would grow with every pass.
            waiting.extend(unit for unit in dict.fromkeys(late) if unit not in waiting)
        name = "mixed" if self._mixed else self._sources[chosen[0]].name
        batch = PairBatch(step=self._step, source=name, pairs=tuple(pairs))
        self._step += 1
        return batch

    def _choose(self, rng: np.random.Generator) -> list[int]:
        """Source of each pair of the batch."""
        count = len(self._sources)
        if self._mixed:
            return [int(number) for number in rng.choice(count, size=self._pairs, p=self._shares)]
        # Steps of the golden section spread each source evenly over any stretch of the run.
        position = (self._offset + self._step * _GOLDEN) % 1.0
        return [min(count - 1, int(np.searchsorted(self._shares.cumsum(), position, side="right")))] * self._pairs

    def _draw(self, number: int, rng: np.random.Generator, keys: set[int], held: list[int]) -> Pair | None:
        """A pair of the source that shares no key with the batch; None if there is none."""
        source = self._sources[number]
        for _ in range(len(source) + _PATIENCE):
            unit = self._waiting[number].pop(0) if self._waiting[number] else self._next_unit(number)
            if keys.isdisjoint(source.group_keys(unit)):
                pair = source.pair(unit, rng)
                if keys.isdisjoint(pair.keys):
                    keys.update(pair.keys)
                    return pair
            held.append(unit)
        return None

    def _substitute(self, rng: np.random.Generator, keys: set[int], held: list[list[int]], used_up: set[int]) -> Pair:
        """A pair of another source, if the chosen one has no more for this batch."""
        others = [number for number in np.argsort(-self._shares).tolist() if number not in used_up]
        for number in others if self._mixed else []:
            pair = self._draw(number, rng, keys, held[number])
            if pair is not None:
                return pair
            used_up.add(number)
        names = sorted(self._sources[number].name for number in used_up)
        raise DataError(
            f"too few distinct pairs for one batch in {', '.join(names)}",
            got=self._pairs,
            remedy="Make batch.pairs smaller, or draw from more sources (batch.mixed = true).",
        )

    def _next_unit(self, number: int) -> int:
        if self._at[number] == len(self._sources[number]):
            self._at[number] = 0
            self._pass[number] += 1
        passed, order = self._orders.get(number, (-1, np.empty(0)))
        if passed != self._pass[number]:
            rng = np.random.default_rng([self._seed, 2, number, self._pass[number]])
            vectors = self._vectors.get(self._sources[number].name)
            if vectors is None:
                order = rng.permutation(len(self._sources[number]))
            else:
                order = neighbour_order(vectors, size=self._neighbours, rng=rng)
            self._orders[number] = (self._pass[number], order)
        self._at[number] += 1
        return int(order[self._at[number] - 1])

    def state(self) -> dict[str, Any]:
        """Position, as plain values for JSON."""
        return {
            "step": self._step,
            "sources": {
                source.name: {"units": len(source), "pass": done, "at": at, "waiting": list(waiting)}
                for source, done, at, waiting in zip(self._sources, self._pass, self._at, self._waiting, strict=True)
            },
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored position.

        Raises:
            DataError: The sources are not those of the stored position.
        """
        stored = state["sources"]
        now = {source.name: len(source) for source in self._sources}
        then = {name: source["units"] for name, source in stored.items()}
        if now != then:
            raise changed_data("data", now, str(then))
        self._step = state["step"]
        for number, source in enumerate(self._sources):
            position = stored[source.name]
            self._pass[number] = position["pass"]
            self._at[number] = position["at"]
            self._waiting[number] = list(position["waiting"])
