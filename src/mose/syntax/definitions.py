"""From the captures of a query to a list of definitions with symbols, lines and signatures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mose.syntax.comments import first_line_with_comments
from mose.syntax.grammars import ParsingError, grammar_of

if TYPE_CHECKING:
    from tree_sitter import Node

CONTAINERS = frozenset({"class", "struct", "interface", "enum", "trait", "impl", "object", "module"})
"""Kinds whose members are definitions in their own right."""

_TYPES = CONTAINERS - {"module"}
_SMALL = frozenset({"constant", "type", "property"})
_RANK = {"constant": 2, "type": 1}  # of two matches of a node, the more specific kind is kept
_SAME_NAME_JOINS = frozenset({"elixir", "haskell"})
_MAX_SIGNATURE_CHARS = 300
_MAX_NAME_CHARS = 200
_SEPARATOR = re.compile(r"::|->|[:.\\#]")
_INNERMOST_ARGUMENTS = re.compile(r"<[^<>]*>")
_MAX_TEMPLATE_DEPTH = 4
_SPACE = re.compile(r"\s+")
_HASH_COMMENT = re.compile(r"(?:^|\s)#(?![{\[(!]).*")
_SLASH_COMMENT = re.compile(r"(?:^|\s)//.*|/\*.*?\*/")
_DASH_COMMENT = re.compile(r"(?:^|\s)--.*")
_COMMENT = {
    **dict.fromkeys(("python", "ruby", "bash", "elixir"), _HASH_COMMENT),
    **dict.fromkeys(("haskell", "lua"), _DASH_COMMENT),
}
_NO_SCOPE = frozenset({"this", "self", "prototype", "exports", "module"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One definition with the comments and decorators directly above it; lines are 1-based and inclusive."""

    kind: str  # "function", "method", "class", "interface", "struct", "enum", "trait", "impl", "object",
    # "module", "macro", "type", "constant" or "property"
    name: str
    symbol: str  # qualified by what encloses it: "Class.method"
    first_line: int
    last_line: int
    line: int  # where the definition itself begins, below comments and decorators
    signature: str  # on one line, without the body
    parent: int | None  # position of the enclosing definition in the list


def definitions(text: str, language: str) -> list[Definition] | None:
    r"""Definitions in order of their first line, enclosing ones before what they enclose.

    Args:
        text: Source with ``\n`` line ends.
        language: As in ``SourceFile.language``.

    Returns:
        None if there is no grammar for the language, or the text cannot be parsed.

    Example:
        >>> [found.symbol for found in definitions("class A:\n    def b(self): ...\n", "python")]
        ['A', 'A.b']
    """
    try:
        return find_definitions(text, language)
    except ParsingError:
        return None


def find_definitions(text: str, language: str) -> list[Definition] | None:
    """As `definitions`, None only if there is no grammar for the language.

    Raises:
        ParsingError: The text cannot be parsed, or the grammar does not fit; the message says why.
    """
    grammar = grammar_of(language, text)
    if grammar is None:
        return None
    source = text.encode("utf-8", "replace")
    return definitions_in(grammar.matches(grammar.parse(source)), text, source, language)


def definitions_in(
    matches: Iterable[dict[str, list[Node]]], text: str, source: bytes, language: str
) -> list[Definition]:
    """Definitions among the matches of a grammar's query in a text; ``source`` is the text in UTF-8."""
    found: dict[int, _Found] = {}
    for captures in matches:
        item = _found(captures, source, language)
        if item is None:
            continue
        known = found.get(item.name_start)
        if known is None or item.better_than(known):
            found[item.name_start] = item
    return _arrange(sorted(found.values(), key=_Found.order), text, language)


@dataclass(frozen=True, slots=True)
class _Found:
    kind: str
    start: int
    end: int
    first_line: int
    last_line: int
    line: int
    name_start: int
    name: str
    scope: str
    signature: str

    def better_than(self, other: _Found) -> bool:
        rank, other_rank = _RANK.get(self.kind, 0), _RANK.get(other.kind, 0)
        if rank != other_rank:
            return rank < other_rank
        return self.end - self.start >= other.end - other.start

    def encloses(self, other: _Found) -> bool:
        """False for the same range: a statement that defines several names."""
        return self.end >= other.end and (self.start, self.end) != (other.start, other.end)

    def order(self) -> tuple[int, int, int]:
        return self.start, -self.end, self.name_start


def _found(captures: dict[str, list[Node]], source: bytes, language: str) -> _Found | None:
    nodes = {label: nodes[0] for label, nodes in captures.items()}
    name = nodes.pop("name", None)
    declarator = nodes.pop("declarator", None)
    if declarator is not None:
        name = _declared_name(declarator)
    body, head, scope = nodes.pop("body", None), nodes.pop("head", None), nodes.pop("scope", None)
    nodes.pop("keyword", None)
    if name is None or not nodes:
        return None
    kind, outer = nodes.popitem()
    start, end = outer.start_byte, outer.end_byte
    first_row, (last_row, last_column) = outer.start_point[0], outer.end_point
    if last_column == 0 and last_row > first_row:  # the node includes the line end
        last_row -= 1
    if head is None or (head.start_byte < start and head.start_point[0] != first_row):
        head = outer
    return _Found(
        kind=kind,
        start=start,
        end=end,
        first_line=first_row + 1,
        last_line=last_row + 1,
        line=head.start_point[0] + 1,
        name_start=name.start_byte,
        name=_text(name, source).strip("\"'`"),
        scope=_text(scope, source) if scope is not None else "",
        signature=_signature(source, head.start_byte, body.start_byte if body is not None else None, end, language),
    )


