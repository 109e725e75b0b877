"""Bodies of requests: JSON objects whose fields have known kinds and ranges."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mose.errors import ConfigError


class Kind(NamedTuple):
    """What a field may hold."""

    allowed: str
    holds: Callable[[Any], bool]


def integer(low: int, high: int) -> Kind:
    """A whole number of a range."""
    return Kind(
        f"a whole number from {low:,} to {high:,}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
    )


def number(low: float, high: float) -> Kind:
    """A number of a range."""
    return Kind(
        f"a number from {low:g} to {high:g}",
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high,
    )


def one_of(*values: str) -> Kind:
    """One of several words."""
    return Kind(", ".join(values), lambda value: isinstance(value, str) and value in values)


TEXT = Kind("a text", lambda value: isinstance(value, str))
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXTS = Kind(
    "a text, or a list of texts",
    lambda value: isinstance(value, str) or (isinstance(value, list) and all(isinstance(text, str) for text in value)),
)


def read_fields(body: bytes, kinds: Mapping[str, Kind], required: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a body; null fields count as missing.

    Raises:
        ConfigError: The body is not a JSON object, or a field is missing, unknown or holds something else.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ConfigError("the body of the request is not JSON", remedy='Send an object: {"query": "..."}') from error
    if not isinstance(value, dict):
        raise ConfigError("the body of the request", got=type(value).__name__, allowed="a JSON object")
    fields = {name: given for name, given in value.items() if given is not None}
    for name, given in fields.items():
        if name not in kinds:
            raise ConfigError("field", got=name, allowed=", ".join(kinds))
        if not kinds[name].holds(given):
            raise ConfigError(name, got=given, allowed=kinds[name].allowed)
    for name in required:
        if name not in fields:
            raise ConfigError(f"the field {name} is missing", allowed=kinds[name].allowed)
    return fields
