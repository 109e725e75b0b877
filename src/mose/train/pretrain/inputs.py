"""Pairs of snippets as the encoder reads them: tokenised, cut, masked, padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mose.config import ObjectiveConfig
from mose.data.masking import UNMASKED, Masking
from mose.data.repository_pairs import SnippetBatch
from mose.errors import ConfigError
from mose.model.batch import length_groups
from mose.model.clones.pair_batch import encode_pairs, native_template, split_template
from mose.model.settings import ModelSettings
from mose.tokenizer import CodeTokenizer, pad_batch


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedPairs:
    """One mini-batch. B pairs, T tokens of the longest."""

    token_ids_BT: Tensor  # noqa: N815
    """int64, as the model reads them."""
    keep_BT: Tensor  # noqa: N815
    """False for padding."""
    labels_BT: Tensor  # noqa: N815
    """The true ids of the tokens to predict, -100 elsewhere."""
    same_B: Tensor  # noqa: N815
    """Labels of the pairs, 0 or 1."""

    def to(self, device: torch.device) -> MaskedPairs:
        """The same on another device."""
        parts = (self.token_ids_BT, self.keep_BT, self.labels_BT, self.same_B)
        token_ids_BT, keep_BT, labels_BT, same_B = (part.to(device, non_blocking=True) for part in parts)
        return MaskedPairs(token_ids_BT=token_ids_BT, keep_BT=keep_BT, labels_BT=labels_BT, same_B=same_B)

    @property
    def num_masked(self) -> int:
        """Tokens to predict."""
        return int((self.labels_BT != UNMASKED).sum())


class PairMaker:
    """Makes mini-batches of masked pairs.

    Args:
        tokenizer: The model's.
        settings: The model's.
        objective: Template, length, masking and labels of pairs.
        budget: Padded tokens of a mini-batch.
        seed: Fixes the masks.

    Raises:
        ConfigError: There is no mask token, the template is malformed, or pairs are longer than the model's positions.
    """

    def __init__(
        self, tokenizer: CodeTokenizer, settings: ModelSettings, objective: ObjectiveConfig, *, budget: int, seed: int
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
        self._tokenizer, self._budget, self._seed = tokenizer, budget, seed
        self._template = objective.template or native_template(settings.block)
        split_template(self._template)
        self._objective = objective
        self._masking = Masking(
            rate=objective.mask_rate, style=objective.masking,
            mask_id=tokenizer.mask_id, vocab_size=tokenizer.vocab_size,
        )  # fmt: skip

    def mini_batches(self, batch: SnippetBatch, rows: Sequence[int]) -> list[MaskedPairs]:
        """Mini-batches of pairs of similar length; a pair's masks depend only on the step and its row."""
        pairs = encode_pairs(
            self._tokenizer,
            [batch.firsts[row] for row in rows],
            [batch.seconds[row] for row in rows],
            template=self._template,
            max_tokens=self._objective.max_tokens,
        )
        hidden = [
            self._masking.hide(
                np.array(pair.ids), np.array(pair.sides) > 0, np.random.default_rng([self._seed, 3, batch.step, row])
            )
            for pair, row in zip(pairs, rows, strict=True)
        ]
        label = self._objective.same_label
        labels = [label if batch.same[row] else 1 - label for row in rows]
        groups = length_groups([len(pair) for pair in pairs], budget=self._budget)
        return [self._pad([hidden[n] for n in group], [labels[n] for n in group]) for group in groups]

    def _pad(self, hidden: list[tuple[NDArray[np.int64], NDArray[np.int64]]], labels: list[int]) -> MaskedPairs:
        side = self._tokenizer.padding_side
        token_ids, keep = pad_batch([read.tolist() for read, _ in hidden], pad_id=self._tokenizer.pad_id, side=side)
        targets, _ = pad_batch([target.tolist() for _, target in hidden], pad_id=UNMASKED, side=side)
        return MaskedPairs(
            token_ids_BT=torch.from_numpy(token_ids),
            keep_BT=torch.from_numpy(keep),
            labels_BT=torch.from_numpy(targets),
            same_B=torch.tensor(labels),
        )
