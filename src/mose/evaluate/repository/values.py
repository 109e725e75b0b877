"""What is asked, and what answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mose.evaluate.repository.benchmark import Location

KINDS = ("docs", "history", "tests")
"""Where queries come from: documentation of functions, subjects of commits, names of tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenQuery:
    """A text found in the tree, and the locations that it is about."""

    kind: str
    """One of ``KINDS``."""
    text: str
    targets: tuple[Location, ...]
    """Lines of a definition, or whole files for "history"; paths are relative to the tree."""
    blanked: tuple[int, ...] = ()
    """Lines of the target's file that say the text itself; they are blank in the tree that is searched."""
    left_out: str = ""
    """File that says the text itself and cannot do without; its hits do not count."""

    @property
    def key(self) -> tuple[str, str]:
        """What makes two queries of different states of a tree the same."""
        return self.kind, self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class KindReport:
    """What became of one kind."""

    num_found: int
    """Texts that were looked at."""
    num_usable: int
    """Those that made a query; a sample of them is asked."""
    dropped: Mapping[str, int]
    """Reason -> texts left out for it, most frequent first."""
    none: str = ""
    """Why there was nothing to look at; empty if there was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSet:
    """The queries of a tree, by kind and then in the order of the sample, and how they came about."""

    queries: tuple[GoldenQuery, ...]
    reports: Mapping[str, KindReport]
