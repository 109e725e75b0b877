"""``/openapi.json``: the endpoints and their fields, as the server itself reads them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from mose import __version__
from mose.serve.fields import Fields
from mose.serve.http.calls import Call

_REFUSALS = {
    400: "a field is missing, unknown or outside its range",
    401: "the API key is missing or wrong",
    403: "a page of another origin asks",
    404: "there is no such path, file or line",
    413: "the body is too large",
    415: "the body is not sent as application/json",
    421: "the Host is not this machine",
    429: "too much is waiting; Retry-After says when to ask again",
    503: "the index cannot be read now",
}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"enum": ["invalid_request_error", "server_error"]},
                "what": {"type": "string"},
                "allowed": {"type": ["string", "null"]},
                "remedy": {"type": ["string", "null"]},
            },
            "required": ["message", "type", "param", "code", "what", "got", "allowed", "remedy"],
        }
    },
    "required": ["error"],
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of the server."""

    method: str
    path: str
    summary: str
    work: Callable[[Call], Awaitable[Response]]
    fields: Fields = field(default_factory=Fields)
    """Of the body of a POST request."""
    gives: tuple[str, ...] = ()
    """Fields of the answer, a JSON object."""
    media_type: str = "application/json"
    """Of the answer."""


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The OpenAPI document of a server."""
    paths = {endpoint.path: {endpoint.method.lower(): _operation(endpoint)} for endpoint in endpoints}
    return {
        "openapi": "3.1.0",
        "info": {"title": "MoSE", "version": __version__, "description": "Search source code by meaning, offline."},
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if endpoint.media_type == "application/json":
        schema = {"type": "object", "required": list(endpoint.gives)}
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses: dict[str, Any] = {
        "200": {"description": "the answer", "content": {endpoint.media_type: {"schema": schema}}}
    }
    responses |= {str(status): {"description": why, "content": refused} for status, why in _REFUSALS.items()}
    operation: dict[str, Any] = {"summary": endpoint.summary, "responses": responses}
    if endpoint.method == "POST":
        content = {"application/json": {"schema": endpoint.fields.schema()}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation
