"""The names that a chunk defines: what encloses each of them, and on which line it is defined.

A type or function inside a namespace, a module or a package is at the top level; inside a type it is a member.
A block that adds to a type (``impl`` in Rust, ``extension`` in Swift, ``instance`` in Haskell) does not declare it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from mose.syntax import Definition

TOP, MEMBER, REOPENED, NAMESPACE = "", "member", "reopened", "namespace"
_NAMESPACES = frozenset({"module"})
_REOPENING = frozenset({"impl"})


class DefinedName(NamedTuple):
    """One name that is defined in a chunk."""

    name: str
    qualifier: str  # the definitions that enclose it, joined by dots, namespaces included; "" if none
    level: str  # TOP, MEMBER of a type, NAMESPACE, or REOPENED: a block that adds to a type declared elsewhere
    line: int  # line of the definition, counted from the chunk's first line

    @property
    def symbol(self) -> str:
        """The qualified name."""
        return f"{self.qualifier}.{self.name}" if self.qualifier else self.name


def defined_names(definitions: Sequence[Definition], chosen: Iterable[int], first_line: int) -> list[DefinedName]:
    """Names of some of a file's definitions, each once per line.

    Args:
        definitions: All of the file.
        chosen: Positions of the definitions in the chunk.
        first_line: The chunk's first line.
    """
    names = (_defined(definitions, position, first_line) for position in chosen)
    return list(dict.fromkeys(names))


def _defined(definitions: Sequence[Definition], position: int, first_line: int) -> DefinedName:
    item = definitions[position]
    qualifier = item.symbol.removesuffix(item.name).rstrip(".")
    if item.kind in _REOPENING:
        level = REOPENED
    elif item.kind in _NAMESPACES:
        level = NAMESPACE
    else:
        outer = item.parent
        while outer is not None and definitions[outer].kind in _NAMESPACES:
            outer = definitions[outer].parent
        namespace = "" if item.parent is None or outer is not None else definitions[item.parent].symbol
        is_inside = outer is not None or qualifier != namespace
        level = MEMBER if is_inside else TOP
    return DefinedName(item.name, qualifier, level, item.line - first_line)


def format_names(names: Iterable[DefinedName]) -> str:
    """Names as an index keeps them: one per line, fields separated by tabs.

    Example:
        >>> read_names(format_names([DefinedName("get", "Client", MEMBER, 3)]))
        (DefinedName(name='get', qualifier='Client', level='member', line=3),)
    """
    return "\n".join(f"{name}\t{qualifier}\t{level}\t{line}" for name, qualifier, level, line in names)


@lru_cache(maxsize=100_000)
def read_names(text: str) -> tuple[DefinedName, ...]:
    """Names that `format_names` wrote; other lines are ignored."""
    fields = (line.split("\t") for line in text.split("\n"))
    return tuple(DefinedName(f[0], f[1], f[2], int(f[3])) for f in fields if len(f) == 4 and f[3].isdecimal())


def bare_names(text: str) -> list[str]:
    """The distinct names, unqualified.

    Example:
        >>> bare_names(format_names([DefinedName("get", "Client", MEMBER, 3)]))
        ['get']
    """
    return list(dict.fromkeys(line.partition("\t")[0] for line in text.split("\n"))) if text else []
