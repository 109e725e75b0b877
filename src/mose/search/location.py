"""Where the index of a source tree lies: one home per user, one folder per tree.

By default nothing is written into the tree itself. An index asked for inside the tree lies in its
``.mose`` folder and is found there from then on.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from mose.errors import CodeIndexError, SourceError
from mose.storage import HOME_VARIABLE as HOME_VARIABLE
from mose.storage import home as home

INSIDE_NAME = ".mose"
DATABASE_NAME = "index.db"
SHARED_NAME = "vectors.db"


def source_root(root: Path | str) -> Path:
    """The tree as an absolute path without links.

    Raises:
        SourceError: There is no such folder, or it is not one.
    """
    path = Path(root).expanduser()
    try:
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
    """The folder that holds (or would hold) the index of a tree; nothing is created.

    Args:
        root: The source tree.
        inside: True for the tree's own ``.mose`` folder, False for the user's home, None for the tree's own
            folder if there is an index in it and the home otherwise.
        must_exist: False for a tree that may be gone.

    Raises:
        SourceError: ``root`` is not a folder.
    """
    resolved = source_root(root) if must_exist else Path(root).expanduser().resolve()
    own = resolved / INSIDE_NAME
    if inside or (inside is None and (own / DATABASE_NAME).is_file() and not own.is_symlink()):
        return own
    digest = hashlib.blake2b(os.fsencode(resolved), digest_size=6).hexdigest()
    name = re.sub(r"[^\w.-]+", "-", resolved.name).strip(".-")[:40] or "root"
    return home() / "trees" / f"{name}-{digest}"


def make_folder(folder: Path) -> None:
    """Creates an index folder; one inside a tree hides itself from git.

    Raises:
        CodeIndexError: The folder cannot be created or written.
    """
    try:
        for missing in [above for above in reversed(folder.parents) if not above.exists()]:
            missing.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)  # it holds the texts of all sources
        if folder.name == INSIDE_NAME and not (folder / ".gitignore").exists():
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise unwritable(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise unwritable(folder, PermissionError("no permission to write"))


def unwritable(path: Path, error: OSError) -> CodeIndexError:
    """The error for a folder or file of an index that cannot be written, full disk included."""
    return CodeIndexError(
        f"the index cannot be written at {path}: {error.strerror or error}",
        remedy=f"Make room or permission there, or set {HOME_VARIABLE} to a folder with both.",
    )
