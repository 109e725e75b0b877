"""The objective of pre-training as one module: a mini-batch in, summed losses of every exit out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from mose.config import PretrainConfig
from mose.data.masking import UNMASKED
from mose.model.encoder import MoseModel
from mose.model.heads import pool, pool_segments
from mose.model.pretraining.heads import PretrainingHeads
from mose.train.device import autocast
from mose.train.pretrain.inputs import MaskedPairs
from mose.train.pretrain.losses import pair_loss, token_loss


class PretrainingObjective(nn.Module):
    """Encoder and heads under one forward pass, as `DistributedDataParallel` and `fully_shard` need it.

    Args:
        encoder: The ladder of exits.
        heads: Shared by all exits.
        exits: Those to compute; no block above the deepest is run.
        config: Which objective for pairs, chunks of the decoder, precision.
    """

    def __init__(
        self, encoder: MoseModel, heads: PretrainingHeads, config: PretrainConfig, *, exits: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = heads
        self._exits, self._precision, self._chunk = exits, config.run.precision, config.batch.decode_tokens
        self._pairs = config.objective.pairs != "none"

    def forward(self, inputs: MaskedPairs) -> dict[tuple[str, int], Tensor]:
        """("tokens" or "pairs", exit) -> summed loss, and how many are right [2].

        Not in training, ("cosine", exit) as well: summed over pairs, that of the pooled state to the deepest exit's [].
        """
        masked_BT = inputs.labels_BT != UNMASKED
        labels_M = inputs.labels_BT[masked_BT]
        device = inputs.labels_BT.device
        found: dict[tuple[str, int], Tensor] = {}
        with autocast(self._precision, device):
            hidden: Mapping[int, Tensor] = self.encoder(
                inputs.token_ids_BT, inputs.keep_BT, exits=self._exits, segments=inputs.segments
            )
            is_pooled = self._pairs or not self.training
            pooled = {layer: self._pool(hidden_BTD, inputs) for layer, hidden_BTD in hidden.items() if is_pooled}
            for exit_layer, hidden_BTD in hidden.items():
                predict = partial(self.heads.predict_tokens, exit_layer)
                found["tokens", exit_layer] = token_loss(predict, hidden_BTD[masked_BT], labels_M, chunk=self._chunk)
                if self._pairs:
                    logits_N2 = self.heads.predict_pairs(exit_layer, pooled[exit_layer])
                    found["pairs", exit_layer] = pair_loss(logits_N2, inputs.same_N)
                if not self.training:
                    alike_N = cosine_similarity(pooled[exit_layer].float(), pooled[max(pooled)].float())
                    found["cosine", exit_layer] = alike_N.sum()
        return found

    def _pool(self, hidden_BTD: Tensor, inputs: MaskedPairs) -> Tensor:
        rule = self.encoder.settings.pooling
        if inputs.segments is not None:
            return pool_segments(hidden_BTD, inputs.segments, rule)
        return pool(hidden_BTD, inputs.keep_BT, rule)
