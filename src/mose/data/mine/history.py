"""Pairs from git histories: the subject of a commit, and the functions that it changed, as they were before it.

In: a manifest of repositories and a folder of their clones. Out: ``train.jsonl.xz``, ``valid.jsonl.xz`` and, last,
``manifest.json`` with the counts. The code is that of the commit's parent: it is what a search has to find.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mose import git, languages
from mose.config.toml import read_toml
from mose.data.curate.stage import require_same_run
from mose.data.evaluation_sets import evaluation_files, read_evaluation
from mose.data.mine.archives import hash_of
from mose.data.mine.build import MANIFEST_NAME, SPLITS
from mose.data.mine.changes import ChangedFile, read_changes, read_log
from mose.data.mine.commit_subjects import clean_subject, cut_subject, reverted_subjects, subject_fault
from mose.data.mine.extract import functions_at
from mose.data.mine.harvest import Mined
from mose.data.mine.manifest import held_out_name, require_license
from mose.data.mine.select import Evaluation
from mose.data.pairs import key_of, write_objects
from mose.errors import ConfigError, DataError, SourceError, require
from mose.parallel import RunEach, run_each
from mose.progress import Progress, ProgressCallback, no_progress
from mose.storage import new_folder, write_json
from mose.syntax import GRAMMARS
from mose.syntax.documentation import parse_file
from mose.syntax.prose import fault
from mose.workers import Failure

_MAX_FILES = 4
_NAME = re.compile(r"(?:[\w.-]+/)*\w[\w.-]*")
_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MAX_FUNCTIONS = 3
"""A commit that changes more says too little about each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRepository:
    """One repository."""

    name: str
    """Owner and name; its clone is called as the name."""
    commit: str
    """The newest commit that is read, so that the same manifest gives the same pairs."""
    license: str
    """SPDX expression."""
    split: Literal["train", "valid"] = "train"
    """File that its pairs go to."""

    def __post_init__(self) -> None:
        require(bool(_NAME.fullmatch(self.name)), "repository name", self.name, "owner/name")
        require(bool(_HASH.fullmatch(self.commit)), f"commit of {self.name}", self.commit,
                "a whole hash, as git rev-parse HEAD prints it")  # fmt: skip
        held_out = held_out_name(self.folder)
        if held_out:
            raise ConfigError(f"repository {self.name} belongs to a held-out benchmark ({held_out})",
                              allowed="any other repository")  # fmt: skip
        require_license(self.name, self.license)

    @property
    def folder(self) -> str:
        """What its clone is called."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryConfig:
    """Everything that determines the rows."""

    repositories: tuple[HistoryRepository, ...]
    most_commits: int = 5_000
    """Newest commits of a repository that are read."""
    per_repository: int = 1_500
    """Maximum number of rows of one repository, the newest first."""
    code_chars: int = 1_600
    """Code is cut here, at a line end."""
    near: float = 0.7
    """Similarity to an evaluation row from which a row is left out."""

    def __post_init__(self) -> None:
        require(len(self.repositories) > 0, "repositories", 0, "at least one")
        for name in ("most_commits", "per_repository", "code_chars"):
            require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        require(0 < self.near <= 1, "near", self.near, "above 0, at most 1")
        folders = Counter(each.folder for each in self.repositories)
        twice = [folder for folder, times in folders.items() if times > 1]
        require(not twice, "repositories whose clones are called the same", twice, "different names")


def read_histories(path: Path) -> HistoryConfig:
    """The manifest of a TOML file.

    Raises:
        ConfigError: The file is missing, not TOML, or names something that is not allowed.
    """
    return read_toml(path, HistoryConfig)


def mine_histories(
    config: HistoryConfig,
    clones: Path,
    out: Path,
    *,
    exclude_near: tuple[Path, ...] = (),
    workers: int = 2,
    each: RunEach = run_each,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Write the pairs of all repositories of a manifest.

    Args:
        config: The manifest.
        clones: Folder of clones, with or without work trees, called as the repositories are.
        out: Folder to write; it appears complete or not at all.
        exclude_near: Evaluation files and folders; rows that are near copies of theirs are left out.
        workers: Number of parsing processes.
        each: Runs them.
        progress: Called with the progress so far.

    Returns:
        What ``manifest.json`` holds.

    Raises:
        SourceError: A clone is missing, or its history cannot be read.
        DataError: An evaluation file is faulty, or no row is left.
        OutputError: ``out`` holds something else, or the rows of another manifest.
    """
    files = evaluation_files(exclude_near)
    asked = {
        "stage": "history",
        "settings": {name: value for name, value in asdict(config).items() if name != "repositories"},
        "repositories": [asdict(each) for each in config.repositories],
        "excluded_near": [{"file": file.name} for file in files],
    }
    require_same_run(out, asked)
    evaluation = Evaluation(read_evaluation(files), config.near)
    dropped: Counter[str] = Counter()
    rows: dict[str, list[dict[str, str]]] = {split: [] for split in SPLITS}
    counts: dict[str, int] = {}
    known: set[tuple[int, int]] = set()
    for number, repository in enumerate(config.repositories):
        progress(Progress("histories", number, len(config.repositories)))
        found = 0
        for row in _rows_of(repository, config, clones, partial(each, num_workers=workers), dropped):
            key = (key_of(row["query"].casefold()), key_of(row["code"]))
            fields = {name: row[name] for name in ("kind", "query", "code", "language", "path")}
            reason = evaluation.fault(Mined(symbol=row["func"], **fields))
            if found >= config.per_repository:
                reason = "beyond per_repository"
            elif key in known:
                reason = "duplicate"
            if reason:
                dropped[reason] += 1
                continue
            known.add(key)
            found += 1
            rows[repository.split].append(row)
        counts[repository.name] = found
    if not any(rows.values()):
        raise DataError("no pairs were found in the histories", got=dict(dropped), remedy="Clone them whole.")
    with new_folder(out) as folder:
        for split in SPLITS:
            write_objects(folder / f"{split}.jsonl.xz", rows[split])
        summary = {
            **{name: asked[name] for name in ("stage", "settings")},
            "totals": {split: _totals(rows[split]) for split in SPLITS},
            "dropped": dict((+dropped).most_common()),
            "repositories": [asdict(each) | {"rows": counts[each.name]} for each in config.repositories],
            "excluded_near": [{"file": file.name, "sha256": hash_of(file)} for file in files],
        }
        write_json(folder / MANIFEST_NAME, summary)
    return summary


