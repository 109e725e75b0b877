"""Both losses and both accuracies of every exit on held-out repositories, always on the same pairs."""

from __future__ import annotations

from mose.data.repository_pairs import SnippetBatch
from mose.train.pretrain.inputs import PairMaker
from mose.train.pretrain.learner import PretrainLearner

Found = dict[int, dict[str, float]]
"""Exit -> "token_loss", "token_accuracy" and, with an objective for pairs, "pair_loss", "pair_accuracy"; "cosine": mean
cosine of its pooled states to those of the deepest exit."""

_NAMES = {
    "token_loss": "tokens_",
    "token_accuracy": "tokens_right_",
    "pair_loss": "pairs_",
    "pair_accuracy": "pairs_right_",
    "cosine": "cosine_",
}


def measure(learner: PretrainLearner, maker: PairMaker, batch: SnippetBatch) -> Found:
    """Means over all tokens to predict, and over all pairs, at every exit that is trained."""
    terms = learner.measure(maker.mini_batches(maker.prepare(batch, range(len(batch)))), len(batch))
    return {
        exit_layer: {
            name: terms[f"{term}{exit_layer:02d}"]
            for name, term in _NAMES.items()
            if f"{term}{exit_layer:02d}" in terms
        }
        for exit_layer in learner.weights
    }
