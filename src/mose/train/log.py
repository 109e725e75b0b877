"""The log of a run: JSON lines. Its first line says what is trained, on what and where."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mose.errors import ConfigError
from mose.model.encoder import MoseModel
from mose.train.device import emulates_bfloat16
from mose.train.distributed import World


class Log:
    """JSON lines, appended; a path of None writes no file.

    Args:
        path: The file.
        say: Called with each line as well.
        board: Folder of TensorBoard, which gets the numbers of each step and validation; none if None.

    Raises:
        ConfigError: TensorBoard is asked for and not installed.
    """

    def __init__(
        self, path: Path | None, say: Callable[[str], None] | None = None, *, board: Path | None = None
    ) -> None:
        self._path = path
        self._say = say
        self._open_board = None if board is None else _board_opener(board)
        self._board: Any = None

    def write(self, **values: Any) -> None:
        """Append one line."""
        if self._open_board is not None and "step" in values:
            self._board = self._board or self._open_board()
            numbers = {**values, **values.get("mean", {})}
            for name, value in numbers.items():
                if isinstance(value, float):
                    self._board.add_scalar(f"{values['event']}/{name}", value, values["step"])
            self._board.flush()
        line = json.dumps(values)
        if self._path is not None:
            with self._path.open("a", encoding="utf8") as file:
                file.write(line + "\n")
        if self._say is not None:
            self._say(line)

    def write_start(
        self,
        model: MoseModel,
        sources: Mapping[str, Mapping[str, object]],
        *,
        world: World,
        device: torch.device,
        precision: str,
    ) -> None:
        """Write the first line, and a warning if the precision is slow on this processor."""
        self.write(
            event="start",
            sources=sources,
            exits=list(model.settings.exits),
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            trained=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
            processes=world.size,
            device=str(device),
            threads=torch.get_num_threads(),
            torch=torch.__version__,
        )
        capabilities = getattr(torch.cpu, "get_capabilities", dict)  # torch 2.13 and newer
        if device.type == "cpu" and precision == "bfloat16" and emulates_bfloat16(capabilities()):
            self.write(
                event="warning",
                what="run.precision = bfloat16, which this processor emulates: float32 is several times faster",
                remedy='Start a new run with run.precision = "float32".',
            )


def _board_opener(folder: Path) -> Callable[[], Any]:
    """Makes the folder when it is called: a run that is refused leaves nothing behind."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("run.tensorboard", got=True, allowed="false where tensorboard is not installed",
                          remedy="Run pip install tensorboard.") from None  # fmt: skip
    return partial(SummaryWriter, str(folder))


def round_values(values: Mapping[str, float]) -> dict[str, float]:
    """Values short enough for a line of the log."""
    return {name: round(value, 4) for name, value in values.items()}
