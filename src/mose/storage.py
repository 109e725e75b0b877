"""Files and folders that are written whole or not at all, and never replace something that is not ours."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from mose.errors import ConfigError, OutputError
from mose.json_reading import read_json

HOME_VARIABLE = "MOSE_HOME"
INVENTORY_NAME = ".mose-folder.json"
"""Names and sizes of all files of a folder that `new_folder` wrote: the proof that it may be replaced."""
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD
_YOUNG_SECONDS = 5.0
"""Of an unfinished file that is no older it is not asked whether its writer lives: it may be about to lock it."""


def home() -> Path:
    """The user's folder for all that is kept: ``MOSE_HOME`` if set, else the user's cache folder.

    Raises:
        ConfigError: The user has no home folder, as in a container, and none is set.
    """
    chosen = os.environ.get(HOME_VARIABLE)
    try:
        if chosen:
            return Path(chosen).expanduser().absolute()
        from platformdirs import user_cache_path

        return user_cache_path("mose", appauthor=False)
    except RuntimeError as error:
        remedy = f"Set {HOME_VARIABLE} to a folder that you can write."
        raise ConfigError("there is no home folder to keep indexes in", got=chosen, remedy=remedy) from error


def home_environment() -> dict[str, str]:
    """The environment of a process of ours that starts in another folder and keeps its things where this one does.

    Raises:
        ConfigError: As for `home`.
    """
    return {**os.environ, HOME_VARIABLE: str(home())}


def create_file(path: Path, mode: int = 0o600) -> BinaryIO:
    """A new empty file; whatever had that name is removed, a link is not followed.

    Raises:
        OSError: It cannot be created.
    """
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode), "wb")


@contextlib.contextmanager
def new_file(path: Path, mode: int = 0o666, *, replace: bool = True) -> Iterator[BinaryIO]:
    """A file that gets its name, or replaces the file of that name, once the block has ended well.

    Args:
        path: The file.
        mode: Its permissions.
        replace: If False, a file of that name that holds something else stays.

    Raises:
        OSError: It cannot be written; what was there still is. The error names the file by ``path``.
        OutputError: There is such a file.
    """
    if not path.name:  # the current folder, or the root
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    _remove_abandoned(path)
    part = _temporary(path)
    try:
        with create_file(part, mode) as file:
            _lock(file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not (replace or _may_become(part, path)):
            raise OutputError(
                f"{path} exists and holds something else", remedy="Name another file, or delete this one."
            )
        os.replace(part, path)
    except OSError as error:
        if str(error.filename) == str(part):
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _may_become(part: Path, path: Path) -> bool:
    """True unless a file of another content has the name."""
    import filecmp

    return not os.path.lexists(path) or (path.is_file() and filecmp.cmp(part, path, shallow=False))


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON, atomically.

    Raises:
        OSError: It cannot be written; what was there still is.
    """
    with new_file(path) as file:
        file.write((json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


@contextlib.contextmanager
def new_folder(out: str | Path) -> Iterator[Path]:
    """A temporary sibling of ``out`` that replaces it once the block has ended well.

    A folder that this function wrote is replaced, as long as nothing was added, removed or resized in it since.
    Anything else stays. Killed at any moment, ``out`` is the old folder or the new one; see also `recover`.

    Raises:
        OutputError: ``out`` is something else, or cannot be written.
    """
    out = Path(os.path.realpath(out))  # of a link, what it points to: the new folder lies beside it
    recover(out)
    require_replaceable(out)
    _remove_abandoned(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = _temporary(out)
        part.mkdir()
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}", remedy="Name another folder.") from error
    with _locked(part):
        try:
            yield part
            _write_inventory(part)
            _put_in_place(part, out)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def require_replaceable(out: Path) -> None:
    """Raise `OutputError` unless `new_folder` may write ``out``: it is missing, empty, or was written by it."""
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())) or is_own_folder(out):
        return
    raise OutputError(
        f"{out} exists and is not a folder that mose wrote, or was changed since",
        remedy="Name another folder, or delete this one first.",
    )


