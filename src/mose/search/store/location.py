"""Where the index of a source tree lies: one home per user, one folder in it per tree.

By default nothing is written into the tree itself; an index asked for inside the tree lies in its ``.mose``.

Every index lies in a folder of its own with a random name, its identity, which is never used again: in the base
folder of its tree in the user's home, or in the tree's ``.mose``. ``current`` in the base folder names it. So a
process that has an index open can tell whether it is still the one, what it does by path never meets the files of a
newer index, and nobody who writes a tree can put a file into an index inside it or pass off a ``.mose`` as the
user's own: one that came with the tree is never looked into.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from mose.errors import SourceError, UnwritableIndexError
from mose.storage import HOME_VARIABLE as HOME_VARIABLE
from mose.storage import home as home

INSIDE_NAME = ".mose"
DATABASE_NAME = "index.db"
SHARED_NAME = "vectors.db"
POINTER_NAME = "current"
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
    return home() / "trees" / f"{name}-{digest}"


def entry_folder(folder: Path) -> Path:
    """The folder that an index is opened by, for the index's own folder; others as they are."""
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


def make_folder(folder: Path) -> None:
    """Creates a folder for indexes, and those above it; only the user can read it, whatever the umask.

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
    if not os.access(folder, os.W_OK | os.X_OK) and folder.exists():  # else it was removed in this moment
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
