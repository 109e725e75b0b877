"""The descriptions of the tools for agents. Imports nothing of the search, so that a server can list them at once."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_TOKENS = 1_500
FEWEST_TOKENS, MOST_TOKENS = 200, 20_000
DEFAULT_HITS = 8
MOST_HITS = 50
LAST_HIT = 200
"""The last hit that a page may begin after."""
_INTEGER = {"type": "integer"}
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_PAGE = {
    "max_tokens": {**_INTEGER, "description": f"size of the answer, default {DEFAULT_TOKENS}"},
    "cursor": {**_TEXT, "description": "from the last answer, for what comes next"},
}
_TREE = {"tree": {**_TEXT, "description": "its name, if there are several"}}
_FILTERS = {
    "path": {**_TEXTS, "description": "gitignore patterns: src/, *.py, !tests/"},
    "language": {**_TEXTS, "description": "e.g. python"},
    "limit": {**_INTEGER, "description": f"hits, default {DEFAULT_HITS}"},
}
_FILE = {"path": {**_TEXT, "description": "relative to the root, as in hits"}, "line": _INTEGER}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """The description of a tool for clients."""

    name: str
    title: str
    description: str
    properties: dict[str, object]
    required: tuple[str, ...]

    @property
    def schema(self) -> dict[str, object]:
        """The JSON Schema of its arguments."""
        return {
            "type": "object",
            "properties": self.properties,
            "required": list(self.required),
            "additionalProperties": False,
        }


TOOLS = (
    ToolSpec(
        name="search",
        title="Search code by meaning",
        description="Finds code by what it does (a sentence or some words) or by name, best first, with its text. "
        "Use it when you do not know the exact words; for an exact string, grep is better.",
        properties={"query": _TEXT, **_FILTERS, **_TREE, **_PAGE},
        required=("query",),
    ),
    ToolSpec(
        name="find_similar",
        title="Find similar code",
        description="Finds code like that at a line: other implementations, callers' siblings, copies.",
        properties={**_FILE, "limit": _FILTERS["limit"], **_TREE, **_PAGE},
        required=("path", "line"),
    ),
    ToolSpec(
        name="read_code",
        title="Read code",
        description="The whole definition around a line of a hit, or the lines up to end_line.",
        properties={**_FILE, "end_line": _INTEGER, **_TREE, **_PAGE},
        required=("path", "line"),
    ),
)
