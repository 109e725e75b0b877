"""Sources: pairs drawn at random from pair files.

In: ``SourceConfig`` (file, task, languages). Out: ``Source`` with ``len`` units; ``pick(unit, rng)`` chooses the rows
of a pair and ``pair(picked, rng)`` makes it. A unit is a row (text to code) or a group of codes for one problem (code
to code). The rows lie on the disk, each file's once for all its sources; each is read when its pair is made.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mose.config import DataConfig, SourceConfig
from mose.data.describe import add_description
from mose.data.pairs import Pair, Row
from mose.data.rename import hide_defined_name, rename_frequent, skip_imports
from mose.data.source_rows import SourceRows, read_sources
from mose.data.tables.row_table import NO_GROUP, RowTable
from mose.errors import DataError
from mose.framing import add_frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Rows of a pair that is not made yet."""

    first: int
    second: int
    """Code to code: the row of the other code. Text to code: the same row."""
    keys: frozenset[int]
    """Hashes of group, query and code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Pairs of one file. U units."""

    name: str
    task: str
    weight: float
    rename: float
    hide_name: float
    skip_imports: float
    describe: float = 0.0
    frame: float = 0.0
    cross_language: bool
    hard_negatives: int = 0
    """Maximum number of hard negatives of a pair."""
    rows: RowTable
    members: NDArray[np.int64]
    """Numbers of the rows of all units, one after another. Text to code: one each. Code to code: those of a group."""
    ends_U: NDArray[np.int64]  # noqa: N815
    """Where each unit ends in ``members``."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Left-out rows by reason."""

    def __len__(self) -> int:
        return len(self.ends_U)

    @property
    def num_groups(self) -> int:
        """Units that can be in one batch: different groups, or different rows without one."""
        groups = self.rows.group_R[self.members[self.ends_U - 1]]
        return len(np.unique(groups[groups != NO_GROUP])) + int((groups == NO_GROUP).sum())

    def members_of(self, unit: int) -> list[int]:
        """Numbers of the rows of a unit."""
        found: list[int] = self.members[self.ends_U[unit - 1] if unit else 0 : self.ends_U[unit]].tolist()
        return found

    def first_row(self, unit: int) -> Row:
        """The first row of a unit."""
        return self.rows[self.members_of(unit)[0]]

    def group_keys(self, unit: int) -> frozenset[int]:
        """Hash of the unit's group, if it has one."""
        return frozenset({int(self.rows.group_R[self.members_of(unit)[0]])} - {NO_GROUP})

    def pick(self, unit: int, rng: Generator) -> Picked:
        """The rows of one pair of a unit, of which no text is read; ``rng`` chooses partners."""
        table, numbers = self.rows, self.members_of(unit)
        first = second = numbers[0]
        if self.task != "text-code":
            first = numbers[int(rng.integers(len(numbers)))]
            language_R = table.language_R
            others = [
                number
                for number in numbers
                if number != first and (language_R[number] != language_R[first] or not self.cross_language)
            ]
            second = others[int(rng.integers(len(others)))]
        queries = table.text_R if self.task == "text-code" else table.code_R
        keys = {int(table.group_R[first]), int(queries[first]), int(table.code_R[second])}
        return Picked(first=first, second=second, keys=frozenset(keys - {NO_GROUP}))

    def pair(self, picked: Picked, rng: Generator) -> Pair:
        """The pair of the picked rows; ``rng`` chooses renaming, hidden names and hard negatives."""
        first = self.rows[picked.first]
        if self.task == "text-code":
            return Pair(
                query=first.text,
                query_language="",
                code=self._vary(first, rng, description=first.text),
                language=first.language,
                keys=picked.keys,
                negatives=self._negatives(first, rng),
            )
        second = self.rows[picked.second]
        return Pair(
            query=self._vary(first, rng),
            query_language=first.language,
            code=self._vary(second, rng),
            language=second.language,
            keys=picked.keys,
        )

    def _negatives(self, row: Row, rng: Generator) -> tuple[str, ...]:
        if not self.hard_negatives or not row.negatives:
            return ()
        chosen = rng.permutation(len(row.negatives))[: self.hard_negatives]
        return tuple(row.negatives[int(number)] for number in chosen)

    def _vary(self, row: Row, rng: Generator, *, description: str = "") -> str:
        # All numbers are always drawn, so that one setting does not change the choices of another.
        rename, hide, skip, describe, frame = rng.random(5)
        code = skip_imports(row.code) if skip < self.skip_imports else row.code
        if rename < self.rename:
            code = rename_frequent(code, rng)
        if hide < self.hide_name:
            code = hide_defined_name(code, rng, row.name)
        if describe < self.describe:
            code = add_description(code, description, row.language, rng)
        return add_frame(row.path, code) if frame < self.frame else code


