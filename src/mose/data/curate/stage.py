"""What every stage of curating shares: which files it reads, and a folder of kept and dropped rows that it writes.

Out: the kept rows, in files called as those that were read (and their folders, where names are the same);
``dropped.jsonl.xz``, each row with its reason; and ``stage.json`` with settings, counts and hashes of the stage and of
those before it.
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
from mose.data.pairs import read_objects, text_of
from mose.errors import DataError, OutputError
from mose.json_reading import read_json
from mose.storage import new_folder, write_json

STAGE = "stage.json"
DROPPED = "dropped.jsonl.xz"
_ENDINGS = (".jsonl", ".jsonl.xz", ".jsonl.gz")
_NOT_PAIRS = frozenset({"requests", "rows", "rejected", "dropped", "answers"})
_TEXTS = ("query", "code", "language")
_LABELS = ("kind", "group", "source", "path", "license", "writer", "package", "registry")
_KINDS = dict.fromkeys(_TEXTS, str) | dict.fromkeys(_LABELS, str | int | float)

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
        DataError: There is none, or one is a pipe.
    """
    files = [file for path in inputs for file in (_files_of(path) if path.is_dir() else [path])]
    for file in files:
        if file.exists() and not file.is_file():
            raise DataError(f"{file} is not a file", remedy="Write it to one first: pairs are read more than once.")
    if not files:
        raise DataError("no pair file", got=[str(path) for path in inputs], allowed="files or folders of JSON lines",
                        remedy="Name the output of mose pairs mine, ask or translate.")  # fmt: skip
    return files


def read_pairs(files: Sequence[Path], *, needs: Sequence[str] = ("code",)) -> Iterator[tuple[str, Row]]:
    """File and line of each row, such as "train.jsonl.xz:3", and the row without its empty (null) fields.

    Args:
        files: Pair files.
        needs: Texts that each row must have.

    Raises:
        DataError: A file is faulty, or a row lacks a text or has something else where a text should be.
    """
    for file, label in zip(files, _labels(files), strict=True):
        for number, row in read_objects(file):
            present = {name: value for name, value in row.items() if value is not None}
            for name in needs:
                text_of(present, name, file, number)
            for name, kind in _KINDS.items():
                if not isinstance(present.get(name, ""), kind):
                    raise DataError(f"{file}, line {number}, field {name!r}", got=present[name], allowed="a text")
            yield f"{label}:{number}", present


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
        DataError: A file is faulty or lies in ``out``, or two are called the same.
        OutputError: ``out`` holds something else, or the rows of another run (see ``require_same_run``).
    """
    require_same_run(out, described(name, files, settings))
    names = [_name_of(label) for label in _labels(files)]
    twice = [name for name, times in Counter([DROPPED, *names]).items() if times > 1]
    if twice:
        raise DataError(f"two files are called {twice[0]}", remedy="Rename one, or give them to two runs.")
    if inside := [file for file in files if out.resolve() in file.resolve().parents]:
        raise DataError(f"{inside[0]} lies in the folder to write", got=str(out), remedy="Name another folder.")
    dropped: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    number = 0
    with new_folder(out) as folder:
        with ExitStack() as opened:
            rejected = opened.enter_context(_writer(folder / DROPPED))
            for file, name_of_rows in zip(files, names, strict=True):
                target = opened.enter_context(_writer(folder / name_of_rows))
                for _, row in read_objects(file):
                    fate = judge(number, row)
                    if fate is None:
                        kept[name_of_rows] += 1
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
        write_json(folder / STAGE, summary)
    return summary


def described(name: str, files: Sequence[Path], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of ``stage.json`` that say what was asked for: two runs with the same are one run made again."""
    return {"stage": name, "settings": dict(settings), "inputs": [{"file": str(file)} for file in files]}


def require_same_run(out: Path, asked: Mapping[str, Any]) -> None:
    """Raise `OutputError` if a folder holds the rows of another stage, other files or other settings.

    Args:
        out: The folder.
        asked: As `described` gives it. Of dictionaries in lists only the fields named here count.
    """
    wanted = json.loads(json.dumps(asked))
    for path in (out / STAGE, out / MANIFEST_NAME):
        try:
            held = read_json(path)
        except (OSError, ValueError):  # there is none; what it is instead, `new_folder` looks at
            continue
        differs = [
            name for name, value in wanted.items() if not isinstance(held, dict) or not _agrees(held, name, value)
        ]
        if differs:
            stage = held.get("stage", "mine") if isinstance(held, dict) else "mine"
            how = "" if "stage" in differs else f" with other {' and '.join(differs)}"
            raise OutputError(f"{out} holds what mose pairs {stage} wrote{how}",
                              remedy="Name another --out folder, or delete this one first.")  # fmt: skip


def _agrees(held: Mapping[str, Any], name: str, wanted: Any) -> bool:
    value = held.get(name)
    if not isinstance(value, list) or not isinstance(wanted, list):
        return bool(value == wanted)
    return len(value) == len(wanted) and all(
        isinstance(each, dict) and each.items() >= other.items() for each, other in zip(value, wanted, strict=True)
    )


def stages_before(files: Sequence[Path]) -> list[dict[str, Any]]:
    """What each folder that the files lie in says about how it was made; nothing of folders that do not say.

    Raises:
        DataError: What it says is damaged.
    """
    found = []
    for path in (folder / name for folder in dict.fromkeys(file.parent for file in files)
                 for name in (STAGE, MANIFEST_NAME) if (folder / name).is_file()):  # fmt: skip
        try:
            value = read_json(path)
        except ValueError as error:
            raise DataError(f"{path} is damaged ({error})", remedy="Delete it, or run its command again.") from error
        if path.name == MANIFEST_NAME and isinstance(value, dict):
            value = {"stage": "mine"} | {key: value[key] for key in ("stage", "settings", "dropped") if key in value}
        if not _is_stage(value):
            raise DataError(f"{path} does not say how its folder was made", remedy="Move it away, if it is another's.")
        found.append(value)
    return found


def _is_stage(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("stage"), str):
        return False
    settings, dropped, before = value.get("settings", {}), value.get("dropped", {}), value.get("before", [])
    if not isinstance(settings, dict) or not isinstance(dropped, dict) or not isinstance(before, list):
        return False
    return all(isinstance(times, int) for times in dropped.values()) and all(map(_is_stage, before))


def _files_of(folder: Path) -> list[Path]:
    found = [file for file in sorted(folder.iterdir()) if file.name.endswith(_ENDINGS)]
    return [file for file in found if file.name.partition(".")[0] not in _NOT_PAIRS]


def _labels(files: Sequence[Path]) -> list[str]:
    """What each file is called: by its name, or behind that of its folder where two would be called the same."""
    times = Counter(_name_of(file.name) for file in files)
    return [
        file.name if times[_name_of(file.name)] == 1 else f"{file.resolve().parent.name}/{file.name}" for file in files
    ]


def _name_of(label: str) -> str:
    """The name of what is written for a file: "asked/accepted.jsonl" becomes "asked-accepted.jsonl.xz"."""
    return label.replace("/", "-").partition(".jsonl")[0] + ".jsonl.xz"


def _writer(path: Path) -> IO[bytes]:
    return lzma.open(path, "wb", preset=2)


def _write(file: IO[bytes], row: Row) -> None:
    file.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf8", "replace"))
