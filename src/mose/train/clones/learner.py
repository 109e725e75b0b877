"""Clone detection: a batch of pairs in, gradients and named loss terms out.

Cross-entropy at every exit above 0, ``L = sum of alpha_i L_i``. The paper reports this task at all exits; that
it trains a classifier for each with the weights of its other losses is a guess.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from mose.config import ClonesConfig
from mose.data.clones import CloneBatch
from mose.model.batch import length_groups
from mose.model.clones.classifier import PairClassifier, PairSettings
from mose.model.clones.pair_batch import PairInputs, encode_pairs, pad_pairs
from mose.tokenizer import CodeTokenizer
from mose.train.device import attention_for_training, autocast
from mose.train.distributed import World, average_gradients, seed_step
from mose.train.exit_weights import exit_weights
from mose.train.own_part import OwnPartLearner
from mose.train.start import freeze_embeddings_of_exits, freeze_parts


class CloneLearner(OwnPartLearner):
    """A ladder with its classifiers, and the gradients of one step.

    Args:
        classifier: Trained in place; what is not trained is frozen here.
        tokenizer: The ladder's.
        pairs: Template and length.
        config: All settings.
        world: This process's rank.
        device: Where the classifier is.
    """

    def __init__(
        self,
        classifier: PairClassifier,
        tokenizer: CodeTokenizer,
        pairs: PairSettings,
        config: ClonesConfig,
        *,
        world: World,
        device: torch.device,
    ) -> None:
        super().__init__(classifier.model, "classifiers.", classifier.classifiers)
        self.classifier = classifier
        self.weights = exit_weights(self.model.settings, classifier.exits, config.loss.exit_weights)
        self._tokenizer = tokenizer
        self._pairs = pairs
        self._config = config
        self._world = world
        self._device = device
        freeze_parts(self.model, config.start)
        freeze_embeddings_of_exits(self.model)

    def backward(self, batch: CloneBatch) -> dict[str, float]:
        """Add the gradients of one batch, averaged over processes; return the terms of this process's share."""
        self.classifier.train()
        seed_step(self._config.run.seed, batch.step, self._world)
        sums: dict[str, float] = {}
        for inputs, labels_B, share in self._mini_batches(batch):
            with attention_for_training(self._device):
                terms = self._terms(inputs, labels_B)
                (terms["total"] * share).backward()  # type: ignore[no-untyped-call]
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach()) * share
        average_gradients([parameter for _, parameter in self.named_trained()], self._world)
        return sums

    @torch.no_grad()
    def check(self, batch: CloneBatch) -> dict[str, float]:
        """The terms of the loss, without gradients."""
        self.classifier.train(False)
        sums: dict[str, float] = {}
        for inputs, labels_B, share in self._mini_batches(batch):
            for name, term in self._terms(inputs, labels_B).items():
                sums[name] = sums.get(name, 0.0) + float(term) * share
        return sums

    def logits(self, inputs: PairInputs) -> dict[int, Tensor]:
        """Logits at every exit, in the run's precision."""
        with autocast(self._config.run.precision, self._device):
            found: dict[int, Tensor] = self.classifier(inputs.to(self._device))
        return found

    def _mini_batches(self, batch: CloneBatch) -> Iterator[tuple[PairInputs, Tensor, float]]:
        """This process's pairs by length, with labels and their share of them."""
        mine = slice(self._world.rank, None, self._world.size)
        firsts, seconds, labels = batch.firsts[mine], batch.seconds[mine], batch.labels[mine]
        ids = encode_pairs(
            self._tokenizer, firsts, seconds, template=self._pairs.template, max_tokens=self._pairs.max_tokens
        )
        for rows in length_groups([len(pair) for pair in ids], budget=self._config.batch.mini_batch_tokens):
            inputs = pad_pairs(self._tokenizer, [ids[row] for row in rows])
            labels_B = torch.tensor([labels[row] for row in rows], device=self._device)
            yield inputs.to(self._device), labels_B, len(rows) / len(ids)

    def _terms(self, inputs: PairInputs, labels_B: Tensor) -> dict[str, Tensor]:
        """Mean cross-entropy at each exit with a weight, and their weighted sum as "total"."""
        used = [exit_layer for exit_layer, weight in self.weights.items() if weight > 0]
        with autocast(self._config.run.precision, self._device):
            logits = self.classifier(inputs, exits=used)
        terms = {
            f"exit_{exit_layer:02d}": functional.cross_entropy(logits[exit_layer], labels_B) for exit_layer in used
        }
        total = torch.stack([self.weights[exit_layer] * terms[f"exit_{exit_layer:02d}"] for exit_layer in used]).sum()
        return {**terms, "total": total}
