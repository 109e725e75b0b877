"""Responses over HTTP: JSON without control characters, and errors in four parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from mose.errors import CodeIndexError, ConfigError, ModelError, MoseError, SourceError
from mose.escaping import escape_json

_STATUS = ((ConfigError, 400), (ModelError, 400), (SourceError, 404), (CodeIndexError, 503))
"""Kind of error -> status; other errors of mose are 500."""
_MOST_SHOWN = 200


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as JSON; invisible characters are escaped and parse to the same text."""
    text = escape_json(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return Response(text.encode("utf-8"), status, headers, media_type="application/json")


def error_response(
    status: int,
    what: str,
    *,
    got: object = None,
    allowed: str | None = None,
    remedy: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The response to a request that is refused before it is worked on."""
    return failure(MoseError(what, got=got, allowed=allowed, remedy=remedy), status=status, headers=headers)


def failure(error: MoseError, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """An error in four parts, in the shape of OpenAI's API."""
    if status is None:
        status = next((number for kind, number in _STATUS if isinstance(error, kind)), 500)
    got: Any = error.got
    if isinstance(got, str):
        got = got[:_MOST_SHOWN]
    elif not isinstance(got, int | float | bool | None):
        got = repr(got)[:_MOST_SHOWN]
    message = str(MoseError(error.what, got=got, allowed=error.allowed, remedy=error.remedy))
    body = {
        "message": message,
        "type": "invalid_request_error" if status < 500 else "server_error",
        "param": None,
        "code": type(error).__name__,
        "what": error.what,
        "got": got,
        "allowed": error.allowed,
        "remedy": error.remedy,
    }
    return json_response({"error": body}, status, headers)


def overloaded(retry_after_s: int = 1) -> Response:
    """The response to a request that would have to wait for too long."""
    return error_response(
        429, "too many requests at once", remedy=f"Ask again in {retry_after_s} s.",
        headers={"Retry-After": str(retry_after_s)},
    )  # fmt: skip
