"""From texts to mini-batches of the encoder: by length, under a budget of padded tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mose.data.pairs import Pair
from mose.model.batch import TextBatch
from mose.tokenizer import CodeTokenizer, Kind, pad_batch
from mose.words import split_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a batch of pairs: queries that are texts, or codes."""

    texts: Sequence[str]
    kind: Kind
    languages: Sequence[str]
    max_tokens: int


def sides_of(pairs: Sequence[Pair], *, text_tokens: int, code_tokens: int) -> tuple[Side, Side]:
    """Queries and codes of the pairs; a query that is code itself is read as code.

    All queries of a batch must be of one kind, or the batch is split by the caller.
    """
    is_code = bool(pairs[0].query_language)
    query = Side(
        texts=[pair.query for pair in pairs],
        kind="code" if is_code else "query",
        languages=[pair.query_language or "text" for pair in pairs],
        max_tokens=code_tokens if is_code else text_tokens,
    )
    code = Side(
        texts=[pair.code for pair in pairs],
        kind="code",
        languages=[pair.language for pair in pairs],
        max_tokens=code_tokens,
    )
    return query, code


def mini_batches(
    side: Side, tokenizer: CodeTokenizer, *, budget: int, words: bool
) -> tuple[list[TextBatch], list[int]]:
    """The side's texts in mini-batches of like length.

    Args:
        side: Texts of one kind.
        tokenizer: The model's.
        budget: Padded tokens of a mini-batch, at most.
        words: True if exit 0 is wanted.

    Returns:
        The mini-batches, and for each of their rows in order the number of its text.
    """
    ids = tokenizer.encode(side.texts, kind=side.kind, language=side.languages, max_tokens=side.max_tokens)
    order = sorted(range(len(ids)), key=lambda row: (-len(ids[row]), row))
    groups: list[list[int]] = []
    for row in order:
        if groups and (len(groups[-1]) + 1) * len(ids[groups[-1][0]]) <= budget:
            groups[-1].append(row)
        else:
            groups.append([row])
    batches = [
        _batch([ids[row] for row in group], [side.texts[row] for row in group], tokenizer, words)
        for group in groups
    ]
    return batches, [row for group in groups for row in group]


def _batch(ids: list[list[int]], texts: list[str], tokenizer: CodeTokenizer, words: bool) -> TextBatch:
    token_ids, keep = pad_batch(ids, pad_id=tokenizer.pad_id, side=tokenizer.padding_side)
    word_ids: list[int] = []
    offsets: list[int] = []
    if words:
        for text in texts:
            offsets.append(len(word_ids))
            for word in tokenizer.word_ids(split_words(text)):
                word_ids.extend(word)
    return TextBatch(
        token_ids_BT=torch.from_numpy(token_ids),
        keep_BT=torch.from_numpy(keep),
        word_ids_N=torch.tensor(word_ids, dtype=torch.int64) if words else None,
        word_offsets_B=torch.tensor(offsets, dtype=torch.int64) if words else None,
    )


def in_text_order(rows: Sequence[int]) -> torch.Tensor:
    """Index that puts rows of mini-batches back into the order of the texts.

    Example:
        >>> in_text_order([2, 0, 1]).tolist()
        [1, 2, 0]
    """
    back = torch.empty(len(rows), dtype=torch.int64)
    back[torch.tensor(list(rows), dtype=torch.int64)] = torch.arange(len(rows))
    return back
