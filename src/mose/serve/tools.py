"""The work of the tools for agents (`mose.serve.tool_descriptions`), independent of the protocol."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mose.errors import ConfigError, MoseError, SourceError, require
from mose.search.options import SearchOptions
from mose.search.snippet import Lines
from mose.serve import asking
from mose.serve.answers import Answer, Item, error_answer, hits_answer, lines_answer
from mose.serve.asking import Found, short_names, tree_named
from mose.serve.fields import TEXT, TEXTS, integer
from mose.serve.tool_descriptions import (
    DEFAULT_HITS,
    DEFAULT_TOKENS,
    FEWEST_TOKENS,
    LAST_HIT,
    MOST_HITS,
    MOST_TOKENS,
    TOOLS,
    ToolSpec,
)
from mose.serve.trees import Tree, Trees

BUDGET_S = 2.0
"""Seconds to read candidates closely, in every search."""


def call(
    trees: Trees, asked: Sequence[Tree], name: str, given: Mapping[str, Any], cancelled: threading.Event
) -> Answer:
    """Run a tool; an error becomes an answer.

    Args:
        trees: All open trees.
        asked: The trees that the client may search.
        name: One of `TOOLS`.
        given: Its arguments.
        cancelled: Set when the answer is no longer wanted.

    Raises:
        StoppedError: The call was cancelled.
    """
    most = given.get("max_tokens", DEFAULT_TOKENS)
    try:
        spec = next((tool for tool in TOOLS if tool.name == name), None)
        if spec is None:
            raise ConfigError("tool", got=name, allowed=", ".join(tool.name for tool in TOOLS))
        _check(spec, given)
        if not asked:
            raise SourceError("there is no tree to search", remedy="Open a folder, or name one: mose mcp PATH.")
        call = _Call(trees, asked, given, most, cancelled)
        return {"search": call.search, "find_similar": call.find_similar, "read_code": call.read_code}[name]()
    except MoseError as error:
        return error_answer(str(error), most if _NUMBERS["max_tokens"].holds(most) else FEWEST_TOKENS)


@dataclass(frozen=True, slots=True)
class _Call:
    trees: Trees
    asked: Sequence[Tree]
    given: Mapping[str, Any]
    most: int
    cancelled: threading.Event

    def search(self) -> Answer:
        given = self.given
        asked = self.asked if "tree" not in given else [self._tree()]
        offset, limit = self._offset(LAST_HIT), given.get("limit", DEFAULT_HITS)
        options = SearchOptions(
            limit=offset + limit + 1, language=given.get("language"), path=given.get("path"), budget_s=BUDGET_S
        )
        found = asking.search(self.trees, asked, given["query"], options, self.cancelled)
        return self._page(found, offset, limit, asked, given["query"])

    def find_similar(self) -> Answer:
        given, tree = self.given, self._tree()
        offset, limit = self._offset(LAST_HIT), given.get("limit", DEFAULT_HITS)
        options = SearchOptions(limit=offset + limit + 1, budget_s=BUDGET_S)
        path = _relative(given["path"], tree)
        found = asking.similar(self.trees, tree, path, given["line"], options, self.cancelled)
        return self._page(found, offset, limit, [tree], "")

    def read_code(self) -> Answer:
        given, tree = self.given, self._tree()
        path = _relative(given["path"], tree)
        found = asking.read_lines(self.trees, tree, path, given["line"], given.get("end_line"), self.cancelled)
        offset = min(self._offset(2**31), len(found.text))
        return lines_answer(found, root=str(tree.root), offset=offset, max_tokens=self.most, cursor=self._cursor)

    def _page(self, found: Found, offset: int, limit: int, asked: Sequence[Tree], query: str) -> Answer:
        names = short_names(self.asked)
        hits = found.hits[offset : offset + limit]
        return hits_answer(
            [
                Item(
                    hit=hit,
                    tree=names[tree] if len(asked) > 1 else "",
                    whole=self._whole(tree, hit.path, hit.start_line),
                )
                for tree, hit in hits
            ],
            roots={names[tree] if len(asked) > 1 else "": str(tree.root) for tree in asked},
            depths=found.depths.values(),
            notes=found.notes,
            query=query,
            max_tokens=self.most,
            has_more=len(found.hits) > offset + limit and offset + limit < LAST_HIT,
            cursor=lambda num_done: self._cursor(offset + num_done),
        )

    def _whole(self, tree: Tree, path: str, line: int) -> Callable[[], Lines | None]:
        def read() -> Lines | None:
            try:
                return tree.lines_now(path, line)
            except MoseError:  # it has just changed
                return None

        return read

    def _tree(self) -> Tree:
        names = short_names(self.asked)
        if "tree" in self.given:
            return tree_named(self.asked, names, self.given["tree"])
        if len(self.asked) > 1:
            raise ConfigError(
                "tree: there are several", got=None, allowed=", ".join(names.values()), remedy="Name one."
            )
        return self.asked[0]

    def _cursor(self, position: int) -> str:
        return f"{position}.{self._digest()}"

    def _offset(self, most: int) -> int:
        cursor = self.given.get("cursor")
        if cursor is None:
            return 0
        position, _, digest = cursor.partition(".")
        if not (position.isascii() and position.isdigit() and len(position) < 10) or digest != self._digest():
            raise ConfigError("cursor", got=cursor, allowed="the cursor of an answer to the same arguments")
        return min(int(position), most)

    def _digest(self) -> str:
        """Hash of the arguments that a cursor belongs to: those that choose the hits."""
        chosen = sorted(
            (key, value) for key, value in self.given.items() if key not in ("cursor", "max_tokens", "limit")
        )
        roots = [str(tree.root) for tree in self.asked]
        return hashlib.blake2b(repr((chosen, roots)).encode("utf-8", "replace"), digest_size=4).hexdigest()


def _relative(path: str, tree: Tree) -> str:
    """A path as the index has it, relative to the tree; absolute paths are accepted."""
    path = path.replace("\\", "/").removeprefix(tree.root.as_posix() + "/")
    return path.removeprefix("./")


_NUMBERS = {
    "max_tokens": integer(FEWEST_TOKENS, MOST_TOKENS),
    "limit": integer(1, MOST_HITS),
    "line": integer(1, 2**31 - 1),
    "end_line": integer(1, 2**31 - 1),
}
_LIST = TEXTS._replace(allowed="a list of texts")  # a single text is accepted too


def _check(spec: ToolSpec, given: Mapping[str, Any]) -> None:
    """Raise `ConfigError` unless the arguments are those that the tool takes."""
    for name in spec.required:
        require(name in given, f"{spec.name} needs", None, name)
    for name, value in given.items():
        require(name in spec.properties, f"{spec.name}: argument", name, ", ".join(spec.properties))
        schema = spec.properties[name]
        assert isinstance(schema, dict)
        kind = _NUMBERS[name] if schema["type"] == "integer" else {"array": _LIST, "string": TEXT}[schema["type"]]
        require(kind.holds(value), name, value, kind.allowed)
    if "end_line" in given:
        require(given["end_line"] >= given["line"], "end_line", given["end_line"], f"{given['line']} or more")
