"""The whole run: fetch, mine each package, select over all of them, write.

In: a manifest. Out: ``train.jsonl.xz``, ``valid.jsonl.xz``, and ``manifest.json``, which comes last: a folder without
it is incomplete. The part of each package is kept in ``parts/``, so that a killed run continues where it stopped.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from mose.data.evaluation_sets import evaluation_files, read_evaluation
from mose.data.mine.archives import hash_of
from mose.data.mine.fetch import fetch, fetched_hashes
from mose.data.mine.harvest import Mined, draw
from mose.data.mine.manifest import MineConfig, Package
from mose.data.mine.package import Part, count_rows, mine_package, part_path, read_part, write_part
from mose.data.mine.select import Evaluation, drop_copies, limit_language_share
from mose.data.pairs import write_objects
from mose.errors import DataError, SourceError
from mose.parallel import RunEach, run_each
from mose.progress import Progress, ProgressCallback, no_progress
from mose.storage import require_writable_folder, write_json

SPLITS = ("train", "valid")
MANIFEST_NAME = "manifest.json"


def mine(
    config: MineConfig,
    out: Path,
    *,
    sources: Path,
    exclude_near: tuple[Path, ...] = (),
    skip_missing: bool = False,
    workers: int = 2,
    each: RunEach = run_each,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Mine all packages of a manifest.

    Args:
        config: The manifest.
        out: Folder to write; its parts are reused.
        sources: Folder of unpacked packages.
        exclude_near: Evaluation files, and folders of them; rows that are near copies of theirs are left out.
        skip_missing: Leave out packages that cannot be fetched, and say so in the manifest.
        workers: Number of parsing processes.
        each: Runs them.
        progress: Called with the progress so far.

    Returns:
        What ``manifest.json`` holds.

    Raises:
        SourceError: A package cannot be fetched or read.
        DataError: An evaluation file is faulty, or no row is left.
        OutputError: ``out`` holds something other than mined pairs.
    """
    exclude_near = tuple(evaluation_files(exclude_near))
    require_writable_folder(out, marks=("parts",))
    (out / "parts").mkdir(parents=True, exist_ok=True)
    (out / MANIFEST_NAME).unlink(missing_ok=True)
    folders, missing = _fetch_all(config, out, sources, skip_missing, progress)
    _mine_all(config, out, folders, partial(each, num_workers=workers), progress)
    packages = [package for package in config.packages if package.label not in missing]
    parts = [read_part(part_path(out / "parts", package, config)) for package in packages]
    evaluation = Evaluation(read_evaluation(exclude_near), config.near)
    dropped: Counter[str] = Counter()
    labelled = [(package, row) for package, part in zip(packages, parts, strict=True) for row in part.rows]
    labelled = _select(labelled, config, evaluation, dropped, progress)
    files = {}
    for split in SPLITS:
        rows = [_row(package, row) for package, row in labelled if package.split == split]
        path = out / f"{split}.jsonl.xz"
        write_objects(path, rows)
        files[split] = {"file": path.name, "rows": len(rows), "sha256": hash_of(path)}
    summary = _summary(config, packages, parts, labelled, dropped)
    for entry, package in zip(summary["packages"], packages, strict=True):
        entry["sha256"] = fetched_hashes(package, sources)
    summary["missing"] = missing
    summary["excluded_near"] = [{"file": path.name, "sha256": hash_of(path)} for path in exclude_near]
    summary["files"] = files
    write_json(out / MANIFEST_NAME, summary)
    return summary


def _fetch_all(
    config: MineConfig, out: Path, sources: Path, skip_missing: bool, progress: ProgressCallback
) -> tuple[dict[str, tuple[Path, ...]], dict[str, str]]:
    """Folders of each package that has no part yet, and why the others are missing."""
    folders: dict[str, tuple[Path, ...]] = {}
    missing: dict[str, str] = {}
    for number, package in enumerate(config.packages):
        progress(Progress("fetch", number, len(config.packages)))
        if part_path(out / "parts", package, config).exists() and package.registry != "folder":  # a tree may change
            continue
        try:
            folders[package.label] = fetch(package, sources)
        except SourceError as error:
            if not skip_missing:
                raise
            missing[package.label] = error.what
    return folders, missing


def _mine_all(
    config: MineConfig, out: Path, folders: dict[str, tuple[Path, ...]], each: RunEach, progress: ProgressCallback
) -> None:
    """Write the part of every package, one after another."""
    todo = [package for package in config.packages if package.label in folders]
    for number, package in enumerate(todo):
        progress(Progress("mine", number, len(todo)))
        part = mine_package(package, config, folders[package.label], each=each)
        write_part(part_path(out / "parts", package, config), part)


Labelled = list[tuple[Package, Mined]]


def _select(
    labelled: Labelled, config: MineConfig, evaluation: Evaluation, dropped: Counter[str], progress: ProgressCallback
) -> Labelled:
    """Leave out evaluation rows, copies between packages, and rows over the share of a language."""
    luck = {
        id(row): draw(config.seed, package.label, row.kind, row.path, row.symbol, row.query)
        for package, row in labelled
    }
    # Validation first: of two copies, the one in the training file is left out.
    labelled = sorted(labelled, key=lambda item: (item[0].split != "valid", luck[id(item[1])]))
    allowed: Labelled = []
    for number, (package, row) in enumerate(labelled):
        if number % 500 == 0:
            progress(Progress("compare", number, len(labelled)))
        reason = evaluation.fault(row)
        if reason:
            dropped[reason] += 1
        else:
            allowed.append((package, row))
    kept = {id(row) for row in drop_copies([row for _, row in allowed], config.near, dropped)}
    result: Labelled = []
    for split in SPLITS:
        rows = [item for item in allowed if id(item[1]) in kept and item[0].split == split]
        balanced = limit_language_share(rows, lambda item: item[1].language, config.language_share)
        dropped["over the share of a language"] += len(rows) - len(balanced)
        result += balanced
    return result


def _row(package: Package, row: Mined) -> dict[str, str]:
    """One line of the file; rows of one definition share their group and are never negatives of each other."""
    return {
        "query": row.query,
        "code": row.code,
        "language": row.language,
        "kind": row.kind,
        "group": f"{package.name}/{row.path}:{row.symbol}",
        "source": package.label,
        "path": row.path,
        "license": package.license,
    }


def _summary(
    config: MineConfig, packages: list[Package], parts: list[Part], labelled: Labelled, dropped: Counter[str]
) -> dict[str, Any]:
    rows_of: dict[str, list[Mined]] = {package.label: [] for package in packages}
    for package, row in labelled:
        rows_of[package.label].append(row)
    if not labelled:
        raise DataError("no pairs were found", remedy="Check the languages and folders of the manifest's packages.")
    totals = {}
    for split in SPLITS:
        rows = [row for package, row in labelled if package.split == split]
        totals[split] = {
            "rows": len(rows),
            "kinds": count_rows(rows, "kind"),
            "languages": count_rows(rows, "language"),
        }
    return {
        "settings": {name: value for name, value in asdict(config).items() if name != "packages"},
        "totals": totals,
        "dropped": dict(sum((Counter(part.dropped) for part in parts), dropped).most_common()),
        "packages": [
            {
                **{name: value for name, value in asdict(package).items() if name not in ("folders", "path")},
                "num_files": part.num_files,
                "rows": len(rows_of[package.label]),
                "kinds": count_rows(rows_of[package.label], "kind"),
                "rows_by_language": count_rows(rows_of[package.label], "language"),
                "dropped": dict(sorted(part.dropped.items())),
            }
            for package, part in zip(packages, parts, strict=True)
        ],
    }
