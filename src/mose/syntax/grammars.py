"""Grammars and queries, loaded on first use. A language whose wheel is not installed has no grammar."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mose.languages.content import is_cpp

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Query, Tree

MODULES = {
    **{
        language: (f"tree_sitter_{language}", "language")
        for language in (
            *("bash", "c", "cpp", "elixir", "go", "haskell", "java", "javascript", "kotlin", "lua", "python", "ruby"),
            *("rust", "scala", "swift", "zig"),
        )
    },
    "csharp": ("tree_sitter_c_sharp", "language"),
    "php": ("tree_sitter_php", "language_php"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
}
"""Language -> the module of its grammar, and the function in it."""
GRAMMARS = frozenset(MODULES)
"""Languages whose definitions are known, if the wheel of their grammar is installed."""

_ASCII_ONLY = frozenset({"bash"})
"""Grammars whose scanner can crash on characters beyond ASCII (tree-sitter-bash 0.25.1). They are given a letter for
every byte of such a character, which keeps positions."""

_LETTERS_BEYOND_ASCII = bytes(byte if byte < 0x80 else ord("x") for byte in range(256))
_READ_BYTES = 65_536
_STEPS_AT_LEAST = 2_000
_BYTES_PER_STEP = 20  # ordinary source takes one step of the parser for about 200 bytes
_MAX_CPU_SECONDS = 2.0
_MAX_LINE_BYTES = 50_000
_MAX_LOOSE_TOKENS = 5_000
_MAX_SUSPECTS = 200_000
_MAX_OPEN_MATCHES = 4_096


LONG_LINES = "has a line that is too long to parse"
TOO_MUCH_WORK = "takes too long to parse"
TOO_MANY_ERRORS = "has too many syntax errors"
MISFIT = "the installed grammar does not fit"


class ParsingError(ValueError):
    """A text that cannot be parsed; the message says why, to follow the name of the file."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """One language's parser and the query that finds its definitions."""

    parser: Parser
    query: Query
    ascii_only: bool = False

    def parse(self, source: bytes) -> Tree:
        """Syntax tree.

        The limit counts steps of the parser, so that the result does not depend on the machine; the clock only
        guards against a hang.

        Raises:
            ParsingError: Parsing takes far more work than source code does, or fails at too many tokens.
        """
        if len(source) > _MAX_LINE_BYTES and max(map(len, source.split(b"\n"))) > _MAX_LINE_BYTES:
            raise ParsingError(LONG_LINES)
        if self.ascii_only:
            source = source.translate(_LETTERS_BEYOND_ASCII)
        steps_left = _STEPS_AT_LEAST + len(source) // _BYTES_PER_STEP
        deadline = time.thread_time() + _MAX_CPU_SECONDS
        gave_up = False

        def read(offset: int, _: object) -> bytes:
            return source[offset : offset + _READ_BYTES]

        def stop(_offset: int, _has_error: bool) -> bool:
            nonlocal steps_left, gave_up
            steps_left -= 1
            gave_up = steps_left < 0 or time.thread_time() > deadline
            return gave_up

        try:
            tree = self.parser.parse(read, progress_callback=stop)
        except ValueError:  # "Parsing failed": stopped before there was a tree
            tree = None
        if tree is None or gave_up:
            self.parser.reset()
            raise ParsingError(TOO_MUCH_WORK)
        if _is_hopeless(tree.root_node):
            raise ParsingError(TOO_MANY_ERRORS)
        return tree

    def matches(self, tree: Tree) -> list[dict[str, list[Node]]]:
        """Captures by label for every match in the tree."""
        from tree_sitter import QueryCursor

        # No progress callback here: it crashes the process (tree-sitter 0.26.1).
        cursor = QueryCursor(self.query, match_limit=_MAX_OPEN_MATCHES)
        return [captures for _, captures in cursor.matches(tree.root_node)]


def _is_hopeless(root: Node) -> bool:
    """True if an error node has thousands of children, on which a query takes quadratic time."""
    if not root.has_error:
        return False
    suspects = [root]
    nodes_left = _MAX_SUSPECTS
    while suspects:
        node = suspects.pop()
        if node.is_error and node.child_count > _MAX_LOOSE_TOKENS:
            return True
        children = node.children
        nodes_left -= len(children)
        if nodes_left < 0:
            return True
        suspects.extend(child for child in children if child.has_error)
    return False


def has_grammar(language: str) -> bool:
    """True if definitions of this language can be found: it is known, and its wheel is installed and fits.

    Example:
        >>> has_grammar("python"), has_grammar("klingon")
        (True, False)
    """
    return isinstance(_load(language), Grammar)


def grammar_of(language: str, text: str = "") -> Grammar | None:
    """Grammar of a language, None if there is none; a C header that reads like C++ gets the C++ one.

    Raises:
        ParsingError: A grammar is installed, and our query for definitions does not fit it.
    """
    if language == "c" and is_cpp(text):
        language = "cpp"
    grammar = _load(language)
    if grammar is MISFIT:
        raise ParsingError(MISFIT)
    return grammar if isinstance(grammar, Grammar) else None


@cache
def _load(language: str) -> Grammar | str | None:
    """The grammar, `MISFIT`, or None if there is none."""
    found = MODULES.get(language)
    if found is None:
        return None
    module_name, function = found
    try:
        tree_sitter = importlib.import_module("tree_sitter")
        module = importlib.import_module(module_name)
    except ImportError:
        return None
    name = "typescript" if language == "tsx" else language  # the same queries
    source = Path(__file__).with_name("queries").joinpath(f"{name}.scm").read_text(encoding="utf-8")
    try:
        grammar = tree_sitter.Language(getattr(module, function)())
        return Grammar(tree_sitter.Parser(grammar), tree_sitter.Query(grammar, source), language in _ASCII_ONLY)
    except (AttributeError, TypeError, ValueError):  # other node names, or another tree-sitter ABI
        return MISFIT
