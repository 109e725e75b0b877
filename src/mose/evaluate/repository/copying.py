"""Copy the tree to search, with the lines that queries were taken from left blank."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from mose.errors import SourceError
from mose.files import SourceFile, read_source
from mose.files.disk import read_regular
from mose.progress import Progress, ProgressCallback, no_progress


def copy_tree(
    root: Path,
    files: Collection[SourceFile],
    blanked: Mapping[str, frozenset[int]],
    out: Path,
    progress: ProgressCallback = no_progress,
) -> None:
    """Copy files to the same relative paths; line numbers do not change.

    Args:
        root: The tree.
        files: What a walk of it found.
        blanked: File -> lines (from 1) that are empty in the copy.
        out: An empty folder.
        progress: Called after each file.

    Raises:
        SourceError: The copy cannot be written.
    """
    (out / ".git").touch()  # ignore rules of folders above the copy do not apply to it
    for number, file in enumerate(files, 1):
        progress(Progress("copy", number, len(files)))
        content = _content(root, file, blanked.get(file.path, frozenset()))
        if content is None:
            continue
        target = out / file.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            if "." not in target.name:
                shutil.copymode(root / file.path, target)  # a script without an extension is recognised by it
        except OSError as error:
            raise SourceError(
                f"{target} cannot be written: {error.strerror}",
                remedy="Make room, or set TMPDIR to a folder with room.",
            ) from error


def _content(root: Path, file: SourceFile, blank: frozenset[int]) -> bytes | None:
    """Content of the copy of a file; None if it cannot be read: an index leaves it out, too."""
    if not blank:
        try:
            return read_regular(str(root / file.path), file.size_bytes)
        except OSError:
            return None
    text = read_source(root, file)
    if not isinstance(text, str):
        return None
    kept = ("" if number in blank else line for number, line in enumerate(text.split("\n"), 1))
    return "\n".join(kept).encode("utf-8", "replace")
