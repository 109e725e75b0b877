"""What a query asks for: a named symbol, or a thing described in words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mose.errors import ConfigError
from mose.words import identifiers, parts, split_words

_STOP_WORDS = """
a an and any are as at be been by can could do does each for from had has have how i if in into is it its itself
may me my no not of on onto or our over should so some such than that the their them then there these they this
those to under up upon use used using via was we were what when where which while who whose why will with without
would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words of plain English that say nothing about code. Kept when a query has no other word."""

_NAME = r"[^\W\d]\w*"
_QUALIFIED = re.compile(rf"{_NAME}(?:(?:\.|::|->|\\|#){_NAME})*")
_WHOLE_NAME = re.compile(rf"\s*{_QUALIFIED.pattern}(?:\(\))?\s*")
_WRITTEN_AS_CODE = re.compile(r"[^\W_][A-Z]|_|::|->|\\|#|\.|\(\)")
_SEPARATOR = re.compile(r"\.|::|->|\\|#")


MAX_QUERY_CHARS = 4_000
"""What is read of a query; ten times this takes seconds and finds nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query, read once; everything that ranking asks of it."""

    text: str
    """As typed."""
    words: tuple[str, ...]
    """Distinct lower-case words that carry meaning, identifiers split, in order."""
    terms: tuple[str, ...]
    """``words`` and whole lower-case identifiers: what the lexical index is asked for."""
    names: tuple[str, ...]
    """Names that may be defined somewhere, as written (``Session.get``, ``parse_date``)."""
    is_symbol: bool
    """True when the whole query is one name in the spelling of code (``HTTPAdapter``, ``a.b``, ``_x``)."""
    is_name: bool
    """True when the whole query is one name, be it a plain word (``session``)."""


def read_query(text: str) -> Query:
    """Takes a query apart.

    Example:
        >>> read_query("how does HTTPAdapter open a proxy").names
        ('HTTPAdapter',)
        >>> read_query("how does HTTPAdapter open a proxy").words
        ('http', 'adapter', 'open', 'proxy')
        >>> read_query("Session.get").is_symbol
        True
    """
    words = tuple(dict.fromkeys(split_words(text)))
    meaningful = tuple(word for word in words if word not in STOP_WORDS and len(word) > 1) or words
    is_name = _WHOLE_NAME.fullmatch(text) is not None
    bare = text.strip().removesuffix("()")
    is_symbol = is_name and (_WRITTEN_AS_CODE.search(text.strip()) is not None or bare[:1].isupper())
    if is_name:
        names: tuple[str, ...] = (bare,)
    else:
        names = tuple(
            dict.fromkeys(
                name
                for name in _QUALIFIED.findall(text)
                if re.search(r"[a-z\d][A-Z]|[A-Z]{2,}[a-z]|\w_\w|^_\w", name) is not None
            )
        )
    whole = (identifier.lower() for identifier in identifiers(text) if len(parts(identifier)) > 1)
    terms = tuple(dict.fromkeys((*meaningful, *whole)))
    return Query(text=text, words=meaningful, terms=terms, names=names, is_symbol=is_symbol, is_name=is_name)


def checked_query(query: str) -> str:
    """What is read of a query.

    Raises:
        ConfigError: It is no text, or has nothing to look for.
    """
    if not isinstance(query, str):
        raise ConfigError("the query", got=type(query).__name__, allowed="a string")
    if not query.strip():
        raise ConfigError("the query is empty", remedy='Say what to look for: mose search "parse a date" .')
    query = query.strip()[:MAX_QUERY_CHARS].replace("\0", " ").encode("utf-8", "replace").decode()
    if not read_query(query).words:
        raise ConfigError("the query has no word", got=query, allowed="words or a name")
    return query


def last_name(name: str) -> str:
    """The part after the last separator.

    Example:
        >>> last_name("Sinatra::Base")
        'Base'
    """
    return _SEPARATOR.split(name)[-1]
