"""The page for people: files without external parts, and a policy that lets nothing else run in it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from mose.serve.http.responses import error_response

PATHS = "/static/"
"""Where the files of the page are; they need no key, for they reveal nothing about any tree."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Scripts and styles are files of this server: nothing in a document or an answer runs."""
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


async def page_response(request: Request) -> Response:
    """The response with the page, or with one of its files."""
    name = request.path_params.get("name", "page.html")
    content = _files().get(name)
    if content is None:
        return error_response(404, f"{request.method} {request.url.path[:200]}", allowed=", ".join(_files()))
    return Response(content, headers=_HEADERS, media_type=_KINDS[Path(name).suffix])


@cache
def _files() -> dict[str, bytes]:
    folder = Path(__file__).with_name("static")
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.suffix in _KINDS}
