"""Words of code and of plain language: identifiers split at case, digits and underscores.

The lexical index, exit 0 (the token table) and encoders with ``split_identifiers`` read text through this file,
so that a query and a chunk meet in the same vocabulary.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

_STOP_WORDS = """
a an and any are as at be been by can could do does each for from had has have how i if in into is it its itself
may me my no not of on onto or our over should so some such than that the their them then there these they this
those to under up upon use used using via was we were what when where which while who whose why will with without
would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words of plain English that say nothing about code. Kept inside names, and when a query has no other word."""

_IDENTIFIER = re.compile(r"[^\W\d]\w*|\d+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\dA-Za-z_]+|\d+")
IDENTIFIER_JOINT = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_"
"""Regular expression of what separates the words of an identifier: a change of case, or an underscore."""
_JOINT = re.compile(IDENTIFIER_JOINT)


def identifiers(text: str) -> list[str]:
    """Identifiers, plain words and numbers in order, as written.

    Example:
        >>> identifiers("self.parse_date(isoText, 2)")
        ['self', 'parse_date', 'isoText', '2']
    """
    return _IDENTIFIER.findall(text)


@lru_cache(maxsize=200_000)
def parts(identifier: str) -> tuple[str, ...]:
    """Lower-case words of one identifier.

    Example:
        >>> parts("parseHTTPResponse_v2")
        ('parse', 'http', 'response', 'v', '2')
    """
    return tuple(part.lower() for part in _PART.findall(identifier))


def space_identifiers(text: str) -> str:
    """The text with a space at every change of case inside an identifier, and for every underscore.

    Nothing else changes, so that a sub-word tokenizer of plain language meets whole words in code.

    Example:
        >>> space_identifiers("self.parse_date(isoText, HTTPError)")
        'self.parse date(iso Text, HTTP Error)'
    """
    return _JOINT.sub(" ", text)


def split_words(text: str) -> list[str]:
    """All words of a text in order, lower case, identifiers split.

    Example:
        >>> split_words("def openProxy(url_text):")
        ['def', 'open', 'proxy', 'url', 'text']
    """
    words: list[str] = []
    for identifier in _IDENTIFIER.findall(text):
        words.extend(parts(identifier))
    return words


_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # marks of repetition, kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"  # Han, narrow kana
    "\uac00-\ud7af\U00020000-\U000323af]+"  # Hangul, rare Han
)


def bigrams(word: str) -> list[str]:
    """Pairs of neighbouring letters in scripts that put no space between words; none for other words.

    Such a run is one word to a tokenizer, though it may hold a whole sentence.

    Example:
        >>> bigrams("查找用户"), bigrams("user")
        (['查找', '找用', '用户'], [])
    """
    if word.isascii():
        return []
    return [run[at : at + 2] for run in _SPACELESS.findall(word) for at in range(len(run) - 1)]


def word_factors(words: Iterable[str]) -> dict[str, float]:
    """The different words of a text, in order, with the square root of how often each occurs.

    Exit 0 adds up vectors with these factors: a loop variable that occurs ten times must not drown the rest.

    Example:
        >>> word_factors(["open", "a", "a", "a", "a"])
        {'open': 1.0, 'a': 2.0}
    """
    return {word: math.sqrt(count) for word, count in Counter(words).items()}
