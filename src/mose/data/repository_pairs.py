"""Pairs of snippets from one repository or two: endless batches in an order fixed by the seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mose.data.corpus.folders import Corpus
from mose.data.corpus.snippets import Snippet, span
from mose.data.corpus.stored import StoredCorpus
from mose.data.passes import Passes, changed_data
from mose.errors import DataError

PairKind = Literal["icc", "nsp", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnippetBatch:
    """Pairs of one step."""

    step: int
    firsts: tuple[Snippet, ...]
    seconds: tuple[Snippet, ...]
    same: tuple[bool, ...]
    """True for two snippets of one repository (nsp: consecutive ones)."""
    repositories: tuple[tuple[str, str], ...]
    """The repositories of each pair's snippets."""
    source: str = "corpus"
    """Named in the log."""

    def __len__(self) -> int:
        return len(self.same)


class RepositoryPairs:
    """Endless batches: every snippet of the corpus in a new random order per pass, each with a partner.

    With probability ``same_share`` the partner comes from another file of the same repository (nsp: it is the next
    snippet of the file), else from another repository; all snippets that qualify are equally likely. Both kinds of
    partner are drawn in proportion to the size of their repository, so that one side does not predict the label.

    Args:
        corpus: At least two repositories of two files.
        kind: Objective of the pairs.
        size: Pairs per batch.
        same_share: Share of pairs from one repository.
        snippet_chars: Length of a snippet.
        seed: Fixes all random choices.

    Raises:
        DataError: nsp, and no file has two snippets.
    """

    def __init__(
        self,
        corpus: Corpus | StoredCorpus,
        *,
        kind: PairKind,
        size: int,
        same_share: float,
        snippet_chars: int,
        seed: int,
    ) -> None:
        self._size, self._seed, self._same_share, self._kind = size, seed, same_share, kind
        self._snippets = snippets = corpus.snippets(snippet_chars)
        # Only snippets with a partner of either kind start a pair.
        self._anchors = np.arange(snippets.count)
        if kind == "nsp":
            self._anchors = np.setdiff1d(self._anchors, np.append(snippets.file_starts[1:], snippets.count) - 1)
        if not len(self._anchors):
            raise DataError("no file is longer than data.snippet_chars", got=snippet_chars,
                            remedy='Lower data.snippet_chars, or set objective.pairs = "icc".')  # fmt: skip
        self._step = 0
        self._passes = Passes(len(self._anchors), seed=seed)

    @property
    def num_snippets(self) -> int:
        """Number of all snippets."""
        return self._snippets.count

    def __iter__(self) -> RepositoryPairs:
        return self

    def __next__(self) -> SnippetBatch:
        rng = np.random.default_rng([self._seed, 1, self._step])
        pairs = []
        for position in range(self._step * self._size, (self._step + 1) * self._size):
            first = int(self._anchors[self._passes.row(position)])
            same = bool(rng.random() < self._same_share)
            pairs.append((first, self._partner(first, same, rng), same))
        batch = SnippetBatch(
            step=self._step,
            firsts=tuple(self._snippets.read(first) for first, _, _ in pairs),
            seconds=tuple(self._snippets.read(second) for _, second, _ in pairs),
            same=tuple(same for _, _, same in pairs),
            repositories=tuple((self._name(first), self._name(second)) for first, second, _ in pairs),
        )
        self._step += 1
        return batch

    def skip(self) -> None:
        """Pass over the next batch."""
        self._step += 1

    def state(self) -> dict[str, Any]:
        """Position, as plain values for JSON."""
        return {"step": self._step, "snippets": self.num_snippets}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored position.

        Raises:
            DataError: The corpus is not that of the stored position.
        """
        if state["snippets"] != self.num_snippets:
            raise changed_data("corpus", f"{self.num_snippets} snippets", f"{state['snippets']} snippets")
        self._step = state["step"]

    def _partner(self, first: int, same: bool, rng: np.random.Generator) -> int:
        repository = span(self._snippets.repository_starts, first, self.num_snippets)
        if not same:
            return _draw((0, self.num_snippets), repository, rng)
        if self._kind == "nsp":
            return first + 1
        return _draw(repository, span(self._snippets.file_starts, first, self.num_snippets), rng)

    def _name(self, row: int) -> str:
        return self._snippets.names[self._snippets.repository(row)]


def _draw(within: tuple[int, int], without: tuple[int, int], rng: np.random.Generator) -> int:
    """A row of one range that is not in a second range inside it, all equally likely."""
    row = int(rng.integers(within[0], within[1] - (without[1] - without[0])))
    return row if row < without[0] else row + without[1] - without[0]
