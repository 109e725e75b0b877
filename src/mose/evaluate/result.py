"""The result file of one evaluation: everything that tables, plots and comparisons are made from."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.errors import DataError
from mose.evaluate.systems.protocol import Card
from mose.parsing import parse_json
from mose.storage import new_file

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """A task without its texts."""

    name: str
    family: str
    dataset: str
    protocol: str
    metric: str
    num_queries: int
    num_corpus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One system on one task, at one exit and width."""

    task: str
    system: str
    exit: int | None
    """None for a system without vectors."""
    width: int | None
    metrics: Mapping[str, float]
    """Means over the queries; holds the task's headline metric and ``METRICS`` of the runner."""
    per_query: NDArray[np.float32] | None = None
    """Headline metric of each query; kept at full width only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a system costs at one exit."""

    system: str
    exit: int | None
    parameters: int | None
    query_tokens: int
    """Length of the texts that ``query_flops`` counts."""
    query_flops: int | None
    latency_ms: float
    """Median time of one query, alone."""
    latency_ms_p95: float
    texts_per_s: float | None
    """Median over the rounds of pieces of code embedded a second, many at once."""
    texts_per_s_spread: tuple[float, float] | None
    """Slowest and fastest round."""
    index_bytes: int
    """Of 1,000 chunks at full width."""
    threads: int
    what: str
    """What exactly was timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A system that took part."""

    card: Card
    identity: str
    is_model: bool
    """True for the model under test, False for a peer."""
    widths: Mapping[int, int]
    """Exit -> full width; empty without vectors."""

    @property
    def deepest(self) -> int | None:
        """Its deepest exit; None without vectors."""
        return max(self.widths, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the exit x exit matrix: queries at one exit, corpus at another."""

    task: str
    query_exit: int
    corpus_exit: int
    width: int
    value: float
    """Mean of the task's headline metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """First system minus second, paired by query, with its 95 % bootstrap interval."""

    over: str
    """A task, ``HEADLINE``, or ``SHARED``: the plain mean over the tasks that both ran."""
    first: str
    first_exit: int | None
    second: str
    second_exit: int | None
    mean: float
    low: float
    high: float
    p_value: float | None = None
    """Permutation test that two exits score differently, adjusted for all pairs of exits (Holm)."""


HEADLINE = "headline"
SHARED = "shared tasks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A system that was asked for and could not take part, or not in full."""

    system: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One evaluation."""

    identity: str
    """Commit or version of the code; the file's name begins with the model's."""
    date: str
    seconds: float
    environment: Mapping[str, Any]
    options: Mapping[str, Any]
    """What was asked for; a ``limit`` here makes the numbers incomparable to full runs."""
    tasks: Sequence[TaskInfo]
    systems: Sequence[System]
    scores: Sequence[Score]
    matrix: Sequence[Cell]
    costs: Sequence[Cost]
    differences: Sequence[Difference] = ()
    skipped: Sequence[Skipped] = ()

    @property
    def model(self) -> System:
        """The system under test."""
        return next(system for system in self.systems if system.is_model)

    def system(self, name: str) -> System:
        """A system by name."""
        return next(system for system in self.systems if system.card.name == name)

    def values(self, system: str, exit_layer: int | None) -> dict[str, NDArray[np.float32]]:
        """Task -> headline metric of each query, at full width."""
        return {
            score.task: score.per_query
            for score in self.scores
            if (score.system, score.exit) == (system, exit_layer) and score.per_query is not None
        }

    def means(self, system: str, exit_layer: int | None, width: int | None) -> dict[str, float]:
        """Task -> mean of its headline metric."""
        metric = {task.name: task.metric for task in self.tasks}
        return {
            score.task: score.metrics[metric[score.task]]
            for score in self.scores
            if (score.system, score.exit, score.width) == (system, exit_layer, width)
        }

    def write(self, folder: Path) -> Path:
        """Writes ``<model>-<commit>.json`` into a folder, complete or not at all.

        Raises:
            DataError: The folder cannot be written.
        """
        values = asdict(self)
        for score in values["scores"]:
            score["per_query"] = _packed(score["per_query"])
        path = folder / f"{self.model.card.name}-{self.identity}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with new_file(path) as file:
                file.write(json.dumps({"format": FORMAT, **values}, indent=1).encode())
        except OSError as error:
            raise DataError(f"{folder} cannot be written: {error}", remedy="Name another folder with --out.") from error
        return path

    @classmethod
    def read(cls, path: Path) -> Result:
        """The result of a file.

        Raises:
            DataError: The file is missing, damaged, or of another format.
        """
        try:
            values = parse_json(path.read_text(encoding="utf8"))
        except OSError as error:
            raise DataError(f"no result file {path}: {error.strerror}", remedy="Run `mose eval` first.") from error
        except ValueError as error:
            raise DataError(f"{path} is no result file ({error})") from error
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise DataError(f"{path} is no result file of this version", remedy="Run `mose eval` again.")
        try:
            return cls(
                **{
                    **values,
                    "tasks": _all(TaskInfo, values["tasks"]),
                    "systems": tuple(_system(value) for value in values["systems"]),
                    "scores": tuple(
                        Score(**{**value, "per_query": _unpacked(value["per_query"])}) for value in values["scores"]
                    ),
                    "matrix": _all(Cell, values["matrix"]),
                    "costs": tuple(_cost(value) for value in values["costs"]),
                    "differences": _all(Difference, values["differences"]),
                    "skipped": _all(Skipped, values["skipped"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
            raise DataError(f"{path} is damaged ({error!r})", remedy="Run `mose eval` again.") from error


def _all(kind: Any, values: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    return tuple(kind(**value) for value in values)


def _system(value: Mapping[str, Any]) -> System:
    known = {own.name for own in fields(Card)}
    card = Card(**{key: part for key, part in value["card"].items() if key in known})
    widths = {int(exit_layer): width for exit_layer, width in value["widths"].items()}
    return System(**{**value, "card": card, "widths": widths})


def _cost(value: Mapping[str, Any]) -> Cost:
    spread = value["texts_per_s_spread"]
    return Cost(**{**value, "texts_per_s_spread": None if spread is None else tuple(spread)})


def _packed(values: NDArray[np.float32] | None) -> str | None:
    """Float32 numbers as text: deflated, base 64."""
    if values is None:
        return None
    return base64.b64encode(zlib.compress(np.asarray(values, dtype="<f4").tobytes(), level=9)).decode("ascii")


def _unpacked(text: str | None) -> NDArray[np.float32] | None:
    if text is None:
        return None
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<f4").astype(np.float32)
