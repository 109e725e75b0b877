"""Retrieval fine-tuning of one model: a batch of pairs in, gradients and named loss terms out."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mose.config import FinetuneConfig
from mose.data.batches import PairBatch
from mose.data.pairs import Pair
from mose.errors import ConfigError
from mose.model.batch import TextBatch
from mose.model.encoder import MoseModel
from mose.tokenizer import CodeTokenizer
from mose.train.distributed import World, gather
from mose.train.grad_cache import cached_backward, plain_backward
from mose.train.inputs import in_text_order, mini_batches, sides_of
from mose.train.losses import shared_keys
from mose.train.multi_exit import Sides, exit_weights, multi_exit_loss

_KEYS = 3


def key_matrix(pairs: Sequence[Pair]) -> Tensor:
    """Hashes of each pair [B, 3], int64; -1 fills what is absent."""
    rows = [sorted(pair.keys)[:_KEYS] for pair in pairs]
    return torch.tensor([row + [-1] * (_KEYS - len(row)) for row in rows], dtype=torch.int64)


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
            raise ConfigError(
                "batch.pairs", got=config.batch.pairs, allowed=f"a multiple of {world.size} processes"
            )
        self.model = model
        self.log_scale = nn.Parameter(
            torch.tensor(math.log(config.loss.scale_start), device=device),
            requires_grad=config.loss.learn_scale,
        )
        exits = tuple(model.settings.exits)
        given = config.loss.exit_weights
        if given is not None and len(given) != len(exits):
            raise ConfigError(
                "loss.exit_weights", got=given, allowed=f"{len(exits)} numbers, for exits {exits}"
            )
        self.weights = exit_weights(exits, model.settings.num_layers, config.loss)
        self._tokenizer = tokenizer
        self._config = config
        self._world = world
        self._device = device
        self._freeze()
        self._slow = copy.deepcopy(model).requires_grad_(False) if config.loss.queue_momentum else None
        self.queue: dict[int, Tensor] = {}
        self.queue_keys = torch.empty(0, _KEYS, dtype=torch.int64, device=device)
        self._late: tuple[dict[int, Tensor], Tensor] | None = None

    def _freeze(self) -> None:
        start = self._config.start
        self.model.freeze(
            layers=start.freeze_layers, embeddings=start.freeze_embeddings or start.freeze_layers > 0
        )
        for name, head in self.model.heads.items():
            head.requires_grad_(int(name) > start.freeze_layers)
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = start.dropout
            elif isinstance(getattr(module, "dropout", None), float):
                setattr(module, "dropout", start.dropout)  # noqa: B010  # its type is the module's own

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
        terms = run(self.encode, inputs, loss)
        return {**{name: float(term) for name, term in terms.items()}, "scale": float(self.scale().detach())}

    @torch.no_grad()
    def check(self, batch: PairBatch) -> dict[str, float]:
        """The loss's terms without gradients."""
        self.model.train(False)
        inputs, loss = self._prepare(batch)
        encoded = [self.encode(one) for one in inputs]
        terms = loss({one: torch.cat([vectors[one] for vectors in encoded]) for one in encoded[0]})
        self._late = None
        return {name: float(term) for name, term in terms.items()}

    def encode(self, inputs: TextBatch) -> dict[int, Tensor]:
        """Vectors of one mini-batch at every exit, in bfloat16 arithmetic on a GPU."""
        with self._autocast():
            return self.model.embed(inputs.to(self._device))

    def after_step(self) -> None:
        """Keeps the factor in its range; feeds the queue."""
        limit = math.log(self._config.loss.scale_limit)
        with torch.no_grad():
            self.log_scale.clamp_(max=limit)
        if self._late is not None:
            codes, keys = self._late
            size = self._config.loss.queue
            for one, vectors in codes.items():
                earlier = self.queue.get(one, vectors[:0])
                self.queue[one] = torch.cat([vectors, earlier])[:size]
            self.queue_keys = torch.cat([keys, self.queue_keys])[:size]
            self._late = None
        if self._slow is not None:
            share = 1 - self._config.loss.queue_momentum
            for slow, fast in zip(self._slow.parameters(), self.model.parameters(), strict=True):
                slow.data.lerp_(fast.data, share)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold beside the model and the optimizer."""
        tensors = {"log_scale": self.log_scale.detach(), "queue_keys": self.queue_keys}
        tensors |= {f"queue.{one}": vectors for one, vectors in self.queue.items()}
        if self._slow is not None:
            tensors |= {f"slow.{name}": value for name, value in self._slow.state_dict().items()}
        return {name: value.cpu().contiguous() for name, value in tensors.items()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what ``tensors`` gave."""
        with torch.no_grad():
            self.log_scale.copy_(tensors["log_scale"])
        self.queue_keys = tensors["queue_keys"].to(self._device)
        self.queue = {
            int(name[6:]): value.to(self._device)
            for name, value in tensors.items()
            if name.startswith("queue.")
        }
        if self._slow is not None:
            self._slow.load_state_dict(
                {name[5:]: value for name, value in tensors.items() if name[:5] == "slow."}
            )

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self._device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _prepare(self, batch: PairBatch) -> tuple[list[TextBatch], Any]:
        rows = len(batch.pairs) // self._world.size
        first = self._world.rank * rows
        mine = batch.pairs[first : first + rows]
        inputs: list[TextBatch] = []
        orders: list[int] = []
        code_inputs: list[TextBatch] = []
        settings = self._config.batch
        words = 0 in self.model.settings.exits
        # Queries that are text and queries that are code differ in template and length: one pass each.
        for is_code in (False, True):
            numbers = [number for number, pair in enumerate(mine) if bool(pair.query_language) is is_code]
            if not numbers:
                continue
            query, _ = sides_of(
                [mine[number] for number in numbers],
                text_tokens=settings.text_tokens,
                code_tokens=settings.code_tokens,
            )
            some, order = mini_batches(query, self._tokenizer, budget=settings.mini_batch_tokens, words=words)
            inputs += some
            orders += [numbers[row] for row in order]
        _, code = sides_of(mine, text_tokens=settings.text_tokens, code_tokens=settings.code_tokens)
        code_inputs, code_order = mini_batches(
            code, self._tokenizer, budget=settings.mini_batch_tokens, words=words
        )
        back = in_text_order(orders + [rows + row for row in code_order]).to(self._device)
        all_keys = key_matrix(batch.pairs).to(self._device)
        shared_BN = shared_keys(all_keys[first : first + rows], all_keys)

        def loss(vectors: dict[int, Tensor]) -> dict[str, Tensor]:
            sorted_ = {one: every[back] for one, every in vectors.items()}
            query = {one: every[:rows] for one, every in sorted_.items()}
            codes = {one: every[rows:] for one, every in sorted_.items()}
            sides = Sides(
                query=query,
                code=codes,
                all_query={one: gather(every, self._world) for one, every in query.items()},
                all_code={one: gather(every, self._world) for one, every in codes.items()},
                first_row=first,
                shared_BN=shared_BN,
                extra_code=self.queue if len(self.queue_keys) else None,
                shared_BE=shared_keys(all_keys[first : first + rows], self.queue_keys),
            )
            if self._config.loss.queue:
                self._late = (self._queued(code_inputs, sides, rows, code_order), all_keys)
            return multi_exit_loss(sides, scale=self.scale(), weights=self.weights, config=self._config.loss)

        return inputs + code_inputs, loss

    def _queued(
        self, code_inputs: list[TextBatch], sides: Sides, rows: int, code_order: list[int]
    ) -> dict[int, Tensor]:
        """Vectors of the batch's codes that will be negatives later."""
        if self._slow is None:
            return {one: vectors.detach() for one, vectors in sides.all_code.items()}
        with torch.no_grad(), self._autocast():
            self._slow.train(False)
            encoded = [self._slow.embed(one.to(self._device)) for one in code_inputs]
            back = in_text_order(code_order).to(self._device)
            return {
                one: gather(torch.cat([vectors[one] for vectors in encoded])[back], self._world)
                for one in encoded[0]
            }
