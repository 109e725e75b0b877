"""Checkpoints of which every process writes its part, while training continues. No pickle.

``checkpoints/step_000120/`` holds ``state/``, one file of safetensors for each process, and ``training.json``. Any
number of processes can read it. It is written under another name and renamed once all parts are there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, distributed
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from mose.storage import new_folder
from mose.train.checkpoints import POSITION_FILE, damaged, remove_left, remove_oldest
from mose.train.distributed import World, wait_for_all

STATE = "state"


class ShardWriter:
    """Writes checkpoints one at a time; the tensors are copied, then training goes on.

    Args:
        folder: The run's ``checkpoints`` folder.
        keep: Checkpoints that stay.
        world: This process's rank.
    """

    def __init__(self, folder: Path, *, keep: int, world: World) -> None:
        self._folder, self._keep, self._world = folder, keep, world
        # Its own group, so that its messages do not meet those of the training.
        self._group = distributed.new_group(backend="gloo") if world.size > 1 else None
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def save(self, name: str, tensors: Mapping[str, Tensor], position: str, done: Callable[[Path], None]) -> None:
        """Begin a checkpoint. Every process must call it.

        Args:
            name: Of its folder.
            tensors: This process's part of the state.
            position: Text of ``training.json``.
            done: Called by the first process once the checkpoint is complete.
        """
        self.wait()
        parts = self._folder / f".{name}.parts"
        if self._world.is_first:
            remove_left(self._folder)
            parts.mkdir(parents=True)
        wait_for_all(self._world)
        _expect_one_process()
        written = async_save(
            dict(tensors),
            storage_writer=HuggingFaceStorageWriter(str(parts), save_distributed=True),
            process_group=self._group,
            no_dist=self._group is None,
        )
        self._pending = self._thread.submit(self._finish, written, parts, self._folder / name, position, done)

    def wait(self) -> None:
        """Return when the last checkpoint of this process is written.

        Raises:
            OSError: It could not be written.
        """
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def _finish(self, written: Any, parts: Path, target: Path, position: str, done: Callable[[Path], None]) -> None:
        written.result()  # on the first process: of all processes
        if self._world.is_first:
            with new_folder(target) as staging:
                parts.rename(staging / STATE)
                (staging / POSITION_FILE).write_text(position, encoding="utf8")
            remove_oldest(self._folder, keep=self._keep)
            done(target)


def read_shards(path: Path, tensors: Mapping[str, Tensor], world: World) -> None:
    """Fill the tensors of this process from a checkpoint of any number of processes.

    Raises:
        ModelError: It is damaged, or has other tensors.
    """
    _expect_one_process()
    try:
        with torch.no_grad():
            reader = HuggingFaceStorageReader(str(path / STATE))
            load(dict(tensors), storage_reader=reader, no_dist=world.size == 1)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, CheckpointException) as error:
        raise damaged(path, error) from error


def _expect_one_process() -> None:
    warnings.filterwarnings("ignore", "torch.distributed is (disabled|unavailable)", UserWarning)
