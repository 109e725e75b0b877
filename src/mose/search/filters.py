"""Which chunks may be answers, by language and path."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mose.errors import ConfigError
from mose.search.records import ChunkTable


def allowed_chunks(
    table: ChunkTable, base: NDArray[np.bool_] | None, language: str | None, pattern: str | None
) -> NDArray[np.bool_] | None:
    """Which chunks [N] pass all filters, None if all do.

    Args:
        table: All chunks.
        base: Those allowed already; None for all.
        language: Only files of this language.
        pattern: Only files that match, as in ``.gitignore``.

    Raises:
        ConfigError: No file has the language, or none matches.
    """
    if language is None and pattern is None:
        return base
    files = np.ones(len(table.paths), dtype=np.bool_)
    if language is not None:
        known = sorted(set(table.languages))
        if language not in known:
            raise ConfigError("language", got=language, allowed=", ".join(known) or "none: the index is empty")
        files &= np.array([own == language for own in table.languages], dtype=np.bool_)
    if pattern is not None:
        from pathspec import PathSpec

        spec = PathSpec.from_lines("gitignore", [pattern])
        files &= np.array([spec.match_file(own) for own in table.paths], dtype=np.bool_)
        if not files.any():
            raise ConfigError("path: no indexed file matches", got=pattern, remedy="Patterns are as in .gitignore.")
    chunks: NDArray[np.bool_] = files[table.file_row]
    return chunks if base is None else chunks & base
