"""Two codes as one sequence: template, special tokens, and truncation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mose.errors import ConfigError
from mose.tokenizer import CodeTokenizer, pad_batch

PAPER_TEMPLATE = "{sep}{first}{sep}{second}{cls}"
"""Template of the paper's pair classification, read at the final CLS."""
BERT_TEMPLATE = "{cls}{first}{sep}{second}{sep}"
_FIRST, _SECOND = 1, 2
_MARKER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairIds:
    """One pair as a sequence of token ids."""

    ids: NDArray[np.int64]
    sides: NDArray[np.int64]
    """For each token 1 in the first code, 2 in the second, 0 in the template."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairInputs:
    """Input of the classifier. B pairs, T tokens of the longest."""

    token_ids_BT: Tensor  # noqa: N815
    """int64."""
    keep_BT: Tensor  # noqa: N815
    """bool, False for padding."""
    sides_BT: Tensor  # noqa: N815
    """int64: 1 in the first code, 2 in the second, 0 elsewhere."""

    @property
    def first_BT(self) -> Tensor:  # noqa: N802
        """True in the first code."""
        return self.sides_BT == _FIRST

    @property
    def second_BT(self) -> Tensor:  # noqa: N802
        """True in the second code."""
        return self.sides_BT == _SECOND

    def to(self, device: torch.device | str) -> PairInputs:
        """The same batch on another device."""
        parts = (self.token_ids_BT, self.keep_BT, self.sides_BT)
        token_ids_BT, keep_BT, sides_BT = (part.to(device, non_blocking=True) for part in parts)
        return PairInputs(token_ids_BT=token_ids_BT, keep_BT=keep_BT, sides_BT=sides_BT)

    def rows(self, rows_R: Tensor) -> PairInputs:
        """Some of the pairs, by number."""
        return PairInputs(
            token_ids_BT=self.token_ids_BT[rows_R], keep_BT=self.keep_BT[rows_R], sides_BT=self.sides_BT[rows_R]
        )


def native_template(block: str) -> str:
    """The pair template that a kind of block was pre-trained with."""
    return BERT_TEMPLATE if block == "bert" else PAPER_TEMPLATE


def encode_pairs(
    tokenizer: CodeTokenizer,
    firsts: Sequence[str | NDArray[Any]],
    seconds: Sequence[str | NDArray[Any]],
    *,
    template: str,
    max_tokens: int,
) -> list[PairIds]:
    """Token ids of each pair, at most ``max_tokens`` long; the longer code is cut first, special tokens never.

    Args:
        tokenizer: The model's.
        firsts: First codes, as texts or as their token ids.
        seconds: Second codes, as many.
        template: Literal text and the markers {cls} {sep} {first} {second}, the last two once and in this order.
        max_tokens: Longest sequence, template included.

    Raises:
        ConfigError: The template is malformed or leaves no room.
    """
    frame = [np.array(tokenizer.literal_ids(part), np.int64) for part in split_template(template)]
    room = max_tokens - sum(map(len, frame))
    if room < 2:
        raise ConfigError("max_tokens of a pair", got=max_tokens, allowed=f"{max_tokens - room + 2} or more")
    encoded = []
    for first, second in zip(_ids_of(tokenizer, firsts), _ids_of(tokenizer, seconds), strict=True):
        keep_first, keep_second = shares(len(first), len(second), room)
        pieces = (frame[0], first[:keep_first], frame[1], second[:keep_second], frame[2])
        sides = np.repeat((0, _FIRST, 0, _SECOND, 0), [len(piece) for piece in pieces])
        encoded.append(PairIds(ids=np.concatenate(pieces), sides=sides))
    return encoded


def _ids_of(tokenizer: CodeTokenizer, codes: Sequence[str | NDArray[Any]]) -> list[NDArray[Any]]:
    texts = [code for code in codes if isinstance(code, str)]
    encoded = iter(tokenizer.plain_ids(texts) if texts else ())
    return [np.array(next(encoded), np.int64) if isinstance(code, str) else code for code in codes]


def shares(first: int, second: int, room: int) -> tuple[int, int]:
    """Tokens kept of two texts, the longer one cut first.

    Example:
        >>> shares(90, 30, 100), shares(90, 80, 100), shares(10, 10, 100)
        ((70, 30), (50, 50), (10, 10))
    """
    keep_first = min(first, max(room - second, room - room // 2))
    return keep_first, min(second, room - keep_first)


def split_template(template: str) -> tuple[str, str, str]:
    """The template's parts before, between and after the two codes.

    Raises:
        ConfigError: A marker is unknown, missing, or in the wrong order.
    """
    markers = _MARKER.findall(template)
    codes = [marker for marker in markers if marker in ("first", "second")]
    known = all(marker in ("cls", "sep", "first", "second") for marker in markers)
    if not known or codes != ["first", "second"] or re.search("[{}]", _MARKER.sub("", template)):
        allowed = "literal text, {cls}, {sep}, and {first} and {second} once, in this order"
        raise ConfigError("template of a pair", got=template, allowed=allowed)
    before, rest = template.split("{first}")
    between, after = rest.split("{second}")
    return before, between, after


def pad_pairs(tokenizer: CodeTokenizer, pairs: Sequence[PairIds]) -> PairInputs:
    """Pairs as one padded batch."""
    token_ids, keep = pad_batch(
        [pair.ids.tolist() for pair in pairs], pad_id=tokenizer.pad_id, side=tokenizer.padding_side
    )
    sides = np.zeros_like(token_ids)
    sides[keep] = np.concatenate([pair.sides for pair in pairs])
    return PairInputs(
        token_ids_BT=torch.from_numpy(token_ids), keep_BT=torch.from_numpy(keep), sides_BT=torch.from_numpy(sides)
    )
