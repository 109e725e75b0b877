"""Definitions in source text: functions, classes, methods and their kin, by tree-sitter.

What counts as a definition is written in ``queries/<language>.scm``: the definition is captured by its
kind, its name by ``@name`` (or ``@declarator``, where the name lies inside a C declarator), the class it is
defined on from outside by ``@scope``, its body by ``@body``.
"""

from __future__ import annotations

from mose.syntax.definitions import Definition, definitions
from mose.syntax.grammars import GRAMMARS, has_grammar

__all__ = ["GRAMMARS", "Definition", "definitions", "has_grammar"]
