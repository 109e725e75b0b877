"""Read folders and files safely: links are not followed, pipes and devices do not block."""

from __future__ import annotations

import errno
import os
import stat

from mose.files.records import LINK, LINK_BROKEN, LINK_LOOP, LINK_OUTSIDE

_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # opening a pipe must not block
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_READ_BYTES = 1 << 16


def list_folder(directory: str) -> list[os.DirEntry[str]]:
    """Entries in the order of their full paths: "a-b" before what is inside "a"."""
    with os.scandir(directory) as entries:
        return sorted(entries, key=_sort_key)


def _sort_key(entry: os.DirEntry[str]) -> str:
    try:
        return entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
    except OSError:
        return entry.name


def identity_of(folder: str) -> tuple[int, int] | None:
    """Device and inode of a folder, None if it does not exist: they distinguish folders of the same name."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


def inside(path: str, top: str) -> bool:
    """True if a resolved path is ``top`` or below it."""
    return path == top or path.startswith(top.rstrip(os.sep) + os.sep)


def leads_inside(path: str, top: str) -> bool:
    """Whether the folder of a path is ``top`` or below it, with all links on the way followed."""
    return inside(os.path.realpath(os.path.dirname(path)), os.path.realpath(top))


def read_regular(path: str, limit: int, *, follow: bool = False) -> bytes:
    """At most ``limit`` bytes of a regular file; does not wait for a pipe.

    Args:
        path: The file.
        limit: Bytes to read at most.
        follow: Follow a link at the end of ``path``: only for the user's own files.

    Raises:
        OSError: Not a regular file, or it cannot be opened or read.
    """
    flags = _READ if follow else _READ | _NO_LINK
    return _read(os.open(path, flags), path, limit)


def read_inside(top: str, name: str, limit: int) -> bytes:
    """As `read_regular`, for a file below a folder: no link on the way is followed, even one created meanwhile.

    Args:
        top: The folder.
        name: Path of the file in it, with forward slashes.
        limit: Bytes to read at most.

    Raises:
        OSError: As for `read_regular`, or there is a link on the way.
    """
    with FolderReader(top) as reader:
        return reader.read(name, limit)


class FolderReader:
    """Reads many files below a folder as `read_inside` does.

    The folder of the last file stays open: the next one often lies in it, too, and is then opened in one step.

    Attributes:
        top: The folder.
    """

    def __init__(self, top: str) -> None:
        self.top = top
        self._names: list[str] = []
        self._descriptor: int | None = None

    def __enter__(self) -> FolderReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, name: str, limit: int) -> bytes:
        """See `read_inside`."""
        if os.open not in os.supports_dir_fd:  # Windows
            path = os.path.join(self.top, *name.split("/"))
            if not leads_inside(path, self.top):
                raise OSError(errno.ELOOP, "there is a link on the way", path)
            return read_regular(path, limit)
        *folders, last = name.split("/")
        return _read(os.open(last, _READ | _NO_LINK, dir_fd=self._open_folder(folders)), name, limit)

    def _open_folder(self, names: list[str]) -> int:
        if self._descriptor is not None and self._names == names:
            return self._descriptor
        if os.pardir in names:
            raise OSError(errno.EINVAL, "leads out of the folder", "/".join(names))
        self._close()
        descriptor = os.open(self.top, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in names:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
        except BaseException:
            os.close(descriptor)
            raise
        self._names, self._descriptor = names, descriptor
        return descriptor

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _read(descriptor: int, path: str, limit: int) -> bytes:
    """Read at most ``limit`` bytes, and close the file."""
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        at_once = max(status.st_size, _READ_BYTES)  # room for ``limit`` would cost more than reading a small file
        parts = []
        while limit > 0 and (part := file.read(min(limit, at_once))):
            parts.append(part)
            limit -= len(part)
    return b"".join(parts)


def link_reason(path: str, top: str) -> str:
    """Why a link is left out, by where it leads from the tree ``top``."""
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        return LINK_LOOP if error.errno == errno.ELOOP else LINK_BROKEN
    if not inside(target, top):
        return LINK_OUTSIDE
    return LINK_LOOP if inside(os.path.dirname(path), target) else LINK