def _totals(rows: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "rows": len(rows),
        "commits": len({row["group"] for row in rows}),
        "languages": dict(Counter(row["language"] for row in rows).most_common()),
    }


def _rows_of(
    repository: HistoryRepository, config: HistoryConfig, clones: Path, each: RunEach, dropped: Counter[str]
) -> Iterator[dict[str, str]]:
    """Rows of one repository, newest commit first."""
    folder = clones / repository.folder
    opened = git.open_repository(folder, repository.commit)
    if opened is None:
        raise SourceError(f"{folder} is not a clone of {repository.name}",
                          remedy=f"git clone https://github.com/{repository.name} {folder}")  # fmt: skip
    queries = _queries(read_log(opened, config.most_commits), dropped)
    files = [file for file in read_changes(opened, list(queries)) if _is_code(file.path)]
    shown = _functions_of(files, config.code_chars, each)
    dropped["no changed code that git can show"] += len(queries.keys() - shown.keys())
    for commit, changed in shown.items():
        functions = [each for each in changed if not _is_test(*each)]
        dropped["function of tests"] += len(changed) - len(functions)
        reason = ""
        if not functions:
            reason = "changes no function that was there"
        elif len(functions) > _MAX_FUNCTIONS:
            reason = f"changes more than {_MAX_FUNCTIONS} functions"
        if reason:
            dropped[reason] += 1
            continue
        for path, symbol, code in functions:
            yield {
                "query": queries[commit],
                "code": code,
                "language": languages.language_of(path),
                "kind": "commit",
                "group": f"{repository.name}@{commit}",
                "source": f"git:{repository.name}",
                "path": path,
                "func": symbol,
                "license": repository.license,
            }


def _is_test(path: str, symbol: str, code: str) -> bool:
    """True for a test in a file of source, as Rust has them."""
    return path.endswith(".rs") and (symbol.startswith(("tests.", "test.")) or "#[test]" in code)


def _functions_of(files: list[ChangedFile], code_chars: int, each: RunEach) -> dict[str, list[tuple[str, str, str]]]:
    """Commit -> path, symbol and code of each function that it changed."""
    items = ((file.text, languages.language_of(file.path), file.path, sorted(file.spans)) for file in files)
    answers = each(_find_functions, items, shared=(code_chars,), weigh=lambda item: len(item[0]))
    changed: dict[str, list[tuple[str, str, str]]] = {}
    for file, found in zip(files, answers, strict=True):
        functions = changed.setdefault(file.commit, [])
        if found is not None and not isinstance(found, Failure):
            functions += [(file.path, symbol, code) for symbol, code in found]
    return changed


def _queries(commits: list[git.LoggedCommit], dropped: Counter[str]) -> dict[str, str]:
    """Commit -> query, for those that change few files of code and say what they do."""
    reverted = reverted_subjects(cut_subject(commit.subject) for commit in commits)
    queries = {}
    for commit in commits:
        whole = cut_subject(commit.subject)
        subject = clean_subject(whole)
        code = [(status, path) for status, path in commit.files if _is_code(path)]
        reason = subject_fault(whole, subject, reverted) or fault(subject)
        if not reason and not any(status == "M" for status, _ in code):
            reason = "changes no code that was there"
        elif not reason and len(code) > _MAX_FILES:
            reason = f"changes more than {_MAX_FILES} files"
        if reason:
            dropped[f"commit: {reason}"] += 1
        else:
            queries[commit.id] = subject
    return queries


def _is_code(path: str) -> bool:
    if languages.language_of(path) not in GRAMMARS:
        return False
    return not (languages.is_test(path) or languages.is_documentation(path) or languages.is_vendored(path))


def _find_functions(item: tuple[str, str, str, list[tuple[int, int]]], code_chars: int) -> list[tuple[str, str]] | None:
    """Run in a worker process: a parser may crash on a foreign file."""
    text, language, path, spans = item
    parsed = parse_file(text, language, path)
    return None if parsed is None else functions_at(parsed, spans, code_chars=code_chars)
