"""How many tokens an answer costs its reader, whichever tokenizer the reader uses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tokenizers import Tokenizer

from mose.runtime.encoder import DEFAULT_MODEL
from mose.runtime.manifest import TOKENIZER_NAME
from mose.runtime.model import model_folder

BYTES_A_TOKEN = 4
"""Approximate bytes of code in a token of large models."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a text. Costs of texts add up if a line end or punctuation mark separates them."""

    words: int = 0
    """Tokens of the shipped tokenizer."""
    num_bytes: int = 0

    @property
    def tokens(self) -> int:
        """The larger of two counts: the shipped tokenizer's, and a quarter of the bytes."""
        return max(self.words, -(-self.num_bytes // BYTES_A_TOKEN))

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.words + other.words, self.num_bytes + other.num_bytes)


def cost(text: str) -> Cost:
    """The cost of a text.

    Example:
        >>> cost("def parse_date(text):").tokens
        9
    """
    data = text.encode("utf-8", "replace")
    return Cost(len(_tokenizer().encode(data.decode(), add_special_tokens=False)), len(data))


def beginning(text: str, most: int) -> str:
    """The longest beginning of a text that costs at most ``most`` tokens; whole lines, if one line fits."""
    if cost(text).tokens <= most:
        return text
    low, high = 0, min(len(text), most * BYTES_A_TOKEN)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost(text[:middle]).tokens <= most else (low, middle - 1)
    while low and cost(text[:low]).tokens > most:  # a word cut in two may cost more than the whole
        low -= 1
    end = text.rfind("\n", 0, low) + 1
    return text[: end or low]


@cache
def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(model_folder(DEFAULT_MODEL) / TOKENIZER_NAME))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
