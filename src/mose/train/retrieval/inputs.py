"""Mini-batches of texts for the encoder: of similar length, under a budget of padded tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mose.config import BatchConfig
from mose.data.batches import PairBatch
from mose.data.pairs import Pair, key_of
from mose.model.batch import TextBatch, length_groups, pad_texts
from mose.tokenizer import CodeTokenizer, Kind
from mose.train.distributed import World

NUM_KEYS = 3
"""Keys of a pair: group, query, code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a batch of pairs: queries that are texts, or codes."""

    texts: Sequence[str]
    kind: Kind
    languages: Sequence[str]
    max_tokens: int


def sides_of(pairs: Sequence[Pair], *, text_tokens: int, code_tokens: int) -> tuple[Side, Side]:
    """Queries and codes of the pairs; a query that is code itself is read as code.

    All queries must be of one kind; the caller splits a mixed batch.
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
    """The side's texts in mini-batches of similar length.

    Args:
        side: Texts of one kind.
        tokenizer: The model's.
        budget: Padded tokens of a mini-batch, at most.
        words: True if exit 0 is wanted.

    Returns:
        The mini-batches, and for each of their rows in order the number of its text.
    """
    ids = tokenizer.encode(side.texts, kind=side.kind, language=side.languages, max_tokens=side.max_tokens)
    groups = length_groups([len(row) for row in ids], budget=budget)
    batches = [
        pad_texts(tokenizer, [ids[row] for row in group], [side.texts[row] for row in group] if words else None)
        for group in groups
    ]
    return batches, [row for group in groups for row in group]


def in_text_order(rows: Sequence[int]) -> torch.Tensor:
    """Index that puts rows of mini-batches back into the order of the texts.

    Example:
        >>> in_text_order([2, 0, 1]).tolist()
        [1, 2, 0]
    """
    back = torch.empty(len(rows), dtype=torch.int64)
    back[torch.tensor(list(rows), dtype=torch.int64)] = torch.arange(len(rows))
    return back


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInputs:
    """Mini-batches of one step and the order of their rows."""

    queries: list[TextBatch]
    codes: list[TextBatch]
    """Codes of the pairs, then hard negatives, mixed by length."""
    back: torch.Tensor
    """Index that gives, from the rows of all mini-batches: queries, codes, hard negatives."""
    code_back: torch.Tensor
    """The same for the rows of ``codes`` alone."""


def step_inputs(
    pairs: Sequence[Pair],
    negatives: Sequence[tuple[str, str]],
    tokenizer: CodeTokenizer,
    settings: BatchConfig,
    *,
    words: bool,
) -> StepInputs:
    """Everything that the encoder reads in one step.

    Args:
        pairs: This process's pairs.
        negatives: Code and language of its hard negatives.
        tokenizer: The model's.
        settings: Lengths and budget.
        words: True if exit 0 is wanted.
    """
    budget, lengths = settings.mini_batch_tokens, (settings.text_tokens, settings.code_tokens)
    queries: list[TextBatch] = []
    query_order: list[int] = []
    # Text queries and code queries differ in template and length, so each kind is tokenised by itself.
    for is_code in (False, True):
        numbers = [number for number, pair in enumerate(pairs) if bool(pair.query_language) is is_code]
        if numbers:
            some = [pairs[number] for number in numbers]
            side, _ = sides_of(some, text_tokens=lengths[0], code_tokens=lengths[1])
            batches, order = mini_batches(side, tokenizer, budget=budget, words=words)
            queries += batches
            query_order += [numbers[row] for row in order]
    codes, code_order = mini_batches(
        Side(
            texts=[pair.code for pair in pairs] + [code for code, _ in negatives],
            kind="code",
            languages=[pair.language for pair in pairs] + [language for _, language in negatives],
            max_tokens=settings.code_tokens,
        ),
        tokenizer,
        budget=budget,
        words=words,
    )
    return StepInputs(
        queries=queries,
        codes=codes,
        back=in_text_order(query_order + [len(pairs) + row for row in code_order]),
        code_back=in_text_order(code_order),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBatch:
    """One step, ready for the encoder; may be prepared in another process."""

    step: int
    source: str
    """Name of the source, "mixed" if there are several."""
    num_pairs: int
    """Over all processes."""
    inputs: StepInputs
    """This process's share."""
    keys: torch.Tensor
    """Hashes of every pair, [num_pairs, NUM_KEYS]."""
    extra_keys: torch.Tensor
    """Hashes of the hard negatives of all processes, [E, NUM_KEYS]."""

    def __len__(self) -> int:
        return self.num_pairs


def prepare_step(
    batch: PairBatch, tokenizer: CodeTokenizer, settings: BatchConfig, world: World, *, words: bool
) -> StepBatch:
    """Tokenise this process's share of one batch.

    Args:
        batch: The whole batch, the same on every process.
        tokenizer: The model's.
        settings: Lengths and budget.
        world: This process's rank.
        words: True if exit 0 is wanted.
    """
    rows = len(batch.pairs) // world.size
    mine = batch.pairs[world.rank * rows :][:rows]
    every = [(code, pair.language) for pair in batch.pairs for code in pair.negatives]
    # Every process encodes the same number of hard negatives: ``gather`` needs equal parts.
    share = len(every) // world.size
    negatives = every[world.rank * share :][:share]
    return StepBatch(
        step=batch.step,
        source=batch.source,
        num_pairs=len(batch.pairs),
        inputs=step_inputs(mine, negatives, tokenizer, settings, words=words),
        keys=key_matrix(batch.pairs),
        extra_keys=negative_keys([code for code, _ in every[: share * world.size]]),
    )


def key_matrix(pairs: Sequence[Pair]) -> torch.Tensor:
    """Hashes of each pair [B, NUM_KEYS], int64, padded with -1."""
    rows = [sorted(pair.keys)[:NUM_KEYS] for pair in pairs]
    return torch.tensor([row + [-1] * (NUM_KEYS - len(row)) for row in rows], dtype=torch.int64)


def negative_keys(codes: Sequence[str]) -> torch.Tensor:
    """Hash of each code [E, NUM_KEYS], padded with -1: a hard negative that answers another row is masked there."""
    rows = [[key_of(code)] + [-1] * (NUM_KEYS - 1) for code in codes]
    return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), NUM_KEYS)
