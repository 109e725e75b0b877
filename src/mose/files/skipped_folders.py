"""Folders that are left out by name, or by a file that a tool has left in them."""

from __future__ import annotations

from collections.abc import Set

from mose.files.records import CACHE, DEPENDENCIES, GENERATED, HIDDEN, IGNORED
from mose.languages.tables import word_set

_VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".bzr", ".jj", ".sl", "CVS", "_darcs", ".pijul", ".fossil"})
_CACHES = frozenset({"__pycache__", "__pypackages__", "htmlcov", "site-packages.zip"})
_DEPENDENCIES = frozenset({"node_modules", "bower_components", "jspm_packages", "Pods", "Carthage"})
_DEPENDENCY_MARKS = {"vendor": ("modules.txt", "autoload.php", "bundle"), "deps": (".hex",)}
_CACHE_MARKS = frozenset({"CACHEDIR.TAG", "pyvenv.cfg", "conda-meta"})
_METADATA = (".dist-info", ".egg-info", ".xcodeproj", ".xcworkspace", ".dSYM")
_HIDDEN_KEPT = word_set(".github .gitlab .circleci .ci .buildkite .devcontainer .storybook .husky .config")


def folder_reason(name: str, *, ignored: bool, kept: bool) -> str | None:
    """Why a folder is not entered, None if it is.

    Args:
        name: Its name.
        ignored: A rule ignores it.
        kept: ``.moseignore`` asks for it; version control is left out even so.

    Example:
        >>> folder_reason("node_modules", ignored=False, kept=False)
        'vendored'
    """
    if name in _VERSION_CONTROL:
        return CACHE
    if ignored or kept:
        return IGNORED if ignored else None
    if name in _CACHES:
        return CACHE
    if name in _DEPENDENCIES:
        return DEPENDENCIES
    if name.endswith(_METADATA):
        return GENERATED
    if name.startswith(".") and name not in _HIDDEN_KEPT:
        return HIDDEN
    return None


def marked_reason(name: str, names: Set[str]) -> str | None:
    """Reason given by files that tools leave in the folders they write.

    Args:
        name: Name of a folder.
        names: Names of its entries.
    """
    if not _CACHE_MARKS.isdisjoint(names):
        return CACHE
    return None if names.isdisjoint(_DEPENDENCY_MARKS.get(name, ())) else DEPENDENCIES
