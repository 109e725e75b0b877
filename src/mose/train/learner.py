"""Retrieval fine-tuning of one model: a batch of pairs in, gradients and named loss terms out."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mose.config import FinetuneConfig
from mose.data.batches import PairBatch
from mose.data.pairs import Pair, key_of
from mose.errors import ConfigError
from mose.model.batch import TextBatch
from mose.model.encoder import MoseModel
from mose.tokenizer import CodeTokenizer
from mose.train.distributed import World, gather
from mose.train.grad_cache import Loss, cached_backward, plain_backward
from mose.train.inputs import StepInputs, step_inputs
from mose.train.losses import shared_keys
from mose.train.multi_exit import Sides, exit_weights, multi_exit_loss
from mose.train.prepare import autocast, freeze_parts
from mose.train.queue import NegativeQueue

_KEYS = 3


def key_matrix(pairs: Sequence[Pair]) -> Tensor:
    """Hashes of each pair [B, 3], int64; -1 fills what is absent."""
    rows = [sorted(pair.keys)[:_KEYS] for pair in pairs]
    return torch.tensor([row + [-1] * (_KEYS - len(row)) for row in rows], dtype=torch.int64)


def negative_keys(codes: Sequence[str]) -> Tensor:
    """Hash of each code [E, 3], filled with -1: a hard negative that answers another row is none there."""
    rows = [[key_of(code)] + [-1] * (_KEYS - 1) for code in codes]
    return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), _KEYS)


class RetrievalLearner:
    """Model, similarity factor and (if asked) queue, with the step's gradients.

    Args:
        model: Trained in place; frozen parts are frozen here.
        tokenizer: The model's.
        config: All settings.
        world: This process's place.
        device: Where the model is.
    """

    def __init__(
        self,
        model: MoseModel,
        tokenizer: CodeTokenizer,
        config: FinetuneConfig,
        *,
        world: World,
        device: torch.device,
    ) -> None:
        if config.batch.pairs % world.size:
            raise ConfigError("batch.pairs", got=config.batch.pairs, allowed=f"a multiple of {world.size} processes")
        self.model = model
        self.log_scale = nn.Parameter(
            torch.tensor(math.log(config.loss.scale_start), device=device),
            requires_grad=config.loss.learn_scale,
        )
        exits = tuple(model.settings.exits)
        given = config.loss.exit_weights
        if given is not None and len(given) != len(exits):
            raise ConfigError("loss.exit_weights", got=given, allowed=f"{len(exits)} numbers, for exits {exits}")
        self.weights = exit_weights(exits, model.settings.num_layers, config.loss)
        tied = config.loss.distill_rows or config.loss.distill_vectors or config.loss.aligned
        # Exit 0 shares no weight with the blocks: with weight 0 it is left alone even where exits are tied.
        self.used_exits = tuple(one for one in exits if self.weights[one] > 0 or (tied and one > 0))
        """Exits that the loss looks at; blocks above the deepest of them are not run."""
        if not self.used_exits:
            raise ConfigError("loss.exit_weights", got=given, allowed="at least one above 0")
        self._tokenizer = tokenizer
        self._config = config
        self._world = world
        self._device = device
        freeze_parts(model, config.start)
        self.queue: NegativeQueue | None = None
        if config.loss.queue:
            size, momentum = config.loss.queue, config.loss.queue_momentum
            self.queue = NegativeQueue(model, size=size, momentum=momentum, num_keys=_KEYS, device=device)
        self._late: tuple[dict[int, Tensor], Tensor] | None = None

    def named_trained(self) -> list[tuple[str, nn.Parameter]]:
        """Name and parameter of whatever is trained, in a fixed order."""
        every = [*self.model.named_parameters(), ("log_scale", self.log_scale)]
        return [(name, parameter) for name, parameter in every if parameter.requires_grad]

    def trained(self) -> list[nn.Parameter]:
        """Parameters with gradient."""
        return [parameter for _, parameter in self.named_trained()]

    def scale(self) -> Tensor:
        """Factor on the cosines."""
        return self.log_scale.exp().clamp(max=self._config.loss.scale_limit)

    def backward(self, batch: PairBatch) -> dict[str, float]:
        """Adds the gradients of this process's share of one batch; the loss's terms."""
        self.model.train()
        # Seeded by step, so that a resumed run, on any process, drops what the uninterrupted one dropped.
        torch.manual_seed((self._config.run.seed * 1_000_003 + batch.step) * 1_009 + self._world.rank)
        inputs, loss = self._prepare(batch)
        run = cached_backward if self._config.batch.gradient_cache else plain_backward
        terms = run(self._encode_used, inputs, loss)
        return {**{name: float(term) for name, term in terms.items()}, "scale": float(self.scale().detach())}

    @torch.no_grad()
    def check(self, batch: PairBatch) -> dict[str, float]:
        """The loss's terms without gradients."""
        self.model.train(False)
        inputs, loss = self._prepare(batch)
        encoded = [self._encode_used(one) for one in inputs]
        terms = loss({one: torch.cat([vectors[one] for vectors in encoded]) for one in encoded[0]})
        self._late = None
        return {name: float(term) for name, term in terms.items()}

    def encode(self, inputs: TextBatch) -> dict[int, Tensor]:
        """Vectors of one mini-batch at every exit, in the run's arithmetic."""
        with self._precision():
            return self.model.embed(inputs.to(self._device))

    def _encode_used(self, inputs: TextBatch) -> dict[int, Tensor]:
        with self._precision(), self._attention():
            return self.model.embed(inputs.to(self._device), exits=self.used_exits)

    def after_step(self) -> None:
        """Keeps the factor in its range; feeds the queue."""
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(self._config.loss.scale_limit))
        if self.queue is not None and self._late is not None:
            self.queue.push(*self._late)
            self.queue.follow(self.model)
            self._late = None

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold beside the model and the optimizer."""
        tensors = {
            "log_scale": self.log_scale.detach(),
            **({} if self.queue is None else self.queue.tensors()),
        }
        return {name: value.cpu().contiguous() for name, value in tensors.items()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what ``tensors`` gave."""
        with torch.no_grad():
            self.log_scale.copy_(tensors["log_scale"])
        if self.queue is not None:
            self.queue.load_tensors(tensors)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        return autocast(self._config.run.precision, self._device)

    def _attention(self) -> contextlib.AbstractContextManager[Any]:
        """On a CPU plain attention: its backward pass takes a fraction of the fused one's time."""
        return sdpa_kernel(SDPBackend.MATH) if self._device.type == "cpu" else contextlib.nullcontext()

    def _prepare(self, batch: PairBatch) -> tuple[list[TextBatch], Loss]:
        """Mini-batches of this process's share, and the loss over the vectors of all of them."""
        rows = len(batch.pairs) // self._world.size
        first = self._world.rank * rows
        mine = batch.pairs[first : first + rows]
        every = [(code, pair.language) for pair in batch.pairs for code in pair.negatives]
        # Each process encodes as many hard negatives as the others, for ``gather`` needs equal parts.
        share = len(every) // self._world.size
        negatives = every[self._world.rank * share :][:share]
        words = self.model.settings.reads_words(self.used_exits)
        inputs = step_inputs(mine, negatives, self._tokenizer, self._config.batch, words=words)
        back = inputs.back.to(self._device)
        keys = key_matrix(batch.pairs).to(self._device)
        extra_keys = negative_keys([code for code, _ in every[: share * self._world.size]]).to(self._device)
        if self.queue is not None:
            extra_keys = torch.cat([extra_keys, self.queue.keys])

        def loss(vectors: dict[int, Tensor]) -> dict[str, Tensor]:
            ordered = {one: vectors_RD[back] for one, vectors_RD in vectors.items()}
            query = {one: vectors_RD[:rows] for one, vectors_RD in ordered.items()}
            code = {one: vectors_RD[rows : 2 * rows] for one, vectors_RD in ordered.items()}
            extra = {one: vectors_RD[2 * rows :] for one, vectors_RD in ordered.items()}
            sides = Sides(
                query=query,
                code=code,
                all_query={one: gather(vectors_BD, self._world) for one, vectors_BD in query.items()},
                all_code={one: gather(vectors_BD, self._world) for one, vectors_BD in code.items()},
                first_row=first,
                shared_BN=shared_keys(keys[first : first + rows], keys),
                extra_code=self._extra(extra) if len(extra_keys) else None,
                shared_BE=shared_keys(keys[first : first + rows], extra_keys),
            )
            if self.queue is not None:
                self._late = (self._queued(inputs, sides, rows), keys)
            return multi_exit_loss(sides, scale=self.scale(), weights=self.weights, config=self._config.loss)

        return inputs.queries + inputs.codes, loss

    def _extra(self, negatives: dict[int, Tensor]) -> dict[int, Tensor]:
        """Hard negatives of all processes, then the queue."""
        extra = {one: gather(vectors_ED, self._world) for one, vectors_ED in negatives.items()}
        if self.queue is not None and len(self.queue):
            extra = {one: torch.cat([extra[one], self.queue.vectors[one]]) for one in extra}
        return extra

    @torch.no_grad()
    def _queued(self, inputs: StepInputs, sides: Sides, rows: int) -> dict[int, Tensor]:
        """Vectors of the batch's codes that will be negatives later."""
        slow = self.queue.slow if self.queue is not None else None
        if slow is None:
            return {one: vectors.detach() for one, vectors in sides.all_code.items()}
        slow.train(False)
        with self._precision():
            encoded = [slow.embed(one.to(self._device), exits=self.used_exits) for one in inputs.codes]
        own = inputs.code_back.to(self._device)[:rows]
        return {one: gather(torch.cat([vectors[one] for vectors in encoded])[own], self._world) for one in encoded[0]}
