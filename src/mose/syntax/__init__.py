"""Definitions in source text: functions, classes, methods and their kin, by tree-sitter.

``queries/<language>.scm`` says what counts as a definition: the definition is captured by its
kind, its name by ``@name`` (or ``@declarator``, where the name is inside a C declarator), the class that
it is defined on from outside by ``@scope``, its body by ``@body``.
"""

from __future__ import annotations

from mose.syntax.definitions import Definition, definitions, find_definitions
from mose.syntax.grammars import GRAMMARS, MISFIT, ParsingError, has_grammar
from mose.syntax.versions import parser_of

__all__ = [
    "GRAMMARS",
    "MISFIT",
    "Definition",
    "ParsingError",
    "definitions",
    "find_definitions",
    "has_grammar",
    "parser_of",
]
