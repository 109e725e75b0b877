"""Files that were left out for their size and yet hold the words of a query: said below the hits, at a bounded cost."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mose.files.reading import read_bytes

if TYPE_CHECKING:
    from mose.search.store.store import Store

_READ_BYTES = 2_000_000
"""Of each file; `mose.search.store.status.MAX_EXAMPLES` files at most are known by name."""
_WORD = re.compile(r"\w{3,}")


def oversized_with(store: Store, root: Path, query: str) -> list[str]:
    """Paths of over-large files whose beginning holds every longer word of a query."""
    words = {word.lower().encode("utf-8", "replace") for word in _WORD.findall(query[:10_000])}
    if not words:
        return []
    found = []
    for (examples,) in store.rows("SELECT examples FROM skipped WHERE reason = 'oversized'"):
        for path in json.loads(examples):
            content = read_bytes(root, path, _READ_BYTES)
            if isinstance(content, bytes) and _holds_all(content.lower(), words):
                found.append(path)
    return found


def _holds_all(content: bytes, words: set[bytes]) -> bool:
    return all(word in content for word in words)
