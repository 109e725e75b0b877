"""Which tree a path belongs to: an indexed folder around it, if there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mose.errors import SourceError
from mose.search.store.location import INSIDE_NAME, base_folder, current_index, source_root


def tree_and_part(path: Path | str) -> tuple[Path, str]:
    """The nearest indexed tree at or above a path, and the part of it that the path names.

    Folders above are asked as long as they belong to the user; an index of the folder itself comes first.

    Args:
        path: A folder, or a file.

    Returns:
        The root of the tree, and the path relative to it with forward slashes, "" for all of it. Without any index:
        the folder itself, or that of the file.

    Raises:
        SourceError: There is no such path, or a file lies in a folder too wide to be indexed for its sake.
    """
    file = _file(path)
    folder = source_root(path if file is None else file.parent)
    for root in _own_folders(folder):
        if current_index(base_folder(root / INSIDE_NAME)) is not None:
            return root, _relative(file or folder, root)
    if file is not None and folder in (Path.home(), Path(folder.anchor)):
        raise SourceError(f"no indexed tree holds {file}", remedy=f"Index one first: mose index {folder}")
    return folder, _relative(file or folder, folder)


def _file(path: Path | str) -> Path | None:
    try:
        resolved = Path(path).expanduser().resolve()
        return resolved if resolved.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None


def _own_folders(folder: Path) -> Iterator[Path]:
    yield folder
    if not hasattr(os, "getuid"):  # Windows: a folder's owner says little there
        yield from folder.parents
        return
    for above in folder.parents:
        if above.stat().st_uid != os.getuid():
            return
        yield above


def _relative(path: Path, root: Path) -> str:
    return "" if path == root else path.relative_to(root).as_posix()


def is_part(path: str, part: str) -> bool:
    """Whether a file's path, relative to the tree, is a part of it or lies in it; every path is in ""."""
    return not part or path == part or path.startswith(part + "/")
