"""Parts of a file: definitions, docstrings, and comments on lines of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from mose.syntax.comments import indent_of
from mose.syntax.definitions import Definition, definitions_in
from mose.syntax.grammars import ParsingError, grammar_of

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Query

_COMMENT_NODES = ("comment", "line_comment", "block_comment", "multiline_comment", "haddock")
_DOCSTRINGS = """
(function_definition body: (block . (expression_statement . (string) @doc .))) @holder
(class_definition body: (block . (expression_statement . (string) @doc .))) @holder
(module . (comment)* . (expression_statement . (string) @doc .)) @holder
"""
_ELIXIR_DOC = re.compile(
    r"^[ \t]*@(doc|moduledoc|typedoc)[ \t]+(?:~[sS])?(\"{3}[\s\S]*?\"{3}|\"[^\"\n]*\")", re.MULTILINE
)
_ELIXIR_MODULE = re.compile(r"def(?:module|protocol|impl)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRange:
    """Whole lines ``first_line..last_line`` (1-based, inclusive) of one comment or docstring."""

    first_line: int
    last_line: int


@dataclass(frozen=True, kw_only=True)
class ParsedFile:
    """A file with its definitions, comments and docstrings."""

    path: str
    language: str
    lines: list[str]
    definitions: list[Definition]
    comments: tuple[LineRange, ...]
    """Each comment, or run of line comments, in order."""
    docstrings: dict[int, LineRange]
    """Line of the definition, or 0 for the file -> its docstring."""

    def text(self, first_line: int, last_line: int) -> list[str]:
        """Those lines, both included."""
        return self.lines[first_line - 1 : last_line]

    @cached_property
    def comment_lines(self) -> frozenset[int]:
        """Numbers of the lines that are comments."""
        return frozenset(line for block in self.comments for line in range(block.first_line, block.last_line + 1))

    def documentation_of(self, definition: Definition) -> list[int]:
        """Numbers of the lines that document a definition: its docstring, or else the comments above it."""
        docstring = self.docstrings.get(definition.line)
        if docstring is not None:
            return list(range(docstring.first_line, docstring.last_line + 1))
        return [line for line in range(definition.first_line, definition.line) if line in self.comment_lines]


def parse_file(text: str, language: str, path: str) -> ParsedFile | None:
    r"""The parts of a file, None if it has no grammar or cannot be parsed.

    Args:
        text: Source with ``\n`` line ends.
        language: As in ``SourceFile.language``.
        path: Path of the file, for the result.
    """
    try:
        grammar = grammar_of(language, text)
        if grammar is None:
            return None
        source = text.encode("utf-8", "replace")
        tree = grammar.parse(source)
        found = definitions_in(grammar.matches(tree), text, source, language)
    except ParsingError:
        return None
    from tree_sitter import QueryCursor

    lines = text.split("\n")
    spans = []
    for node in QueryCursor(_comment_query(grammar.parser.language)).captures(tree.root_node).get("comment", ()):
        (first_row, column), (last_row, last_column) = node.start_point, node.end_point
        last_row -= last_column == 0 and last_row > first_row
        before = lines[first_row].encode("utf-8", "replace")[:column]
        if not before.strip():
            spans.append((first_row + 1, last_row + 1))
    docstrings: dict[int, LineRange] = {}
    if language == "python":
        for _, captures in QueryCursor(_docstring_query(grammar.parser.language)).matches(tree.root_node):
            holder, node = captures["holder"][0], captures["doc"][0]
            if not _has_own_lines(node, lines):
                continue
            line = holder.start_point[0] + 1 if holder.type != "module" else 0
            docstrings[line] = LineRange(first_line=node.start_point[0] + 1, last_line=node.end_point[0] + 1)
    elif language == "elixir":
        _add_elixir_docs(text, lines, found, spans, docstrings)
    return ParsedFile(
        path=path,
        language=language,
        lines=lines,
        definitions=found,
        comments=tuple(_join_lines(sorted(spans), lines)),
        docstrings=docstrings,
    )


def _has_own_lines(node: Node, lines: list[str]) -> bool:
    """True if nothing but a comment shares the lines of a docstring."""
    (first_row, column), (last_row, last_column) = node.start_point, node.end_point
    before = lines[first_row].encode("utf-8", "replace")[:column]
    after = lines[last_row].encode("utf-8", "replace")[last_column:].strip()
    return not before.strip() and (not after or after.startswith(b"#"))


def _join_lines(spans: list[tuple[int, int]], lines: list[str]) -> list[LineRange]:
    """Join consecutive line comments of the same indentation into one block."""
    blocks: list[LineRange] = []
    for first, last in spans:
        if (
            blocks
            and blocks[-1].last_line + 1 == first
            and _same_run(lines[blocks[-1].first_line - 1], lines[first - 1])
        ):
            blocks[-1] = LineRange(first_line=blocks[-1].first_line, last_line=last)
        elif not blocks or first > blocks[-1].last_line:
            blocks.append(LineRange(first_line=first, last_line=last))
    return blocks


def _same_run(line: str, after: str) -> bool:
    is_block = line.lstrip().startswith(("/*", "{-", "=begin", "@")) or after.lstrip().startswith(("/*", "{-", "@"))
    return not is_block and indent_of(line) == indent_of(after)


def _add_elixir_docs(
    text: str,
    lines: list[str],
    found: list[Definition],
    spans: list[tuple[int, int]],
    docstrings: dict[int, LineRange],
) -> None:
    """Add the documentation attributes of Elixir: ``@doc`` as a comment, ``@moduledoc`` as a docstring."""
    for match in _ELIXIR_DOC.finditer(text):
        first = text.count("\n", 0, match.start()) + 1
        last = first + match.group().count("\n")
        if match[1] != "moduledoc":
            spans.append((first, last))
            continue
        above = [
            item.line for item in found if item.line < first and _ELIXIR_MODULE.match(lines[item.line - 1].lstrip())
        ]
        if above:
            docstrings[max(above)] = LineRange(first_line=first, last_line=last)


@cache
def _comment_query(language: Language) -> Query:
    from tree_sitter import Query

    names = [name for name in _COMMENT_NODES if language.id_for_node_kind(name, True) is not None]
    return Query(language, "\n".join(f"({name}) @comment" for name in names))


@cache
def _docstring_query(language: Language) -> Query:
    from tree_sitter import Query

    return Query(language, _DOCSTRINGS)
