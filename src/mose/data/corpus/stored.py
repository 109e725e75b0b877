"""A corpus that ``mose corpus build`` wrote, read from its shards: mapped, so that it may be larger than memory.

Snippets of a corpus of tokens are token ids: nothing is tokenised again at every pass, which is most of the work of
making a batch, and a token takes two bytes where its text takes four. The price is that the corpus fits one tokenizer,
which is checked. A corpus of text gives texts, for any tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.data.corpus.shards import MANIFEST, Shard, check_hashes, open_shards, read_manifest
from mose.data.corpus.snippets import Numbers, Snippet, Snippets, choose_held_out
from mose.data.corpus.tokens import line_ends, tokenizer_identity
from mose.errors import DataError


def is_stored(folder: str | Path) -> bool:
    """True if a folder is a corpus that was built."""
    return (Path(folder) / MANIFEST).is_file()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCorpus:
    """Repositories of a corpus in shards: all of them, or a part."""

    folder: Path
    manifest: dict[str, Any]
    shards: tuple[Shard, ...]
    names: tuple[str, ...]
    """Of the repositories."""
    num_files: Numbers
    """Of each repository."""
    shard_of: Numbers
    """Of each file, as are the next two."""
    begins: Numbers
    ends: Numbers

    @property
    def num_repositories(self) -> int:
        """Number of repositories."""
        return len(self.names)

    def counts(self) -> dict[str, object]:
        """Sizes for the log; languages and what was left out are those of the whole corpus."""
        sizes = {
            "repositories": len(self.names),
            "files": len(self.begins),
            "units": int((self.ends - self.begins).sum()),
        }
        return {**sizes, **{key: self.manifest[key] for key in ("tokenizer", "languages", "dropped")}}

    def split(self, share: float, *, seed: int) -> tuple[StoredCorpus, StoredCorpus]:
        """Repositories to train on and held-out ones, chosen by seed.

        Args:
            share: Share of the repositories to hold out, at least two.
            seed: Fixes the choice.

        Raises:
            DataError: There are fewer than four repositories.
        """
        held = choose_held_out(len(self.names), share, seed=seed)
        return self._part(~held), self._part(held)

    def _part(self, chosen: NDArray[np.bool_]) -> StoredCorpus:
        files = np.repeat(chosen, self.num_files)
        return replace(
            self,
            names=tuple(name for name, keep in zip(self.names, chosen, strict=True) if keep),
            num_files=self.num_files[chosen], shard_of=self.shard_of[files], begins=self.begins[files],
            ends=self.ends[files],
        )  # fmt: skip

    def snippets(self, chars: int) -> Snippets:
        """All files cut at line ends into snippets of about so many characters, as few and as equal as possible.

        Tokens are counted for the characters that they have on average in this corpus.
        """
        per_unit = self.manifest["characters"] / self.manifest["units"]
        lengths = self.ends - self.begins
        pieces = np.maximum(1, -(-lengths // max(1, round(chars / per_unit))))
        starts = np.cumsum(pieces) - pieces
        firsts = np.cumsum(self.num_files) - self.num_files
        return Snippets(
            count=int(pieces.sum()), file_starts=starts, repository_starts=starts[firsts], names=self.names,
            read=_Reader(self, starts, pieces),
        )  # fmt: skip


class _Reader:
    """Reads a snippet of a corpus by its number."""

    def __init__(self, corpus: StoredCorpus, starts: Numbers, pieces: Numbers) -> None:
        self._corpus, self._starts, self._pieces = corpus, starts, pieces
        tokenizer = corpus.manifest["tokenizer"]
        self._num_tokens = tokenizer["tokens"] if tokenizer else 0
        self._ends_line = line_ends(corpus.folder) if tokenizer else np.arange(256) == ord("\n")

    def __call__(self, row: int) -> Snippet:
        corpus = self._corpus
        file = int(np.searchsorted(self._starts, row, side="right")) - 1
        piece, count = row - int(self._starts[file]), int(self._pieces[file])
        shard = corpus.shards[corpus.shard_of[file]]
        units = shard.units[corpus.begins[file] : corpus.ends[file]]
        units = units[self._cut(units, piece, count) : self._cut(units, piece + 1, count)]
        if not self._num_tokens:
            return str(units.tobytes(), "utf8", "ignore")
        if len(units) and int(units.max()) >= self._num_tokens:
            raise DataError(f"token id in {shard.path}", got=int(units.max()), allowed=f"below {self._num_tokens}",
                            remedy="It is damaged: mose corpus stats checks every shard.")  # fmt: skip
        found: Snippet = np.asarray(units)
        return found

    def _cut(self, units: NDArray[Any], number: int, count: int) -> int:
        """Where a piece begins: behind the first line end near its share of the file."""
        at = len(units) * number // count
        if number in (0, count):
            return at
        near = self._ends_line.take(units[at - 1 : at + len(units) // (2 * count)], mode="clip")
        return at + int(near.argmax()) if near.any() else at


def open_corpus(folder: str | Path, *, rank: int = 0, size: int = 1) -> StoredCorpus:
    """A corpus that was built; each of several processes checks the hashes of its share of the shards.

    Args:
        folder: The corpus.
        rank: Number of this process.
        size: Number of processes.

    Raises:
        DataError: The folder is not a corpus, or is damaged.
    """
    folder = Path(folder)
    shards = open_shards(folder)
    check_hashes(folder, rank=rank, size=size)
    begins = [np.concatenate([[0], shard.ends[:-1]]) for shard in shards]
    return StoredCorpus(
        folder=folder,
        manifest=read_manifest(folder),
        shards=tuple(shards),
        names=tuple(name for shard in shards for name in shard.names),
        num_files=np.concatenate([np.diff(shard.repositories, prepend=0) for shard in shards]),
        shard_of=np.repeat(np.arange(len(shards)), [len(shard.ends) for shard in shards]),
        begins=np.concatenate(begins),
        ends=np.concatenate([shard.ends for shard in shards]),
    )


def require_tokenizer(corpus: StoredCorpus, model: Path) -> None:
    """Raise `DataError` unless the tokens of a corpus are those of a model's tokenizer; a text fits every one."""
    stored = corpus.manifest["tokenizer"]
    if stored and stored != (found := tokenizer_identity(model)):
        raise DataError(
            f"tokenizer of {corpus.folder}", got=stored, allowed=f"that of {model}: {found}",
            remedy=f"Build the corpus with --tokenizer {model}, or without --tokenizer: text fits every model.",
        )  # fmt: skip
