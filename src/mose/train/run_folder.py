"""The folder of one run: its settings, log and checkpoints. A run continues from its newest checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from mose.config import ClonesConfig, FinetuneConfig, PretrainConfig, PretrainRun, write_toml
from mose.storage import new_file, require_replaceable, require_writable_folder
from mose.train.checkpoints import (
    Checkpoint,
    complete_checkpoints,
    load_checkpoint,
    read_position,
    save_checkpoint,
    write_position,
)
from mose.train.distributed import World, wait_for_all
from mose.train.log import Log
from mose.train.loop import Batches, Learner, RunState, Training, Validate, fit
from mose.train.optim import Optimizers, build_optimizer
from mose.train.shards import ShardWriter, read_shards
from mose.train.start import require_same_settings


class RunFolder:
    """``config.toml`` (resolved), ``log.jsonl``, ``checkpoints/`` and ``best/`` of one run.

    Args:
        config: All settings.
        world: Only the first process writes the log.
        say: Called with each line of the log as well.

    Raises:
        ConfigError: The folder holds a run with different settings.
        OutputError: The folder holds something other than a run, or a ``best/`` that mose did not write.
        ModelError: Its newest checkpoint is damaged.
    """

    def __init__(
        self,
        config: FinetuneConfig | ClonesConfig | PretrainConfig,
        world: World,
        say: Callable[[str], None] | None,
    ) -> None:
        self.path = Path(config.run.folder)
        require_writable_folder(self.path, marks=("log.jsonl", "checkpoints"))
        require_replaceable(self.path / "best")
        self._config = config
        self._world = world
        checkpoints = complete_checkpoints(self.path / "checkpoints")
        self._newest = checkpoints[-1] if checkpoints else None
        self._sharded = isinstance(config, PretrainConfig)
        self.checkpoint = load_checkpoint(self._newest) if self._newest and not self._sharded else None
        """The newest checkpoint; None for a new run, and in pre-training, which reads its parts into the model."""
        if self._newest is not None:
            require_same_settings(config, self.path)
        board = self.path / "tensorboard" if config.run.tensorboard else None
        self.log = Log(self.path / "log.jsonl", say, board=board) if world.is_first else Log(None)

    @property
    def is_new(self) -> bool:
        """True for a run without a checkpoint."""
        return self._newest is None

    def begin(self) -> None:
        """Make the folder and write the settings. Called by every process, after all that can be refused."""
        wait_for_all(self._world)  # until all have read the folder as it was
        if self._world.is_first:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "log.jsonl").touch()  # marks the folder as a run, before any other file
            with new_file(self.path / "config.toml") as file:
                file.write(write_toml(self._config).encode())

    def train(
        self,
        learner: Learner,
        batches: Batches,
        *,
        validate: Validate,
        write: Callable[[Path, RunState], None],
    ) -> RunState:
        """Train from the newest checkpoint, or the beginning, to ``run.steps``.

        Args:
            learner: Computes gradients.
            batches: Endless; ``len`` of one is its number of items.
            validate: "task/exit_02" -> value, higher is better.
            write: Writes the finished form of the model into a folder; called by every process. ``best/`` is written
                when the mean over exits is the highest so far.

        Raises:
            TrainingError: A loss or gradient is not finite; the last checkpoint is good.
            KeyboardInterrupt: Ctrl-C, after a checkpoint.
        """
        config, world = self._config, self._world
        layers = learner.model.settings.num_layers
        optimizer = build_optimizer(learner.named_trained(), config.optimizer, num_layers=layers)
        state = self._resume(learner, optimizer, batches)
        companions, keep = Path(config.start.folder), config.run.keep_checkpoints
        folder = self.path / "checkpoints"
        writer = ShardWriter(folder, keep=keep, world=world) if self._sharded else None

        def save(state: RunState, reason: str) -> None:
            # The checkpoint comes last: a run killed before it repeats the step and writes the same best/.
            if state.best_step.get("all") == state.step:
                write(self.path / "best", state)
            tensors = {**optimizer.tensors(), **learner.tensors()}
            said = partial(self.log.write, event="checkpoint", step=state.step, reason=reason)
            if writer is None:
                checkpoint = Checkpoint(model=learner.model, tensors=tensors, run=state, batches=batches.state())
                said(path=str(save_checkpoint(folder, checkpoint, companions=companions, keep=keep, world=world)))
            else:
                position = write_position(state, batches.state())
                writer.save(f"step_{state.step:06d}", tensors, position, lambda path: said(path=str(path)))

        training = Training(
            learner=learner,
            batches=batches,
            optimizer=optimizer,
            run=config.run,
            rates=config.optimizer,
            validate_every=config.validation.every,
            validate=validate,
            save=save,
            log=self.log,
            world=world,
            peak_flops=1e12 * config.run.peak_tflops if isinstance(config.run, PretrainRun) else 0.0,
        )
        try:
            fit(training, state)
        finally:
            if writer is not None:
                writer.wait()
        return state

    def _resume(self, learner: Learner, optimizer: Optimizers, batches: Batches) -> RunState:
        """Restore everything from the newest checkpoint, if there is one."""
        if self._sharded:
            optimizer.begin()
        if self._newest is None:
            return RunState()
        if self.checkpoint is not None:
            state, position = self.checkpoint.run, self.checkpoint.batches
            optimizer.load(self.checkpoint.tensors)
            learner.load_tensors(self.checkpoint.tensors)
        else:
            state, position = read_position(self._newest)
            read_shards(self._newest, {**optimizer.tensors(), **learner.tensors()}, self._world)
        batches.load_state(position)
        self.log.write(event="resumed", step=state.step, checkpoint=str(self._newest))
        return state