def open_source(config: SourceConfig, data: DataConfig, taken: SourceRows, *, seed: int = 0) -> Source:
    """Choose and group the rows of one source.

    Args:
        config: The source.
        data: Defaults.
        taken: Its rows.
        seed: Chooses rows if there are more than ``max_rows``.

    Raises:
        DataError: No row is left, or a file of one language is used for code to code across languages.
    """
    table, numbers, dropped = taken.table, taken.numbers, taken.dropped.copy()
    if config.max_rows and len(numbers) > config.max_rows:
        chosen = np.random.default_rng([seed, config.max_rows]).permutation(len(numbers))[: config.max_rows]
        dropped["over max_rows"] = len(numbers) - config.max_rows
        numbers = numbers[np.sort(chosen)]
    ends = np.arange(1, len(numbers) + 1)
    if config.task == "code-code":
        numbers, ends = _groups(table, numbers, data.cross_language, taken.path, dropped)
    if not len(ends):
        raise DataError(
            f"source {config.name}: no rows left of {taken.path}",
            got=dict(dropped),
            remedy="These are the reasons: change the source's settings, or leave the source out.",
        )
    return Source(
        name=config.name,
        task=config.task,
        weight=config.weight,
        rename=data.rename if config.rename is None else config.rename,
        hide_name=data.hide_name if config.hide_name is None else config.hide_name,
        skip_imports=data.skip_imports,
        describe=data.describe if config.describe is None else config.describe,
        frame=data.frame if config.frame is None else config.frame,
        hard_negatives=data.hard_negatives,
        cross_language=data.cross_language,
        rows=table,
        members=numbers,
        ends_U=ends,
        dropped=dropped,
    )


def _groups(
    table: RowTable, numbers: NDArray[np.int64], cross_language: bool, path: Path, dropped: Counter[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of each group that can make a pair, and where each group ends; groups in the order of their first rows."""
    languages = {table.languages[number] for number in np.unique(table.language_R[numbers]).tolist()}
    if cross_language and len(languages) < 2:
        raise DataError(
            f"{path} holds one language only, but code to code across languages is configured",
            got=sorted(languages),
            allowed="two languages or more",
            remedy="Add a language, or set data.cross_language = false.",
        )
    members: defaultdict[int, list[int]] = defaultdict(list)
    for number, group in zip(numbers.tolist(), table.group_R[numbers].tolist(), strict=True):
        members[group].append(number)
    kept: list[int] = []
    ends: list[int] = []
    for group_members in members.values():
        spoken = set(table.language_R[group_members].tolist())
        if len(group_members) < 2 or (cross_language and len(spoken) < 2):
            dropped["group without a partner"] += len(group_members)
            continue
        kept += group_members
        ends.append(len(kept))
    return np.array(kept, dtype=np.int64), np.array(ends, dtype=np.int64)


def open_sources(data: DataConfig, *, batch_pairs: int, mixed: bool, seed: int = 0) -> list[Source]:
    """All sources, checked against the batch before anything is trained.

    Raises:
        DataError: As ``read_sources`` and ``open_source``, or a batch is larger than the data.
    """
    folder = Path(data.folder)
    wanted = [config for config in data.sources if not (data.skip_missing and not (folder / config.file).exists())]
    rows = read_sources(wanted, folder)
    sources = [open_source(config, data, rows[config.name], seed=seed) for config in wanted]
    if not sources:
        raise DataError("none of the sources' files exists", got=data.folder, remedy="Set data.folder.")
    sizes = {source.name: source.num_groups for source in sources}
    smallest = min(sizes, key=lambda name: sizes[name])
    available = sum(sizes.values()) if mixed else sizes[smallest]
    if available < batch_pairs:
        where = "all sources together" if mixed else f"source {smallest}"
        raise DataError(
            f"batch.pairs is larger than the distinct pairs of {where}",
            got=batch_pairs,
            allowed=f"at most {available}",
            remedy="Make the batch smaller, leave the source out, or set batch.mixed = true.",
        )
    return sources
