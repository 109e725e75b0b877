"""``SearchOptions``: what a caller chooses for one search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mose.errors import ConfigError
from mose.search.filters import Names

Mode = Literal["fused", "lexical", "dense"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How to search.

    Raises:
        ConfigError: A value is outside its range.
    """

    limit: int = 10
    """At most this many hits."""
    mode: Mode = "fused"
    """Words and vectors together ("fused"), words alone ("lexical") or vectors alone ("dense")."""
    exit: int | None = None
    """Exit at which the short list is read; that of the index if None."""
    width: int | None = None
    """Leading dimensions of the vectors to compare; those of the index if None."""
    language: Names = None
    """Only files of this language, or of one of these."""
    path: Names = None
    """Only files that match this pattern, or one of these (as in ``.gitignore``: ``src/``, ``*.py``); a pattern that
    begins with "!" excludes."""
    part: str = ""
    """Only this folder or file of the tree; ``path`` is relative to the folder then."""
    budget_s: float = 2.0
    """Seconds for computing deep vectors of the short list; 0 for none."""
    per_file: bool = True
    """Each file once, with its best chunk; False for every chunk."""
    limit_tokens: int | None = None
    """Instead of ``limit`` and ``per_file``: as many hits as fit into so many tokens of text (of 4 characters). They
    cover many files first, then more of the best ones; no hit is cut."""

    def __post_init__(self) -> None:
        if not isinstance(self.limit, int) or self.limit < 1:
            raise ConfigError("limit", got=self.limit, allowed="a whole number, 1 or more")
        if self.limit_tokens is not None and not (isinstance(self.limit_tokens, int) and self.limit_tokens > 0):
            raise ConfigError("limit_tokens", got=self.limit_tokens, allowed="a whole number, 1 or more")
        check_budget(self.budget_s)
        if self.mode not in get_args(Mode):
            raise ConfigError("mode", got=self.mode, allowed=", ".join(get_args(Mode)))


def check_budget(budget_s: float) -> None:
    """Raise `ConfigError` unless a budget is a number of seconds, 0 or more."""
    if not (isinstance(budget_s, int | float) and budget_s >= 0):
        raise ConfigError("budget_s", got=budget_s, allowed="seconds, 0 or more")
