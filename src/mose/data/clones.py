"""Clone pairs: two codes and whether they do the same thing.

In: files of pairs that name codes by id, and files of codes. Out: ``ClonePairs``, and from them endless
``CloneBatch`` objects in an order fixed by the seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.config import CloneFiles, ClonesDataConfig
from mose.data.pairs import read_lines, read_objects, text_of
from mose.data.passes import Passes, changed_data
from mose.data.rename import hide_defined_name, rename_frequent
from mose.errors import DataError

_TABLES = (".txt", ".tsv")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClonePairs:
    """Pairs of one split. P pairs."""

    codes: tuple[str, ...]
    first_P: NDArray[np.int64]  # noqa: N815
    second_P: NDArray[np.int64]  # noqa: N815
    """Numbers of the two codes."""
    labels_P: NDArray[np.int64]  # noqa: N815
    """1 for clones, 0 for others."""

    def __len__(self) -> int:
        return len(self.labels_P)

    def at_most(self, count: int, rng: np.random.Generator) -> ClonePairs:
        """``count`` of the pairs chosen by ``rng``, or all if there are no more."""
        if len(self) <= count:
            return self
        rows = np.sort(rng.permutation(len(self))[:count])
        return replace(self, first_P=self.first_P[rows], second_P=self.second_P[rows], labels_P=self.labels_P[rows])

    def texts(self) -> tuple[list[str], list[str]]:
        """First and second code of every pair."""
        return [self.codes[row] for row in self.first_P], [self.codes[row] for row in self.second_P]


def read_clone_pairs(files: CloneFiles, data: ClonesDataConfig) -> ClonePairs:
    """Read and check the pairs of one split.

    Raises:
        DataError: A file is missing, a field is missing or empty, an id is unknown or repeated, a label is
            neither 0 nor 1, or all labels are alike; the message names file and line.
    """
    folder = Path(data.folder)
    number, codes = _read_codes([folder / name for name in files.codes], data)
    path = folder / files.pairs
    rows: list[tuple[int, int, int]] = []
    for line, value in _pair_objects(path):
        sides = []
        for side in ("a", "b"):
            found = _id_of(value, side, path, line)
            if found not in number:
                allowed = f"an id in {' or '.join(files.codes)}"
                raise DataError(f"{path}, line {line}: no code has the id of {side}", got=found, allowed=allowed)
            sides.append(number[found])
        label = value.get("label")
        if label not in (0, 1):
            raise DataError(f"{path}, line {line}, field 'label'", got=label, allowed="0 or 1")
        rows.append((sides[0], sides[1], int(label)))
    labels = {label for *_, label in rows}
    if len(labels) < 2:
        raise DataError(
            f"{path} has {'no pairs' if not rows else f'no pair with label {1 - labels.pop()}'}",
            remedy="A classifier needs clones (label 1) and others (label 0).",
        )
    table = np.array(rows, dtype=np.int64)
    return ClonePairs(codes=tuple(codes), first_P=table[:, 0], second_P=table[:, 1], labels_P=table[:, 2])


def _read_codes(paths: list[Path], data: ClonesDataConfig) -> tuple[dict[str, int], list[str]]:
    number: dict[str, int] = {}
    codes: list[str] = []
    for path in paths:
        for line, value in read_objects(path):
            identity = _id_of(value, data.id_field, path, line)
            if identity in number:
                raise DataError(f"{path}, line {line}: duplicate id", got=identity, remedy="Remove one of the rows.")
            number[identity] = len(codes)
            codes.append(text_of(value, data.code_field, path, line))
    return number, codes


def _pair_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and {a, b, label} of each pair."""
    if path.suffix not in _TABLES:
        yield from read_objects(path)
        return
    for line, text in read_lines(path):
        parts = text.split()
        if len(parts) != 3:
            raise DataError(f"{path}, line {line}", got=text.strip(), allowed="two ids and a label")
        label = {"0": 0, "1": 1}.get(parts[2], parts[2])
        yield line, {"a": parts[0], "b": parts[1], "label": label}


def _id_of(value: dict[str, Any], key: str, path: Path, line: int) -> str:
    """An id; some files write it as a number."""
    if isinstance(value.get(key), int) and not isinstance(value[key], bool):
        return str(value[key])
    if key not in value:
        raise DataError(f"{path}, line {line} has no field {key!r}", got=", ".join(value), allowed=key)
    return text_of(value, key, path, line)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneBatch:
    """Pairs of one step."""

    step: int
    firsts: tuple[str, ...]
    seconds: tuple[str, ...]
    labels: tuple[int, ...]
    source: str = "clones"
    """Named in the log."""

    def __len__(self) -> int:
        return len(self.labels)


class CloneBatches:
    """Endless batches: the pairs in a new random order per pass, renamed and swapped as the config says.

    Args:
        pairs: All pairs.
        data: Probabilities of swapping and renaming.
        size: Pairs per batch.
        seed: Fixes all random choices.
    """

    def __init__(self, pairs: ClonePairs, data: ClonesDataConfig, *, size: int, seed: int) -> None:
        self._pairs = pairs
        self._data = data
        self._size = size
        self._seed = seed
        self._step = 0
        self._passes = Passes(len(pairs), seed=seed)

    def __iter__(self) -> CloneBatches:
        return self

    def __next__(self) -> CloneBatch:
        rng = np.random.default_rng([self._seed, 1, self._step])
        start = self._step * self._size
        rows = [self._passes.row(position) for position in range(start, start + self._size)]
        pairs, data = self._pairs, self._data
        sides = []
        for row in rows:
            codes = [pairs.codes[pairs.first_P[row]], pairs.codes[pairs.second_P[row]]]
            sides.append([self._vary(code, rng) for code in (codes[::-1] if rng.random() < data.swap else codes)])
        batch = CloneBatch(
            step=self._step,
            firsts=tuple(first for first, _ in sides),
            seconds=tuple(second for _, second in sides),
            labels=tuple(int(pairs.labels_P[row]) for row in rows),
        )
        self._step += 1
        return batch

    def _vary(self, code: str, rng: np.random.Generator) -> str:
        if rng.random() < self._data.hide_name:
            code = hide_defined_name(code, rng)
        if rng.random() < self._data.rename:
            code = rename_frequent(code, rng)
        return code

    def state(self) -> dict[str, Any]:
        """Position, as plain values for JSON."""
        return {"step": self._step, "pairs": len(self._pairs)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored position.

        Raises:
            DataError: The pairs are not those of the stored position.
        """
        if state["pairs"] != len(self._pairs):
            raise changed_data("data", f"{len(self._pairs)} pairs", f"{state['pairs']} pairs")
        self._step = state["step"]
