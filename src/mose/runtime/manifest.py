"""``mose.json``, the description of a runtime folder; written last, so that its presence means complete."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mose.errors import ModelError
from mose.json_reading import read_json
from mose.storage import recover
from mose.tokenizer import TokenizerSettings

MANIFEST_NAME = "mose.json"
TABLE_NAME = "exit_0.safetensors"
ALL_EXITS_NAME = "all_exits.onnx"
TOKENIZER_NAME = "tokenizer.json"
WEIGHTS_NAME = "weights.bin"
FORMAT_VERSION = 3
"""Raised when the files, or the vectors computed from them, change: 2 counts words of exit 0 by the root of their
number, 3 can give exit 0 a share in the others."""
AGAIN = "Install, copy or export the model again."
_LARGEST_COUNT = 1 << 20
_MAX_EXITS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of the folder."""

    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Description of a runtime folder."""

    name: str
    exits: tuple[int, ...]
    """Shallowest first."""
    widths: Mapping[int, int]
    """Exit -> number of dimensions."""
    hidden_size: int
    num_layers: int
    num_heads: int
    table_share: float
    """Share of exit 0 in the cosine at every other exit."""
    pooling: str
    norm_rule: str
    dtype: str
    """ "float32" or "int8" """
    float_matrices: tuple[str, ...]
    """Matrices kept in float32 in an int8 model."""
    tokenizer: TokenizerSettings
    licence: str
    """SPDX expression of the weights."""
    source: str
    """Where the weights come from, in words."""
    files: Mapping[str, FileEntry]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The model's own config, as in its ``config.json``; running the model does not need it."""

    @property
    def identity(self) -> str:
        """Short hash of all that affects the vectors; models of the same identity give the same vectors."""
        parts: dict[str, Any] = {"format": FORMAT_VERSION, "tokenizer": dataclasses.asdict(self.tokenizer)}
        parts["table_share"] = self.table_share
        parts["files"] = {
            name: entry.sha256
            for name, entry in self.files.items()
            if name.endswith((".onnx", ".bin", ".safetensors")) or name == TOKENIZER_NAME
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a runtime folder, and check existence and size of every listed file.

        Raises:
            ModelError: The folder is missing, is another kind of model, or is incomplete.
        """
        values = _read_json(folder)
        if values.get("format") != FORMAT_VERSION:
            raise ModelError(
                f"format of {folder / MANIFEST_NAME}",
                got=values.get("format"),
                allowed=str(FORMAT_VERSION),
                remedy="Update mose, or export the model again with this version.",
            )
        try:
            manifest = cls._from_values(values, where=str(folder / MANIFEST_NAME))
            manifest._check_values()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"{folder / MANIFEST_NAME} is damaged ({error!r})", remedy=AGAIN) from error
        manifest._check_sizes(folder)
        return manifest

    @classmethod
    def _from_values(cls, values: Mapping[str, Any], *, where: str) -> Manifest:
        plain = {own.name: values[own.name] for own in dataclasses.fields(cls) if own.name in values}
        return cls(
            **plain
            | {
                "exits": tuple(values["exits"]),
                "widths": {int(exit_layer): int(width) for exit_layer, width in values["widths"].items()},
                "float_matrices": tuple(values["float_matrices"]),
                "tokenizer": TokenizerSettings.read(values, where=where),
                "files": {name: FileEntry(**entry) for name, entry in values["files"].items()},
            }
        )

    def write(self, folder: Path) -> None:
        """Write ``mose.json``."""
        values = {own.name: getattr(self, own.name) for own in dataclasses.fields(self)}
        tokenizer = dataclasses.asdict(values.pop("tokenizer"))
        files = {name: dataclasses.asdict(entry) for name, entry in values.pop("files").items()}
        head = {"format": FORMAT_VERSION, "identity": self.identity}
        text = json.dumps({**head, **values, **tokenizer, "files": files}, indent=2)
        (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")

    def verify(self, folder: Path) -> None:
        """Read every file and compare its SHA-256.

        Raises:
            ModelError: A file is missing or differs.
        """
        self._check_sizes(folder)
        for name, entry in self.files.items():
            if hash_file(folder / name).sha256 != entry.sha256:
                what = f"{folder / name} does not match its SHA-256 in {MANIFEST_NAME}"
                raise ModelError(what, remedy=AGAIN)

    def _check_values(self) -> None:
        """Raise `ValueError` unless the values are such as an export writes."""
        counts = (*self.exits, *self.widths.values(), self.hidden_size, self.num_layers, self.num_heads)
        _require(all(type(count) is int and 0 <= count <= _LARGEST_COUNT for count in counts), "counts")
        _require(0 < len(self.exits) <= _MAX_EXITS and list(self.exits) == sorted(set(self.exits)), "exits")
        _require(set(self.widths) == set(self.exits) and min(self.widths.values()) > 0, "widths")
        _require(type(self.table_share) in (int, float) and 0 <= self.table_share < 1, "table_share")
        texts = (self.name, self.pooling, self.norm_rule, self.licence, self.source, *self.float_matrices)
        _require(all(isinstance(text, str) for text in texts), "texts")
        _require(self.dtype in ("float32", "int8"), "dtype")
        _require(isinstance(self.settings, dict), "settings")
        needed = {TOKENIZER_NAME, *map(exit_file, self.exits)}
        _require(needed <= set(self.files), "files: one that an exit needs is not listed")
        for name, entry in self.files.items():
            _require(name not in ("", ".", "..") and not set(name) & set("/\\:\0"), f"files: {name!r}")
            _require(type(entry.size) is int and entry.size >= 0 and isinstance(entry.sha256, str), f"files: {name!r}")

    def _check_sizes(self, folder: Path) -> None:
        real = folder.resolve()
        for name, entry in self.files.items():
            path = folder / name
            if path.is_symlink() and not path.resolve().is_relative_to(real):
                raise ModelError(f"{path} is a link out of its folder", remedy="Copy the model with its files: cp -rL.")
            try:
                found = path.stat()
            except FileNotFoundError as error:
                raise ModelError(f"{path} is missing", remedy=AGAIN) from error
            except OSError as error:
                raise ModelError(f"{path} cannot be read: {error.strerror}", remedy=AGAIN) from error
            if not stat.S_ISREG(found.st_mode):
                raise ModelError(f"{path} is not a regular file", remedy=AGAIN)
            if found.st_size != entry.size:
                raise ModelError(f"size of {path}", got=found.st_size, allowed=f"{entry.size} bytes", remedy=AGAIN)


def hash_file(path: Path) -> FileEntry:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return FileEntry(size=path.stat().st_size, sha256=digest.hexdigest())


def exit_file(exit_layer: int) -> str:
    """Name of the file of an exit."""
    return TABLE_NAME if exit_layer == 0 else f"exit_{exit_layer}.onnx"


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _read_json(folder: Path) -> dict[str, Any]:
    recover(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder", remedy='Name a model folder, or "small".')
    path = folder / MANIFEST_NAME
    if not path.is_file():
        if (folder / "config.json").is_file():
            raise ModelError(
                f"{folder} holds a checkpoint for training, not a model to run",
                remedy=f"Export it first: mose export {folder} OUT",
            )
        raise ModelError(f"{folder} has no {MANIFEST_NAME}", remedy=AGAIN)
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged ({error})", remedy=AGAIN) from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} is damaged (not a JSON object)", remedy=AGAIN)
    return values
