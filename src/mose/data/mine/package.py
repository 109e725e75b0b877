"""Mine one package: walk, read and parse its files, and store the pairs as one part file."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from mose import languages
from mose.data.corpus.licences import names_copyleft
from mose.data.mine.extract import extract
from mose.data.mine.harvest import Harvest, Mined
from mose.data.mine.manifest import MineConfig, Package, held_out_name
from mose.data.mine.select import apply_caps, drop_copies
from mose.files import Skipped, read_source, walk
from mose.parallel import RunEach, run_each
from mose.storage import new_file
from mose.syntax.documentation import parse_file
from mose.workers import Failure

_VERSION = 1
"""Raised after every change that yields other rows from the same files."""
_DECLARATIONS = (".d.ts", ".d.mts", ".d.cts", ".pyi", ".pyx", ".pxd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Pairs of one package."""

    rows: list[Mined]
    dropped: dict[str, int]
    num_files: int


def mine_package(package: Package, config: MineConfig, folders: tuple[Path, ...], *, each: RunEach = run_each) -> Part:
    """Pairs of all files of a package in its languages.

    Args:
        package: Where the files come from.
        config: Caps and sizes.
        folders: Unpacked files, as ``fetch`` returns them.
        each: Runs the parsing processes.

    Raises:
        SourceError: A folder cannot be read.
    """
    harvest = Harvest()
    num_files = 0
    files = _readable(package, folders, harvest)
    shared = (config.code_chars,)
    for found in each(_mine_file, files, shared=shared, weigh=lambda file: len(file[0])):
        if found is None or isinstance(found, Failure):
            harvest.dropped["file that cannot be parsed"] += 1
            continue
        num_files += 1
        harvest.add(found)
    harvest.link_declarations()
    rows = drop_copies(harvest.rows, config.near, harvest.dropped)
    rows = apply_caps(rows, package.label, config, harvest.dropped)
    dropped = {reason: count for reason, count in sorted(harvest.dropped.items()) if count}
    return Part(rows=rows, dropped=dropped, num_files=num_files)


def _mine_file(file: tuple[str, str, str], code_chars: int) -> Harvest | None:
    """Pairs of one file. Run in a worker process: a parser may crash on an untrusted file."""
    parsed = parse_file(*file)
    return None if parsed is None else extract(parsed, code_chars=code_chars)


def _readable(package: Package, folders: tuple[Path, ...], harvest: Harvest) -> Iterator[tuple[str, str, str]]:
    """Text, language and path of the files that pairs may come from; the others are counted."""
    for folder in _roots(package, folders):
        for file in walk(folder):
            if isinstance(file, Skipped):
                harvest.dropped[f"file {file.reason}"] += 1
                continue
            path = (
                f"{folder.name}/{file.path}" if len(folders) > 1 or package.registry == "site-packages" else file.path
            )
            reason = _path_fault(path, file.language, package)
            text = "" if reason else read_source(folder, file)
            if isinstance(text, Skipped):
                reason = text.reason
            elif names_copyleft(text):
                reason = "under another licence"
            if reason:
                harvest.dropped[f"file {reason}"] += 1
            else:
                yield str(text), file.language, path


def _roots(package: Package, folders: tuple[Path, ...]) -> list[Path]:
    if not package.folders:
        return list(folders)
    return [found for folder in folders for name in package.folders for found in sorted(folder.glob(name))]


def _path_fault(path: str, language: str, package: Package) -> str:
    """Why a file is left out by its path, "" if it is read."""
    if language not in package.languages or path.endswith(_DECLARATIONS):
        return "of another language"
    if languages.is_vendored(path):
        return "vendored"
    if languages.is_test(path):
        return "of tests"
    if any(held_out_name(folder) for folder in path.split("/")[:-1]):
        return "in a folder of a held-out name"
    return ""


def part_path(folder: Path, package: Package, config: MineConfig) -> Path:
    """File of a package's part, whose name depends on the package, the settings and the version."""
    settings = {name: value for name, value in asdict(config).items() if name != "packages"}
    pinned = {name: value for name, value in asdict(package).items() if name not in ("sha256", "path")}
    words = json.dumps([_VERSION, pinned, settings], sort_keys=True)
    key = blake2b(words.encode(), digest_size=6).hexdigest()
    name = re.sub(r"[^\w.+-]+", "_", f"{package.registry}-{package.name}-{package.version}")
    return folder / f"{name}-{key}.json.gz"


def write_part(path: Path, part: Part) -> None:
    """Write a part, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as target, gzip.open(target, "wt", encoding="utf8", compresslevel=3) as file:
        json.dump(asdict(part), file, ensure_ascii=False)


def read_part(path: Path) -> Part:
    """Read a part that ``write_part`` wrote."""
    with gzip.open(path, "rt", encoding="utf8") as file:
        value: dict[str, Any] = json.load(file)
    value["rows"] = [Mined(**row) for row in value["rows"]]
    return Part(**value)


def count_rows(rows: list[Mined], field: str) -> dict[str, int]:
    """Number of rows by ``kind`` or ``language``, most frequent first, then by name."""
    counts = Counter(str(getattr(row, field)) for row in rows)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
