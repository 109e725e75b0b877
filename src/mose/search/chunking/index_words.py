"""The words under which the lexical index keeps a chunk: split identifiers, and whole ones of several parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from mose.words import bigrams, identifiers, parts

_CACHED_IDENTIFIERS = 50_000  # in every worker process: covers most occurrences in little memory


@lru_cache(maxsize=_CACHED_IDENTIFIERS)
def _both(identifier: str) -> tuple[str, str]:
    found = parts.__wrapped__(identifier)  # cached here, so not there too
    whole = [identifier.lower()] if len(found) > 1 else []
    return " ".join(found), " ".join([*whole, *bigrams(identifier)])


def both_words(text: str) -> tuple[str, str]:
    """Words as `mose.words.split_words` returns them, and identifiers of more than one part, in lower case.

    Pairs of letters of scripts without spaces are among the latter, so that words inside a sentence are found.

    Example:
        >>> both_words("x = parse_date(isoText)")
        ('x parse date iso text', 'parse_date isotext')
    """
    pairs = list(map(_both, identifiers(text)))
    return " ".join([split for split, _ in pairs]), " ".join([whole for _, whole in pairs if whole])


def symbol_words(symbol: str, names: Iterable[str]) -> str:
    """Both forms of a chunk's symbol and of the names that it defines.

    Example:
        >>> symbol_words("Proxy.openUrl", ["openUrl"])
        'proxy open url open url openurl openurl'
    """
    return " ".join(both_words("\n".join([symbol, *names])))


def path_words(path: str) -> str:
    """Both forms of the names in a path.

    Example:
        >>> path_words("src/date_parser.py")
        'src date parser py date_parser'
    """
    return " ".join(both_words(path))


def fingerprint() -> str:
    """A text that changes when words are split differently: an index must be read as it was written."""
    probe = "parseHTTPResponse_v2 snake_case x1y2 ÄÖü 12.5e3 __init__ don't kebab-case 名前_x 根据用户编号"
    return hashlib.blake2b("\n".join(both_words(probe)).encode(), digest_size=4).hexdigest()
