"""Pre-training of one model: a batch of pairs in, gradients and named loss terms out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from mose.config import PretrainConfig
from mose.data.masking import UNMASKED
from mose.data.repository_pairs import SnippetBatch
from mose.errors import ConfigError
from mose.model.encoder import MoseModel
from mose.model.heads import pool
from mose.model.pretraining.heads import PretrainingHeads
from mose.train.device import attention_for_training, autocast
from mose.train.distributed import World, mean_of_all, seed_step
from mose.train.exit_weights import exit_weights
from mose.train.own_part import OwnPart
from mose.train.pretrain.inputs import MaskedPairs, PairMaker
from mose.train.pretrain.losses import masked_token_loss, pair_loss, weighted_total
from mose.train.start import freeze_embeddings_of_exits, freeze_parts


class PretrainLearner:
    """An encoder with the pre-training heads, and the gradients of one step.

    Args:
        model: Trained in place; projection heads and exit 0 stay as they are.
        heads: Trained in place.
        maker: Makes mini-batches.
        config: All settings.
        world: This process's rank.
        device: Where model and heads are.
    """

    def __init__(
        self,
        model: MoseModel,
        heads: PretrainingHeads,
        maker: PairMaker,
        config: PretrainConfig,
        *,
        world: World,
        device: torch.device,
    ) -> None:
        self.model = model
        self.heads = heads
        self._own = OwnPart("pretraining_heads.", heads)
        weights = exit_weights(model.settings, heads.exits, config.loss.exit_weights)
        self.weights = {exit_layer: weight for exit_layer, weight in weights.items() if weight > 0}
        """Weight of every exit that is trained; blocks above the deepest of them are not run."""
        if not self.weights:
            raise ConfigError("loss.exit_weights", got=list(weights.values()), allowed="at least one above 0")
        self._maker = maker
        self._config = config
        self._world = world
        self._device = device
        freeze_parts(model, config.start)
        freeze_embeddings_of_exits(model)
        model.layers[max(self.weights) :].requires_grad_(False)
        if model.final_norm is not None and not any(map(model.settings.norm_at, self.weights)):
            model.final_norm.requires_grad_(False)
        heads.pair.requires_grad_(config.objective.pairs != "none")

    def named_trained(self) -> list[tuple[str, nn.Parameter]]:
        """Name and parameter of whatever is trained, in a fixed order."""
        return self._own.named_trained(self.model)

    def backward(self, batch: SnippetBatch) -> dict[str, float]:
        """Add the gradients of this process's share of one batch; return the terms of the loss."""
        self.model.train()
        seed_step(self._config.run.seed, batch.step, self._world)
        sums: Counter[str] = Counter()
        for terms in self._terms(batch):
            terms["total"].backward()  # type: ignore[no-untyped-call]
            sums.update({name: float(term.detach()) for name, term in terms.items()})
        return dict(sums)

    @torch.no_grad()
    def check(self, batch: SnippetBatch) -> dict[str, float]:
        """The terms of the loss, without gradients."""
        self.model.train(False)
        sums: Counter[str] = Counter()
        for terms in self._terms(batch):
            sums.update({name: float(term) for name, term in terms.items()})
        return dict(sums)

    def hidden(self, inputs: MaskedPairs) -> dict[int, Tensor]:
        """Hidden states at every exit that is trained, in the run's precision."""
        with autocast(self._config.run.precision, self._device), attention_for_training(self._device):
            hidden: dict[int, Tensor] = self.model(inputs.token_ids_BT, inputs.keep_BT, exits=list(self.weights))
        return hidden

    def logits(self, exit_layer: int, hidden_BTD: Tensor, inputs: MaskedPairs) -> tuple[Tensor, Tensor | None]:
        """Logits [M,V] of the tokens to predict and [B,2] of the pairs (None without that objective) at one exit."""
        with autocast(self._config.run.precision, self._device):
            pairs_B2 = None
            if self._config.objective.pairs != "none":
                pooled_BD = pool(hidden_BTD, inputs.keep_BT, self.model.settings.pooling)
                pairs_B2 = self.heads.predict_pairs(exit_layer, pooled_BD)
            tokens_MV = self.heads.predict_tokens(exit_layer, hidden_BTD[inputs.labels_BT != UNMASKED])
        return tokens_MV, pairs_B2

    def after_step(self) -> None:
        """Do nothing: no parameter has a range."""

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold beside the model and the optimizer."""
        return self._own.tensors()

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what ``tensors`` returned."""
        self._own.load(tensors)

    def _terms(self, batch: SnippetBatch) -> Iterator[dict[str, Tensor]]:
        """Each mini-batch's part of the loss's terms: they sum to those of this process's share of the batch."""
        rows = range(self._world.rank, len(batch), self._world.size)
        inputs = self._maker.mini_batches(batch, rows)
        # The mean over processes, so that every token of the step counts equally in the mean of their losses.
        num_masked = mean_of_all({"masked": float(sum(part.num_masked for part in inputs))}, self._world)["masked"]
        for part in inputs:
            part = part.to(self._device)
            labels_M = part.labels_BT[part.labels_BT != UNMASKED]
            found: dict[tuple[str, int], Tensor] = {}
            for exit_layer, hidden_BTD in self.hidden(part).items():
                tokens_MV, pairs_B2 = self.logits(exit_layer, hidden_BTD, part)
                found["tokens", exit_layer] = masked_token_loss(tokens_MV, labels_M, count=num_masked)
                if pairs_B2 is not None:
                    found["pairs", exit_layer] = pair_loss(pairs_B2, part.same_B, count=len(rows))
            named = {f"{kind}_{exit_layer:02d}": term for (kind, exit_layer), term in found.items()}
            yield {**named, "total": weighted_total(found, self.weights, self._config.objective.pair_weight)}
