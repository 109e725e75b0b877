"""What a corpus is built of: folders of repositories, checkouts, archives and tables in, their files out.

A source is split into parts, in an order that depends on the sources alone: a repository, some rows of a table, or a
shard of a corpus of text.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mose.config import CorpusConfig
from mose.data.corpus.licences import find_licence, is_allowed
from mose.data.corpus.settings import (
    BENCHMARK,
    EXCLUDED,
    LICENCE,
    LOOSE,
    PROSE,
    SURPLUS,
    BuildSettings,
)
from mose.data.corpus.shards import MANIFEST, Shard, open_shards
from mose.data.corpus.tables import TABLES, Fetch, TableRow, read_table
from mose.data.mine.archives import unpack
from mose.data.mine.harvest import draw
from mose.data.mine.manifest import held_out_name
from mose.errors import DataError
from mose.files import Skipped, SourceFile, WalkLimits, walk
from mose.files.reading import read_bytes

ARCHIVES = (".tar.gz", ".tar.xz", ".tar.bz2", ".tgz", ".tar", ".zip", ".whl")


class RawFile(NamedTuple):
    """A file as it was found."""

    repository: str
    path: str
    content: bytes | str
    licence: str  # SPDX expression of its repository; empty if unknown


@dataclass(frozen=True, slots=True)
class Part:
    """Some files of a source."""

    name: str
    """For messages."""
    read: Callable[[Counter[str]], Iterator[RawFile]]
    """Returns the files, and counts those left out by reason."""


def find_parts(
    sources: Sequence[Path], settings: BuildSettings, dropped: Counter[str], fetch: Fetch | None
) -> Iterator[Part]:
    """The parts of all sources.

    Args:
        sources: Folders of repositories or tables, git checkouts, archives, tables, corpora of text.
        settings: What is left out.
        dropped: Counts of repositories left out, by reason, are added here.
        fetch: Returns the content of a row that has none.

    Raises:
        DataError: A source is missing or of another kind, or two repositories have one name.
    """
    seen: dict[str, Path] = {}
    for path in _paths(sources, dropped):
        if path.name.endswith(TABLES):
            for name, rows in read_table(path, dict(settings.columns), fetch):
                yield Part(name, partial(_read_rows, rows, settings))
        elif (path / MANIFEST).is_file():
            for shard in open_shards(path, text_of="Only a corpus built without --tokenizer can be a source."):
                yield Part(f"{path}, {shard.path.name}", partial(_read_shard, shard))
        else:
            name = name_of(path)
            if name in seen:
                raise DataError(f"{path}: another source has a repository of this name", got=name,
                                remedy=f"Rename it, or leave out {seen[name]}.")  # fmt: skip
            seen[name] = path
            if reason := unwanted(name, settings):
                dropped[reason] += 1
            else:
                yield Part(str(path), partial(_read_repository, name, path, settings))


def _paths(sources: Sequence[Path], dropped: Counter[str]) -> Iterator[Path]:
    for path in sources:
        is_folder, is_one = path.is_dir(), any((path / mark).exists() for mark in (".git", MANIFEST))
        if is_one if is_folder else path.is_file() and path.name.endswith((*ARCHIVES, *TABLES)):
            yield path
        elif is_folder:
            for entry in sorted(path.iterdir()):
                if is_repository(entry) or (entry.is_file() and entry.name.endswith(TABLES)):
                    yield entry
                else:
                    dropped[LOOSE] += 1
        else:
            allowed = f"a folder of repositories, a git checkout, a corpus, or {', '.join((*ARCHIVES, *TABLES))}"
            raise DataError("SOURCES", got=str(path), allowed=allowed, remedy="Name an existing one.")


def is_repository(entry: Path) -> bool:
    """True for what is a repository in a folder of repositories."""
    if entry.is_symlink() or entry.name.startswith((".", "__")):
        return False
    return entry.is_dir() or entry.name.endswith(ARCHIVES)


def name_of(path: Path) -> str:
    """Name of a repository: that of its folder, or of its archive without the ending."""
    path = path.absolute() if path.name in ("", "..") else path
    if path.is_dir():
        return path.resolve().name
    return path.name.removesuffix(next(ending for ending in ARCHIVES if path.name.endswith(ending)))


@contextmanager
def unpacked(path: Path, *, remedy: str) -> Iterator[Path]:
    """Folder of a repository; that of an archive is there for as long as it is read.

    Raises:
        SourceError: The archive is damaged.
    """
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="mose-corpus-") as folder:
        unpack(path, Path(folder), remedy=remedy)
        yield Path(folder)


def unwanted(repository: str, settings: BuildSettings | CorpusConfig) -> str:
    """Why a repository is left out by its name; empty if it is read."""
    if repository in settings.exclude:
        return EXCLUDED
    return BENCHMARK if settings.skip_benchmarks and held_out_name(repository) else ""


def _read_repository(name: str, path: Path, settings: BuildSettings, dropped: Counter[str]) -> Iterator[RawFile]:
    with unpacked(path, remedy=f"Replace {path}, or leave it out: --exclude {name}") as folder:
        licence = find_licence(folder)
        if not is_allowed(licence, settings.licences):
            dropped[f"repository, {LICENCE}: {licence or 'unknown'}"] += 1
            return
        limits = WalkLimits()
        for file in _some_files(name, folder, settings, dropped):
            data = read_bytes(folder, file.path, limits.bytes_of(file.path) + 1)
            if isinstance(data, Skipped):
                dropped[data.reason] += 1
            else:
                yield RawFile(name, file.path, data, licence)


def _some_files(name: str, path: Path, settings: BuildSettings, dropped: Counter[str]) -> list[SourceFile]:
    """Files of a repository, at most ``max_files``, chosen by seed; what looks like prose is chosen last."""
    files = []
    for file in walk(path):
        if isinstance(file, Skipped):
            dropped[file.reason] += 1
        else:
            files.append(file)
    surplus = len(files) - settings.max_files
    if settings.max_files == 0 or surplus <= 0:
        return files
    dropped[SURPLUS] += surplus
    files.sort(key=lambda file: (file.language in PROSE, draw(settings.seed, name, file.path)))
    return sorted(files[: settings.max_files])


def _read_rows(
    rows: Callable[[Counter[str]], Iterator[TableRow]], settings: BuildSettings, dropped: Counter[str]
) -> Iterator[RawFile]:
    for row in rows(dropped):
        reason = unwanted(row.repository, settings)
        if not reason and not is_allowed(row.licence, settings.licences):
            reason = f"{LICENCE}: {row.licence or 'unknown'}"
        if reason:
            dropped[reason] += 1
        else:
            yield RawFile(row.repository, row.path, row.content, row.licence)


def _read_shard(shard: Shard, dropped: Counter[str]) -> Iterator[RawFile]:
    for file in shard.files():
        yield RawFile(file.repository, file.path, file.units.tobytes(), file.licence)
