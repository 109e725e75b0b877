"""Extract the pairs of one file: documentation, comments, names and file outlines, each with its code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from itertools import takewhile

from mose.data.mine.harvest import Harvest, Mined, cut_at_line_end, draw
from mose.languages.tables import word_set
from mose.syntax import Definition
from mose.syntax.comments import indent_of
from mose.syntax.definitions import CONTAINERS
from mose.syntax.documentation import LineRange, ParsedFile
from mose.syntax.prose import MAX_WORDS, description, fault, without_markers, without_name
from mose.words import parts

MIN_CODE_LINES = 3
MIN_CODE_CHARS = 40
_WHOLE_CLASS_CHARS = 1_200
_MIN_COMMENT_WORDS = 4
_MIN_FOLLOWING = 2
_MAX_FOLLOWING = 25
_DOCUMENTED = CONTAINERS | {"function", "method", "macro", "type"}
_CALLABLE = frozenset({"function", "method", "macro"})
_ORDINARY_NAMES = word_set(
    """
    __init__ init main constructor tostring equals hashcode setup teardown initialize finalize dispose module exports
    __construct __repr__ __str__ __eq__ __hash__ __len__ __iter__ __call__ __enter__ __exit__ __new__ __del__ default
    """
)


def extract(parsed: ParsedFile, *, code_chars: int) -> Harvest:
    """All pairs of one file; definitions and comments without one are counted.

    Args:
        parsed: The file.
        code_chars: Code is cut here, at a line end.
    """
    harvest = Harvest()
    _File(parsed, harvest, code_chars).run()
    return harvest


def functions_at(parsed: ParsedFile, spans: Iterable[tuple[int, int]], *, code_chars: int) -> list[tuple[str, str]]:
    """Symbol and code of the innermost functions that some spans of lines lie in; other spans do not count.

    Args:
        parsed: The file.
        spans: First and last line, from 1.
        code_chars: Code is cut here, at a line end.
    """
    file = _File(parsed, Harvest(), code_chars)
    found: dict[int, None] = {}
    for first, last in sorted(spans):
        holders = [
            position for position, definition in enumerate(parsed.definitions)
            if definition.kind in _CALLABLE and definition.first_line <= first and last <= definition.last_line
        ]  # fmt: skip
        if holders:
            found[holders[-1]] = None
    return [
        (parsed.definitions[position].symbol, cut_at_line_end(file.shown(position), code_chars)) for position in found
    ]


class _File:
    def __init__(self, parsed: ParsedFile, harvest: Harvest, code_chars: int) -> None:
        self.parsed = parsed
        self.harvest = harvest
        self.code_chars = code_chars
        self.found = parsed.definitions
        self.children: dict[int | None, list[int]] = {}
        for position, definition in enumerate(self.found):
            self.children.setdefault(definition.parent, []).append(position)
        self.comment_lines = parsed.comment_lines

    def run(self) -> None:
        for position, definition in enumerate(self.found):
            if definition.kind in _DOCUMENTED:
                self._documentation(position, definition)
                self._name(position, definition)
        self._comments()
        self._file()

    def _documentation(self, position: int, definition: Definition) -> None:
        numbers = self.parsed.documentation_of(definition)
        if not numbers:
            self.harvest.dropped["no documentation"] += 1
            self._remember_body(position, definition)
            return
        query = _without_own_name(description([self.parsed.lines[number - 1] for number in numbers]), definition.name)
        reason = fault(query)
        if reason:
            self.harvest.dropped[reason] += 1
            self._remember_body(position, definition)
            return
        hidden = set(numbers) | (self.comment_lines & set(range(definition.first_line, definition.line)))
        code = self._code(position, hidden)
        if self._is_declaration(definition):
            self.harvest.declared.append(self._row("doc", query, code, definition.symbol))
        else:
            self._add("doc", query, self._in_context(position, code), definition.symbol)

    def _is_declaration(self, definition: Definition) -> bool:
        if self.parsed.language not in ("c", "cpp") or definition.kind not in ("function", "method"):
            return False
        return "{" not in "".join(self.parsed.text(definition.line, definition.last_line))

    def _remember_body(self, position: int, definition: Definition) -> None:
        language = self.parsed.language
        if language in ("c", "cpp") and definition.kind in _CALLABLE and not self._is_declaration(definition):
            hidden = self.comment_lines & set(range(definition.first_line, definition.line))
            code = self._in_context(position, self._code(position, hidden))
            if not self._too_little(code):
                row = self._row("doc", "", code, definition.symbol)
                self.harvest.bodies.setdefault(("cpp", definition.symbol), []).append(row)

    def _code(self, position: int, hidden: Set[int] = frozenset()) -> list[str]:
        """Lines of a definition without the hidden ones; of a large class its own lines and its members' signatures."""
        definition = self.found[position]
        numbers = range(definition.first_line, definition.last_line + 1)
        whole = [self.parsed.lines[number - 1] for number in numbers if number not in hidden]
        is_large_class = definition.kind in CONTAINERS and sum(map(len, whole)) > _WHOLE_CLASS_CHARS
        return self._outline(position, hidden) if is_large_class else whole

    def _outline(self, position: int, hidden: Set[int]) -> list[str]:
        definition = self.found[position]
        shown: list[str] = []
        at = definition.first_line
        for child in self.children.get(position, ()):
            member = self.found[child]
            if member.kind not in _CALLABLE and member.kind not in CONTAINERS:
                continue
            shown += self._own_lines(at, member.first_line - 1, hidden)
            line = self.parsed.lines[member.line - 1]
            shown.append(line[: indent_of(line)] + member.signature)
            at = max(at, member.last_line + 1)
        return shown + self._own_lines(at, definition.last_line, hidden)

    def _own_lines(self, first: int, last: int, hidden: Set[int]) -> list[str]:
        lines = (
            self.parsed.lines[number - 1]
            for number in range(first, last + 1)
            if number not in hidden and number not in self.comment_lines
        )
        return [line for line in lines if line.strip()]

    def shown(self, position: int) -> list[str]:
        """Lines of a definition below the signatures around it."""
        return self._in_context(position, self._code(position))

    def _in_context(self, position: int, code: list[str]) -> list[str]:
        return [*self._enclosing(position), *code]

    def _enclosing(self, position: int) -> list[str]:
        """Signatures around a definition, outermost first, as the search index shows them."""
        signatures: list[str] = []
        around = self.found[position].parent
        while around is not None:
            signatures.append(self.found[around].signature)
            around = self.found[around].parent
        return signatures[::-1]

    def _name(self, position: int, definition: Definition) -> None:
        words = parts(definition.name)
        if definition.name.lower() in _ORDINARY_NAMES or (len(words) < 2 and len(definition.name) < 8):
            self.harvest.dropped["ordinary name"] += 1
            return
        parent = self.found[definition.parent] if definition.parent is not None else None
        owner = parent.name if parent is not None and parent.kind in CONTAINERS - {"module"} else ""
        style = draw(self.parsed.path, definition.symbol, "style")
        if style < 0.25:
            query = definition.name
        elif style < 0.5:
            query = f"{owner}.{definition.name}" if owner else definition.name
        else:
            query = " ".join((*parts(owner), *words) if owner and style < 0.8 else words)
        self._add("name", query, self._in_context(position, self._code(position)), definition.symbol)

    def _comments(self) -> None:
        starts = {block.first_line for block in self.parsed.comments}
        for block in self.parsed.comments:
            holder = self._holder(block)
            if holder is None:
                continue
            cleaned = without_markers(self.parsed.text(block.first_line, block.last_line))
            query = description(cleaned) if len(cleaned) <= 8 else ""
            reason = fault(query, min_words=_MIN_COMMENT_WORDS)
            if reason:
                self.harvest.dropped[f"comment: {reason}"] += 1
                continue
            code = self._following(block, self.found[holder].last_line, starts)
            if len(code) < _MIN_FOLLOWING:
                self.harvest.dropped["comment: little code"] += 1
                continue
            signatures = [*self._enclosing(holder), self.found[holder].signature]
            self._add("comment", query, [*signatures, *code], self.found[holder].symbol)

    def _holder(self, block: LineRange) -> int | None:
        """Innermost function around a comment, None outside of functions and for documentation."""
        holder = None
        for position, definition in enumerate(self.found):
            if definition.first_line > block.last_line:
                break
            if definition.line < block.first_line and block.last_line < definition.last_line:
                holder = position
            elif definition.first_line <= block.first_line and block.last_line < definition.line:
                return None  # above a definition
        if holder is None or self.found[holder].kind not in ("function", "method"):
            return None
        return holder

    def _following(self, block: LineRange, last_line: int, starts: set[int]) -> list[str]:
        """The statements below a comment, up to a blank line, a smaller indentation or the next comment."""
        indent = indent_of(self.parsed.lines[block.first_line - 1])

        def belongs(number: int) -> bool:
            line = self.parsed.lines[number - 1]
            return bool(line.strip()) and indent_of(line) >= indent and number not in starts

        end = min(last_line - 1, block.last_line + _MAX_FOLLOWING)
        numbers = takewhile(belongs, range(block.last_line + 1, end + 1))
        return [self.parsed.lines[number - 1] for number in numbers]

    def _file(self) -> None:
        lines = self._header()
        if not lines:
            self.harvest.dropped["file without description"] += 1
            return
        query = description(lines)
        reason = fault(query, min_words=_MIN_COMMENT_WORDS)
        if reason:
            self.harvest.dropped[f"file: {reason}"] += 1
            return
        self._add("file", query, list(self._file_outline()), "")

    def _header(self) -> list[str]:
        """The docstring of the file, or the first comment of its head that is not a licence."""
        docstring = self.parsed.docstrings.get(0)
        if docstring is not None:
            return self.parsed.text(docstring.first_line, docstring.last_line)
        first = min((definition.first_line for definition in self.found), default=0)
        for block in self.parsed.comments:
            if block.first_line >= first or block.first_line > 60:
                break
            lines = self.parsed.text(block.first_line, block.last_line)
            if description(lines) and not fault(description(lines), min_words=_MIN_COMMENT_WORDS):
                return lines
        return []

    def _file_outline(self) -> Iterator[str]:
        for position, definition in enumerate(self.found):
            parent = self.found[definition.parent] if definition.parent is not None else None
            depth = len(self._enclosing(position))
            is_member = parent is None or (parent.kind in CONTAINERS and depth <= 2)
            if is_member and definition.kind in _DOCUMENTED:
                yield "    " * depth + definition.signature

    def _row(self, kind: str, query: str, code: list[str], symbol: str) -> Mined:
        return Mined(
            kind=kind,
            query=query,
            code=cut_at_line_end(code, self.code_chars),
            language=self.parsed.language,
            path=self.parsed.path,
            symbol=symbol,
        )

    def _too_little(self, code: list[str]) -> bool:
        filled = [line.strip() for line in code if line.strip()]
        return len(filled) < MIN_CODE_LINES or sum(map(len, filled)) < MIN_CODE_CHARS

    def _add(self, kind: str, query: str, code: list[str], symbol: str) -> None:
        if self._too_little(code):
            self.harvest.dropped[f"{kind}: little code"] += 1
        elif len(query.split()) > MAX_WORDS:
            self.harvest.dropped[f"{kind}: too long"] += 1
        else:
            self.harvest.rows.append(self._row(kind, query, code, symbol))


def _without_own_name(query: str, name: str) -> str:
    """Remove the name that begins every Go description from half of them.

    Example:
        >>> [_without_own_name(f"{name} returns the cost.", name) for name in ("Foo", "Bar", "Baz", "Quux")]
        ['Foo returns the cost.', 'Bar returns the cost.', 'Returns the cost.', 'Returns the cost.']
    """
    rest = without_name(query, name)
    if rest == query or len(rest.split()) < 3 or draw(query, name) < 0.5:
        return query
    return rest[:1].upper() + rest[1:]
