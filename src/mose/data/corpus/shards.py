"""The shards of a corpus: whole repositories one after the other, in files that are mapped, not read.

A corpus is a folder with ``corpus.json`` (the manifest, written last), ``shard-00000.safetensors`` and so on, and,
if it holds tokens, ``tokenizer.json``. The tensors of a shard:

    units         of all files, one after the other: token ids (uint16 or uint32), or bytes of UTF-8 text (uint8)
    ends          [files] int64: where each file ends in ``units``
    repositories  [repositories] int64: number of the file after the last one of each
    digests       [files, 16] uint8: BLAKE2b of each text
    index         JSON as bytes: name and licence of each repository; path, language and characters of each file
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mose.data.mine.archives import hash_of
from mose.errors import DataError
from mose.json_reading import read_json
from mose.storage import new_file

FORMAT = 1
MANIFEST = "corpus.json"
TOKENIZER = "tokenizer.json"
DIGEST_BYTES = 16
Units: TypeAlias = NDArray[Any]
"""Token ids, or bytes of a text, of type uint8."""
_KINDS: dict[str, np.dtype[Any]] = {"U8": np.dtype("<u1"), "U16": np.dtype("<u2"), "U32": np.dtype("<u4")}
_REMEDY = "Copy it again, or delete the folder and build the corpus again."


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusFile:
    """One file of a corpus."""

    repository: str
    licence: str
    path: str
    language: str
    characters: int
    units: Units
    digest: bytes
    sketch: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    """Smallest hashes of its shingles; kept in parts alone."""


def write_shard(path: Path, files: Sequence[CorpusFile], *, notes: Mapping[str, Any] | None = None) -> None:
    """Write files as a shard, atomically.

    Args:
        path: The shard.
        files: Those of one repository follow each other.
        notes: Further entries of the index; with them, the sketches are written as well.
    """
    groups = [list(group) for _, group in groupby(files, key=lambda file: file.repository)]
    repositories = [
        {"name": group[0].repository, "licence": group[0].licence,
         "files": [[file.path, file.language, file.characters] for file in group]}
        for group in groups
    ]  # fmt: skip
    index = json.dumps({"repositories": repositories, **(notes or {})}, ensure_ascii=False)
    tensors = {
        "units": np.concatenate([file.units for file in files]) if files else np.zeros(0, np.uint8),
        "ends": np.cumsum([len(file.units) for file in files], dtype=np.int64),
        "repositories": np.cumsum([len(group) for group in groups], dtype=np.int64),
        "digests": np.frombuffer(b"".join(file.digest for file in files), np.uint8).reshape(-1, DIGEST_BYTES),
        "index": np.frombuffer(index.encode("utf8", "surrogatepass"), np.uint8),
    }
    if notes is not None:
        tensors["sketches"] = np.concatenate([np.zeros(0, np.uint64), *(file.sketch for file in files)])
        tensors["sketch_ends"] = np.cumsum([len(file.sketch) for file in files], dtype=np.int64)
    with new_file(path) as target:
        target.write(save(tensors))


class Shard:
    """A shard, mapped.

    Args:
        path: The file.

    Raises:
        DataError: It is missing, truncated or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.units = _map_units(path)
            self.ends: NDArray[np.int64] = self._tensor("ends")
            self.repositories: NDArray[np.int64] = self._tensor("repositories")
            index = self.index()
            self.names = [str(one["name"]) for one in index["repositories"]]
            sizes = [len(one["files"]) for one in index["repositories"]]
            whole = len(self.ends) == sum(sizes) == len(self._tensor("digests")) and np.all(
                np.diff(self.ends, prepend=0) >= 0
            )
            if not (
                whole and (self.ends[-1:] == len(self.units)).all() and (np.cumsum(sizes) == self.repositories).all()
            ):
                raise ValueError("its tables do not agree")
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged ({error})", got=_size_of(path), allowed="a whole shard",
                            remedy=_REMEDY) from error  # fmt: skip

    def index(self) -> dict[str, Any]:
        """What the index says, read anew: it is large, and training needs little of it."""
        found: dict[str, Any] = json.loads(self._tensor("index").tobytes().decode("utf8", "surrogatepass"))
        return found

    def _tensor(self, name: str) -> NDArray[Any]:
        with safe_open(str(self.path), framework="numpy") as file:
            found: NDArray[Any] = file.get_tensor(name)
        return found

    def files(self) -> Iterator[CorpusFile]:
        """All files in order."""
        index, digests = self.index(), self._tensor("digests")
        sketches = np.split(self._tensor("sketches"), self._tensor("sketch_ends")[:-1]) if "part" in index else None
        start = number = 0
        for repository in index["repositories"]:
            for path, language, characters in repository["files"]:
                end = int(self.ends[number])
                yield CorpusFile(
                    repository=repository["name"], licence=repository["licence"], path=path, language=language,
                    characters=characters, units=self.units[start:end], digest=digests[number].tobytes(),
                    **({} if sketches is None else {"sketch": sketches[number]}),
                )  # fmt: skip
                start, number = end, number + 1


