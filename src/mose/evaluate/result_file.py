"""The file of a result: JSON, with the values of single queries compressed."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.errors import DataError
from mose.evaluate.result import Cell, Cost, Difference, Result, Score, Skipped, System, TaskInfo
from mose.evaluate.systems.protocol import Card
from mose.json_reading import parse_json
from mose.storage import new_file

FORMAT = 1
_REMEDY = "Run `mose eval` again."


def write_result(result: Result, folder: Path) -> Path:
    """Write ``<model>-<commit>.json`` into a folder, atomically.

    Raises:
        DataError: The folder cannot be written.
    """
    values = asdict(result)
    for score in (*values["scores"], *values["own_parts"]):
        score["per_query"] = _pack(score["per_query"], "<f4")
    for task in values["tasks"]:
        task["clusters"] = _pack(task["clusters"], "<i4")
    path = folder / f"{result.model.card.name}-{result.identity}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with new_file(path) as file:
            file.write(json.dumps({"format": FORMAT, **values}, indent=1).encode())
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error}", remedy="Name another folder with --out.") from error
    return path


def read_result(path: Path) -> Result:
    """Read the result of a file.

    Raises:
        DataError: The file is missing, damaged, or of another format.
    """
    try:
        values = parse_json(path.read_text(encoding="utf8"))
    except OSError as error:
        raise DataError(f"no result file {path}: {error.strerror}", remedy="Run `mose eval` first.") from error
    except ValueError as error:
        raise DataError(f"{path} is not a result file ({error})", remedy=_REMEDY) from error
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise DataError(f"{path} is not a result file of this version", remedy=_REMEDY)
    try:
        values.setdefault("own_parts", [])  # results from before they were measured
        return Result(**{**values, **{name: tuple(map(read, values[name])) for name, read in _READERS.items()}})
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error!r})", remedy=_REMEDY) from error


def _system(value: Mapping[str, Any]) -> System:
    known = {own.name for own in fields(Card)}
    card = Card(**{key: part for key, part in value["card"].items() if key in known})
    widths = {int(exit_layer): width for exit_layer, width in value["widths"].items()}
    return System(**{**value, "card": card, "widths": widths})


def _score(value: Mapping[str, Any]) -> Score:
    return Score(**{**value, "per_query": _unpack(value["per_query"], "<f4")})


def _cost(value: Mapping[str, Any]) -> Cost:
    spread = value["texts_per_s_spread"]
    return Cost(**{**value, "texts_per_s_spread": None if spread is None else tuple(spread)})


_READERS = {
    "tasks": lambda value: TaskInfo(**{**value, "clusters": _unpack(value.get("clusters"), "<i4")}),
    "systems": _system,
    "scores": _score,
    "own_parts": _score,
    "costs": _cost,
    "matrix": lambda value: Cell(**value),
    "differences": lambda value: Difference(**value),
    "skipped": lambda value: Skipped(**value),
}


def _pack(values: NDArray[Any] | None, dtype: str) -> str | None:
    """Numbers as text: deflate, then base 64."""
    if values is None:
        return None
    return base64.b64encode(zlib.compress(np.asarray(values, dtype=dtype).tobytes(), level=9)).decode("ascii")


def _unpack(text: str | None, dtype: str) -> NDArray[Any] | None:
    if text is None:
        return None
    numbers = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=dtype)
    return numbers.astype(numbers.dtype.newbyteorder("="))
