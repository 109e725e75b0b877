"""Files and folders that are written whole or not at all, and never over something that is not ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO


def create_file(path: Path) -> BinaryIO:
    """A new empty file, readable by its owner alone; whatever had that name is removed, a link is not followed.

    Raises:
        OSError: It cannot be created.
    """
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600), "wb")
