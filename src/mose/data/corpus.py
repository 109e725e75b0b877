"""Repositories to pre-train on: folders and archives in, source files of each repository out.

In: ``data.sources``, each a folder of repositories or an archive. Out: ``Corpus``, whole repositories sorted by name,
with counts of everything left out by reason. All text is held in memory: for corpora of up to a few gigabytes.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from mose import languages
from mose.config import CorpusConfig
from mose.data.mine.archives import unpack
from mose.data.mine.manifest import held_out_name
from mose.errors import DataError
from mose.files import Skipped, read_source, walk
from mose.files.content import is_generated_text

DUPLICATE = "exact copy of an earlier file"
OTHER_LANGUAGE = "not of the languages"
GENERATED = "generated"
SURPLUS = "beyond data.max_files"
SMALL = "in a repository with fewer than two files"
EXCLUDED = "repository in data.exclude"
LOOSE = "link, hidden entry or loose file beside the repositories"
BENCHMARK = "repository of a held-out benchmark"
_ARCHIVES = (".tar.gz", ".tar.xz", ".tar.bz2", ".tgz", ".tar", ".zip", ".whl")
_PROSE = frozenset({"text", "markdown", "rst", "html", "org"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Source files of one repository, sorted by path."""

    name: str
    texts: tuple[str, ...]
    """At least two; none is a copy of another in the corpus."""
    languages: tuple[str, ...]
    """Language of each text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Repositories, and how many files were left out by reason."""

    repositories: tuple[Repository, ...]
    dropped: dict[str, int]

    def counts(self) -> dict[str, object]:
        """Sizes for the log."""
        by_language = Counter(language for repository in self.repositories for language in repository.languages)
        return {
            "repositories": len(self.repositories),
            "files": sum(len(repository.texts) for repository in self.repositories),
            "characters": sum(len(text) for repository in self.repositories for text in repository.texts),
            "languages": dict(by_language.most_common()),
            "dropped": dict(sorted(self.dropped.items())),
        }

    def split(self, share: float, *, seed: int) -> tuple[Corpus, Corpus]:
        """Repositories to train on and held-out ones, chosen by seed; no repository is in both.

        Args:
            share: Share of the repositories to hold out, at least two.
            seed: Fixes the choice.

        Raises:
            DataError: There are fewer than four repositories.
        """
        count = len(self.repositories)
        if count < 4:
            raise DataError(
                "repositories with two source files or more", got=count, allowed="4 or more, two of them held out",
                remedy="Add folders or archives to data.sources.",
            )  # fmt: skip
        num_held = min(max(2, round(share * count)), count - 2)
        held = set(np.random.default_rng([seed, 11]).permutation(count)[:num_held].tolist())
        trained = [repository for number, repository in enumerate(self.repositories) if number not in held]
        kept = [repository for number, repository in enumerate(self.repositories) if number in held]
        return replace(self, repositories=tuple(trained)), Corpus(repositories=tuple(kept), dropped={})


def read_corpus(config: CorpusConfig, *, seed: int) -> Corpus:
    """The repositories of all sources.

    Raises:
        DataError: A source is missing, is neither a folder nor an archive, or repeats a repository of another.
        SourceError: An archive is damaged.
    """
    dropped: Counter[str] = Counter()
    found = _find_repositories(config, dropped)
    seen: set[bytes] = set()
    repositories = []
    for name in sorted(found):
        if name in config.exclude:
            dropped[EXCLUDED] += 1
            continue
        if config.skip_benchmarks and held_out_name(name):
            dropped[BENCHMARK] += 1
            continue
        repository = _read_repository(name, found[name], config, seen, dropped, seed)
        if len(repository.texts) > 1:
            repositories.append(repository)
        else:
            dropped[SMALL] += len(repository.texts)
    return Corpus(repositories=tuple(repositories), dropped={reason: n for reason, n in dropped.items() if n})


def _find_repositories(config: CorpusConfig, dropped: Counter[str]) -> dict[str, Path]:
    """Name of each repository -> its folder or archive."""
    found: dict[str, Path] = {}
    for path in _paths(config, dropped):
        name = _name_of(path)
        if name in found:
            raise DataError(f"{path}: another source has a repository of this name", got=name,
                            remedy=f"Rename it, or remove {found[name]}.")  # fmt: skip
        found[name] = path
    return found


def _paths(config: CorpusConfig, dropped: Counter[str]) -> Iterator[Path]:
    for source in config.sources:
        path = Path(config.folder) / Path(source).expanduser()
        if path.is_file() and path.name.endswith(_ARCHIVES):
            yield path
        elif path.is_dir():
            for entry in sorted(path.iterdir()):
                if _is_repository(entry):
                    yield entry
                else:
                    dropped[LOOSE] += 1
        else:
            allowed = f"a folder of repositories, or {', '.join(_ARCHIVES)}"
            remedy = "Name an existing one; paths are relative to data.folder."
            raise DataError("data.sources", got=str(path), allowed=allowed, remedy=remedy)


def _is_repository(entry: Path) -> bool:
    if entry.is_symlink() or entry.name.startswith((".", "__")):
        return False
    return entry.is_dir() or entry.name.endswith(_ARCHIVES)


def _name_of(path: Path) -> str:
    if path.is_dir():
        return path.name
    return path.name.removesuffix(next(ending for ending in _ARCHIVES if path.name.endswith(ending)))


def _read_repository(
    name: str, path: Path, config: CorpusConfig, seen: set[bytes], dropped: Counter[str], seed: int
) -> Repository:
    if not path.is_dir():
        with tempfile.TemporaryDirectory(prefix="mose-corpus-") as folder:
            unpack(path, Path(folder), remedy=f"Replace {path}, or add {name!r} to data.exclude.")
            return _read_repository(name, Path(folder), config, seen, dropped, seed)
    kept: list[tuple[str, str]] = []
    for language, text in _read_files(path, config, dropped):
        digest = sha256(text.encode("utf8", "surrogatepass")).digest()
        if digest in seen:
            dropped[DUPLICATE] += 1
            continue
        seen.add(digest)
        kept.append((language, text))
    if config.max_files and len(kept) > config.max_files:
        dropped[SURPLUS] += len(kept) - config.max_files
        # Seeded by the name, so that adding a repository does not change the others.
        own = int.from_bytes(sha256(name.encode("utf8", "surrogatepass")).digest()[:8], "little")
        rows = np.sort(np.random.default_rng([seed, 12, own]).permutation(len(kept))[: config.max_files])
        kept = [kept[row] for row in rows]
    return Repository(
        name=name, texts=tuple(text for _, text in kept), languages=tuple(language for language, _ in kept)
    )


def _read_files(root: Path, config: CorpusConfig, dropped: Counter[str]) -> Iterator[tuple[str, str]]:
    """Language and text of every source file that a person wrote."""
    for file in walk(root):
        if isinstance(file, Skipped):
            dropped[file.reason] += 1
            continue
        text = read_source(root, file)
        if isinstance(text, Skipped):
            dropped[text.reason] += 1
            continue
        language = languages.label_of(file.path, text)
        if is_generated_text(text):
            dropped[GENERATED] += 1
        elif language not in config.languages if config.languages else language in _PROSE:
            dropped[OTHER_LANGUAGE] += 1
        else:
            yield language, text
