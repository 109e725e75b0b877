"""Sources: pairs drawn at random from pair files.

In: ``SourceConfig`` (file, task, languages). Out: ``Source`` with ``len`` units; ``pair(unit, rng)`` is one.
A unit is a row (text to code) or a group of codes for one problem (code to code).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from mose.config import DataConfig, SourceConfig
from mose.data.describe import add_description
from mose.data.pairs import Pair, Row, key_of, read_objects, read_rows
from mose.data.rename import hide_defined_name, rename_frequent, skip_imports
from mose.errors import DataError
from mose.framing import add_frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Pairs of one file."""

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
    units: tuple[tuple[Row, ...], ...]
    """Text to code: one row each. Code to code: the rows of one group."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Left-out rows by reason."""

    def __len__(self) -> int:
        return len(self.units)

    @property
    def num_groups(self) -> int:
        """Units that can be in one batch: different groups, or different rows without one."""
        return len({unit[0].group or str(number) for number, unit in enumerate(self.units)})

    def group_keys(self, unit: int) -> frozenset[int]:
        """Hash of the unit's group, if it has one."""
        return _keys(self.units[unit][0].group)

    def pair(self, unit: int, rng: Generator) -> Pair:
        """One pair of a unit; ``rng`` chooses partners, renaming and hidden names."""
        rows = self.units[unit]
        if self.task == "text-code":
            row = rows[0]
            return Pair(
                query=row.text,
                query_language="",
                code=self._vary(row, rng, description=row.text),
                language=row.language,
                keys=_keys(row.group, row.text, row.code),
                negatives=self._negatives(row, rng),
            )
        first = rows[int(rng.integers(len(rows)))]
        others = [
            row for row in rows if row is not first and (row.language != first.language or not self.cross_language)
        ]
        second = others[int(rng.integers(len(others)))]
        return Pair(
            query=self._vary(first, rng),
            query_language=first.language,
            code=self._vary(second, rng),
            language=second.language,
            keys=_keys(first.group, first.code, second.code),
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


def _keys(group: str, *texts: str) -> frozenset[int]:
    keys = {key_of(text) for text in texts}
    if group:
        keys.add(key_of("group " + group))
    return frozenset(keys)


_Objects = list[tuple[int, dict[str, Any]]]


def open_source(config: SourceConfig, data: DataConfig, *, seed: int = 0, objects: _Objects | None = None) -> Source:
    """Read, check and group one source.

    Args:
        config: The source.
        data: Folder of its file, and defaults.
        seed: Chooses rows if there are more than ``max_rows``.
        objects: Lines of the file, if they have been read before.

    Raises:
        DataError: The file is missing, a row is faulty, no row is left, or a file of one language is used for code to
            code across languages.
    """
    path = Path(data.folder) / config.file
    dropped: Counter[str] = Counter()
    code_only = config.task == "code-code"
    rows = read_rows(
        path,
        with_text=not code_only,
        with_group=code_only,
        text_field=config.query_field,
        languages=config.languages,
        kinds=config.kinds,
        dropped=dropped,
        objects=objects,
    )
    if config.max_rows and len(rows) > config.max_rows:
        chosen = np.random.default_rng([seed, config.max_rows]).permutation(len(rows))[: config.max_rows]
        dropped["over max_rows"] = len(rows) - config.max_rows
        rows = [rows[index] for index in sorted(chosen)]
    units = _groups(rows, data.cross_language, path, dropped) if code_only else [(row,) for row in rows]
    if not units:
        raise DataError(f"source {config.name}: no rows left of {path}", got=dict(dropped))
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
        units=tuple(units),
        dropped=dropped,
    )


def _groups(rows: list[Row], cross_language: bool, path: Path, dropped: Counter[str]) -> list[tuple[Row, ...]]:
    members: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[row.group].append(row)
    languages = {row.language for row in rows}
    if cross_language and len(languages) < 2:
        raise DataError(
            f"{path} holds one language only, but code to code across languages is configured",
            got=sorted(languages),
            allowed="two languages or more",
            remedy="Add a language, or set data.cross_language = false.",
        )
    groups: list[tuple[Row, ...]] = []
    for group in members.values():
        if len(group) < 2 or (cross_language and len({row.language for row in group}) < 2):
            dropped["group without a partner"] += len(group)
            continue
        groups.append(tuple(group))
    return groups


def open_sources(data: DataConfig, *, batch_pairs: int, mixed: bool, seed: int = 0) -> list[Source]:
    """All sources, checked against the batch before anything is trained.

    Raises:
        DataError: As ``open_source``, or a batch is larger than the data.
    """
    folder = Path(data.folder)
    wanted = [config for config in data.sources if not (data.skip_missing and not (folder / config.file).exists())]
    # A file that several sources share is read once.
    uses = Counter(config.file for config in wanted)
    shared = {file: list(read_objects(folder / file)) for file, count in uses.items() if count > 1}
    sources = [open_source(config, data, seed=seed, objects=shared.get(config.file)) for config in wanted]
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
