"""``SearchOptions``: what a caller chooses for one search."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from mose.errors import ConfigError
from mose.search.filters import Names

Mode = Literal["fused", "lexical", "dense"]
MAX_REGEX_CHARS = 1_000


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
    line_regex: str | None = None
    """Only chunks with a line that this regular expression (of `re`) matches; hits show the first such line."""
    line_text: str | None = None
    """Only chunks with a line that holds this text, as it is written; hits show the first such line."""
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
        _check_lines(self.line_regex, self.line_text)
        check_budget(self.budget_s)
        if self.mode not in get_args(Mode):
            raise ConfigError("mode", got=self.mode, allowed=", ".join(get_args(Mode)))

    @property
    def filters_lines(self) -> bool:
        """Whether only chunks with certain lines are asked for."""
        return self.line_regex is not None or self.line_text is not None


def _check_lines(regex: str | None, text: str | None) -> None:
    """Raise `ConfigError` unless a line can match."""
    if regex is not None and text is not None:
        raise ConfigError("line_regex and line_text together", got=text, allowed="one of the two")
    if text is not None and (not text or "\n" in text):
        raise ConfigError("the text that a line must hold", got=text, allowed="one line that is not empty")
    try:
        if len(regex or "") > MAX_REGEX_CHARS:
            raise ValueError(f"It has more than {MAX_REGEX_CHARS:,} characters.")
        re.compile(regex or "")
    except (ValueError, re.error, RecursionError, OverflowError) as error:
        what = "the regular expression cannot be read"
        raise ConfigError(what, got=regex, allowed="those of Python's `re`", remedy=str(error)) from error


def check_budget(budget_s: float) -> None:
    """Raise `ConfigError` unless a budget is a number of seconds, 0 or more."""
    if not (isinstance(budget_s, int | float) and budget_s >= 0):
        raise ConfigError("budget_s", got=budget_s, allowed="seconds, 0 or more")
