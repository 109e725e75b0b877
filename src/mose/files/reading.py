"""Read one file of a walk, and decide by its content whether it is source."""

from __future__ import annotations

import os
from pathlib import Path

from mose import languages
from mose.files import content, records
from mose.files.disk import FolderReader, leads_inside
from mose.files.notebooks import is_notebook, read_notebook
from mose.files.records import Skipped, SourceFile, WalkLimits, printable


def read_source(root: Path, file: SourceFile, limits: WalkLimits | None = None) -> str | Skipped:
    r"""Text of one file with ``\n`` line ends, or why it is left out.

    UTF-8, UTF-16 and UTF-32 with a byte order mark, and files that name their encoding in a coding line are
    decoded as such; other bytes are read as Latin-1, so that the rest of the file can still be searched.

    Args:
        root: The folder given to ``walk``.
        file: A file that ``walk`` found; it may have changed or disappeared since.
        limits: Sizes; the defaults if None.
    """
    limits = limits or WalkLimits()
    data = read_bytes(root, file.path, limits.bytes_of(file.path) + 1)
    return data if isinstance(data, Skipped) else source_text(file.path, data, limits)


def source_text(path: str, data: bytes, limits: WalkLimits) -> str | Skipped:
    """As `read_source`, of a file's bytes, read up to one above the limit."""
    text = content.decode(data)
    longest_allowed = limits.max_line_chars * (10 if languages.is_documentation(path) else 1)
    reason = None
    if len(data) <= limits.bytes_of(path) and text is not None and is_notebook(path) and read_notebook(text):
        return text
    if len(data) > limits.max_file_bytes:
        reason = records.OVERSIZED
    elif text is None:
        reason = records.BINARY
    elif not text.strip():
        reason = records.EMPTY
    elif content.is_minified_text(text, longest_allowed):
        reason = records.MINIFIED
    if text is None or reason is not None:
        return Skipped(path=printable(path), reason=reason or records.BINARY)
    return text.replace("\r\n", "\n") if "\n" in text else text.replace("\r", "\n")


def read_bytes(root: Path, name: str, limit: int) -> bytes | Skipped:
    """At most ``limit`` bytes of a file of the tree, or why it cannot be read; no link leads out of the tree."""
    with FolderReader(os.fspath(root)) as reader:
        return read_next(reader, name, limit)


def read_next(reader: FolderReader, name: str, limit: int) -> bytes | Skipped:
    """As `read_bytes`, for one of many files."""
    try:
        return reader.read(name, limit)
    except (OSError, ValueError):  # ValueError: a path that no file can have
        return Skipped(path=printable(name), reason=_why_unreadable(os.path.join(reader.top, name), reader.top))


def _why_unreadable(path: str, top: str) -> str:
    try:
        return records.UNREADABLE if leads_inside(path, top) else records.LINK_OUTSIDE
    except (OSError, ValueError):
        return records.UNREADABLE
