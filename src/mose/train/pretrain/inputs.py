"""Pairs of snippets as the encoder reads them: tokenised, cut, masked, packed or padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mose.config import ObjectiveConfig, PretrainBatchConfig
from mose.data.masking import UNMASKED, Masking
from mose.data.packing import pack, spread
from mose.data.repository_pairs import SnippetBatch
from mose.errors import ConfigError
from mose.model.batch import length_groups
from mose.model.clones.pair_batch import encode_pairs, native_template, split_template
from mose.model.layers import Segments
from mose.model.settings import ModelSettings
from mose.tokenizer import CodeTokenizer, pad_batch
from mose.train.distributed import World, largest_of_all


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedPairs:
    """One mini-batch. N pairs, in B rows of T tokens: a row for each, or all packed into one."""

    token_ids_BT: Tensor  # noqa: N815
    """int64, as the model reads them."""
    keep_BT: Tensor  # noqa: N815
    """False for padding."""
    labels_BT: Tensor  # noqa: N815
    """The true ids of the tokens to predict, -100 elsewhere."""
    same_N: Tensor  # noqa: N815
    """Labels of the pairs, 0 or 1."""
    lengths: tuple[int, ...]
    """Tokens of each pair."""
    segments: Segments | None
    """The pairs of a packed row; None for padded rows."""
    num_masked: int
    """Tokens to predict."""

    def to(self, device: torch.device) -> MaskedPairs:
        """The same on another device."""
        return replace(
            self,
            token_ids_BT=self.token_ids_BT.to(device, non_blocking=True),
            keep_BT=self.keep_BT.to(device, non_blocking=True),
            labels_BT=self.labels_BT.to(device, non_blocking=True),
            same_N=self.same_N.to(device, non_blocking=True),
            segments=None if self.segments is None else self.segments.to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenPairs:
    """Pairs of one step, before they are joined to mini-batches: all that another process can do."""

    step: int
    num_pairs: int
    """Of the whole step, over all processes."""
    hidden: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
    """For each pair of this process, what the model reads and the labels."""
    labels: list[int]
    """Of the pairs, 0 or 1."""
    groups: list[list[int]]
    """Pairs of each mini-batch."""
    source: str = "corpus"
    """Named in the log."""

    def __len__(self) -> int:
        return self.num_pairs


class PairMaker:
    """Makes mini-batches of masked pairs.

    Args:
        tokenizer: The model's.
        settings: The model's.
        objective: Template, length, masking and labels of pairs.
        batch: Tokens of a mini-batch, packed or padded.
        seed: Fixes the masks.

    Raises:
        ConfigError: There is no mask token, the template is malformed, or pairs are longer than the model's positions.
    """

    def __init__(
        self,
        tokenizer: CodeTokenizer,
        settings: ModelSettings,
        objective: ObjectiveConfig,
        batch: PretrainBatchConfig,
        *,
        seed: int,
    ) -> None:
        if tokenizer.mask_id is None:
            raise ConfigError("mask_token of the model to start from", got="null", allowed="a token of its tokenizer",
                              remedy="Name it in config.json of start.folder.")  # fmt: skip
        if tokenizer.vocab_size > settings.vocab_size:
            raise ConfigError("tokens of the tokenizer in start.folder", got=tokenizer.vocab_size,
                              allowed=f"at most the model's vocab_size {settings.vocab_size}")  # fmt: skip
        if objective.max_tokens > settings.max_positions:
            allowed = f"at most the model's {settings.max_positions} positions"
            raise ConfigError("objective.max_tokens", got=objective.max_tokens, allowed=allowed)
        self._tokenizer, self._batch, self._seed = tokenizer, batch, seed
        self._template = objective.template or native_template(settings.block)
        split_template(self._template)
        self._objective = objective
        self._masking = Masking(
            rate=objective.mask_rate, style=objective.masking,
            mask_id=tokenizer.mask_id, vocab_size=tokenizer.vocab_size,
        )  # fmt: skip

    def prepare(self, batch: SnippetBatch, rows: Sequence[int]) -> HiddenPairs:
        """Some pairs of a batch, tokenised and masked; a pair's masks depend only on the step and its row.

        May run in another process.
        """
        pairs = encode_pairs(
            self._tokenizer,
            [batch.firsts[row] for row in rows],
            [batch.seconds[row] for row in rows],
            template=self._template,
            max_tokens=self._objective.max_tokens,
        )
        hidden = [
            self._masking.hide(pair.ids, pair.sides > 0, np.random.default_rng([self._seed, 3, batch.step, row]))
            for pair, row in zip(pairs, rows, strict=True)
        ]
        label = self._objective.same_label
        labels = [label if batch.same[row] else 1 - label for row in rows]
        group = pack if self._batch.pack else length_groups
        groups = group([len(pair) for pair in pairs], budget=self._batch.mini_batch_tokens)
        return HiddenPairs(step=batch.step, num_pairs=len(batch), hidden=hidden, labels=labels, groups=groups)

    def prepare_share(self, world: World, batch: SnippetBatch) -> HiddenPairs:
        """The pairs of one process."""
        return self.prepare(batch, range(world.rank, len(batch), world.size))

    def mini_batches(self, pairs: HiddenPairs, world: World = World()) -> list[MaskedPairs]:  # noqa: B008
        """Mini-batches of prepared pairs.

        All processes get the same number of mini-batches, because they communicate in each.
        """
        groups = spread(pairs.groups, largest_of_all(len(pairs.groups), world))
        return [self._join([pairs.hidden[n] for n in group], [pairs.labels[n] for n in group]) for group in groups]

    def _join(self, hidden: list[tuple[NDArray[np.int64], NDArray[np.int64]]], labels: list[int]) -> MaskedPairs:
        lengths = tuple(len(read) for read, _ in hidden)
        if self._batch.pack:
            token_ids, targets = (np.concatenate(parts)[None] for parts in zip(*hidden, strict=True))
            keep = np.ones(token_ids.shape, dtype=np.bool_)
        else:
            side = self._tokenizer.padding_side
            token_ids, keep = pad_batch([read.tolist() for read, _ in hidden], pad_id=self._tokenizer.pad_id, side=side)
            targets, _ = pad_batch([target.tolist() for _, target in hidden], pad_id=UNMASKED, side=side)
        return MaskedPairs(
            token_ids_BT=torch.from_numpy(token_ids),
            keep_BT=torch.from_numpy(keep),
            labels_BT=torch.from_numpy(targets),
            same_N=torch.tensor(labels),
            lengths=lengths,
            segments=Segments.of(lengths) if self._batch.pack else None,
            num_masked=int((targets != UNMASKED).sum()),
        )
