"""Forms of the same word, and which words of a query occur in some code."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

_ENDINGS = (
    *("izations", "ization", "izers", "izer", "izing", "ations", "ation", "ators", "ator", "ating", "ments", "ment"),
    *("ings", "ing", "ions", "ion", "ers", "er", "ors", "or", "ies", "ed", "es", "s", "e", "y"),
)
_MIN_STEM = 4


class Matcher:
    """Which words of a query a word of the code stands for.

    Args:
        words: Those of the query.
        vocabulary: All words of the code that will be asked about.
    """

    def __init__(self, words: tuple[str, ...], vocabulary: Iterable[str]) -> None:
        self.num_words = len(words)
        alike: dict[str, list[tuple[int, str]]] = {}  # related words begin alike, and few others do
        for bit, word in enumerate(words):
            alike.setdefault(word[:3], []).append((1 << bit, word))
        self.masks: dict[str, int] = {}
        for word in vocabulary:
            if word[:3] in alike:
                mask = sum(bit for bit, own in alike[word[:3]] if related(own, word))
                if mask:
                    self.masks[word] = mask
        self.known = frozenset(self.masks)

    def bits(self, found: frozenset[str]) -> int:
        """Bit i is set if query word i is related to any of the words found."""
        if self.known.isdisjoint(found):  # as most are
            return 0
        bits = 0
        for word in found & self.known:
            bits |= self.masks[word]
        return bits

    def explained(self, found: frozenset[str]) -> float:
        """Share of the words found that stand for a word of the query."""
        return len(found & self.known) / len(found) if found else 0.0

    def share(self, bits: int) -> float:
        """Share of the query's words whose bit is set."""
        return bits.bit_count() / self.num_words if bits else 0.0


def related(word: str, other: str) -> bool:
    """Whether two words are forms of the same: equal, a prefix, of one stem, or with most of a long prefix in common.

    Example:
        >>> related("route", "routing"), related("router", "routing"), related("auth", "authentication")
        (True, True, True)
        >>> related("get", "gevent"), related("request", "response")
        (False, False)
    """
    if word == other:
        return True
    shorter, longer = (word, other) if len(word) <= len(other) else (other, word)
    if len(shorter) < 3:
        return False
    if longer.startswith(shorter):
        return True
    common = 0
    for left, right in zip(shorter, longer, strict=False):
        if left != right:
            break
        common += 1
    return common >= 4 and (common >= 0.7 * len(shorter) or stem(word) == stem(other))


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """The word without its ending, if enough is left.

    Example:
        >>> stem("router"), stem("routing"), stem("string"), stem("notes")
        ('rout', 'rout', 'string', 'note')
    """
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _MIN_STEM:
            return word[: -len(ending)]
    return word
