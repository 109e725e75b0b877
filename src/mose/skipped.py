"""What was left out, and the reasons there are for it."""

from __future__ import annotations

import re
from dataclasses import dataclass

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

REASONS = (
    *(IGNORED, HIDDEN, CACHE, DEPENDENCIES, BINARY, DATA, GENERATED, MINIFIED, OVERSIZED, EMPTY, UNREADABLE),
    *(LINK, LINK_OUTSIDE, LINK_LOOP, LINK_BROKEN, SPECIAL, ODD_NAME),
)
"""Every reason that ``Skipped`` may carry."""

_ODD = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """One file or directory that is left out; a directory's path ends with a slash."""

    path: str  # odd characters are written as backslash escapes, so it can always be printed
    reason: str  # one of ``REASONS``


def is_odd(name: str) -> bool:
    r"""True for names with control characters, line ends or undecodable bytes: no tool shows them well.

    Example:
        >>> is_odd("a\nb.py"), is_odd("naïve.py")
        (True, False)
    """
    return _ODD.search(name) is not None


def printable(path: str) -> str:
    r"""The path with odd characters as backslash escapes.

    Example:
        >>> print(printable("a\nb"))
        a\nb
    """
    escaped = path.encode("utf-8", "backslashreplace").decode("utf-8")
    return _ODD.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), escaped)
