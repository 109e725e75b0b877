"""Read the files that git tracks from its index: versions 2 to 4, split and sparse ones.

The file is untrusted: a malformed one gives no paths, and it only decides whether a file that a rule ignores is read
nevertheless.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from functools import lru_cache

from mose.files.disk import read_regular

_MAX_INDEX_BYTES = 64_000_000
_MAX_PATH_BYTES = 4_096
_HASH_BYTES = (20, 32)
_STAT_BYTES = 40
_EXTENDED = 0x4000
_LENGTH = 0x0FFF
_NAMES_PER_BYTE = 4  # all paths together, for each byte of the file; real ones take less


class TrackedFiles:
    """Paths of files that git tracks, relative to the top of the working tree."""

    def __init__(self, paths: list[bytes]) -> None:
        self._paths = sorted(paths)

    def has(self, path: str) -> bool:
        """True if a file is tracked."""
        name = os.fsencode(path)
        position = bisect_left(self._paths, name)
        return position < len(self._paths) and self._paths[position] == name

    def has_below(self, folder: str) -> bool:
        """True if any file below a folder is tracked."""
        start = os.fsencode(folder) + b"/"
        position = bisect_left(self._paths, start)
        return position < len(self._paths) and self._paths[position].startswith(start)


def tracked_files(git_folder: str) -> TrackedFiles:
    """The files that git tracks in the working tree of a git folder; none if that cannot be read."""
    path = os.path.join(git_folder, "index")
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return TrackedFiles([])
    return _read(path, status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=8)
def _read(path: str, modified_ns: int, size_bytes: int, inode: int) -> TrackedFiles:
    """Cached by modification time, size and inode, so that the index is read again after a change."""
    return TrackedFiles(_paths_in(path, may_be_split=True))


def _paths_in(path: str, *, may_be_split: bool) -> list[bytes]:
    try:
        data = read_regular(path, _MAX_INDEX_BYTES + 1)
    except OSError:
        return []
    if len(data) > _MAX_INDEX_BYTES or data[:4] != b"DIRC":
        return []
    for hash_bytes in _HASH_BYTES:
        try:
            paths, end = _parse(data, hash_bytes)
        except (ValueError, IndexError):
            continue
        shared = _shared_index(data, end, hash_bytes)
        if shared and may_be_split:
            paths += _paths_in(os.path.join(os.path.dirname(path), f"sharedindex.{shared}"), may_be_split=False)
        return [name for name in paths if name and not name.endswith(b"/")]
    return []


def _parse(data: bytes, hash_bytes: int) -> tuple[list[bytes], int]:
    """The paths of all entries, and the position after them.

    Raises:
        ValueError: The data is not an index.
        IndexError: It is cut short.
    """
    version, count = int.from_bytes(data[4:8]), int.from_bytes(data[8:12])
    if not 2 <= version <= 4:
        raise ValueError(version)
    head = _STAT_BYTES + hash_bytes
    paths: list[bytes] = []
    position, name, bytes_left = 12, b"", _NAMES_PER_BYTE * len(data)
    for _ in range(count):
        flags = data[position + head] << 8 | data[position + head + 1]
        start = position + head + (4 if flags & _EXTENDED else 2)
        kept = b""
        if version == 4:
            cut, start = _number(data, start)
            if cut > len(name):
                raise ValueError(cut)
            kept = name[: len(name) - cut]
        end = data.index(b"\0", start)
        name = kept + data[start:end]
        bytes_left -= len(name)
        if min(len(name), _LENGTH) != flags & _LENGTH or len(name) > _MAX_PATH_BYTES or bytes_left < 0:
            raise ValueError(name)
        paths.append(name)
        position = end + 1 if version == 4 else position + (end - position + 8 & ~7)
    return paths, position


def _number(data: bytes, position: int) -> tuple[int, int]:
    """A number of variable length, and the position after it."""
    value = data[position] & 0x7F
    while data[position] & 0x80:
        position += 1
        value = (value + 1) << 7 | data[position] & 0x7F
        if value > _MAX_INDEX_BYTES:
            raise ValueError(value)
    return value, position + 1


def _shared_index(data: bytes, position: int, hash_bytes: int) -> str:
    """Hash of the shared index of a split index, empty if there is none."""
    while position + 8 <= len(data) - hash_bytes:
        size = int.from_bytes(data[position + 4 : position + 8])
        if data[position : position + 4] == b"link":
            return data[position + 8 : position + 8 + hash_bytes].hex()
        position += 8 + size
    return ""
