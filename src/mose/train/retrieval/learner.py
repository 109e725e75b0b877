"""Retrieval fine-tuning of one model: a batch of pairs in, gradients and named loss terms out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mose.config import FinetuneConfig
from mose.data.batches import PairBatch
from mose.errors import ConfigError
from mose.model.batch import TextBatch
from mose.model.encoder import MoseModel
from mose.tokenizer import CodeTokenizer
from mose.train.device import attention_for_training, autocast
from mose.train.distributed import World, average_gradients, gather, seed_step
from mose.train.exit_weights import exit_weights
from mose.train.retrieval.grad_cache import Loss, cached_backward, loss_terms, plain_backward
from mose.train.retrieval.inputs import NUM_KEYS, StepBatch, StepInputs, prepare_step
from mose.train.retrieval.losses import shared_keys
from mose.train.retrieval.multi_exit import Sides, multi_exit_loss
from mose.train.retrieval.negative_queue import NegativeQueue
from mose.train.start import freeze_parts


class RetrievalLearner:
    """Model, similarity factor and, if configured, a queue of negatives; computes the gradients of a step.

    Args:
        model: Trained in place; frozen parts are frozen here.
        tokenizer: The model's.
        config: All settings.
        world: This process's rank.
        device: Where the model is.
        reference: Finds the negatives that are likely answers, if ``loss.mask_answers`` is set; not trained.
    """

    def __init__(
        self,
        model: MoseModel,
        tokenizer: CodeTokenizer,
        config: FinetuneConfig,
        *,
        world: World,
        device: torch.device,
        reference: MoseModel | None = None,
    ) -> None:
        self.model = model
        self.log_scale = nn.Parameter(
            torch.tensor(math.log(config.loss.scale_start), device=device),
            requires_grad=config.loss.learn_scale,
        )
        exits, loss = model.settings.exits, config.loss
        self.weights = exit_weights(model.settings, exits, loss.exit_weights, table_weight=loss.table_weight)
        tied = loss.distill_rows or loss.distill_vectors or loss.aligned
        # Exit 0 shares no weight with the blocks: with weight 0 it is left out even if exits are tied.
        self.used_exits = tuple(layer for layer in exits if self.weights[layer] > 0 or (tied and layer > 0))
        """Exits that the loss reads; blocks above the deepest of them are not run."""
        if not self.used_exits:
            raise ConfigError("loss.table_weight", got=loss.table_weight, allowed="above 0 for a model of exit 0 alone")
        self._tokenizer = tokenizer
        self._config = config
        self._world = world
        self._device = device
        freeze_parts(model, config.start)
        self.queue: NegativeQueue | None = None
        if config.loss.queue:
            size, momentum = config.loss.queue, config.loss.queue_momentum
            self.queue = NegativeQueue(model, size=size, momentum=momentum, num_keys=NUM_KEYS, device=device)
        self._late: tuple[dict[int, Tensor], Tensor] | None = None
        self._reference = reference if config.loss.mask_answers else None
        if self._reference is not None:
            self._reference.requires_grad_(False).train(False)

    def named_trained(self) -> list[tuple[str, nn.Parameter]]:
        """Name and parameter of whatever is trained, in a fixed order."""
        every = [*self.model.named_parameters(), ("log_scale", self.log_scale)]
        return [(name, parameter) for name, parameter in every if parameter.requires_grad]

    def scale(self) -> Tensor:
        """Factor on the cosines; ``after_step`` limits it, since a clamp here would stop its gradient."""
        return self.log_scale.exp()

    def backward(self, batch: PairBatch | StepBatch) -> dict[str, float]:
        """Add the gradients of one batch, averaged over processes; return the terms of this process's share."""
        self.model.train()
        seed_step(self._config.run.seed, batch.step, self._world)
        inputs, loss = self._prepare(batch)
        run = cached_backward if self._config.batch.gradient_cache else plain_backward
        terms = run(self._encode_used, inputs, loss)
        average_gradients([parameter for _, parameter in self.named_trained()], self._world)
        return {**{name: float(term) for name, term in terms.items()}, "scale": float(self.scale().detach())}

    @torch.no_grad()
    def check(self, batch: PairBatch | StepBatch) -> dict[str, float]:
        """The terms of the loss, without gradients."""
        self.model.train(False)
        inputs, loss = self._prepare(batch)
        terms = loss_terms(self._encode_used, inputs, loss)
        self._late = None
        return {name: float(term) for name, term in terms.items()}

    def encode(self, inputs: TextBatch) -> dict[int, Tensor]:
        """Vectors of one mini-batch at every exit, in the run's precision."""
        with autocast(self._config.run.precision, self._device):
            return self.model.embed(inputs.to(self._device))

    def _encode_used(self, inputs: TextBatch) -> dict[int, Tensor]:
        with autocast(self._config.run.precision, self._device), attention_for_training(self._device):
            return self.model.embed(inputs.to(self._device), exits=self.used_exits)

    def after_step(self) -> None:
        """Keep the factor in its range, and fill the queue."""
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(self._config.loss.scale_limit))
        if self.queue is not None and self._late is not None:
            self.queue.push(*self._late)
            self.queue.follow(self.model)
            self._late = None

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold beside the model and the optimizer."""
        return {"log_scale": self.log_scale, **({} if self.queue is None else self.queue.tensors())}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what ``tensors`` returned."""
        with torch.no_grad():
            self.log_scale.copy_(tensors["log_scale"])
        if self.queue is not None:
            self.queue.load_tensors(tensors)

    def prepare(self, batch: PairBatch) -> StepBatch:
        """This process's share of a batch, tokenised."""
        words = self.model.settings.reads_words(self.used_exits)
        return prepare_step(batch, self._tokenizer, self._config.batch, self._world, words=words)

    def _prepare(self, batch: PairBatch | StepBatch) -> tuple[list[TextBatch], Loss]:
        """Mini-batches of this process's share, and the loss over the vectors of all of them."""
        step = batch if isinstance(batch, StepBatch) else self.prepare(batch)
        inputs = step.inputs
        rows = len(step) // self._world.size
        first = self._world.rank * rows
        back = inputs.back.to(self._device)
        keys = step.keys.to(self._device)
        extra_keys = step.extra_keys.to(self._device)
        if self.queue is not None:
            extra_keys = torch.cat([extra_keys, self.queue.keys])
        shared_BN = shared_keys(keys[first : first + rows], keys)
        to_code_BN, to_query_BN = self._likely_answers(inputs, back, rows, first)

        def loss(vectors: dict[int, Tensor]) -> dict[str, Tensor]:
            ordered = {exit_layer: vectors_RD[back] for exit_layer, vectors_RD in vectors.items()}
            query = {exit_layer: vectors_RD[:rows] for exit_layer, vectors_RD in ordered.items()}
            code = {exit_layer: vectors_RD[rows : 2 * rows] for exit_layer, vectors_RD in ordered.items()}
            extra = {exit_layer: vectors_RD[2 * rows :] for exit_layer, vectors_RD in ordered.items()}
            sides = Sides(
                query=query,
                code=code,
                all_query={exit_layer: gather(vectors_BD, self._world) for exit_layer, vectors_BD in query.items()},
                all_code={exit_layer: gather(vectors_BD, self._world) for exit_layer, vectors_BD in code.items()},
                first_row=first,
                shared_BN=shared_BN if to_code_BN is None else shared_BN | to_code_BN,
                shared_query_BN=shared_BN if to_query_BN is None else shared_BN | to_query_BN,
                extra_code=self._extra(extra) if len(extra_keys) else None,
                shared_BE=shared_keys(keys[first : first + rows], extra_keys),
            )
            if self.queue is not None:
                self._late = (self._queued(inputs, sides, rows), keys)
            return multi_exit_loss(sides, scale=self.scale(), weights=self.weights, config=self._config.loss)

        return inputs.queries + inputs.codes, loss

    @torch.no_grad()
    def _likely_answers(
        self, inputs: StepInputs, back: Tensor, rows: int, first: int
    ) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """True where the reference ranks a code above the query's own; queries as rows, then codes as rows."""
        if self._reference is None:
            return None, None
        deepest = self._reference.settings.exits[-1]
        with autocast(self._config.run.precision, self._device):
            encoded = [
                self._reference.embed(batch.to(self._device), exits=(deepest,))[deepest]
                for batch in inputs.queries + inputs.codes
            ]
        ordered = torch.cat(encoded)[back]
        all_query, all_code = (gather(part, self._world) for part in (ordered[:rows], ordered[rows : 2 * rows]))
        cosines_NN = all_query @ all_code.T
        above_NN = cosines_NN > cosines_NN.diagonal()[:, None]
        return above_NN[first : first + rows], above_NN.T[first : first + rows]

    def _extra(self, negatives: dict[int, Tensor]) -> dict[int, Tensor]:
        """Hard negatives of all processes, then the queue."""
        extra = {exit_layer: gather(vectors_ED, self._world) for exit_layer, vectors_ED in negatives.items()}
        if self.queue is not None and len(self.queue):
            extra = {exit_layer: torch.cat([extra[exit_layer], self.queue.vectors[exit_layer]]) for exit_layer in extra}
        return extra

    @torch.no_grad()
    def _queued(self, inputs: StepInputs, sides: Sides, rows: int) -> dict[int, Tensor]:
        """Vectors of the batch's codes that will be negatives later."""
        slow = self.queue.slow if self.queue is not None else None
        if slow is None:
            return {exit_layer: vectors.detach() for exit_layer, vectors in sides.all_code.items()}
        slow.train(False)
        with autocast(self._config.run.precision, self._device):
            encoded = [slow.embed(batch.to(self._device), exits=self.used_exits) for batch in inputs.codes]
        own = inputs.code_back.to(self._device)[:rows]
        return {
            exit_layer: gather(torch.cat([vectors[exit_layer] for vectors in encoded])[own], self._world)
            for exit_layer in encoded[0]
        }
