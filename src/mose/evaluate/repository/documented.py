"""Kind "docs": what a function's documentation says -> the function, with that documentation blanked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from mose.evaluate.repository.benchmark import Place
from mose.evaluate.repository.prose import summary, why_not
from mose.evaluate.repository.values import GoldenQuery
from mose.syntax import Definition
from mose.syntax.grammars import ParsingError, grammar_of

if TYPE_CHECKING:
    from tree_sitter import Query

_FUNCTIONS = frozenset({"function", "method"})
_LINE_COMMENT = re.compile(r"(?://|--|#(?![!\[])|;)")
_BLOCKS = {
    **dict.fromkeys(("python", "bash"), ()),
    "ruby": (("=begin", "=end"),),
    "haskell": (("{-", "-}"),),
    "lua": (("--[[", "]]"),),
    "elixir": (('@doc """', '"""'), ('@doc ~S"""', '"""')),
}
_SLASH_STAR = (("/*", "*/"),)
_EMPTY_BODY = re.compile(r"(?:pass|\.\.\.|raise NotImplementedError\b.*|end|[{}()]+[;,]?)?\s*(?:#.*)?$")
_DECLARATIONS = (".d.ts", ".pyi")
_DOC_STRING = """
(function_definition body: (block . (expression_statement (string) @text))) @function
"""


def documented(
    path: str, text: str, language: str, found: Sequence[Definition], dropped: Counter[str]
) -> Iterator[GoldenQuery]:
    """A query for every function whose documentation can be asked.

    Args:
        path: Of the file, relative to the tree.
        text: Its content.
        language: Its language.
        found: Its definitions.
        dropped: Counts of documented functions left out, by reason, are added here.
    """
    lines = text.split("\n")
    doc_strings = _doc_strings(text, lines) if language == "python" else {}
    for definition in found:
        if definition.kind not in _FUNCTIONS:
            continue
        inside = doc_strings.get(definition.line)
        said = inside or _comment_above(lines, definition, language)
        if not said:
            continue
        body = range((inside[-1] if inside else definition.line) + 1, definition.last_line + 1)
        if path.endswith(_DECLARATIONS) or all(_EMPTY_BODY.match(lines[line - 1].strip()) for line in body):
            dropped["no body"] += 1
            continue
        query = summary("\n".join(lines[line - 1] for line in said), definition.name)
        reason = why_not(query)
        if reason:
            dropped[reason] += 1
            continue
        target = Place(path=path, start_line=definition.line, end_line=definition.last_line)
        yield GoldenQuery(kind="docs", text=query, targets=(target,), blanked=said)


def _doc_strings(text: str, lines: Sequence[str]) -> dict[int, tuple[int, ...]]:
    """First line of a Python function -> lines of its doc string, where nothing else stands on them."""
    try:
        grammar = grammar_of("python")
        if grammar is None:
            return {}
        tree = grammar.parse(text.encode("utf-8", "replace"))
    except ParsingError:
        return {}
    from tree_sitter import QueryCursor

    found = {}
    for _, captures in QueryCursor(_doc_string_query()).matches(tree.root_node):
        function, string = captures["function"][0], captures["text"][0]
        first, last = string.start_point[0], string.end_point[0]
        begins = not lines[first].encode()[: string.start_point[1]].strip()
        ends = not lines[last].encode()[string.end_point[1] :].strip()
        if begins and ends:
            found[function.start_point[0] + 1] = tuple(range(first + 1, last + 2))
    return found


@cache
def _doc_string_query() -> Query:
    from tree_sitter import Query

    grammar = grammar_of("python")
    assert grammar is not None
    assert grammar.parser.language is not None
    return Query(grammar.parser.language, _DOC_STRING)


def _comment_above(lines: Sequence[str], definition: Definition, language: str) -> tuple[int, ...]:
    """Lines of the last comment block that belongs to a definition and stands before it; attributes are no part."""
    blocks: list[list[int]] = []
    closing = ""
    before = 0
    for number in range(definition.first_line, definition.line):
        line = lines[number - 1].strip()
        opened = next((pair for pair in _BLOCKS.get(language, _SLASH_STAR) if line.startswith(pair[0])), None)
        is_comment = bool(closing or opened or _LINE_COMMENT.match(line))
        if is_comment:
            if before != number - 1 or (opened and not closing) or not blocks:
                blocks.append([])
            blocks[-1].append(number)
            before = number
        if closing:
            closing = "" if closing in line else closing
        elif opened and opened[1] not in line[len(opened[0]) :]:
            closing = opened[1]
    return tuple(blocks[-1]) if blocks else ()
