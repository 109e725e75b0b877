"""Texts as the units of a corpus: token ids of one tokenizer, or bytes of UTF-8, which fit every tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mose.data.corpus.shards import TOKENIZER, Units
from mose.errors import DataError
from mose.json_reading import read_json
from mose.tokenizer import SETTINGS_FILES, plain_tokenizer, read_tokenizer
from mose.words import space_identifiers


class TokenizerText(NamedTuple):
    """A tokenizer as it is sent to other processes, for which a path may lead elsewhere."""

    json: str
    split_identifiers: bool


def read_tokenizer_text(folder: Path) -> TokenizerText:
    """That of a folder whose tokenizer can be read; see `tokenizer_identity`."""
    return TokenizerText((folder / TOKENIZER).read_text(encoding="utf8"), _splits_identifiers(folder))


def tokenizer_identity(folder: Path) -> dict[str, Any]:
    """What two folders share if they make the same token ids of a text: hash of ``tokenizer.json``, and how it is used.

    Raises:
        ModelError: The tokenizer is missing or damaged.
    """
    tokens = read_tokenizer(folder / TOKENIZER).get_vocab_size(with_added_tokens=True)
    canonical = json.dumps(json.loads((folder / TOKENIZER).read_bytes()), sort_keys=True)
    return {
        "sha256": sha256(canonical.encode("utf8", "surrogatepass")).hexdigest(),
        "tokens": tokens,
        "split_identifiers": _splits_identifiers(folder),
    }


def _splits_identifiers(folder: Path) -> bool:
    for name in SETTINGS_FILES:
        if (folder / name).is_file():
            try:
                return bool(read_json(folder / name).get("split_identifiers", False))
            except (OSError, ValueError, AttributeError) as error:
                raise DataError(f"{folder / name} is damaged ({error})", remedy="Copy the folder again.") from error
    return False


@lru_cache(maxsize=1)
def load_encoder(stored: TokenizerText | None) -> Callable[[str], Units]:
    """A function that makes units of a text.

    Args:
        stored: The tokenizer; None for bytes.

    Example:
        >>> load_encoder(None)("né").tolist()
        [110, 195, 169]
    """
    if stored is None:
        return lambda text: np.frombuffer(text.encode("utf8", "replace"), np.uint8)
    from tokenizers import Tokenizer

    tokenizer = plain_tokenizer(Tokenizer.from_str(stored.json))
    kind = np.uint16 if tokenizer.get_vocab_size(with_added_tokens=True) <= 2**16 else np.uint32

    def encode(text: str) -> Units:
        text = space_identifiers(text) if stored.split_identifiers else text
        return np.array(tokenizer.encode(text, add_special_tokens=False).ids, kind)

    return encode


def line_ends(folder: Path) -> Units:
    """For each token id of a tokenizer, True if it ends a line.

    Raises:
        ModelError: The tokenizer is missing or damaged.
    """
    tokenizer = read_tokenizer(folder / TOKENIZER)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    return np.array([tokenizer.decode([token_id]).endswith("\n") for token_id in range(size)])
