"""Kind "docs": the documentation of a function -> the function, with the documentation blanked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from mose.evaluate.repository.benchmark import Location
from mose.evaluate.repository.values import GoldenQuery
from mose.syntax.documentation import ParsedFile
from mose.syntax.prose import description, fault, first_sentence, without_name

_FUNCTIONS = frozenset({"function", "method"})
_EMPTY_BODY = re.compile(r"(?:pass|\.\.\.|raise NotImplementedError\b.*|end|[{}()]+[;,]?)?\s*(?:#.*)?$")
_DECLARATIONS = (".d.ts", ".pyi")


def documented(parsed: ParsedFile, dropped: Counter[str]) -> Iterator[GoldenQuery]:
    """A query for every function whose documentation can be one.

    Args:
        parsed: The file.
        dropped: Counts of documented functions left out, by reason, are added here.
    """
    for definition in parsed.definitions:
        lines = parsed.documentation_of(definition) if definition.kind in _FUNCTIONS else []
        if not lines:
            continue
        body = parsed.text(max(definition.line, lines[-1]) + 1, definition.last_line)
        if parsed.path.endswith(_DECLARATIONS) or all(_EMPTY_BODY.match(line.strip()) for line in body):
            dropped["no body"] += 1
            continue
        query = without_name(first_sentence(description([parsed.lines[line - 1] for line in lines])), definition.name)
        reason = fault(query)
        if reason:
            dropped[reason] += 1
            continue
        target = Location(path=parsed.path, start_line=definition.line, end_line=definition.last_line)
        yield GoldenQuery(kind="docs", text=query, targets=(target,), blanked=tuple(lines))
