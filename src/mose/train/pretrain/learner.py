"""Pre-training of one model: a batch of pairs in, gradients and named loss terms out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mose.config import PretrainConfig
from mose.data.repository_pairs import SnippetBatch
from mose.errors import ConfigError
from mose.model.encoder import MoseModel
from mose.model.pretraining.heads import PretrainingHeads
from mose.train.device import attention_for_training
from mose.train.distributed import World, mean_of_all, seed_step
from mose.train.exit_weights import exit_weights
from mose.train.own_part import OwnPartLearner
from mose.train.pretrain.inputs import HiddenPairs, MaskedPairs, PairMaker
from mose.train.pretrain.objective import PretrainingObjective
from mose.train.pretrain.parallel import distribute, gradients_stay
from mose.train.pretrain.plan import flops_of_forward
from mose.train.start import freeze_embeddings_of_exits, freeze_parts


class PretrainLearner(OwnPartLearner):
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
        super().__init__(model, "pretraining_heads.", heads)
        self.heads = heads
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
        self.objective = PretrainingObjective(model, heads, config, exits=tuple(self.weights))
        """Encoder and heads; what a checkpoint holds."""
        model.gradient_checkpointing = config.run.checkpoint_activations
        if config.run.compile:
            for block in model.layers:
                block.compile(dynamic=True)  # packed rows differ in length
        self._module = distribute(self.objective, config.run, device, world)

    def tensors(self) -> dict[str, Tensor]:
        """Weights of encoder and heads: this process's part of them, as they are."""
        return {f"model.{name}": tensor for name, tensor in self.objective.state_dict().items()}

    def backward(self, batch: SnippetBatch | HiddenPairs) -> dict[str, float]:
        """Add the gradients of one batch, averaged over processes; return the terms of this process's share."""
        self.objective.train()
        seed_step(self._config.run.seed, batch.step, self._world)
        pairs = self.prepare(batch) if isinstance(batch, SnippetBatch) else batch
        parts = self._maker.mini_batches(pairs, self._world)
        sums: Counter[str] = Counter()
        with attention_for_training(self._device):  # around the backward pass, too: checkpointed blocks run there again
            for number, terms in enumerate(self._terms(parts, len(pairs.labels)), start=1):
                with gradients_stay(self._module, last=number == len(parts)):
                    terms["total"].backward()  # type: ignore[no-untyped-call]
                sums.update({name: float(term.detach()) for name, term in terms.items()})
        lengths = [length for part in parts for length in part.lengths]
        return {**sums, "tokens": float(sum(lengths)), "flops": float(self._flops(lengths))}

    def prepare(self, batch: SnippetBatch) -> HiddenPairs:
        """This process's share of a batch, tokenised and masked."""
        return self._maker.prepare_share(self._world, batch)

    @torch.no_grad()
    def check(self, batch: SnippetBatch) -> dict[str, float]:
        """The terms of the loss, without gradients."""
        pairs = self.prepare(batch)
        return self.measure(self._maker.mini_batches(pairs, self._world), len(pairs.labels))

    @torch.no_grad()
    def measure(self, parts: Sequence[MaskedPairs], num_pairs: int) -> dict[str, float]:
        """The terms of some mini-batches, without gradients or dropout."""
        self.objective.eval()
        sums: Counter[str] = Counter()
        with attention_for_training(self._device):
            for terms in self._terms(parts, num_pairs):
                sums.update({name: float(term) for name, term in terms.items()})
        return dict(sums)

    def _flops(self, lengths: Sequence[int]) -> int:
        """Of the forward and backward pass, without what checkpointing computes again."""
        settings = self.model.settings
        return 3 * sum(
            number * length * flops_of_forward(self._config, settings, exits=tuple(self.weights), length=length)
            for length, number in Counter(lengths).items()
        )

    def _terms(self, parts: Sequence[MaskedPairs], num_pairs: int) -> Iterator[dict[str, Tensor]]:
        """Each mini-batch's part of the terms, which sum to those of all.

        "tokens_04" is the loss of masked tokens at exit 4, "tokens_right_04" the share that is right; "pairs" likewise.
        "cosine_04", outside training: mean cosine of the pooled states of exit 4 to those of the deepest exit.
        "total" is ``L = sum over exits of alpha_i (L_tokens + pair_weight L_pairs)``.
        """
        # The mean over processes, so that the mean of their losses counts every token of the step as much.
        num_masked = mean_of_all({"masked": float(sum(part.num_masked for part in parts))}, self._world)["masked"]
        count = {"tokens": max(1.0, num_masked), "pairs": float(num_pairs)}
        factor = {"tokens": 1.0, "pairs": self._config.objective.pair_weight}
        for part in parts:
            found: dict[tuple[str, int], Tensor] = self._module(part.to(self._device))
            terms: dict[str, Tensor] = {}
            weighted = []
            for (kind, exit_layer), both in found.items():
                if kind == "cosine":
                    terms[f"cosine_{exit_layer:02d}"] = both / num_pairs
                    continue
                loss, right = (both / count[kind]).unbind()
                terms[f"{kind}_{exit_layer:02d}"] = loss
                terms[f"{kind}_right_{exit_layer:02d}"] = right.detach()
                weighted.append(self.weights[exit_layer] * factor[kind] * loss)
            yield {**terms, "total": torch.stack(weighted).sum()}
