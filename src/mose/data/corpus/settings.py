"""What decides which files a corpus holds, and the reasons for which others are left out."""

from __future__ import annotations

from dataclasses import dataclass

from mose.errors import require

DUPLICATE = "exact copy of an earlier file"
NEAR = "near copy of an earlier file"
OTHER_LANGUAGE = "not of the languages"
GENERATED = "generated"
VENDORED = "vendored"
SURPLUS = "beyond max_files"
SMALL = "in a repository with fewer than two files"
EXCLUDED = "repository in exclude"
LOOSE = "link, hidden entry or loose file beside the repositories"
BENCHMARK = "repository of a held-out benchmark"
BENCHMARK_FOLDER = "in a folder named like a held-out benchmark"
LICENCE = "licence not allowed"
OTHER_LICENCE = "under another licence, by its first lines"
PROSE = frozenset({"text", "markdown", "rst", "html", "org"})
"""Languages that are left out unless they are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """What decides about the bytes of a corpus, beside its sources."""

    licences: tuple[str, ...] = ("permissive",)
    """SPDX identifiers that a repository may have; "permissive" stands for a list, "any" for all and none."""
    languages: tuple[str, ...] = ()
    """Keep files of these languages; empty keeps all but plain text and prose."""
    exclude: tuple[str, ...] = ()
    """Repositories to leave out, by name."""
    skip_benchmarks: bool = True
    """Leave out repositories of the held-out benchmarks, and folders that are named like them."""
    max_files: int = 0
    """Files read of each repository, chosen by seed; 0 reads all."""
    near: float = 0.85
    """Similarity, 0 to 1, from which a file is a near copy of an earlier one; 0 keeps near copies."""
    scrub: bool = True
    """Replace secrets and e-mail addresses."""
    columns: tuple[tuple[str, str], ...] = ()
    """Columns of tables: repository, path, content or licence, and what they are called."""
    shard_units: int = 100_000_000
    """A shard ends with the repository that reaches this many tokens, or bytes of text."""
    seed: int = 0
    """Fixes the choice of files."""

    def __post_init__(self) -> None:
        require(len(self.licences) > 0, "--licence", 0, "permissive, any, or SPDX identifiers")
        require(self.max_files >= 0, "--max-files", self.max_files, "0 or more")
        require(0 <= self.near <= 1, "--near", self.near, "0 to 1")
        require(self.shard_units >= 1, "--shard-size", self.shard_units, "1 or more")
