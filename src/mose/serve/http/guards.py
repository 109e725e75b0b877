"""Who may send HTTP requests, and how large and many: checks before the body of a request is read.

A page of the internet that is open in the user's browser can send requests to this machine. It cannot read answers (no
CORS headers are sent), cannot send JSON without asking first, and cannot use its own name for this machine (DNS
rebinding): the ``Host`` and ``Origin`` of a request must be this machine.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mose.serve.http.responses import error_response, overloaded
from mose.serve.page.files import PATHS

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_BODY_BYTES = 4_000_000
MOST_REQUESTS = 256
"""Requests that are answered or waiting at the same time."""
OPEN_PATHS = ("/", "/healthz")
"""Paths that need no key, as do the files of the page: they reveal nothing about any tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may send requests."""

    host: str
    """The address that the server listens on."""
    api_key: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in LOOPBACK


class Guard:
    """Refuses requests from other origins or without the key, and requests that are too large or too many.

    Args:
        app: Answers the others.
        access: Who may send requests.
        count: Called with path and status of every response.
    """

    def __init__(self, app: ASGIApp, access: Access, count: Callable[[str, int], None]) -> None:
        self._app = app
        self._access = access
        self._count = count
        self._num_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope["path"], message["status"])
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send_counted)
            return
        self._num_requests += 1
        try:
            await self._app(scope, _limited(receive), send_counted)
        finally:
            self._num_requests -= 1

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> ASGIApp | None:
        if self._access.is_local and _host_of(f"//{headers.get('host', '')}") not in LOOPBACK:
            return error_response(
                421, "the Host of the request", got=headers.get("host"), allowed="127.0.0.1, localhost",
                remedy="Ask by the address that `mose serve` shows.",
            )  # fmt: skip
        origin = headers.get("origin")
        if origin is not None and _host_of(origin) != _host_of(f"//{headers.get('host', '')}"):
            return error_response(403, "requests from pages of another origin", got=origin, allowed="the server's page")
        is_open = scope["path"] in OPEN_PATHS or scope["path"].startswith(PATHS)
        if self._access.api_key is not None and not is_open:
            given = headers.get("authorization", "").removeprefix("Bearer ").strip()
            if not hmac.compare_digest(given.encode("latin-1"), self._access.api_key.encode("utf-8")):
                return error_response(
                    401, "the API key is missing or wrong", remedy="Send the header Authorization: Bearer KEY.",
                    headers={"WWW-Authenticate": "Bearer"},
                )  # fmt: skip
        if scope["method"] == "POST":
            length = headers.get("content-length", "0")
            if not re.fullmatch(r"[0-9]{1,12}", length) or int(length) > MOST_BODY_BYTES:
                return too_large()
        if self._num_requests >= MOST_REQUESTS:
            return overloaded()
        return None


class TooLargeError(Exception):
    """The body is longer than allowed, and than its header says."""


def _limited(receive: Receive) -> Receive:
    num_bytes = 0

    async def receive_limited() -> Message:
        nonlocal num_bytes
        message: Any = await receive()
        num_bytes += len(message.get("body", b""))
        if num_bytes > MOST_BODY_BYTES:
            raise TooLargeError
        return message  # type: ignore[no-any-return]

    return receive_limited


def wrong_type(content_type: str) -> Response | None:
    """The refusal of a body that is not sent as JSON, as a form of a foreign page would be."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        return None
    return error_response(415, "Content-Type", got=kind, allowed="application/json")


def too_large() -> Response:
    """The response to a body that is too large."""
    return error_response(413, "the body of the request is too large", allowed=f"up to {MOST_BODY_BYTES:,} bytes")


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
