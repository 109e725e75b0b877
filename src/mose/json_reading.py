"""JSON from anywhere."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

JSON_BYTES = 16_000_000
"""The largest file of settings that is read."""


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        JSONDecodeError: It is not JSON, or nested too deeply; a `ValueError`.
        UnicodeDecodeError: It is not text; a `ValueError`.
    """
    return _parse(text)


def read_json(path: Path) -> Any:
    """The value of a file of settings; of a regular file alone, of sensible size, without NaN and infinities.

    Raises:
        ValueError: It is anything else; the message says what.
        OSError: It cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe must not hold us up
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        content = file.read(JSON_BYTES + 1)
    if len(content) > JSON_BYTES:
        raise ValueError(f"more than {JSON_BYTES:,} bytes")
    return _parse(content.decode("utf-8"), parse_float=_finite, parse_constant=_finite)


def _parse(text: str | bytes, **rules: Any) -> Any:
    try:
        return json.loads(text, **rules)
    except RecursionError as error:
        raise json.JSONDecodeError("nested too deeply", "", 0) from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value
