"""The first line of a commit's message as a query: what says nothing about the change is taken off, or refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from mose.syntax.prose import has_few_words

MAX_SUBJECT_CHARS = 500
"""Longer subjects are cut; some patterns here take quadratic time."""

_REVERT = re.compile(r'(?i)^(?:revert|reapply|back(?:ed)?[ -]?out|roll(?:ed)?[ -]?back|undo)\b[:\s]*"?(.*?)"?$')
_UNFINISHED = re.compile(r"(?i)^(?:merge[ds]?\b|pull request\b|fixup!|squash!|amend!|wip\b)")
_VERSION = re.compile(
    r"""(?ix) ^ (?:
        v?\d+\.\d+[\w.+-]* \b
      | (?: bump | release | version | tag | cut | upgrade ) \b .{0,60}? \b v?\d
      | (?: bump | upgrade ) \b .{0,30} \b (?: version | dependenc | deps?\b | require )
      | prepar(?:e|ing)\ (?:for\ )? (?: the\ |a\ |next\ |new\ )* (?: release | version | v?\d )
      | back\ to\ development | (?:start|begin)\ (?:new\ )?(?:development|version) | post-?release | changelog\b
      | updat(?:e|ing|ed)\ (?:(?:the|dev|development|test)\ )? (?: change | dependenc | deps?\b | version | lock
          | copyright | requirements | submodule | authors | pre-commit )
      | updat(?:e|es|ed|ing)\ .{1,40}\ to\ (?:v\d|\d+\.\d)
    )"""
)
_TIDYING = re.compile(
    r"""(?ix) ^ (?:
        (?: fix(?:ed|es|ing)? | correct(?:ed)? ) \ (?:a\ |some\ |the\ )? (?:minor\ )?
        (?: typos? | spelling | lint\w* | formatting | whitespace | indentation )
      | typos? | lint(?:ing)?
      | (?:re)?format(?:ting|ted)? (?: \s* $ | \ (?: with | using | code | files ) )
      | (?:code\ )?clean-?\ ?ups? | whitespace
      | run\ (?: black | ruff | isort | prettier | gofmt )
      | initial\ (?: commit | import ) | first\ commit | misc(?:ellaneous)?
      | (?: minor | small ) \ (?: changes | fixes | edits | tweaks | improvements? )
      | refactor\w* | renam(?:e|ed|es|ing) | tid(?:y|ied|ies|ying) | clean(?:ed|s|ing)?\ up | constify
      | (?: address | apply ) \ .{0,20} (?: review | comments | feedback | suggestions )
    ) \b"""
)
_DOCUMENTATION = re.compile(
    r"(?i)^(?:add|fix|updat|improv|better|correct|clarif|expand|reword|reintroduc|remov)(?:e|es|ed|ing|y|ied|s)?"
    r"(?: [\w'-]+){0,3} (?:javadocs?|kdocs?|godocs?|docs|docstrings?)\b"
)
_AREA = re.compile(r"^[\w./-]{1,40}:\s+")
_PREFIX = re.compile(
    r"""(?ix) ^ (?:
        \[ [^\]]{1,30} \] \s*
      | (?: feat | fix | docs | chore | refactor | perf | test | build | ci | style ) (?:\([^)]*\))? !? : \s*
      | (?-i: [A-Z]{2,} ) -\d+ :? \s+
    )+"""
)
_TAIL = re.compile(r"(?i)(?:\s*\(?(?:(?:fix(?:e[sd])?|close[sd]?|refs?|see|resolves?|pr)\s*:?\s*)?#\d+\)?[,.]?)+\s*$")


def cut_subject(subject: str) -> str:
    """A subject as git prints it, of bounded length."""
    return subject[:MAX_SUBJECT_CHARS].strip()


def clean_subject(whole: str) -> str:
    """A subject without kind, area and number of the issue.

    Example:
        >>> clean_subject("fix(parser): accept empty lists (#12)")
        'accept empty lists'
    """
    return _TAIL.sub("", _PREFIX.sub("", whole)).strip().rstrip(".")


def reverted_subjects(subjects: Iterable[str]) -> frozenset[str]:
    """Subjects of commits that others take back."""
    return frozenset(match[1] for subject in subjects if (match := _REVERT.match(subject)) and match[1])


def subject_fault(whole: str, subject: str, reverted: Collection[str]) -> str:
    """Why a subject cannot be a query; empty if it can.

    Args:
        whole: As it stands in the commit.
        subject: The same after ``clean_subject``.
        reverted: Subjects of commits that were taken back.
    """
    bare = _AREA.sub("", subject)
    if _REVERT.match(whole) or _REVERT.match(bare) or whole in reverted:
        return "reverts and reverted"
    if _UNFINISHED.match(whole):
        return "merges and unfinished work"
    if _VERSION.match(whole) or _VERSION.match(bare):
        return "versions and dependencies"
    if _TIDYING.match(bare):
        return "tidying"
    if _DOCUMENTATION.match(bare):
        return "documentation"
    return "too short" if has_few_words(subject) else ""
