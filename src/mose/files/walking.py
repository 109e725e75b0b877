"""Walk one source tree by names, ignore rules and ``stat`` alone: every search does it."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from mose import languages
from mose.errors import SourceError
from mose.files import records
from mose.files.disk import identity_of, link_reason, list_folder
from mose.files.ignore_scope import RULE_NAMES, UNDECIDED, Decision, Scope, rule_files, scope_above
from mose.files.records import Skipped, SourceFile, WalkLimits, is_odd, printable
from mose.files.skipped_folders import folder_reason, marked_reason

_HIDDEN_FILES_SKIPPED = re.compile(
    r"\.env(\..*)?$|\.DS_Store$|\.netrc$|\.pgpass$|\.npmrc$|\.coverage(\..*)?$|\.#.*|.*\.swp$"
)
_RULES_S = 5.0
_RULES_S_AN_ENTRY = 0.001
"""Time that the rules of a tree may take: a hundred times that of ordinary rules, and some seconds."""
_LONGEST_S = 0.1  # counted for one decision at most: a stopped process is not a slow rule
_63_BITS = 2**63 - 1  # what a database takes; time stamps and numbers of files are only compared

_BY_NAME = frozenset({records.IGNORED, records.HIDDEN, records.BINARY, records.DATA, records.GENERATED})

Entry = os.DirEntry[str]


@dataclass(frozen=True, slots=True)
class Looked:
    """What a walk depends on, as absolute paths: a change of anything else does not change what it finds."""

    folders: set[str] = field(default_factory=set)
    """Folders that were listed."""
    rules: set[str] = field(default_factory=set)
    """Files elsewhere that say what is ignored and what is tracked; they may be missing."""
    named: set[str] = field(default_factory=set)
    """Files in the folders that were left out whatever they hold."""


def walk(root: Path, limits: WalkLimits | None = None, looked: Looked | None = None) -> Iterator[SourceFile | Skipped]:
    """Files below ``root`` and what was left out, sorted by path.

    ``root`` itself is always entered, whatever its name and whatever the rules above it say. ``.moseignore``
    outranks the rules of git (``.gitignore``, ``.git/info/exclude``, the user's own for all repositories), and its
    "!" lines also bring back hidden folders, dependencies, data and files with the names of generated ones. What git
    tracks is read although a rule of git ignores it or its folder is hidden. A repository inside the tree has its
    own rules; linked worktrees of the tree's own repository are left out.

    Args:
        root: An existing folder.
        limits: Sizes; the defaults if None.
        looked: Filled with what the walk depends on.

    Raises:
        SourceError: ``root`` does not exist, is not a folder, or cannot be listed; its ignore rules take too
            long; or, in the end, it has been moved or removed meanwhile, so that what was found may not be all.
    """
    if not root.exists():
        raise SourceError(f"{root} does not exist", remedy="Name an existing folder.")
    if not root.is_dir():
        raise SourceError(f"{root} is not a folder", remedy=f"Name its folder: {root.parent}")
    top = os.path.realpath(root)
    identity = identity_of(top)
    try:
        entries = list_folder(top)
    except OSError as error:
        raise SourceError(
            f"{root} cannot be listed: {error.strerror}", remedy="Name a folder that you can read."
        ) from error
    return _walk(top, identity, entries, limits or WalkLimits(), Looked() if looked is None else looked)


def _walk(
    top: str, identity: tuple[int, int] | None, entries: list[os.DirEntry[str]], limits: WalkLimits, looked: Looked
) -> Iterator[SourceFile | Skipped]:
    patience = _Patience(top)
    scope = scope_above(top)
    looked.rules.update(rule_files(scope, top))
    stack = [_Directory("", scope, top, entries).visit(top, limits, patience, looked)]
    while stack:
        for item in stack[-1]:
            if isinstance(item, _Directory):
                stack.append(item.visit(top, limits, patience, looked))
                break
            yield item
        else:
            stack.pop()
    if identity is None or identity_of(top) != identity:
        raise moved_away(top)


def moved_away(root: str | Path) -> SourceError:
    """The error for a tree that was moved or removed while it was read."""
    return SourceError(
        f"{root} was moved or removed while it was read",
        remedy="What is known of it is kept. Try again when it is back.",
    )


@dataclass(frozen=True, slots=True)
class _Directory:
    prefix: str  # "" or "a/b/"
    above: Scope
    path: str
    entries: list[os.DirEntry[str]]

    def visit(
        self, top: str, limits: WalkLimits, patience: _Patience, looked: Looked
    ) -> Iterator[SourceFile | Skipped | _Directory]:
        prefix = self.prefix
        looked.folders.add(self.path)
        scope = self.above.entered(self.path, prefix, {entry.name for entry in self.entries})
        if scope.repository is not self.above.repository:
            looked.rules.update(rule_files(scope, self.path))
        has_rules = scope.has_rules
        for entry in self.entries:
            name = entry.name
            path = prefix + name
            if is_odd(name):
                yield Skipped(path=printable(path), reason=records.ODD_NAME)
                continue
            is_directory = False
            try:
                is_directory = entry.is_dir(follow_symlinks=False)
                decision = patience.decide(scope, path, is_directory) if has_rules else UNDECIDED
                if not is_directory:
                    found = judge_file(entry, path, scope, decision, limits, top)
                    if isinstance(found, Skipped) and found.reason in _BY_NAME and name not in RULE_NAMES:
                        looked.named.add(entry.path)
                    yield found
                    continue
                below, reason, scope_below = judge_folder(entry, path, scope, decision)
                if reason:
                    if below:  # what it holds says that it is left out
                        looked.folders.add(entry.path)
                    yield Skipped(path=path + "/", reason=reason)
                else:
                    yield _Directory(path + "/", scope_below, entry.path, below)
            except OSError as error:
                yield Skipped(path=path + "/" * is_directory, reason=reason_of_error(error))


@dataclass(slots=True)
class _Patience:
    """Applies the rules, and raises `SourceError` once they have taken too long in total."""

    top: str
    left_s: float = field(default_factory=lambda: _RULES_S)

    def decide(self, scope: Scope, path: str, is_directory: bool) -> Decision:
        started = time.perf_counter()
        decision = scope.decide(path, is_directory=is_directory)
        self.left_s += _RULES_S_AN_ENTRY - min(time.perf_counter() - started, _LONGEST_S)
        if self.left_s < 0:
            raise SourceError(
                f"the ignore rules of {self.top} take too long: there are too many wildcards in them",
                remedy="Shorten its .gitignore files, or search a folder inside.",
            )
        return decision


def reason_of_error(error: OSError) -> str:
    """Why a file or folder that cannot be examined is left out."""
    return records.TOO_DEEP if error.errno == errno.ENAMETOOLONG else records.UNREADABLE


def judge_folder(
    entry: Entry, path: str, scope: Scope, decision: Decision
) -> tuple[list[os.DirEntry[str]], str | None, Scope]:
    """Entries of a folder, why it is not entered (None if it is), and the scope that it is entered with.

    Raises:
        OSError: It cannot be listed.
    """
    only_tracked = decision.only_tracked
    reason = folder_reason(entry.name, ignored=decision.ignored, kept=decision.kept)
    if reason == records.HIDDEN and scope.is_tracked(path, is_directory=True):
        reason, only_tracked = None, True
    if reason:
        return [], reason, scope
    below = list_folder(entry.path)
    names = {inner.name for inner in below}
    if not decision.kept:
        reason = marked_reason(entry.name, names)
    if reason is None and ".git" in names and scope.shares_repository(entry.path):
        reason = records.WORKTREE
    return below, reason, replace(scope, only_tracked=True) if only_tracked and not scope.only_tracked else scope


def judge_file(
    entry: Entry, path: str, scope: Scope, decision: Decision, limits: WalkLimits, top: str
) -> SourceFile | Skipped:
    """A file worth reading, or why it is not, by everything but its content.

    Raises:
        OSError: Its status cannot be read.
    """
    name = entry.name
    if name == ".git":
        return Skipped(path=path, reason=records.CACHE)
    if decision.ignored:
        return Skipped(path=path, reason=records.IGNORED)
    if entry.is_symlink():
        return Skipped(path=path, reason=link_reason(entry.path, top))
    status = entry.stat(follow_symlinks=False)
    reason, language = _judge_name(name, decision.kept)
    if reason == records.HIDDEN and scope.is_tracked(path, is_directory=False):
        reason = None
    if not stat.S_ISREG(status.st_mode):
        reason = records.SPECIAL
    elif reason is None and not 0 < status.st_size <= limits.max_file_bytes:
        if not status.st_size:
            reason = records.EMPTY
        elif status.st_size > limits.bytes_of(name):
            reason = records.OVERSIZED
    if reason is not None:
        return Skipped(path=path, reason=reason)
    modified_ns, changed_ns, inode = status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    return SourceFile(path, status.st_size, modified_ns & _63_BITS, language, changed_ns & _63_BITS, inode & _63_BITS)


@lru_cache(maxsize=1 << 15)
def _judge_name(name: str, kept: bool) -> tuple[str | None, str]:
    """Why a file of this name is left out, and its language; a server asks for the same names again and again."""
    reason = None
    if languages.is_binary_or_data(name) and (not kept or languages.is_binary(name)):
        reason = records.BINARY if languages.is_binary(name) else records.DATA
    elif not kept and name[0] == "." and _HIDDEN_FILES_SKIPPED.match(name):
        reason = records.HIDDEN
    elif not kept and languages.is_generated(name):
        reason = records.GENERATED
    return reason, languages.language_of(name)
