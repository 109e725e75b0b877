"""Where the index of a source tree lies, and which tree a path belongs to: one home per user, one folder per tree.

By default nothing is written into the tree itself; an index asked for inside the tree lies in its ``.mose``.

Every index lies in a folder of its own with a random name, its identity, which is never used again: in the base
folder of its tree in the user's home, or in the tree's ``.mose``. ``current`` in the base folder names it. So a
process that has an index open can tell whether it is still the one, what it does by path never meets the files of a
newer index, and the author of a tree can neither put a file into an index inside it nor pass off a ``.mose`` as the
user's own: a ``.mose`` that came with the tree is never read.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from mose.errors import SourceError, UnwritableIndexError
from mose.storage import HOME_VARIABLE, home

INSIDE_NAME = ".mose"
DATABASE_NAME = "index.db"
SHARED_NAME = "vectors.db"
POINTER_NAME = "current"
TREES_NAME = "trees"
"""The folder of all base folders in the user's home."""
IDENTITY = re.compile(r"[0-9a-f]{32}")
"""What the name of an index's own folder looks like."""


def source_root(root: Path | str) -> Path:
    """The tree as an absolute path without links.

    Raises:
        SourceError: There is no such folder, or it is not one.
    """
    path = Path(root)
    try:
        path = path.expanduser()
        resolved = path.resolve()
        if resolved.is_dir():
            return resolved
        exists = resolved.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceError(f"{path} cannot be read: {error}", remedy="Name a folder with source code.") from error
    if exists:
        raise SourceError(f"{path} is not a folder", remedy=f"Name the folder that holds it: {path.parent}")
    raise SourceError(f"there is no folder {path}", remedy="Check the spelling, or name another folder.")


def index_folder(root: Path | str, *, inside: bool | None = None, must_exist: bool = True) -> Path:
    """The folder that the index of a tree is opened by (`mose.search.store.store.Store.open`); nothing is created.

    Args:
        root: The source tree.
        inside: True for the tree's own ``.mose`` folder, False for the user's home, None for the folder that this
            user has chosen before, the home if none was.
        must_exist: False for a tree that may be gone.

    Raises:
        SourceError: ``root`` is not a folder.
        ConfigError: The user has no home folder.
    """
    resolved = source_root(root) if must_exist else _resolved(root)
    own = resolved / INSIDE_NAME
    if inside or (inside is None and is_inside(base_folder(own))):
        return own
    return base_folder(own)


def base_folder(folder: Path) -> Path:
    """The folder in the user's home that belongs to an index folder: itself, except for one inside a tree."""
    if folder.name != INSIDE_NAME:
        return folder
    root = folder.parent
    digest = hashlib.blake2b(os.fsencode(root), digest_size=6).hexdigest()
    name = re.sub(r"[^\w.-]+", "-", root.name).strip(".-")[:40] or "root"
    return home() / TREES_NAME / f"{name}-{digest}"


def entry_folder(folder: Path) -> Path:
    """The folder by which an index is opened, given the index's own folder; any other folder as it is."""
    return folder.parent if IDENTITY.fullmatch(folder.name) else folder


def current_index(base: Path) -> Path | None:
    """The folder of the index that a base folder names; None if there is none, or it cannot be trusted any more."""
    named = read_folders(base, POINTER_NAME)
    if len(named) != 1 or not IDENTITY.fullmatch(named[0].name):
        return None
    folder = named[0]
    if folder.parent == base:
        return folder if folder.is_dir() and not folder.is_symlink() else None
    if folder.parent.name != INSIDE_NAME or base_folder(folder.parent) != base:
        return None  # of another tree
    return folder if is_private_folder(folder.parent) and is_private_folder(folder) else None


def is_inside(base: Path) -> bool:
    """Whether the user has put the index of a tree inside the tree."""
    folder = current_index(base)
    return folder is not None and folder.parent != base


def foreign_folder(root: Path) -> Path | None:
    """The ``.mose`` of a tree if there is one that is not this user's own index."""
    own = root / INSIDE_NAME
    return own if os.path.lexists(own) and not is_inside(base_folder(own)) else None


def read_folders(base: Path, name: str) -> list[Path]:
    """The folders that a file of a base folder names."""
    try:
        data = (base / name).read_bytes()
    except OSError:
        return []
    return [base / os.fsdecode(line) for line in data.split(b"\0") if line]


def _resolved(root: Path | str) -> Path:
    try:
        return Path(root).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceError(f"{root} cannot be read: {error}", remedy="Check the spelling.") from error


def tree_and_part(path: Path | str) -> tuple[Path, str]:
    """The nearest indexed tree at or above a path, and the part of it that the path names.

    Folders above are asked as long as they belong to the user; an index of the folder itself comes first.

    Args:
        path: A folder, or a file.

    Returns:
        The root of the tree, and the path relative to it with forward slashes, "" for all of it. Without any index:
        the folder itself, or that of the file.

    Raises:
        SourceError: There is no such path, or it is a file in the home or root folder, which is too large to index.
    """
    file = _file_at(path)
    folder = source_root(path if file is None else file.parent)
    for root in _own_folders(folder):
        if current_index(base_folder(root / INSIDE_NAME)) is not None:
            return root, _relative(file or folder, root)
    if file is not None and is_home_or_top(folder):
        raise SourceError(f"no indexed tree holds {file}", remedy=f"Index one first: mose index {folder}")
    return folder, _relative(file or folder, folder)


def is_home_or_top(folder: Path) -> bool:
    """Whether a folder without links is the user's home or the root of the file system: too large to read unasked."""
    try:
        return folder in (Path(folder.anchor), Path.home().resolve())
    except RuntimeError:  # the user has no home folder
        return False


def _file_at(path: Path | str) -> Path | None:
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


def make_folder(folder: Path) -> None:
    """Create a folder for indexes and its parents; only the user can read it, whatever the umask.

    Raises:
        UnwritableIndexError: The folder cannot be created or written.
    """
    try:
        if not folder.is_dir():
            if not folder.parent.exists():
                make_folder(folder.parent)
            folder.mkdir(mode=0o700, exist_ok=True)  # it holds the texts of all sources
    except OSError as error:
        raise unwritable(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK) and folder.exists():  # else it has just been removed
        raise unwritable(folder, PermissionError("no permission to write"))


def is_private_folder(folder: Path) -> bool:
    """Whether a path is a folder of this user that no other user can write, and not a link to one."""
    try:
        found = folder.lstat()
    except (OSError, ValueError):
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    if not hasattr(os, "geteuid"):  # not POSIX
        return True
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def unwritable(path: Path, error: OSError) -> UnwritableIndexError:
    """The error for a folder or file of an index that cannot be written, full disk included."""
    return UnwritableIndexError(
        f"the index cannot be written at {path}: {error.strerror or error}",
        remedy=f"Make room or permission there, or set {HOME_VARIABLE} to a folder with both.",
    )
