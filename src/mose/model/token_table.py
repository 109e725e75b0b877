"""Exit 0: one vector for each token, summed over a text.

Shapes: B batch, N tokens of all texts, W width of the exit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mose.model.settings import ModelSettings


class TokenTable(nn.Module):
    """Exit 0: a vector and a weight for each token; a text is the weighted sum of its tokens."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(settings.vocab_size, settings.width_of(0)))
        self.token_weights = nn.Parameter(torch.empty(settings.vocab_size))

    def forward(self, word_ids_N: Tensor, word_offsets_B: Tensor, word_factors_N: Tensor | None = None) -> Tensor:
        """Weighted sums [B,W].

        Args:
            word_ids_N: Token ids of all texts.
            word_offsets_B: Start of each text in ``word_ids_N``.
            word_factors_N: Further factor of each token; 1 if None.
        """
        weights_N = self.token_weights[word_ids_N]
        if word_factors_N is not None:
            weights_N = weights_N * word_factors_N.to(weights_N.dtype)
        sums_BW: Tensor = functional.embedding_bag(
            word_ids_N, self.vectors, word_offsets_B, mode="sum", per_sample_weights=weights_N
        )
        return sums_BW
