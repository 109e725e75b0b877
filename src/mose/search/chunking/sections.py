"""Headings of documents as definitions: prose is cut like code, by section, with its title as context."""

from __future__ import annotations

import re

from mose.syntax import Definition

SECTION = "section"
"""Kind of the prose under one heading."""

_MARKDOWN = re.compile(r" {0,3}(#{1,6})\s(.*)")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_ORG = re.compile(r"(\*+)\s(.*)")
_TEX = re.compile(r"\\(part|chapter|section|subsection|subsubsection|paragraph)\*?\{(.+?)\}")
_TEX_LEVELS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph")
_RST_RULE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}\s*$")
_INI = re.compile(r"\[+([^\[\]]+)\]+\s*(#.*)?$")
_YAML = re.compile(r"([\w\"'./-]+):(\s|$)")
_MAX_TITLE_CHARS = 120


def sections(lines: list[str], language: str) -> list[Definition]:
    """Sections of a document in order, the enclosing first; empty if the language has no headings.

    Example:
        >>> found = sections(["# A", "a", "## B"], "markdown")
        >>> [(section.name, section.first_line, section.last_line) for section in found]
        [('A', 1, 3), ('B', 3, 3)]
    """
    headings = _headings(lines, language)
    last_lines = [len(lines)] * len(headings)
    parents: list[int | None] = []
    enclosing: list[int] = []  # headings whose section has not ended
    for position, (line, level, _) in enumerate(headings):
        while enclosing and headings[enclosing[-1]][1] >= level:
            last_lines[enclosing.pop()] = line - 1
        parents.append(enclosing[-1] if enclosing else None)
        enclosing.append(position)
    return [
        Definition(
            kind=SECTION,
            name=title,
            symbol=title,
            first_line=line,
            last_line=last_line,
            line=line,
            signature=title,
            parent=parent,
        )
        for (line, _, title), last_line, parent in zip(headings, last_lines, parents, strict=True)
    ]


def _headings(lines: list[str], language: str) -> list[tuple[int, int, str]]:
    """(line, level, title) of every heading."""
    if language == "markdown":
        found = _markdown(lines)
    elif language in ("rst", "text"):
        found = _underlined(lines)
    else:
        found = []
        for number, line in enumerate(lines, 1):
            if language == "org" and (match := _ORG.match(line)) and match[2].strip():
                found.append((number, len(match[1]), match[2]))
            elif language == "tex" and (match := _TEX.match(line.lstrip())):
                found.append((number, _TEX_LEVELS.index(match[1]), match[2]))
            elif (language in ("toml", "ini") and (match := _INI.match(line.lstrip()))) or (
                language == "yaml" and (match := _YAML.match(line))
            ):
                found.append((number, 1, match[1].strip("\"' ")))
    return [(number, level, title.strip()[:_MAX_TITLE_CHARS]) for number, level, title in found]


def _markdown(lines: list[str]) -> list[tuple[int, int, str]]:
    found = []
    fence = ""
    for number, line in enumerate(lines, 1):
        mark = _FENCE.match(line)
        if mark:
            if not fence:
                fence = mark[1]
            elif mark[1].startswith(fence):
                fence = ""
        elif not fence and (match := _MARKDOWN.match(line)) and (title := _without_closing(match[2].strip())):
            found.append((number, len(match[1]), title))
    return found


def _without_closing(title: str) -> str:
    """A title without closing signs: "B ##" becomes "B", but "C#" stays."""
    bare = title.rstrip("#")
    return bare.rstrip() if not bare or bare[-1].isspace() else title


def _underlined(lines: list[str]) -> list[tuple[int, int, str]]:
    """Titles underlined with a row of signs; levels in the order in which the signs first appear."""
    found = []
    levels: dict[str, int] = {}
    for number in range(2, len(lines) + 1):
        title, rule = lines[number - 2].rstrip(), lines[number - 1]
        if not title or title[0].isspace() or not any(map(str.isalnum, title)):
            continue
        match = _RST_RULE.match(rule)
        if match is None or len(rule.rstrip()) + 2 < len(title) or _RST_RULE.match(title):
            continue
        above = number >= 3 and _RST_RULE.match(lines[number - 3]) is not None
        if number >= 3 and lines[number - 3].strip() and not above:
            continue
        level = levels.setdefault(match[1] * (2 if above else 1), len(levels) + 1)
        found.append((number - 2 if above else number - 1, level, title))
    return found
