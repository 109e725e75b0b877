"""What every stage of curating shares: which files it reads, and a folder of kept and dropped rows that it writes.

Out: the kept rows, in files called as those that were read; ``dropped.jsonl.xz``, each row with its reason; and
``stage.json`` with settings, counts and hashes of the stage and of those before it.
"""

from __future__ import annotations

import json
import lzma
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mose.data.mine.archives import hash_of
from mose.data.mine.build import MANIFEST_NAME
from mose.data.pairs import read_objects
from mose.errors import DataError
from mose.json_reading import read_json
from mose.storage import new_file, new_folder

STAGE = "stage.json"
DROPPED = "dropped.jsonl.xz"
_ENDINGS = (".jsonl", ".jsonl.xz", ".jsonl.gz")
_NOT_PAIRS = frozenset({"requests", "rows", "rejected", "dropped", "answers"})

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """Why a row is dropped, and of what it is a copy."""

    reason: str
    copy_of: str = ""
    """File and line."""


def pair_files(inputs: Sequence[Path]) -> list[Path]:
    """Pair files, and those in folders; what ``mose pairs ask`` and other stages keep beside their pairs is not one.

    Raises:
        DataError: There is none.
    """
    files = [file for path in inputs for file in (_files_of(path) if path.is_dir() else [path])]
    if not files:
        raise DataError("no pair file", got=[str(path) for path in inputs], allowed="files or folders of JSON lines",
                        remedy="Name the output of mose pairs mine, ask or translate.")  # fmt: skip
    return files


def read_pairs(files: Sequence[Path]) -> Iterator[tuple[str, Row]]:
    """File and line of each row, such as "train.jsonl.xz:3", and the row."""
    for file in files:
        for number, row in read_objects(file):
            yield f"{file.name}:{number}", row


def write_stage(
    name: str,
    files: Sequence[Path],
    out: Path,
    judge: Callable[[int, Row], Fate | None],
    *,
    settings: Mapping[str, Any],
    change: Callable[[int, Row], Row] = lambda number, row: row,
) -> dict[str, Any]:
    """Write the rows of all files, split into kept and dropped ones; the folder appears complete or not at all.

    Args:
        name: Of the stage.
        files: Pair files.
        out: Folder to write.
        judge: Number of a row over all files, from 0, and the row -> its fate; None keeps it.
        settings: For ``stage.json``.
        change: What is written of a row that is kept.

    Returns:
        What ``stage.json`` holds.

    Raises:
        DataError: A file is faulty, or two are called the same.
        OutputError: ``out`` holds something else.
    """
    twice = [name for name, times in Counter(map(_name_of, files)).items() if times > 1]
    if twice:
        raise DataError(f"two files are called {twice[0]}", remedy="Rename one, or give them to two runs.")
    dropped: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    number = 0
    with new_folder(out) as folder:
        with ExitStack() as opened:
            rejected = opened.enter_context(_writer(folder / DROPPED))
            for file in files:
                target = opened.enter_context(_writer(folder / _name_of(file)))
                for _, row in read_objects(file):
                    fate = judge(number, row)
                    if fate is None:
                        kept[_name_of(file)] += 1
                        _write(target, change(number, row))
                    else:
                        dropped[fate.reason] += 1
                        copy = {"copy_of": fate.copy_of} if fate.copy_of else {}
                        _write(rejected, row | {"reason": fate.reason} | copy)
                    number += 1
        summary = {
            "stage": name,
            "settings": dict(settings),
            "inputs": [{"file": str(file), "sha256": hash_of(file)} for file in files],
            "rows": number,
            "kept": sum(kept.values()),
            "dropped": dict(dropped.most_common()),
            "files": {file.name: {"rows": kept[file.name], "sha256": hash_of(file)}
                      for file in sorted(folder.glob("*.jsonl.xz")) if file.name != DROPPED},
            "before": stages_before(files),
        }  # fmt: skip
        with new_file(folder / STAGE) as target:
            target.write((json.dumps(summary, indent=1, ensure_ascii=False) + "\n").encode())
    return summary


def stages_before(files: Sequence[Path]) -> list[dict[str, Any]]:
    """What each folder that the files lie in says about how it was made; nothing of folders that do not say."""
    found = []
    for folder in dict.fromkeys(file.parent for file in files):
        if (folder / STAGE).is_file():
            found.append(read_json(folder / STAGE))
        elif (folder / MANIFEST_NAME).is_file():
            manifest = read_json(folder / MANIFEST_NAME)
            found.append({"stage": "mine", **{key: manifest.get(key) for key in ("settings", "dropped")}})
    return found


def _files_of(folder: Path) -> list[Path]:
    found = [file for file in sorted(folder.iterdir()) if file.name.endswith(_ENDINGS)]
    return [file for file in found if file.name.partition(".")[0] not in _NOT_PAIRS]


def _name_of(file: Path) -> str:
    """The name of what is written for a file: "train.jsonl" becomes "train.jsonl.xz"."""
    return file.name.partition(".jsonl")[0] + ".jsonl.xz"


def _writer(path: Path) -> IO[bytes]:
    return lzma.open(path, "wb", preset=2)


def _write(file: IO[bytes], row: Row) -> None:
    file.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf8", "replace"))
