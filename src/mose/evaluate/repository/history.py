"""Kind "history": the subject of a commit -> the files it changed. Reads git; changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mose import git, languages
from mose.data.mine.commit_subjects import clean_subject, cut_subject, reverted_subjects, subject_fault
from mose.evaluate.repository.benchmark import Location
from mose.evaluate.repository.values import GoldenQuery
from mose.processes import find_program

MAX_COMMITS = 2_000
"""Newest commits that are looked at: older ones describe code that has changed since."""
MAX_FILES = 5
"""A commit that changes more files says too little about each."""

_SETTINGS = frozenset({"json", "yaml", "toml", "ini", "xml"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit: the first line of its message, and the files below the tree that it changed."""

    subject: str
    paths: tuple[str, ...]
    """Relative to the tree; a file that was renamed has its new name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeState:
    """The state of a repository that a tree is in; ``commit`` is empty without one."""

    commit: str
    is_dirty: bool


def tree_state(root: Path) -> TreeState:
    """The commit that a tree is at, and whether its tracked files have changed since."""
    repository = git.find_repository(root)
    if repository is None:
        return TreeState(commit="", is_dirty=False)
    return TreeState(commit=repository.commit, is_dirty=git.is_changed(repository, root))


def read_commits(root: Path, max_commits: int = MAX_COMMITS) -> Sequence[Commit] | str:
    """The newest commits that changed the tree, without merges; or the reason why there are none."""
    if find_program("git") is None:
        return "there is no git on this machine"
    repository = git.find_repository(root)
    if repository is None:
        return "there is no git history"
    folder = git.relative_to_top(repository, root)
    relative = f"--relative={folder}/" if folder else "--no-relative"
    options = (relative, f"--max-count={max_commits}")
    # A clone without file contents cannot compare them; then only files that moved unchanged count as renamed.
    for renames in ("--find-renames", "--find-renames=100%"):
        found = git.read_log(repository, *options, renames, "--", folder or ".")
        if found is not None:
            commits = [
                Commit(subject=cut_subject(commit.subject), paths=tuple(path for _, path in commit.files))
                for commit in found
            ]
            return commits or "no commit changed a file of this folder"
    return "the git history cannot be read"


def from_history(commits: Sequence[Commit], known: Collection[str], dropped: Counter[str]) -> Iterator[GoldenQuery]:
    """A query for every commit whose subject describes the files it changed.

    Its answers are the source files among them: tests, documentation and settings follow what those do.

    Args:
        commits: Newest first.
        known: Files of the tree that can be found.
        dropped: Counts of commits left out, by reason, are added here.
    """
    known = frozenset(known)
    reverted = reverted_subjects(commit.subject for commit in commits)
    for commit in commits:
        subject = clean_subject(commit.subject)
        reason = subject_fault(commit.subject, subject, reverted) or _files_reason(commit.paths, known)
        if reason:
            dropped[reason] += 1
        else:
            paths = [path for path in dict.fromkeys(commit.paths) if _is_source(path) and path in known]
            yield GoldenQuery(kind="history", text=subject, targets=tuple(Location(path=path) for path in paths))


def _files_reason(paths: Sequence[str], known: Collection[str]) -> str:
    """Why a commit's files are not an answer; empty if they are."""
    if len(paths) > MAX_FILES:
        return f"more than {MAX_FILES} files"
    sources = [path for path in paths if _is_source(path)]
    if not sources:
        return "no source file"
    return "" if any(path in known for path in sources) else "files no longer there"


def _is_source(path: str) -> bool:
    return not (languages.is_test(path) or languages.is_documentation(path) or languages.language_of(path) in _SETTINGS)