def _map_units(path: Path) -> Units:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(size))["units"]
    begin, end = entry["data_offsets"]
    kind = _KINDS[entry["dtype"]]
    if begin == end:
        return np.zeros(0, kind)
    return np.memmap(path, kind, "r", offset=8 + size + begin, shape=((end - begin) // kind.itemsize,))


def _size_of(path: Path) -> str:
    return f"{path.stat().st_size:,} bytes" if path.is_file() else "no file"


def read_manifest(folder: Path) -> dict[str, Any]:
    """What ``corpus.json`` holds.

    Raises:
        DataError: There is none, or it is damaged.
    """
    try:
        value = read_json(folder / MANIFEST)
        if value["format"] != FORMAT:
            raise DataError(f"format of {folder / MANIFEST}", got=value["format"], allowed=str(FORMAT),
                            remedy="Build the corpus again with this version.")  # fmt: skip
        if not all(isinstance(shard["file"], str) and shard["bytes"] >= 0 for shard in value["shards"]):
            raise ValueError("its shards are not named")
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} is not a corpus", got=f"no {MANIFEST}", allowed="a folder that mose corpus build has finished",
            remedy="If its build was stopped, run it again with the same arguments: it continues.",
        ) from error  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{folder / MANIFEST} is damaged ({error})", remedy=_REMEDY) from error
    return dict(value)


def open_shards(folder: Path, *, text_of: str = "") -> list[Shard]:
    """The shards of a corpus.

    Args:
        folder: The corpus.
        text_of: What to do about a corpus that holds no text; if empty, it may hold tokens.

    Raises:
        DataError: The folder is not a corpus, is damaged, or holds tokens where text is wanted.
    """
    manifest = read_manifest(folder)
    if text_of and manifest["tokenizer"]:
        raise DataError(f"{folder} holds tokens", allowed="a corpus of text", remedy=text_of)
    shards = []
    for entry in manifest["shards"]:
        path = folder / str(entry["file"])
        if path.is_file() and path.stat().st_size != entry["bytes"]:
            raise DataError(f"bytes of {path}", got=path.stat().st_size, allowed=str(entry["bytes"]), remedy=_REMEDY)
        shards.append(Shard(path))
    return shards


def check_hashes(folder: Path, *, rank: int = 0, size: int = 1) -> None:
    """Raise `DataError` unless the shards hold the bytes that were written; several processes share the work."""
    for entry in read_manifest(folder)["shards"][rank::size]:
        path = folder / str(entry["file"])
        found = hash_of(path) if path.is_file() else "no file"
        if found != entry["sha256"]:
            raise DataError(f"sha256 of {path}", got=found, allowed=str(entry["sha256"]), remedy=_REMEDY)
