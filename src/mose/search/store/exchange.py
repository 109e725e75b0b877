"""Replacing the index of a tree by a new one, and removing it.

``unfinished`` lists the folders that a change has begun with. Those that are not current after it are removed by
it or, if it was killed, by the next change. Changes are made under the write lock of the base folder.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mose.errors import CodeIndexError, IndexReplacedError
from mose.search.store.location import (
    IDENTITY,
    POINTER_NAME,
    base_folder,
    current_index,
    is_private_folder,
    make_folder,
    read_folders,
    unwritable,
)
from mose.search.store.lock import LOCK_NAME, writer_lock
from mose.storage import create_file

UNFINISHED_NAME = "unfinished"


@contextmanager
def exchanging(folder: Path) -> Iterator[Path]:
    """The right to exchange or remove the index behind an index folder; gives its base folder, made if missing."""
    base = base_folder(folder)
    with ExitStack() as held:
        mine = False
        while not mine:
            make_folder(base)
            with suppress(IndexReplacedError):  # another process has just removed it
                mine = held.enter_context(writer_lock(base, wait=True))
        yield base


def finish_exchange(base: Path) -> None:
    """End an exchange that was killed, if there was one."""
    if (base / UNFINISHED_NAME).exists():
        with suppress(IndexReplacedError), writer_lock(base, wait=True):
            _finish(base)


def replace_index(folder: Path, fill: Callable[[Path], None] | None = None) -> Path:
    """Put a new index behind an index folder and remove the old one. The caller is `exchanging`.

    Args:
        folder: The index folder.
        fill: Called with the folder of the new index before any process can find it. If it fails, the old index
            stays. None for an empty index.

    Raises:
        CodeIndexError: The tree's ``.mose`` is not a folder of this user, or the disk cannot be written.
    """
    base = base_folder(folder)
    _finish(base)
    before = read_folders(base, POINTER_NAME)
    new = folder / secrets.token_hex(16)
    _write_folders(base, UNFINISHED_NAME, [*before, new])
    try:
        if folder != base:
            _make_own_folder(folder)
        new.mkdir(mode=0o700)
        if folder != base:
            (new / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise unwritable(new, error) from error
    try:
        if fill is not None:
            fill(new)
        _write_folders(base, POINTER_NAME, [new])
    finally:
        _finish(base)
    return new


def discard_damaged(folder: Path, seen: Path | None) -> None:
    """Replace a damaged index by an empty one, unless another process has done so already.

    Args:
        folder: An index folder.
        seen: The folder of the very index that is damaged.
    """
    with exchanging(folder) as base:
        if seen is not None and current_index(base) == seen:
            replace_index(folder)


def remove_index(base: Path) -> bool:
    """Remove an index and all our files of its base folder; False if there were none.

    The caller holds the write lock.

    Raises:
        CodeIndexError: A file cannot be removed.
    """
    _finish(base)
    try:
        found = (base / POINTER_NAME).exists()
        if found:
            (base / POINTER_NAME).replace(base / UNFINISHED_NAME)  # needs no room on a full disk
            _finish(base)
        remove_lock(base)
    except OSError as error:
        raise unwritable(base, error) from error
    return found


def remove_lock(base: Path) -> None:
    """Remove the lock that the caller holds on a base folder without an index, and the folder if it is empty."""
    with suppress(OSError):
        (base / LOCK_NAME).unlink(missing_ok=True)
        base.rmdir()


def _make_own_folder(own: Path) -> None:
    with suppress(FileExistsError):
        own.mkdir(mode=0o700)
    if not is_private_folder(own):
        raise CodeIndexError(
            f"{own} is not a folder of yours that you alone can write",
            remedy="Remove it, or leave out --inside.",
        )


def _finish(base: Path) -> None:
    """End the last change, whether this one or one that was killed."""
    for folder in read_folders(base, UNFINISHED_NAME):
        if folder != current_index(base):
            _remove_folder(base, folder)
    for name in (UNFINISHED_NAME, f"{UNFINISHED_NAME}.new", f"{POINTER_NAME}.new"):
        (base / name).unlink(missing_ok=True)


def _remove_folder(base: Path, folder: Path) -> None:
    inside = folder.parent != base
    if not IDENTITY.fullmatch(folder.name) or (inside and not is_private_folder(folder.parent)):
        return
    for attempt in range(50):
        try:
            shutil.rmtree(folder)
            break
        except OSError as error:  # a reader that has just opened it makes or removes a file
            if not folder.exists():
                break
            if attempt == 49:
                raise unwritable(folder, error) from error
            time.sleep(0.02)
    if inside:
        with suppress(OSError):
            folder.parent.rmdir()


def _write_folders(base: Path, name: str, folders: Sequence[Path]) -> None:
    """Names in the base folder itself are kept relative, so that the user's home can be moved."""
    names = [folder.name if folder.parent == base else str(folder) for folder in folders]
    temporary = base / f"{name}.new"
    try:
        with create_file(temporary) as file:
            file.write(b"".join(os.fsencode(name) + b"\0" for name in names))
        temporary.replace(base / name)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise unwritable(base / name, error) from error
