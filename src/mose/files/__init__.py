"""Walk one source tree and read its files; whatever is left out is reported with a reason.

Nothing outside the tree is read: links are reported, never followed.
"""

from __future__ import annotations

from mose.files.reading import read_source
from mose.files.records import REASONS, TRANSIENT, UNREADABLE, Skipped, SourceFile, WalkLimits
from mose.files.walking import moved_away, walk
from mose.files.why import Explanation, explain

__all__ = [
    "REASONS",
    "TRANSIENT",
    "UNREADABLE",
    "Explanation",
    "Skipped",
    "SourceFile",
    "WalkLimits",
    "explain",
    "moved_away",
    "read_source",
    "walk",
]
