"""Results of a walk: files, what was left out, and the reasons."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from mose.errors import SourceError
from mose.files.notebooks import MAX_BYTES, is_notebook

IGNORED = "ignored"
HIDDEN = "hidden"
CACHE = "version control or cache"
DEPENDENCIES = "vendored"
BINARY = "binary"
DATA = "data"
GENERATED = "generated"
MINIFIED = "minified"
OVERSIZED = "oversized"
EMPTY = "empty"
UNREADABLE = "unreadable"
LINK = "link to a file of the tree"
LINK_OUTSIDE = "link outside the tree"
LINK_LOOP = "link loop"
LINK_BROKEN = "broken link"
SPECIAL = "not a regular file"
ODD_NAME = "odd name"
WORKTREE = "linked worktree of the same repository"
TOO_DEEP = "path too long"
TRANSIENT = frozenset({UNREADABLE})
"""Reasons that may no longer apply at the next walk."""

REASONS = (
    *(IGNORED, HIDDEN, CACHE, DEPENDENCIES, BINARY, DATA, GENERATED, MINIFIED, OVERSIZED, EMPTY, UNREADABLE),
    *(LINK, LINK_OUTSIDE, LINK_LOOP, LINK_BROKEN, SPECIAL, ODD_NAME, WORKTREE, TOO_DEEP),
)
"""Every reason that ``Skipped`` may carry."""

_ODD = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """One file or directory that is left out; a directory's path ends with a slash."""

    path: str  # odd characters are written as backslash escapes, so it can always be printed
    reason: str  # one of ``REASONS``


class SourceFile(NamedTuple):
    """One file worth reading. A tuple: a walk makes one for every file before every search."""

    path: str  # relative to the root, with forward slashes
    size_bytes: int
    modified_ns: int
    language: str  # by its name; "text" if that does not tell
    changed_ns: int = 0  # of content, name or rights; programs cannot set it back (on Windows: creation time)
    inode: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkLimits:
    """Sizes above which a file is not read."""

    max_file_bytes: int = 1_000_000
    """Larger files are left out."""
    max_line_chars: int = 2_000
    """A file that consists mostly of longer lines is minified (ten times this for prose)."""

    def bytes_of(self, path: str) -> int:
        """Largest size of a file with this name that is read; larger for notebooks, which include outputs."""
        return max(self.max_file_bytes, MAX_BYTES) if is_notebook(path) else self.max_file_bytes

    def __post_init__(self) -> None:
        for name in ("max_file_bytes", "max_line_chars"):
            if getattr(self, name) < 1:
                raise SourceError(name, got=getattr(self, name), allowed="1 or more")


def is_odd(name: str) -> bool:
    r"""True for names with control characters, line ends or undecodable bytes.

    Example:
        >>> is_odd("a\nb.py"), is_odd("naïve.py")
        (True, False)
    """
    return not name.isprintable() and _ODD.search(name) is not None


def printable(path: str) -> str:
    r"""The path with odd characters as backslash escapes.

    Example:
        >>> print(printable("a\nb"))
        a\nb
    """
    escaped = path.encode("utf-8", "backslashreplace").decode("utf-8")
    return _ODD.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), escaped)
