"""Walk one source tree by names, ignore rules and ``stat`` alone: it is done before every search."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mose import languages
from mose.errors import SourceError
from mose.files.disk import link_reason, list_folder, read_regular
from mose.files.folders import folder_reason, marked_reason
from mose.files.records import (
    BINARY,
    DATA,
    EMPTY,
    GENERATED,
    HIDDEN,
    IGNORED,
    ODD_NAME,
    OVERSIZED,
    SPECIAL,
    UNREADABLE,
    Skipped,
    SourceFile,
    WalkLimits,
    is_odd,
    printable,
)
from mose.ignore import IgnoreRules

_HIDDEN_FILES_SKIPPED = re.compile(
    r"\.env(\..*)?$|\.DS_Store$|\.netrc$|\.pgpass$|\.npmrc$|\.coverage(\..*)?$|\.#.*|.*\.swp$"
)
_IGNORE_FILES = (".gitignore", ".moseignore")
_MAX_RULE_BYTES = 1_000_000


def walk(root: Path, limits: WalkLimits | None = None) -> Iterator[SourceFile | Skipped]:
    """Files below ``root`` and what was left out, sorted by path.

    ``root`` itself is always entered, whatever its name and whatever the rules above it say. ``.moseignore``
    outranks ``.gitignore`` and ``.git/info/exclude``, and its "!" lines also bring back hidden folders,
    dependencies, data and files with the names of generated ones.

    Args:
        root: An existing folder.
        limits: Sizes; the defaults if None.

    Raises:
        SourceError: ``root`` does not exist, is not a folder, or cannot be listed.
    """
    if not root.exists():
        raise SourceError(f"{root} does not exist", remedy="Name an existing folder.")
    if not root.is_dir():
        raise SourceError(f"{root} is not a folder", remedy=f"Name its folder: {root.parent}")
    top = os.path.realpath(root)
    try:
        entries = list_folder(top)
    except OSError as error:
        raise SourceError(f"{root} cannot be listed: {error.strerror}") from error
    return _walk(top, entries, limits or WalkLimits())


@dataclass(frozen=True, slots=True)
class _Placed:
    """Rules and how a path of the tree looks from their folder: ``lead + path[cut:]``."""

    rules: IgnoreRules
    cut: int = 0  # the folder is this deep inside the tree
    lead: str = ""  # the tree is this deep inside the folder


@dataclass(frozen=True, slots=True)
class _Scope:
    """Ignore files that apply in a directory, deepest first."""

    git: tuple[_Placed, ...]
    mose: tuple[_Placed, ...]

    def decide(self, path: str, is_directory: bool) -> tuple[bool, bool]:
        """Whether an entry is ignored, and whether ``.moseignore`` asks for it by a "!" line."""
        for of_mose, ranked in ((True, self.mose), (False, self.git)):
            for placed in ranked:
                seen = placed.lead + path[placed.cut :]
                decision = placed.rules.decide(seen, is_directory=is_directory)
                if decision is not None:
                    return decision, of_mose and not decision
        return False, False


def _walk(top: str, entries: list[os.DirEntry[str]], limits: WalkLimits) -> Iterator[SourceFile | Skipped]:
    scope = _Scope(_rules_above(top), ())
    stack = [_Directory("", scope, entries).visit(top, limits)]
    while stack:
        for item in stack[-1]:
            if isinstance(item, _Directory):
                stack.append(item.visit(top, limits))
                break
            yield item
        else:
            stack.pop()


@dataclass(frozen=True, slots=True)
class _Directory:
    prefix: str  # "" or "a/b/"
    scope: _Scope
    entries: list[os.DirEntry[str]]

    def visit(self, top: str, limits: WalkLimits) -> Iterator[SourceFile | Skipped | _Directory]:
        prefix = self.prefix
        scope = _with_rules_here(self.scope, prefix, self.entries)
        has_rules = bool(scope.git or scope.mose)
        for entry in self.entries:
            name = entry.name
            path = prefix + name
            is_directory = False
            if is_odd(name):
                yield Skipped(path=printable(path), reason=ODD_NAME)
                continue
            try:
                is_link = entry.is_symlink()
                is_directory = not is_link and entry.is_dir(follow_symlinks=False)
                ignored, kept = scope.decide(path, is_directory) if has_rules else (False, False)
                if is_directory:
                    reason = folder_reason(name, ignored=ignored, kept=kept)
                    below = [] if reason else list_folder(entry.path)
                    reason = reason or (None if kept else marked_reason(name, below))
                    if reason:
                        yield Skipped(path=path + "/", reason=reason)
                    else:
                        yield _Directory(path + "/", scope, below)
                    continue
                if ignored:
                    yield Skipped(path=path, reason=IGNORED)
                elif is_link:
                    yield Skipped(path=path, reason=link_reason(entry.path, top))
                else:
                    yield _judge_file(entry, path, limits, kept=kept)
            except OSError:
                yield Skipped(path=path + "/" * is_directory, reason=UNREADABLE)


def _judge_file(entry: os.DirEntry[str], path: str, limits: WalkLimits, *, kept: bool) -> SourceFile | Skipped:
    status = entry.stat(follow_symlinks=False)
    name = entry.name
    reason = None
    if not stat.S_ISREG(status.st_mode):
        reason = SPECIAL
    elif languages.is_binary(name):
        reason = BINARY
    elif not kept and name.startswith(".") and _HIDDEN_FILES_SKIPPED.match(name):
        reason = HIDDEN
    elif not kept and languages.is_generated(name):
        reason = GENERATED
    elif not kept and languages.is_data(name):
        reason = DATA
    elif status.st_size == 0:
        reason = EMPTY
    elif status.st_size > limits.max_file_bytes:
        reason = OVERSIZED
    if reason is not None:
        return Skipped(path=path, reason=reason)
    language = languages.language_of(name)
    if language == languages.TEXT and status.st_mode & 0o111 and "." not in name:
        language = _script_language(entry.path) or language
    return SourceFile(path=path, size_bytes=status.st_size, modified_ns=status.st_mtime_ns, language=language)


def _script_language(path: str) -> str | None:
    line = read_regular(path, 128).partition(b"\n")[0]
    return languages.language_of_shebang(line.decode("utf-8", "replace"))


def _with_rules_here(scope: _Scope, prefix: str, entries: list[os.DirEntry[str]]) -> _Scope:
    for entry in entries:
        if entry.name in _IGNORE_FILES:
            rules = _read_rules(entry.path)
            if rules and entry.name == ".gitignore":
                scope = _Scope((_Placed(rules, cut=len(prefix)), *scope.git), scope.mose)
            elif rules:
                scope = _Scope(scope.git, (_Placed(rules, cut=len(prefix)), *scope.mose))
    return scope


def _rules_above(top: str) -> tuple[_Placed, ...]:
    """Rules of the repository that the tree is, or is a part of; none if they ignore the tree itself."""
    folder, lead = top, ""
    folders = [(folder, lead)]
    while not os.path.lexists(os.path.join(folder, ".git")):
        folder, name = os.path.split(folder)
        if not name:
            return ()  # not in a repository
        lead = f"{name}/{lead}"
        folders.append((folder, lead))
    found = []
    for folder, lead in folders:
        names = [".gitignore"] if lead else []  # the tree's own is read on the way down
        if folder == folders[-1][0]:
            names.append(os.path.join(".git", "info", "exclude"))
        for name in names:
            rules = _read_rules(os.path.join(folder, name))
            if rules:
                found.append(_Placed(rules, lead=lead))
    parts = folders[-1][1].split("/")[:-1]
    for depth in range(len(parts)):
        for placed in found:
            inside_folder = "/".join(parts[: depth + 1])[len(folders[-1][1]) - len(placed.lead) :]
            if inside_folder and placed.rules.decide(inside_folder, is_directory=True):
                return ()
    return tuple(found)


def _read_rules(path: str) -> IgnoreRules | None:
    """Rules of a regular file; None (no rules) if there is no such file or it cannot be read."""
    try:
        return IgnoreRules(read_regular(path, _MAX_RULE_BYTES).decode("utf-8", "surrogateescape"))
    except OSError:
        return None
