"""The training loop: setup is done, the objects come in, this file steps, validates, logs and saves.

It knows no loss formula and no data format. Whatever it reports is one JSON line in the log.
"""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any, Protocol

import torch
from torch import nn

from mose.errors import MoseError
from mose.train.distributed import World, any_of_all, average_gradients
from mose.train.optim import learning_rate_share, set_learning_rate


class TrainingError(MoseError):
    """A run that cannot go on."""


class Learner(Protocol):
    """What is trained: one batch in, gradients and named terms out."""

    def trained(self) -> list[nn.Parameter]:
        """Parameters with gradient."""
        ...

    def backward(self, batch: Any) -> dict[str, float]:
        """Adds gradients of one batch; returns the loss's terms with "total"."""
        ...

    def after_step(self) -> None:
        """Called after each optimizer step."""
        ...


class Checked(Protocol):
    """A learner that can look at a batch without learning."""

    def check(self, batch: Any) -> dict[str, float]:
        """The loss's terms without gradients."""
        ...


class Batches(Protocol):
    """Endless batches with a position."""

    def __next__(self) -> Any:
        """The next batch."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Numbers that steer the loop; see ``RunConfig`` and ``OptimizerConfig`` for their meaning."""

    steps: int
    minutes: float = 0.0
    warmup: int
    final_share: float
    clip: float
    validate_every: int
    checkpoint_seconds: float
    log_every: int = 1

    def position(self, state: RunState) -> float:
        """How far the run is, in steps: those done, or where its time puts it if that is farther on."""
        by_time = state.seconds / (60 * self.minutes) * self.steps if self.minutes else 0.0
        return max(float(state.step), by_time)


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


Validate = Callable[[], Mapping[str, float]]
Save = Callable[[RunState, str], None]
"""State and the reason: "time", "best", "interrupted" or "end"."""


class Log:
    """JSON lines, appended; only the first process writes."""

    def __init__(self, path: Path | None, say: Callable[[str], None] | None = None) -> None:
        self._path = path
        self._say = say

    def write(self, **values: Any) -> None:
        """One line."""
        line = json.dumps(values)
        if self._path is not None:
            with self._path.open("a", encoding="utf8") as file:
                file.write(line + "\n")
        if self._say is not None:
            self._say(line)


class _Interrupt:
    """Turns the first Ctrl-C (or SIGTERM) into a flag, so that a step is never cut in half."""

    def __enter__(self) -> _Interrupt:
        self.asked = False
        self._before: dict[int, Any] = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread: signals are somebody else's
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def fit(
    learner: Learner,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    state: RunState,
    *,
    validate: Validate,
    save: Save,
    log: Log,
    world: World,
) -> RunState:
    """Train from ``state.step`` to ``schedule.steps``, or until ``schedule.minutes`` are over.

    Args:
        learner: Computes gradients.
        batches: Position must agree with ``state``; ``len`` of a batch is its number of items.
        optimizer: Over the learner's parameters.
        schedule: Steps, rates, intervals.
        state: Changed in place.
        validate: "task/exit_02" -> value, higher is better; the means per exit are kept.
        save: Writes a checkpoint.
        log: Takes one line per step, validation and end.
        world: This process's place.

    Returns:
        ``state``.

    Raises:
        TrainingError: A loss or gradient is not finite; the last checkpoint stands.
        KeyboardInterrupt: Ctrl-C, after a checkpoint.
    """
    last_save = perf_counter()
    with _Interrupt() as interrupt:
        while (position := schedule.position(state)) < schedule.steps:
            start = perf_counter()
            batch = next(batches)
            share = learning_rate_share(
                position, steps=schedule.steps, warmup=schedule.warmup, final_share=schedule.final_share
            )
            terms = _step(learner, batch, optimizer, schedule, share, state.step, world)
            elapsed = perf_counter() - start
            state.step += 1
            state.seconds += elapsed
            state.seen += len(batch)
            if state.step % schedule.log_every == 0:
                remaining = state.seconds * (schedule.steps / schedule.position(state) - 1)
                log.write(
                    event="step",
                    step=state.step,
                    seen=state.seen,
                    source=getattr(batch, "source", ""),
                    rate_share=round(share, 4),
                    **{name: round(term, 4) for name, term in terms.items()},
                    seconds=round(elapsed, 2),
                    per_second=round(len(batch) / elapsed, 1),
                    remaining_seconds=max(0, round(remaining)),
                )
            ended = schedule.position(state) >= schedule.steps
            due = schedule.validate_every and state.step % schedule.validate_every == 0
            if (ended or due) and _validate(validate, state, log) and not ended:
                save(state, "best")
                last_save = perf_counter()
            if any_of_all(interrupt.asked, world):
                save(state, "interrupted")
                log.write(event="interrupted", step=state.step)
                raise KeyboardInterrupt
            if ended or perf_counter() - last_save > schedule.checkpoint_seconds:
                save(state, "end" if ended else "time")
                last_save = perf_counter()
    log.write(event="end", step=state.step, seconds=round(state.seconds), best=state.best)
    return state


def _step(
    learner: Learner,
    batch: Any,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    share: float,
    step: int,
    world: World,
) -> dict[str, float]:
    parameters = learner.trained()
    optimizer.zero_grad(set_to_none=True)
    terms = learner.backward(batch)
    average_gradients(parameters, world)
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, schedule.clip))
    require_finite({**terms, "gradient norm": norm}, f"step {step + 1}")
    set_learning_rate(optimizer, share)
    optimizer.step()
    learner.after_step()
    return {**terms, "gradient_norm": norm}


def _validate(validate: Validate, state: RunState, log: Log) -> bool:
    start = perf_counter()
    values = validate()
    if not values:
        return False
    means = mean_by_exit(values)
    better = [name for name, value in means.items() if value > state.best.get(name, -1.0)]
    for name in better:
        state.best[name] = means[name]
        state.best_step[name] = state.step
    log.write(
        event="validation", step=state.step, mean={name: round(value, 4) for name, value in means.items()},
        tasks={name: round(value, 4) for name, value in values.items()}, better=better,
        seconds=round(perf_counter() - start, 1),
    )  # fmt: skip
    return bool(better)


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
    """Nothing if every term is a finite number.

    Raises:
        TrainingError: One is not.
    """
    wrong = [name for name, term in terms.items() if not math.isfinite(term)]
    if wrong:
        raise TrainingError(
            f"{when}: {', '.join(wrong)} is not a finite number",
            remedy="The last checkpoint is good. Lower optimizer.rate or loss.scale_limit and start again.",
        )
