"""Both losses and both accuracies of every exit on held-out repositories, always on the same pairs."""

from __future__ import annotations

from collections import Counter, defaultdict

import torch

from mose.data.masking import UNMASKED
from mose.data.repository_pairs import SnippetBatch
from mose.train.pretrain.inputs import PairMaker
from mose.train.pretrain.learner import PretrainLearner
from mose.train.pretrain.losses import masked_token_loss, pair_loss

Found = dict[int, dict[str, float]]
"""Exit -> "token_loss", "token_accuracy" and, with an objective for pairs, "pair_loss", "pair_accuracy"."""


@torch.no_grad()
def measure(learner: PretrainLearner, maker: PairMaker, batch: SnippetBatch, device: torch.device) -> Found:
    """Means over all tokens to predict, and over all pairs, at every exit that is trained."""
    learner.model.train(False)
    sums: dict[int, defaultdict[str, float]] = {exit_layer: defaultdict(float) for exit_layer in learner.weights}
    count: Counter[str] = Counter()
    for part in maker.mini_batches(batch, range(len(batch))):
        part = part.to(device)
        labels_M = part.labels_BT[part.labels_BT != UNMASKED]
        count.update({"token": len(labels_M), "pair": len(part.same_B)})
        for exit_layer, hidden_BTD in learner.hidden(part).items():
            tokens_MV, pairs_B2 = learner.logits(exit_layer, hidden_BTD, part)
            own = sums[exit_layer]
            own["token_loss"] += float(masked_token_loss(tokens_MV, labels_M, count=1))
            own["token_accuracy"] += int((tokens_MV.argmax(dim=-1) == labels_M).sum())
            if pairs_B2 is not None:
                own["pair_loss"] += float(pair_loss(pairs_B2, part.same_B, count=1))
                own["pair_accuracy"] += int((pairs_B2.argmax(dim=-1) == part.same_B).sum())
    return {
        exit_layer: {name: value / max(1, count[name.partition("_")[0]]) for name, value in own.items()}
        for exit_layer, own in sums.items()
    }
