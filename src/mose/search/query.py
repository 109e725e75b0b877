"""What a query asks for: a named symbol, a file, or a thing described in words."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from mose.errors import ConfigError
from mose.words import STOP_WORDS, bigrams, identifiers, parts, split_words

_NAME = r"[^\W\d]\w*"
_QUALIFIED = re.compile(rf"{_NAME}(?:(?:\.|::|->|\\|#){_NAME})*")
_WHOLE_NAME = re.compile(rf"\s*(?P<name>{_QUALIFIED.pattern})(?:\(\))?\s*")
_WRITTEN_AS_CODE = re.compile(r"[^\W_][A-Z]|_|::|->|\\|#|\.|\(\)")
_NAME_IN_SENTENCE = re.compile(r"[a-z\d][A-Z]|[A-Z]{2}[a-z]|\w_\w|^_\w")
_CAPITALIZED = re.compile(r"[A-Z][a-z\d]+")
_LATIN = re.compile(r"[a-z\d]")
_SEPARATOR = re.compile(r"\.|::|->|\\|#")
_KEYWORDS = (
    "class def defp defn defmodule fn fun func function struct trait enum union interface protocol type typedef object "
    "record module namespace impl extension actor method sub proc macro const val var let static void annotation"
)
_KEYWORD_AND_NAME = re.compile(
    rf"\s*(?:(?:public|export|abstract|async|static|pub)\s+)*(?P<keyword>{'|'.join(_KEYWORDS.split())})"
    rf"\s+(?P<name>{_QUALIFIED.pattern})(?:\(\))?\s*[:{{]?\s*"
)
_ONLY_CODE = frozenset(
    ["def", "defp", "defn", "defmodule", "fn", "func", "fun", "struct", "enum", "impl", "typedef", "sub", "proc"]
)
_LINE = re.compile(r"(?:[:#]L?(?P<line>\d{1,9})(?:[:-]L?\d+)*:?|\((?P<inside>\d{1,9})(?:,\s*\d+)?\))$")


MAX_QUERY_CHARS = 20_000
"""What is read of a query."""
MAX_WORDS_CHARS = 4_000
"""What is read of it word by word; ten times this takes seconds and finds nothing else."""
_LONG_WORDS, _LONG_LINES = 40, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query, read once; everything that ranking asks of it."""

    text: str
    """As typed."""
    words: tuple[str, ...]
    """Distinct lower-case words that carry meaning, identifiers split, in order."""
    terms: tuple[str, ...]
    """``words`` and whole lower-case identifiers: what the lexical index is asked for."""
    names: tuple[str, ...] = ()
    """Names that may be defined somewhere, as written (``Session.get``, ``parse_date``, ``Storage``)."""
    is_symbol: bool = False
    """True when the whole query is one name in the spelling of code, or behind a keyword that only code has
    (``HTTPAdapter``, ``a.b``, ``_x``, ``fn poll``)."""
    is_name: bool = False
    """True when the whole query is one name, be it a plain word (``session``) or behind a keyword (``class Rule``)."""
    readable: float = 1.0
    """Share of the words in letters that the encoder reads: those of English."""
    path: str = ""
    """The whole query, read as the name or path of a file; "" if it cannot be one."""
    line: int | None = None
    """The line behind that path (``src/app.py:120``)."""


def read_query(text: str) -> Query:
    """Split a query into its parts.

    Example:
        >>> read_query("how does HTTPAdapter open a proxy").names
        ('HTTPAdapter',)
        >>> read_query("how does HTTPAdapter open a proxy").words
        ('http', 'adapter', 'open', 'proxy')
        >>> read_query("Session.get").is_symbol, read_query("class Rule").names
        (True, ('Rule',))
        >>> read_query("src/app.py:120").path, read_query("src/app.py:120").line
        ('src/app.py', 120)
    """
    path, line = _path_and_line(text)
    keyword = _KEYWORD_AND_NAME.fullmatch(text)
    whole = keyword or _WHOLE_NAME.fullmatch(text)
    name = whole["name"] if whole is not None else ""
    is_code = _is_code(name) or (keyword is not None and keyword["keyword"] in _ONLY_CODE)
    query = read_words(name if keyword and is_code else text)  # "type checking" may be what it says
    return replace(
        query,
        text=text,
        names=(name,) if name else _names_in_sentence(text),
        is_symbol=bool(name) and (is_code or text.rstrip().endswith("()")),
        is_name=bool(name),
        path=path,
        line=line,
    )


def read_words(text: str) -> Query:
    """A query for the words of a text, whatever names it holds.

    Example:
        >>> read_words("HTTPAdapter").words, read_words("HTTPAdapter").names
        (('http', 'adapter'), ())
    """
    words = _words(text)
    whole_identifiers = (found.lower() for found in identifiers(text) if len(parts(found)) > 1)
    runs = (pair for word in words for pair in bigrams(word))
    return Query(
        text=text,
        words=words,
        terms=tuple(dict.fromkeys((*words, *whole_identifiers, *runs))),
        readable=sum(_LATIN.search(word) is not None for word in words) / max(len(words), 1),
    )


def is_long(text: str) -> bool:
    r"""Whether a query is a long question, such as a bug report: more than a paragraph, or of several lines.

    Example:
        >>> is_long("how are dates parsed"), is_long("Dates are wrong\n\nSee below.\n>>> parse('x')")
        (False, True)
    """
    return len(text.split()) > _LONG_WORDS or sum(bool(line.strip()) for line in text.split("\n")) >= _LONG_LINES


def _is_code(name: str) -> bool:
    return _WRITTEN_AS_CODE.search(name) is not None or name[:1].isupper()


def _words(text: str) -> tuple[str, ...]:
    """Words that carry meaning; those of plain English count only inside a name (``FromRequest``)."""
    words: dict[str, None] = {}
    for identifier in identifiers(text):
        found = parts(identifier)
        if len(found) > 1:
            words.update(dict.fromkeys(word for word in found if len(word) > 1))
        elif found and found[0] not in STOP_WORDS and len(found[0]) > 1:
            words[found[0]] = None
    return tuple(words) or tuple(dict.fromkeys(split_words(text)))


def _names_in_sentence(text: str) -> tuple[str, ...]:
    """Names in the spelling of code, and capitalised words, which may be types."""
    found = _QUALIFIED.findall(text)
    code = [name for name in found if _NAME_IN_SENTENCE.search(name) is not None]
    types = [name for name in found if _CAPITALIZED.fullmatch(name) and name.lower() not in STOP_WORDS]
    return tuple(dict.fromkeys((*code, *types)))


def _path_and_line(text: str) -> tuple[str, int | None]:
    path = text.strip().strip("\"'`<>")
    found = _LINE.search(path)
    line = int(found["line"] or found["inside"]) if found is not None else None
    if found is not None:
        path = path[: found.start()]
    path = path.replace("\\", "/").removeprefix("./")
    if not path or path.endswith("/") or "\n" in path:
        return "", None
    return path, line


def name_parts(name: str) -> list[str]:
    """Parts of a qualified name.

    Example:
        >>> name_parts("Sinatra::Base")
        ['Sinatra', 'Base']
    """
    return _SEPARATOR.split(name)


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
    if not any(parts(found) for found in identifiers(query[:MAX_WORDS_CHARS])):
        raise ConfigError("the query has no word", got=query, allowed="words or a name")
    return query


def last_name(name: str) -> str:
    """The part after the last separator.

    Example:
        >>> last_name("Sinatra::Base")
        'Base'
    """
    return name_parts(name)[-1]
