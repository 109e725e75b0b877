"""The queries of a golden set, and their answers."""

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
    """Lines of the target's file that hold the text itself; blank in the tree that is searched."""
    left_out: str = ""
    """File that holds the text itself and cannot be blanked; its hits do not count."""

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the query in other states of the tree."""
        return self.kind, self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class KindReport:
    """How many queries one kind gave."""

    num_found: int
    """Texts examined."""
    num_usable: int
    """Texts that can be queries; a sample of them is used."""
    dropped: Mapping[str, int]
    """Reason -> texts left out for it, most frequent first."""
    none: str = ""
    """Why there was no text to examine; empty if there was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSet:
    """The queries of a tree, by kind and then in the order of the sample, and a report on each kind."""

    queries: tuple[GoldenQuery, ...]
    reports: Mapping[str, KindReport]
