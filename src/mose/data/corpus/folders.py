"""Repositories to pre-train on: folders and archives in, source files of each repository out.

In: ``data.sources``, each a folder of repositories or an archive. Out: ``Corpus``, whole repositories sorted by name,
with counts of everything left out by reason. All text is held in memory: for corpora of up to a few gigabytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from mose import languages
from mose.config import CorpusConfig
from mose.data.corpus.prepare import unwanted_text
from mose.data.corpus.settings import DUPLICATE, LOOSE, SMALL, SURPLUS
from mose.data.corpus.snippets import Snippets, choose_held_out, cut_text
from mose.data.corpus.sources import ARCHIVES, is_repository, name_of, unpacked, unwanted
from mose.errors import DataError
from mose.files import Skipped, read_source, walk


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
        held = choose_held_out(len(self.repositories), share, seed=seed)
        trained, kept = (
            tuple(one for one, is_held in zip(self.repositories, held, strict=True) if bool(is_held) is wanted)
            for wanted in (False, True)
        )
        return replace(self, repositories=trained), Corpus(repositories=kept, dropped={})

    @property
    def num_repositories(self) -> int:
        """Number of repositories."""
        return len(self.repositories)

    def snippets(self, chars: int) -> Snippets:
        """All files cut at line ends into snippets of about so many characters."""
        snippets: list[str] = []
        file_starts: list[int] = []
        repository_starts: list[int] = []
        for repository in self.repositories:
            repository_starts.append(len(snippets))
            for text in repository.texts:
                file_starts.append(len(snippets))
                snippets += cut_text(text, chars)
        return Snippets(
            count=len(snippets), file_starts=np.array(file_starts), repository_starts=np.array(repository_starts),
            names=[repository.name for repository in self.repositories], read=snippets.__getitem__,
        )  # fmt: skip


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
        if reason := unwanted(name, config):
            dropped[reason] += 1
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
        name = name_of(path)
        if name in found:
            raise DataError(f"{path}: another source has a repository of this name", got=name,
                            remedy=f"Rename it, or remove {found[name]}.")  # fmt: skip
        found[name] = path
    return found


def _paths(config: CorpusConfig, dropped: Counter[str]) -> Iterator[Path]:
    for source in config.sources:
        path = Path(config.folder) / Path(source).expanduser()
        if path.is_file() and path.name.endswith(ARCHIVES):
            yield path
        elif path.is_dir():
            for entry in sorted(path.iterdir()):
                if is_repository(entry):
                    yield entry
                else:
                    dropped[LOOSE] += 1
        else:
            allowed = f"a folder of repositories, or {', '.join(ARCHIVES)}"
            remedy = "Name an existing one; paths are relative to data.folder."
            raise DataError("data.sources", got=str(path), allowed=allowed, remedy=remedy)


def _read_repository(
    name: str, path: Path, config: CorpusConfig, seen: set[bytes], dropped: Counter[str], seed: int
) -> Repository:
    kept: list[tuple[str, str]] = []
    with unpacked(path, remedy=f"Replace {path}, or add {name!r} to data.exclude.") as folder:
        for language, text in _read_files(folder, config, dropped):
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
        if reason := unwanted_text(text, language, config.languages):
            dropped[reason] += 1
        else:
            yield language, text
