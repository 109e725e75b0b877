"""Tokens to predict: which are chosen, and what the model sees in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

UNMASKED = -100
"""Label of a token that is not to be predicted; torch's cross-entropy ignores it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Masking:
    """How tokens are hidden.

    Args:
        rate: Chance that a token is to be predicted.
        style: bert: of those, 80 % become the mask token, 10 % a random token, 10 % are kept (Devlin et al., 2019,
            section 3.1). full: all become the mask token.
        mask_id: Id of the mask token.
        vocab_size: Random tokens are drawn from all of it, as in the precursor.
    """

    rate: float
    style: Literal["bert", "full"]
    mask_id: int
    vocab_size: int

    def hide(
        self, ids_T: NDArray[np.int64], maskable_T: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What the model reads of one sequence, and its labels: the true id where a token is to be predicted.

        Args:
            ids_T: Token ids.
            maskable_T: False for the template's tokens, which are never chosen.
            rng: Fixes the choice.

        Example:
            >>> masking = Masking(rate=1.0, style="full", mask_id=3, vocab_size=9)
            >>> ids, maskable = np.array([1, 7, 8, 2]), np.array([False, True, True, False])
            >>> [part.tolist() for part in masking.hide(ids, maskable, np.random.default_rng(0))]
            [[1, 3, 3, 2], [-100, 7, 8, -100]]
        """
        chosen_T = maskable_T & (rng.random(len(ids_T)) < self.rate)
        fate_T = rng.random(len(ids_T)) if self.style == "bert" else np.zeros(len(ids_T))
        random_T = rng.integers(0, self.vocab_size, len(ids_T))
        read_T = np.where(chosen_T & (fate_T < 0.8), self.mask_id, ids_T)
        read_T = np.where(chosen_T & (fate_T >= 0.8) & (fate_T < 0.9), random_T, read_T)
        return read_T, np.where(chosen_T, ids_T, UNMASKED)
