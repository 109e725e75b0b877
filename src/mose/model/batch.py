"""A batch of texts as tensors: templated tokens for the blocks, plain words for exit 0."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mose.tokenizer import CodeTokenizer, Kind, pad_batch
from mose.words import split_words, word_factors


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBatch:
    """Input of the encoder. B texts, T tokens of the longest, N word tokens of all texts."""

    token_ids_BT: Tensor  # noqa: N815
    """int64."""
    keep_BT: Tensor  # noqa: N815
    """bool, False for padding."""
    word_ids_N: Tensor | None = None  # noqa: N815
    """Token ids of the distinct words of each text, concatenated; None if exit 0 is not wanted."""
    word_factors_N: Tensor | None = None  # noqa: N815
    """Factor of each of these tokens, float32: see ``mose.words.word_factors``; all 1 if None."""
    word_offsets_B: Tensor | None = None  # noqa: N815
    """Start of each text in ``word_ids_N``."""

    def to(self, device: torch.device | str) -> TextBatch:
        """The same batch on another device."""
        parts: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, part in parts.items():
            parts[name] = None if part is None else part.to(device, non_blocking=True)
        return TextBatch(**parts)


def text_batch(
    tokenizer: CodeTokenizer,
    texts: Sequence[str],
    *,
    kind: Kind,
    language: str | Sequence[str] | None = None,
    max_tokens: int | None = None,
    words: bool = False,
) -> TextBatch:
    """Texts as one padded batch.

    Args:
        tokenizer: Tokenizer of the model.
        texts: Queries or codes.
        kind: "query" or "code": selects the template.
        language: One for all texts, or one for each.
        max_tokens: Longest sequence; the model's default if None.
        words: True to add the words for exit 0, which reads the whole text, however long.
    """
    ids = tokenizer.encode(texts, kind=kind, language=language, max_tokens=max_tokens)
    return pad_texts(tokenizer, ids, texts if words else None)


def pad_texts(tokenizer: CodeTokenizer, ids: Sequence[Sequence[int]], texts: Sequence[str] | None) -> TextBatch:
    """Token ids as one batch, with the words of ``texts`` for exit 0; without words if None."""
    token_ids, keep = pad_batch(ids, pad_id=tokenizer.pad_id, side=tokenizer.padding_side)
    batch = TextBatch(token_ids_BT=torch.from_numpy(token_ids), keep_BT=torch.from_numpy(keep))
    return batch if texts is None else _with_words(batch, tokenizer, texts)


def words_batch(tokenizer: CodeTokenizer, texts: Sequence[str]) -> TextBatch:
    """Texts for exit 0 alone: their words, without tokens for the blocks."""
    return pad_texts(tokenizer, [[] for _ in texts], texts)


def length_groups(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    """Row numbers of texts in groups of similar length, longest first, each of at most ``budget`` padded tokens.

    Example:
        >>> length_groups([2, 9, 3, 8], budget=20)
        [[1, 3], [2, 0]]
    """
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= budget:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _with_words(batch: TextBatch, tokenizer: CodeTokenizer, texts: Sequence[str]) -> TextBatch:
    """The batch with the words of its texts, for exit 0."""
    ids: list[int] = []
    factors: list[float] = []
    offsets: list[int] = []
    for text in texts:
        offsets.append(len(ids))
        factor_of = word_factors(split_words(text))
        for word_ids, factor in zip(tokenizer.kept_word_ids(list(factor_of)), factor_of.values(), strict=True):
            ids += word_ids
            factors += [factor] * len(word_ids)
    return dataclasses.replace(
        batch,
        word_ids_N=torch.tensor(ids, dtype=torch.int64),
        word_factors_N=torch.tensor(factors),
        word_offsets_B=torch.tensor(offsets, dtype=torch.int64),
    )
