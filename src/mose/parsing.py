"""JSON from anywhere."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        JSONDecodeError: It is not JSON, or nested too deeply; a `ValueError`.
        UnicodeDecodeError: It is not text; a `ValueError`.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise json.JSONDecodeError("nested too deeply", "", 0) from error
