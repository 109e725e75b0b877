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
from mose.data.sources import Picked, Source
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
        step, picked = self._step, self._pick()
        # Random numbers of its own for each pair: what is passed over draws none of them.
        pairs = tuple(
            self._sources[number].pair(rows, np.random.default_rng([self._seed, 3, step, position]))
            for position, (number, rows) in enumerate(picked)
        )
        name = "mixed" if self._mixed else self._sources[picked[0][0]].name
        return PairBatch(step=step, source=name, pairs=pairs)

    def skip(self) -> None:
        """Pass over the next batch without making its pairs."""
        self._pick()

    def _pick(self) -> list[tuple[int, Picked]]:
        """Source and rows of each pair of the next batch."""
        rng = np.random.default_rng([self._seed, 1, self._step])
        picked: list[tuple[int, Picked]] = []
        keys: set[int] = set()
        held: list[list[int]] = [[] for _ in self._sources]
        used_up: set[int] = set()
        for number in self._choose(rng):
            rows = None if number in used_up else self._draw(number, rng, keys, held[number])
            if rows is None:
                used_up.add(number)
                number, rows = self._substitute(rng, keys, held, used_up)
            picked.append((number, rows))
        for waiting, late in zip(self._waiting, held, strict=True):
            # Without the check, the list of a source that is too small would grow with every pass.
            waiting.extend(unit for unit in dict.fromkeys(late) if unit not in waiting)
        self._step += 1
        return picked

    def _choose(self, rng: np.random.Generator) -> list[int]:
        """Source of each pair of the batch."""
        count = len(self._sources)
        if self._mixed:
            return [int(number) for number in rng.choice(count, size=self._pairs, p=self._shares)]
        # Steps of the golden section spread each source evenly over any stretch of the run.
        position = (self._offset + self._step * _GOLDEN) % 1.0
        return [min(count - 1, int(np.searchsorted(self._shares.cumsum(), position, side="right")))] * self._pairs

    def _draw(self, number: int, rng: np.random.Generator, keys: set[int], held: list[int]) -> Picked | None:
        """Rows of a pair of the source that share no key with the batch; None if there are none."""
        source = self._sources[number]
        for _ in range(len(source) + _PATIENCE):
            unit = self._waiting[number].pop(0) if self._waiting[number] else self._next_unit(number)
            if keys.isdisjoint(source.group_keys(unit)):
                picked = source.pick(unit, rng)
                if keys.isdisjoint(picked.keys):
                    keys.update(picked.keys)
                    return picked
            held.append(unit)
        return None

    def _substitute(
        self, rng: np.random.Generator, keys: set[int], held: list[list[int]], used_up: set[int]
    ) -> tuple[int, Picked]:
        """Another source and rows of it, if the chosen one has no more for this batch."""
        others = [number for number in np.argsort(-self._shares).tolist() if number not in used_up]
        for number in others if self._mixed else []:
            rows = self._draw(number, rng, keys, held[number])
            if rows is not None:
                return number, rows
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
