"""Check the files of a model against its manifest.

A model's identity follows from its manifest, and vectors are shared by identity: a damaged weights file of the right
size would spoil the vectors of every tree. A file is hashed once, and again if its size, time stamps or inode change.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from mose.errors import ModelError, MoseError
from mose.runtime.manifest import AGAIN, MANIFEST_NAME, FileEntry, hash_file
from mose.storage import home, new_file

RECORD_NAME = "models.json"
_MAX_RECORDED = 200
_SETTLED_NS = 2_000_000_000
"""A file that changed more recently may change again without another time stamp."""


def require_intact(folder: Path, names: Iterable[str], files: Mapping[str, FileEntry]) -> None:
    """Raise `ModelError` unless files of a model folder have the SHA-256 that its manifest gives.

    Args:
        folder: The model folder.
        names: The files to check.
        files: Name -> size and hash, from the manifest.
    """
    recorded = _read_record()
    fresh = {}
    for name in names:
        path = folder / name
        if name not in files:
            raise ModelError(f"{folder / MANIFEST_NAME} does not list {name}", remedy=AGAIN)
        try:
            seen = _seen(path, files[name].sha256)
            if recorded.get(str(path)) == seen:
                continue
            if hash_file(path).sha256 != files[name].sha256:
                raise ModelError(f"{path} does not match its SHA-256 in {MANIFEST_NAME}", remedy=AGAIN)
            if _seen(path, files[name].sha256) == seen and path.stat().st_ctime_ns < time.time_ns() - _SETTLED_NS:
                fresh[str(path)] = seen
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}", remedy=AGAIN) from error
    if fresh:
        _write_record({**recorded, **fresh})


def _seen(path: Path, sha256: str) -> list[int | str]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev, sha256]


def _read_record() -> dict[str, object]:
    try:
        values = json.loads((home() / RECORD_NAME).read_bytes())
    except (OSError, ValueError, RecursionError, MoseError):
        return {}
    return values if isinstance(values, dict) else {}


def _write_record(values: dict[str, object]) -> None:
    """Write the record, if possible: without it the files are hashed again."""
    kept = dict(list(values.items())[-_MAX_RECORDED:])
    with suppress(OSError, MoseError), new_file(home() / RECORD_NAME, mode=0o600) as file:
        file.write(json.dumps(kept).encode())
