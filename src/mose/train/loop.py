"""The training loop: takes the parts of a run that is set up, and steps, validates, logs and saves.

It knows no loss formula and no data format. Whatever it reports is one JSON line in the log.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from mose.config import OptimizerConfig, RunConfig
from mose.errors import MoseError
from mose.model.encoder import MoseModel
from mose.train.distributed import World, any_of_all, mean_of_all
from mose.train.interruption import Interruption
from mose.train.log import Log, round_values
from mose.train.optim import Optimizers, learning_rate_share


class TrainingError(MoseError):
    """A run that cannot continue."""


_NORMS = 50
"""Steps over which the gradient norm is averaged, and after which it can be called a spike."""
_REMEDY = "The last checkpoint is good. Lower optimizer.rate or loss.scale_limit and start again."


class Learner(Protocol):
    """What is trained: one batch in, gradients and named terms out."""

    model: MoseModel

    def named_trained(self) -> list[tuple[str, nn.Parameter]]:
        """Name and parameter of whatever is trained, in a fixed order."""
        ...

    def backward(self, batch: Any) -> dict[str, float]:
        """Add the gradients of a batch, averaged over processes; return the loss's terms with "total".

        The terms are those of this process's share; "tokens" and "flops" among them make the speeds in the log.
        """
        ...

    def check(self, batch: Any) -> dict[str, float]:
        """The terms of the loss, without gradients."""
        ...

    def after_step(self) -> None:
        """Called after each optimizer step."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold beside the model and the optimizer."""
        ...

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what ``tensors`` returned."""
        ...


class Batches(Protocol):
    """Endless batches with a position."""

    def __next__(self) -> Any:
        """The next batch."""
        ...

    def state(self) -> dict[str, Any]:
        """Position, as plain values for JSON."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored position."""
        ...


@dataclass(slots=True, kw_only=True)
class RunState:
    """How far a run is; stored in every checkpoint."""

    step: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Time spent training, over all parts of the run."""
    seen: int = 0
    """Items (pairs, sequences) seen."""
    best: dict[str, float] = field(default_factory=dict)
    """Best validation value of each exit so far."""
    best_step: dict[str, int] = field(default_factory=dict)
    """Step of each of those."""
    skipped: int = 0
    """Steps skipped in a row, the latest included."""
    typical_norm: float = 0.0
    """Running mean of the gradient norm."""
    latest: dict[str, float] = field(default_factory=dict)
    """Validation value of each exit at the latest validation."""

    def position(self, run: RunConfig) -> float:
        """How far the run is, in steps: those done, or where its time puts it if that is farther on."""
        by_time = self.seconds / (60 * run.minutes) * run.steps if run.minutes else 0.0
        return max(float(self.step), by_time)


Validate = Callable[[], Mapping[str, float]]
"""Returns "task/exit_02" -> value, higher is better; the mean of each exit is kept."""
Save = Callable[[RunState, str], None]
"""Called by every process with the reason: "time", "best", "interrupted" or "end"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The parts of one run."""

    learner: Learner
    batches: Batches
    """Their position must agree with the state of the run; ``len`` of a batch is its number of items."""
    optimizer: Optimizers
    run: RunConfig
    rates: OptimizerConfig
    validate_every: int
    """Steps between two validations; 0 validates at the end only."""
    validate: Validate
    save: Save
    log: Log
    world: World
    peak_flops: float = 0.0
    """FLOPs a second of one process's device, for MFU; 0 leaves it out."""


def fit(training: Training, state: RunState) -> None:
    """Train from ``state.step`` to ``run.steps``, or until ``run.minutes`` are over; ``state`` is changed in place.

    Raises:
        TrainingError: A loss or gradient is not finite; the last checkpoint is good.
        KeyboardInterrupt: Ctrl-C, after a checkpoint.
    """
    run = training.run
    last_save = perf_counter()
    with Interruption() as interruption:
        while state.position(run) < run.steps:
            _step(training, state)
            ended = state.position(run) >= run.steps
            due = training.validate_every and state.step % training.validate_every == 0
            better = bool(ended or due) and _validate(training, state)
            late = perf_counter() - last_save > 60 * run.checkpoint_minutes
            # Clocks and signals differ between processes, and all of them must enter a save.
            interrupted, better, late = any_of_all((interruption.asked, better, late), training.world)
            reasons = {"interrupted": interrupted, "end": ended, "best": better, "time": late}
            if any(reasons.values()):
                training.save(state, next(reason for reason, holds in reasons.items() if holds))
                last_save = perf_counter()
            if interrupted:
                training.log.write(event="interrupted", step=state.step)
                raise KeyboardInterrupt
    training.log.write(event="end", step=state.step, seconds=round(state.seconds), best=state.best)


