"""Bodies of requests: JSON objects whose fields have known kinds and ranges."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mose.errors import ConfigError


class Kind(NamedTuple):
    """What a field may hold."""

    allowed: str
    holds: Callable[[Any], bool]
    schema: Mapping[str, Any]
    """The same in JSON Schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The fields of a body."""

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    required: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        """The body in JSON Schema; null means that an optional field is left out."""
        properties = {
            name: kind.schema if name in self.required else {"anyOf": [kind.schema, {"type": "null"}]}
            for name, kind in self.kinds.items()
        }
        return {
            "type": "object",
            "properties": properties,
            "required": list(self.required),
            "additionalProperties": False,
        }

    def read(self, body: bytes) -> dict[str, Any]:
        """The fields of a body; null fields count as missing.

        Raises:
            ConfigError: The body is not a JSON object, or a field is missing, unknown or holds something else.
        """
        try:
            value = json.loads(body, parse_float=_number, parse_constant=_number)
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                "the body of the request is not JSON", remedy='Send an object: {"query": "..."}'
            ) from error
        if not isinstance(value, dict):
            raise ConfigError("the body of the request", got=type(value).__name__, allowed="a JSON object")
        fields = {name: given for name, given in value.items() if name not in self.kinds or given is not None}
        for name, given in fields.items():
            if name not in self.kinds:
                raise ConfigError("field", got=name, allowed=", ".join(self.kinds))
            if not self.kinds[name].holds(given):
                raise ConfigError(name, got=given, allowed=self.kinds[name].allowed)
        for name in self.required:
            if name not in fields:
                raise ConfigError(f"the field {name} is missing", allowed=self.kinds[name].allowed)
        return fields


def _number(text: str) -> int | float:
    """A number; 3.0 is a whole one, as in JSON Schema. NaN and infinities are none in JSON."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return int(value) if value.is_integer() else value


def integer(low: int, high: int) -> Kind:
    """A whole number of a range."""
    return Kind(
        f"a whole number from {low:,} to {high:,}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
        {"type": "integer", "minimum": low, "maximum": high},
    )


def number(low: float, high: float) -> Kind:
    """A number of a range."""
    return Kind(
        f"a number from {low:g} to {high:g}",
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high,
        {"type": "number", "minimum": low, "maximum": high},
    )


def one_of(*values: str | int) -> Kind:
    """One of several values."""
    return Kind(
        ", ".join(map(str, values)),
        lambda value: any(type(value) is type(other) and value == other for other in values),
        {"enum": list(values)},
    )


def some_of(*values: str) -> Kind:
    """One of several values, or a list of them."""
    return Kind(
        ", ".join(values),
        lambda value: (
            isinstance(value, str | list)
            and value != []
            and all(name in values for name in ([value] if isinstance(value, str) else value))
        ),
        {"anyOf": [{"enum": list(values)}, {"type": "array", "items": {"enum": list(values)}, "minItems": 1}]},
    )


_TEXT_SCHEMA = {"type": "string"}
TEXT = Kind("a text", lambda value: isinstance(value, str), _TEXT_SCHEMA)
FLAG = Kind("true or false", lambda value: isinstance(value, bool), {"type": "boolean"})
TEXTS = Kind(
    "a text, or a list of texts",
    lambda value: isinstance(value, str) or (isinstance(value, list) and all(isinstance(text, str) for text in value)),
    {"anyOf": [_TEXT_SCHEMA, {"type": "array", "items": _TEXT_SCHEMA}]},
)