def require_apart(out: Path, read: Path) -> None:
    """Raise `OutputError` if replacing ``out`` would remove what is read: it is that, or holds it."""
    if Path(os.path.realpath(read)).is_relative_to(os.path.realpath(out)):
        raise OutputError(f"{out} would replace {read}, which is read for it", remedy="Name another folder.")


def is_own_folder(folder: Path) -> bool:
    """True if a folder is what `new_folder` wrote: the same files in the same sizes, and nothing else."""
    try:
        listed = read_json(folder / INVENTORY_NAME)["files"]
        return not folder.is_symlink() and isinstance(listed, dict) and listed == _files(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def recover(out: Path) -> None:
    """Give a folder its name back if a writer was killed between two renames.

    That can be only where the system cannot exchange two folders in one step: Linux can, on most file systems.
    """
    if not out.name:  # the current folder, or the root
        return
    old = _retired(out)
    if old.is_dir() and not os.path.lexists(out) and is_own_folder(old):
        old.rename(out)


def require_writable_folder(folder: Path, *, marks: tuple[str, ...]) -> None:
    """Raise `OutputError` unless files may be put into a folder: it is missing, empty, or holds one of ``marks``."""
    if not os.path.lexists(folder) or any((folder / mark).exists() for mark in marks):
        return
    if not folder.is_dir() or any(folder.iterdir()):
        allowed = f"a new folder, an empty one, or one that holds {' or '.join(marks)}"
        raise OutputError("folder to write", got=str(folder), allowed=allowed, remedy="Name another folder.")


def _remove_abandoned(path: Path) -> None:
    """Remove what killed writers of a file or folder left beside it; one that is being written is locked."""
    for name in _unfinished(os.path.abspath(path.parent)):
        part = path.with_name(name)
        if not re.fullmatch(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.part", name):
            continue
        with contextlib.suppress(OSError):  # somebody else's, or gone
            if time.time() - part.lstat().st_mtime < _YOUNG_SECONDS:
                continue
            with _locked(part) as is_free:
                if is_free:
                    shutil.rmtree(part) if part.is_dir() else part.unlink()


@lru_cache(maxsize=64)
def _unfinished(folder: str) -> tuple[str, ...]:
    """Names of unfinished files, looked up once in a process: a folder may take thousands of files, one by one."""
    with contextlib.suppress(OSError):
        return tuple(name for name in os.listdir(folder) if name.endswith(".part"))
    return ()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether a file or folder could be locked, for as long as the block runs; False where nothing can be."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:  # a folder on Windows
        yield False
        return
    try:
        yield _lock(handle)
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # not POSIX; locked by another, or a file system without locks
        return False
    return True


def _files(folder: Path) -> dict[str, int]:
    """Relative path -> size of every file below a folder; links and empty folders are entries of no size."""
    sizes: dict[str, int] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            sizes[name] = -1
        elif path.is_file():
            sizes[name] = path.stat().st_size
        elif not any(path.iterdir()):
            sizes[name] = -1
    sizes.pop(INVENTORY_NAME, None)
    return sizes


def _write_inventory(folder: Path) -> None:
    text = json.dumps({"format": 1, "files": _files(folder)}, indent=1, sort_keys=True)
    (folder / INVENTORY_NAME).write_text(text + "\n", encoding="utf-8")
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _put_in_place(part: Path, out: Path) -> None:
    """Rename ``part`` to ``out`` and remove what had that name."""
    require_replaceable(out)
    if not is_own_folder(out):  # nothing there, or nothing in it
        if out.is_dir():
            out.rmdir()
        part.rename(out)
        return
    if _exchange(part, out):
        return  # the old one has the temporary name now, and goes with it
    old = _retired(out)
    if is_own_folder(old):
        stale = _temporary(out)  # killed while it is removed, nothing half removed has the name of `_retired`
        old.rename(stale)
        shutil.rmtree(stale)
    out.rename(old)
    part.rename(out)
    old.rename(part)  # as after an exchange


def _temporary(path: Path) -> Path:
    """A new name beside a file or folder; `_remove_abandoned` removes what a killed writer leaves under it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _retired(out: Path) -> Path:
    return out.with_name(f".{out.name}.old")


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step; return False if the system cannot."""
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or an old C library
        return False
    return bool(rename(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0)
