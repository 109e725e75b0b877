"""The folder of one run: its settings, log and checkpoints; what it holds decides where the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from mose.config import ClonesConfig, FinetuneConfig, write_toml
from mose.model.encoder import MoseModel
from mose.storage import require_replaceable, require_writable_folder
from mose.train.checkpoints import complete_checkpoints, load_state, save_state
from mose.train.distributed import World
from mose.train.loop import Batches, Learner, Log, RunState, Validate, fit
from mose.train.optim import build_optimizer, load_optimizer_tensors, optimizer_tensors
from mose.train.prepare import check_same, schedule_of


class StoredLearner(Learner, Protocol):
    """A learner that fits into a checkpoint."""

    model: MoseModel

    def named_trained(self) -> list[tuple[str, nn.Parameter]]:
        """Name and parameter of whatever is trained, in a fixed order."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold beside the model and the optimizer."""
        ...

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what ``tensors`` gave."""
        ...


class StoredBatches(Batches, Protocol):
    """Batches with a position."""

    def state(self) -> dict[str, Any]:
        """Position, as plain values for JSON."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a stored position."""
        ...


class RunFolder:
    """``config.toml`` (resolved), ``log.jsonl``, ``checkpoints/`` and ``best/`` of one run.

    Args:
        config: All settings.
        world: Only the first process writes.
        say: Called with each line of the log as well.

    Raises:
        ConfigError: The folder holds a run with other settings.
        OutputError: It holds something else than a run, or a ``best/`` that mose did not write.
        ModelError: Its newest checkpoint is damaged.
    """

    def __init__(self, config: FinetuneConfig | ClonesConfig, world: World, say: Callable[[str], None] | None) -> None:
        self.path = Path(config.run.folder)
        require_writable_folder(self.path, marks=("log.jsonl", "checkpoints"))
        require_replaceable(self.path / "best")
        self._config = config
        self._world = world
        checkpoints = complete_checkpoints(self.path / "checkpoints")
        self._newest = checkpoints[-1] if checkpoints else None
        self.state = load_state(self._newest) if self._newest else None
        """The newest checkpoint; None for a new run."""
        if self.state is not None:
            check_same(config, self.path)
        self.log = Log(self.path / "log.jsonl" if world.is_first else None, say if world.is_first else None)

    def begin(self) -> None:
        """Makes the folder and writes the settings: once nothing is left that could be refused."""
        if self._world.is_first:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "config.toml").write_text(write_toml(self._config), encoding="utf8")

    def train(
        self,
        learner: StoredLearner,
        batches: StoredBatches,
        *,
        validate: Validate,
        write: Callable[[Path, RunState], None],
    ) -> RunState:
        """Trains from the newest checkpoint, or the beginning, to ``run.steps``.

        Args:
            learner: Computes gradients.
            batches: Endless; ``len`` of one is its number of items.
            validate: "task/exit_02" -> value, higher is better.
            write: Writes the finished form of the model into a folder: ``best/``, where the mean over exits was
                never higher.

        Raises:
            TrainingError: A loss or gradient is not finite; the last checkpoint stands.
            KeyboardInterrupt: Ctrl-C, after a checkpoint.
        """
        config = self._config
        optimizer = build_optimizer(
            learner.named_trained(), config.optimizer, num_layers=learner.model.settings.num_layers
        )
        state = RunState()
        if self.state is not None:
            state = self.state.run
            load_optimizer_tensors(optimizer, self.state.tensors)
            learner.load_tensors(self.state.tensors)
            batches.load_state(self.state.batches)
            self.log.write(event="resumed", step=state.step, checkpoint=str(self._newest))

        def save(state: RunState, reason: str) -> None:
            if not self._world.is_first:
                return
            written = save_state(
                self.path / "checkpoints",
                model=learner.model,
                companions=Path(config.start.folder),
                tensors={**optimizer_tensors(optimizer), **learner.tensors()},
                state=state,
                batches=batches.state(),
                keep=config.run.keep_checkpoints,
            )
            self.log.write(event="checkpoint", step=state.step, reason=reason, path=str(written))
            if state.best_step.get("all") == state.step:
                write(self.path / "best", state)

        return fit(
            learner,
            batches,
            optimizer,
            schedule_of(config),
            state,
            validate=validate,
            save=save,
            log=self.log,
            world=self._world,
        )
