"""From a comment or doc string to the sentence that says what a definition does."""

from __future__ import annotations

import re

from mose.evaluate.repository.values import has_few_words

MAX_WORDS = 60

_STRING_START = re.compile(r"""^\s*[rRbBuU]{0,2}(\"{3}|'{3}|"|')""")
_COMMENT_SIGN = re.compile(
    r"^\s*(?:/\*+!?|//[/!]*<?|\*+(?!\w)|\#+:?|--+\s?[|^]?|\{-+\s?[|^]?|;+|=begin\b|@doc\s+(?:~[sS])?\"*)"
)
_COMMENT_END = re.compile(r'(?:\*+/|-\}|^\s*=end|"{3}|\'{3})\s*$')
_BRIEF = re.compile(r"^\s*(?:[@\\]brief\b|<summary>|@description\b|@summary\b)\s*", re.IGNORECASE)
_SECTION = re.compile(
    r"""(?ix) ^\s* (?:
        [@\\:]\w | >>> | \.\.\s | ```
      | (?: args | arguments | parameters | params | returns? | raises | yields | examples? | usage | notes?
          | see\ also | attributes ) \s* :? \s* $
      | [-=~^*\#_]{3,} \s* $
    )"""
)
_MARKUP = (
    (re.compile(r"\{@\w+\s+([^}]*)\}"), r"\1"),  # {@link Pool#take}, {@code x}
    (re.compile(r":[\w:]+:`~?([^`<]*?)\s*(?:<[^`>]*>)?`"), r"\1"),  # :func:`take`, :ref:`text <target>`
    (re.compile(r"!?\[([^\]]+)\]\([^)]*\)"), r"\1"),  # [text](address)
    (re.compile(r"\[`([\w:.#]+)`\]"), r"\1"),  # [`Pool`]
    (re.compile(r"</?[a-zA-Z][^<>]*>"), " "),
    (re.compile(r"`+|\*\*|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)"), ""),
    (re.compile(r"\s+"), " "),
)
_SENTENCE_END = re.compile(r"(?<!\b[A-Z])(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)(?<!\bcf)[.!?](?=\s+[A-Z\"'(]|\s*$)")
_NOT_PROSE = re.compile(
    r"""(?ix) ^ (?: todo | note\b | fixme | xxx | hack | noqa | nolint | eslint | tslint | jshint | prettier-
      | pylint | pragma | type: | ts-\w | mypy: | fmt: | nosec | istanbul | region\b | endregion\b
      | go: | \+build | coverage: )
      | copyright | licen[sc]ed?\b | spdx- | all\ rights\ reserved | auto-?generated | do\ not\ edit"""
)
_CODE = re.compile(
    r"[;{}]\s*$|^\s*(?:return|if|for|while|var|let|const|def|func|import|from)\b.*[=({:;]|\)\s*\{|[=!]=|->|=>|\w\(\w*\)\s*[.=]"
)
_DEPRECATED = re.compile(
    r"(?i)^(?:deprecated|inheritdoc|see\b|alias (?:for|of)\b|same as\b|override|overridden|inherited)"
)


_MAX_CHARS = 2_000
"""As much of a comment is read; some patterns here take quadratic time."""


def summary(comment: str, name: str) -> str:
    r'''The first sentence of a documentation text, without signs and markup.

    Args:
        comment: The lines of a comment or doc string, signs and quotes included.
        name: What it documents; where the text begins with it, as is the custom in Go, it is left out.

    Example:
        >>> summary("// openProxy opens a {@link Pool} over there. It may fail.", "openProxy")
        'opens a Pool over there'
        >>> summary('"""Parse an ISO date.\n\n    Args: ...\n    """', "parse")
        'Parse an ISO date'
    '''
    comment = comment[:_MAX_CHARS]
    lines: list[str] = []
    for line in _STRING_START.sub("", comment).split("\n"):
        bare = _BRIEF.sub("", _COMMENT_SIGN.sub("", _COMMENT_END.sub("", line))).strip()
        if not bare or _SECTION.match(bare):
            if lines:
                break
            if _SECTION.match(bare) and not set(bare) <= set("-=~^*#_ "):
                return ""  # it begins with its parameters, a directive or an example
            continue
        lines.append(bare)
    text = " ".join(lines).rstrip("\"'") if _STRING_START.match(comment) else " ".join(lines)
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    text = text.strip()
    end = _SENTENCE_END.search(text)
    text = (text[: end.start()] if end else text).rstrip(" .:;,-")
    first, _, rest = text.partition(" ")
    return rest if first.rstrip("()") == name and rest else text


def why_not(text: str) -> str:
    """The reason to leave a summary out, empty if it can be asked.

    Example:
        >>> why_not("Parse an ISO date"), why_not("x = y; return {"), why_not("Get user")
        ('', 'no prose', 'too short')
    """
    text = text[:_MAX_CHARS]
    if _NOT_PROSE.search(text) or _CODE.search(text) or "://" in text:
        return "no prose"
    if _DEPRECATED.match(text):
        return "speaks of another place"
    if has_few_words(text):
        return "too short"
    if len(text.split()) > MAX_WORDS:
        return "too long"
    num_letters = sum(char.isalpha() or char.isspace() for char in text)
    return "no prose" if num_letters < 0.8 * len(text) else ""