def _step(training: Training, state: RunState) -> None:
    """One optimizer step, and its line in the log."""
    start = perf_counter()
    run = training.run
    batch = next(training.batches)
    share = learning_rate_share(state.position(run), run.steps, training.rates)
    terms = _learn(training, batch, share, state)
    elapsed = perf_counter() - start
    state.step += 1
    state.seconds += elapsed
    state.seen += len(batch)
    if state.step % run.log_every == 0 and terms:
        remaining = state.seconds * (run.steps / state.position(run) - 1)
        training.log.write(
            event="step",
            step=state.step,
            seen=state.seen,
            source=batch.source,
            rate_share=round(share, 4),
            **round_values(_speeds(terms, elapsed, training)),
            seconds=round(elapsed, 2),
            per_second=round(len(batch) / elapsed, 1),
            remaining_seconds=max(0, round(remaining)),
        )


def _learn(training: Training, batch: Any, share: float, state: RunState) -> dict[str, float]:
    """The terms of the loss after an update; none if the step is skipped."""
    learner, optimizer = training.learner, training.optimizer
    parameters = [parameter for _, parameter in learner.named_trained()]
    optimizer.zero_grad()
    terms = mean_of_all(learner.backward(batch), training.world)
    norm = torch.nn.utils.clip_grad_norm_(parameters, training.rates.clip)
    terms["gradient_norm"] = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    fault = _fault(terms, state, training.run)
    if fault:
        state.skipped += 1
        if state.skipped > training.run.max_skipped:
            raise TrainingError(f"step {state.step + 1}: {fault}", remedy=_REMEDY)
        training.log.write(event="skipped", step=state.step + 1, reason=fault)
        return {}
    state.skipped = 0
    state.typical_norm += (terms["gradient_norm"] - state.typical_norm) / min(state.step + 1, _NORMS)
    optimizer.set_rate(share)
    optimizer.step()
    learner.after_step()
    return terms


def _fault(terms: Mapping[str, float], state: RunState, run: RunConfig) -> str:
    """Why a step must not be taken; empty if it may. The same on all processes."""
    wrong = _not_finite(terms)
    if wrong:
        return wrong
    norm = terms["gradient_norm"]
    if run.spike and state.step >= _NORMS and norm > run.spike * state.typical_norm:
        return f"the gradient norm {norm:.3g} is more than run.spike times the usual {state.typical_norm:.3g}"
    return ""


def _speeds(terms: Mapping[str, float], elapsed: float, training: Training) -> dict[str, float]:
    """The terms, with "tokens" and "flops" of the mean process as tokens a second of all, and MFU."""
    found = {name: term for name, term in terms.items() if name not in ("tokens", "flops")}
    if "tokens" in terms:
        found["tokens_per_second"] = terms["tokens"] * training.world.size / elapsed
    if "flops" in terms and training.peak_flops:
        found["mfu"] = terms["flops"] / elapsed / training.peak_flops
    return found


def _validate(training: Training, state: RunState) -> bool:
    """Validate; return whether the mean of an exit, or of all exits, is the highest so far."""
    start = perf_counter()
    values = training.validate()
    if not values:
        return False
    state.latest = mean_by_exit(values)
    better = [name for name, value in state.latest.items() if value > state.best.get(name, -math.inf)]
    for name in better:
        state.best[name] = state.latest[name]
        state.best_step[name] = state.step
    training.log.write(
        event="validation",
        step=state.step,
        mean=round_values(state.latest),
        tasks=round_values(values),
        better=better,
        seconds=round(perf_counter() - start, 1),
    )
    return bool(better)


def check_before_training(
    learner: Learner, batches: Batches, validate: Validate | None, log: Log, world: World
) -> None:
    """Compute the loss of two batches and validate before step 1, so that mistakes show in seconds, not hours."""
    for _ in range(2):
        batch = next(batches)
        terms = mean_of_all(learner.check(batch), world)
        log.write(event="before", source=batch.source, **round_values(terms))
        require_finite(terms, "before step 1")
    values = validate() if validate is not None else {}
    if values:
        log.write(event="validation", step=0, mean=round_values(mean_by_exit(values)), tasks=round_values(values))


def mean_by_exit(values: Mapping[str, float]) -> dict[str, float]:
    """Mean over tasks of each exit's value.

    Example:
        >>> mean_by_exit({"a/exit_02": 0.2, "b/exit_02": 0.4})["exit_02"] == (0.2 + 0.4) / 2
        True
    """
    by_exit: dict[str, list[float]] = {}
    for name, value in values.items():
        by_exit.setdefault(name.rsplit("/", 1)[1], []).append(value)
    return {name: sum(group) / len(group) for name, group in by_exit.items()}


def require_finite(terms: Mapping[str, float], when: str) -> None:
    """Raise `TrainingError` unless every term is a finite number."""
    wrong = _not_finite(terms)
    if wrong:
        raise TrainingError(f"{when}: {wrong}", remedy=_REMEDY)


def _not_finite(terms: Mapping[str, float]) -> str:
    """Says which terms are not finite numbers; empty if all are."""
    wrong = [name for name, term in terms.items() if not math.isfinite(term)]
    return f"{', '.join(wrong)} is not a finite number" if wrong else ""
