"""The ignore files that apply in a folder of a tree, and their decision on an entry."""

from __future__ import annotations

import os
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from mose.files.disk import read_regular
from mose.files.ignore_file import IgnoreRules, Rule
from mose.files.repository import Repository, repository_at, user_excludes
from mose.files.tracked import TrackedFiles, tracked_files

GIT_RULES = ".gitignore"
MOSE_RULES = ".moseignore"
RULE_NAMES = frozenset({GIT_RULES, MOSE_RULES})
_MAX_RULE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class LocatedRules:
    """Rules of a folder, and how to make a path of the tree relative to it: ``lead + path[cut:]``."""

    rules: IgnoreRules
    source: str  # the file that holds them: relative to the tree, absolute if outside
    cut: int = 0  # the folder is this deep inside the tree
    lead: str = ""  # the tree is this deep inside the folder


class Decision(NamedTuple):
    """Decision of the rules on one entry."""

    ignored: bool
    kept: bool = False  # ``.moseignore`` asks for it by a "!" line
    source: str = ""  # the file whose line decides; empty if none does
    rule: Rule | None = None
    only_tracked: bool = False  # below this folder only what git tracks is read


UNDECIDED = Decision(False)


@dataclass(frozen=True, slots=True)
class Scope:
    """Rules that apply in a folder, deepest first, and the repository that it belongs to."""

    git: tuple[LocatedRules, ...] = ()
    mose: tuple[LocatedRules, ...] = ()
    repository: Repository | None = None
    cut: int = 0  # the top of the repository is this deep inside the tree
    lead: str = ""  # the tree is this deep inside the repository
    only_tracked: bool = False  # the folder is left out itself, and entered for what git tracks in it

    @property
    def has_rules(self) -> bool:
        """Whether any entry can be left out."""
        return bool(self.git or self.mose or self.only_tracked)

    def decide(self, path: str, *, is_directory: bool) -> Decision:
        """Decide on an entry. Files that git tracks although its rules ignore them are not left out."""
        for located in self.mose:
            rule = located.rules.find(located.lead + path[located.cut :], is_directory=is_directory)
            if rule is not None:
                return Decision(rule.ignores, not rule.ignores, located.source, rule)
        if self.only_tracked:
            tracked = self.is_tracked(path, is_directory=is_directory)
            return Decision(not tracked, only_tracked=tracked and is_directory)
        for located in self.git:
            rule = located.rules.find(located.lead + path[located.cut :], is_directory=is_directory)
            if rule is not None:
                tracked = rule.ignores and self.is_tracked(path, is_directory=is_directory)
                return Decision(rule.ignores and not tracked, False, located.source, rule, tracked and is_directory)
        return UNDECIDED

    def is_tracked(self, path: str, *, is_directory: bool) -> bool:
        """Whether git tracks a file, or any file below a directory."""
        if self.repository is None:
            return False
        tracked: TrackedFiles = tracked_files(self.repository.own_folder)
        seen = self.lead + path[self.cut :]
        return tracked.has_below(seen) if is_directory else tracked.has(seen)

    def entered(self, directory: str, prefix: str, names: Set[str]) -> Scope:
        """The scope inside a folder.

        Args:
            directory: The folder itself.
            prefix: Its path in the tree, with a slash at the end; "" for the tree.
            names: Its entries.
        """
        scope = self
        if ".git" in names and prefix:
            repository = repository_at(directory)
            if repository is not None:
                outer = _rules_of_repository(repository, cut=len(prefix))
                scope = replace(scope, git=outer, repository=repository, cut=len(prefix), lead="", only_tracked=False)
        for name in names & RULE_NAMES:
            rules = read_rules(os.path.join(directory, name))
            if rules:
                located = LocatedRules(rules, prefix + name, cut=len(prefix))
                if name == GIT_RULES:
                    scope = replace(scope, git=(located, *scope.git))
                else:
                    scope = replace(scope, mose=(located, *scope.mose))
        return scope

    def shares_repository(self, directory: str) -> bool:
        """True for a folder that is another working tree of the same repository."""
        if self.repository is None:
            return False
        other = repository_at(directory)
        own_folder = os.path.realpath(self.repository.common_folder)
        return other is not None and os.path.realpath(other.common_folder) == own_folder


def scope_above(top: str) -> Scope:
    """Rules of the repository that holds a tree; no rules if they ignore the tree itself."""
    folders, lead = [(top, "")], ""
    while not os.path.lexists(os.path.join(folders[-1][0], ".git")):
        parent, name = os.path.split(folders[-1][0])
        if not name:
            return Scope()  # not in a repository
        lead = f"{name}/{lead}"
        folders.append((parent, lead))
    repository = repository_at(folders[-1][0])
    if repository is None:
        return Scope()
    found = []
    for folder, below in folders[1:]:  # the tree's own are read on the way down
        path = os.path.join(folder, GIT_RULES)
        rules = read_rules(path)
        if rules:
            found.append(LocatedRules(rules, path, lead=below))
    found.extend(_rules_of_repository(repository, lead=lead))
    scope = Scope(tuple(found), (), repository, lead=lead)
    return Scope(repository=repository, lead=lead) if _ignores_tree(found, lead) else scope


def rule_files(scope: Scope, folder: str) -> set[str]:
    """Files outside a folder that its rules come from, there or not: those of its repository, and of folders above.

    Args:
        scope: The scope of the folder.
        folder: The tree itself, or the top of a repository inside it.
    """
    repository = scope.repository
    if repository is None:
        return set()
    files = {os.path.join(repository.own_folder, "index"), os.path.join(repository.common_folder, "info", "exclude")}
    for _ in range(scope.lead.count("/")):
        folder = os.path.dirname(folder)
        files.add(os.path.join(folder, GIT_RULES))
    return files


def _ignores_tree(found: Iterable[LocatedRules], lead: str) -> bool:
    parts = lead.split("/")[:-1]
    for depth in range(len(parts)):
        for located in found:
            seen = "/".join(parts[: depth + 1])[len(lead) - len(located.lead) :]
            if seen and located.rules.decide(seen, is_directory=True):
                return True
    return False


def _rules_of_repository(repository: Repository, *, cut: int = 0, lead: str = "") -> tuple[LocatedRules, ...]:
    """Rules for a whole repository: its own excludes, then the user's."""
    exclude = os.path.join(repository.common_folder, "info", "exclude")
    of_user = user_excludes()
    read = [(exclude, read_rules(exclude)), (of_user or "", read_rules(of_user, follow=True) if of_user else None)]
    return tuple(LocatedRules(rules, source, cut, lead) for source, rules in read if rules)


def read_rules(path: str, *, follow: bool = False) -> IgnoreRules | None:
    """Rules of a regular file; None (no rules) if there is no such file or it cannot be read."""
    try:
        return _parsed(read_regular(path, _MAX_RULE_BYTES, follow=follow))
    except OSError:
        return None


@lru_cache(maxsize=256)
def _parsed(content: bytes) -> IgnoreRules:
    return IgnoreRules(content.decode("utf-8", "surrogateescape"))
