"""Unpack archives of packages, which are untrusted.

Only regular files are unpacked, only inside the folder, and only up to a number and a size; links, devices and names
that another program could read as an option or a control sequence are left out.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import IO, Any

from mose.errors import SourceError

MAX_FILES = 100_000
MAX_BYTES = 1_000_000_000
_PIECE_BYTES = 1 << 16
_HEADER_BYTES = 1 << 20
"""Largest read of a tar header."""
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff:\\]")
_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError,
           ValueError, NotImplementedError, RuntimeError)  # fmt: skip

_Member = tuple[str, int, Callable[[], IO[bytes] | None]]
"""Name, size, and a function that opens it, or returns None unless it is a regular file."""


def unpack(archive: Path, folder: Path, *, remedy: str) -> None:
    """Unpack a zip or tar archive into a folder.

    Args:
        archive: The file.
        folder: Gets the files.
        remedy: What to do about an archive that cannot be unpacked.

    Raises:
        SourceError: The archive is damaged or too large.
    """
    try:
        members = _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive)
        num_bytes = 0
        for num_files, (name, size, open_member) in enumerate(members, 1):
            num_bytes += size
            _require("files", num_files, MAX_FILES)
            _require("bytes", num_bytes, MAX_BYTES)
            parts = safe_parts(name)
            source = open_member() if parts and size >= 0 else None
            if source is not None:
                with source:
                    _write(source, folder.joinpath(*parts))
    except _TooLargeError as error:
        what, got, most = error.args
        what = f"{what} in the archive {archive.name}"
        raise SourceError(what, got=got, allowed=f"at most {most:,}", remedy=remedy) from error
    except _DAMAGE as error:
        raise SourceError(f"the archive {archive.name} is damaged ({error})", remedy=remedy) from error


def safe_parts(name: str) -> tuple[str, ...]:
    """The parts of a member's name; empty if it is not safe.

    Example:
        >>> safe_parts("package/lib/index.js"), safe_parts("../x"), safe_parts("a/-rf"), safe_parts("/etc/passwd")
        (('package', 'lib', 'index.js'), (), (), ())
    """
    parts = tuple(name.removeprefix("./").split("/"))
    for part in parts:
        if part in ("", ".", "..") or part.startswith("-") or _ODD.search(part) or len(part.encode()) > 255:
            return ()
    return parts


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _write(source: IO[bytes], target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(source, file, _PIECE_BYTES)
    except (NotADirectoryError, FileExistsError, IsADirectoryError):
        return  # a name that is a file and a folder: the first one is kept


class _TooLargeError(Exception):
    """More of something than an archive may hold: its name, how many, and the limit."""


def _require(what: str, got: int, most: int) -> None:
    if got > most:
        raise _TooLargeError(what, got, most)


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            yield info.filename, info.file_size, partial(_open_in_zip, opened, info)


def _tar_members(archive: Path) -> Iterator[_Member]:
    with archive.open("rb") as file:
        magic = file.read(6)
    openers = [opener for start, opener in _OPENERS.items() if magic.startswith(start)]
    with openers[0](archive) if openers else archive.open("rb") as plain:
        bounded: Any = _Bounded(plain)
        with tarfile.open(fileobj=bounded, mode="r:") as opened:
            for member in opened:
                yield member.name, member.size, partial(_open_in_tar, opened, member)


def _open_in_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes] | None:
    return None if info.is_dir() else archive.open(info)


def _open_in_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes] | None:
    return archive.extractfile(member) if member.isreg() else None


class _Bounded:
    """A file that limits the bytes read in all and at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        _require("bytes in one header", size, _HEADER_BYTES)
        _require("bytes", self._file.tell() + size, MAX_BYTES + MAX_FILES * tarfile.BLOCKSIZE)
        return self._file.read(max(size, 0))

    def seek(self, position: int) -> int:
        _require("bytes", position, MAX_BYTES + MAX_FILES * tarfile.BLOCKSIZE)
        return self._file.seek(position)