def _signature(source: bytes, start: int, body: int | None, end: int, language: str) -> str:
    """The text before the body, or the first line without one; on one line, without comments."""
    limit = min(end if body is None else body, start + 4 * _MAX_SIGNATURE_CHARS)
    lines = source[start:limit].decode("utf-8", "replace").strip().split("\n")
    if body is None:
        del lines[1:]
    comment = _COMMENT.get(language, _SLASH_COMMENT)
    joined = _SPACE.sub(" ", " ".join(comment.sub("", line) for line in lines))
    return joined.strip()[:_MAX_SIGNATURE_CHARS].rstrip("{;= ")


def _text(node: Node, source: bytes) -> str:
    end = min(node.end_byte, node.start_byte + 4 * _MAX_NAME_CHARS)
    return _SPACE.sub(" ", source[node.start_byte : end].decode("utf-8", "replace"))[:_MAX_NAME_CHARS]


def _declared_name(declarator: Node) -> Node | None:
    """The name inside a C or C++ declarator: below pointers, references, arrays, parameters."""
    node: Node | None = declarator
    for _ in range(32):
        if node is None:
            return None
        if node.type in _DECLARED:
            return node
        inner = node.child_by_field_name("declarator")
        if inner is None:  # references and parentheses have no such field
            inner = next((child for child in node.named_children if child.type.endswith(_DECLARATORS)), None)
        node = inner
    return None


_DECLARED = frozenset(
    {
        *("identifier", "field_identifier", "type_identifier", "qualified_identifier", "template_function"),
        *("destructor_name", "operator_name", "operator_cast"),
    }
)
_DECLARATORS = ("declarator", "identifier", "_name")


def _arrange(found: list[_Found], text: str, language: str) -> list[Definition]:
    """Add parents, symbols and comments; leave out constants, types and properties inside functions."""
    lines = text.split("\n")
    result: list[Definition] = []
    is_open: list[tuple[_Found, int]] = []  # what encloses this definition, and its position in the result
    after: dict[int | None, int] = {}  # last line of the definition before, by parent
    for item in found:
        while is_open and not is_open[-1][0].encloses(item):
            is_open.pop()
        parent = is_open[-1][1] if is_open else None
        above = result[parent] if parent is not None else None
        if item.kind in _SMALL and above is not None and above.kind not in CONTAINERS:
            continue
        path = _parts(item.name, language) or [item.name]
        scope = [part for part in _parts(item.scope, language) if part not in _NO_SCOPE]
        symbol = ".".join(([above.symbol] if above is not None else []) + scope + path)
        before = max(after.get(parent, 0), above.line if above is not None else 0)
        first_line = first_line_with_comments(lines, item.first_line, before, language)
        definition = Definition(
            kind=_kind(item, above, qualified=len(scope) + len(path) > 1, language=language),
            name=path[-1],
            symbol=symbol,
            first_line=first_line,
            last_line=item.last_line,
            line=item.line,
            signature=item.signature,
            parent=parent,
        )
        if language in _SAME_NAME_JOINS and result and _continues(result[-1], definition, lines):
            result[-1] = replace(result[-1], last_line=item.last_line)
        else:
            result.append(definition)
        after[parent] = item.last_line
        is_open.append((item, len(result) - 1))
    return result


def _parts(name: str, language: str) -> list[str]:
    """Parts of a qualified name, without template arguments: "Pool", "get" of ``Pool<T>::get``."""
    if language in ("c", "cpp") and "<" in name and "operator" not in name:
        for _ in range(_MAX_TEMPLATE_DEPTH):
            name = _INNERMOST_ARGUMENTS.sub("", name)
    return [part.strip() for part in _SEPARATOR.split(name) if part.strip()]


def _kind(item: _Found, above: Definition | None, *, qualified: bool, language: str) -> str:
    """Kind of a definition: a function inside a type is a method, and a method outside of types a function."""
    in_type = above is not None and above.kind in _TYPES
    if item.kind == "function" and (in_type or (qualified and language in ("c", "cpp"))):
        return "method"
    if item.kind == "method" and not in_type and not qualified and (above is None or language != "ruby"):
        return "function"
    return item.kind


def _continues(last: Definition, definition: Definition, lines: list[str]) -> bool:
    """True for a further clause of the function just before."""
    return (
        last.symbol == definition.symbol
        and last.parent == definition.parent
        and not any(line.strip() for line in lines[last.last_line : definition.first_line - 1])
    )
