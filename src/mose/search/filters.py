"""Which chunks may be answers, by language and path.

Several languages or paths add up: a file passes if it fits one of them. A pattern that begins with "!" excludes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose.errors import ConfigError
from mose.files.ignore_file import IgnoreRules
from mose.languages import labels_named
from mose.search.store.location import is_part
from mose.search.store.records import ChunkTable

Names = str | Sequence[str] | None
"""One name, several, or None for no filter."""

MOST_PATTERNS = 200
"""Each is compared with every file."""
_PATTERNS = "patterns as in .gitignore, e.g. 'src/', '*.py', '!tests/'"
_REMEDY = """Case counts, and a \\ before * ? [ ] means the character itself, as in 'app/\\[id\\]'.
mose status TREE --why FILE says whether a file is read."""


@dataclass(frozen=True, slots=True)
class _PathFilter:
    """One pattern as the user wrote it, and the rule it stands for."""

    written: str
    excludes: bool
    rules: IgnoreRules | None  # None: the whole tree


def allowed_chunks(
    table: ChunkTable, base: NDArray[np.bool_] | None, language: Names, path: Names, root: Path, part: str = ""
) -> NDArray[np.bool_] | None:
    """Which chunks [N] pass all filters, None if all do.

    Args:
        table: All chunks.
        base: Those allowed already; None for all.
        language: Only files of these languages.
        path: Only files that match one of these patterns and none that begins with "!", as in ``.gitignore``;
            ``./`` and absolute paths of the tree are understood.
        root: The tree.
        part: Only this folder or file of the tree; ``path`` is relative to the folder then.

    Raises:
        ConfigError: A filter cannot be read, or no file passes it.
    """
    if part:
        inside = np.array([is_part(own, part) for own in table.paths], dtype=np.bool_)
        base = inside[table.file_row] if base is None else base & inside[table.file_row]
        folder = part if part not in table.paths else part.rpartition("/")[0]
        root = root / folder
        skip = len(folder) + 1 if folder else 0
        table = replace(table, paths=[own[skip:] if is_part(own, part) else "" for own in table.paths])
    patterns, names = list(dict.fromkeys(_listed(path))), _listed(language)
    if not patterns and not names:
        return base
    if len(patterns) > MOST_PATTERNS:
        raise ConfigError(
            "path: number of patterns", got=len(patterns), allowed=f"up to {MOST_PATTERNS}", remedy="Name folders."
        )
    filters = [_path_filter(text, root) for text in patterns]
    files = _of_languages(table, names)
    fitting = _fitting(table.paths, filters)
    if not fitting.any():
        raise ConfigError("path: no indexed file is left", got=" ".join(_listed(path)), allowed=_PATTERNS)
    if not (files & fitting).any():
        raise ConfigError(
            "path and language together leave no indexed file",
            got=f"{' '.join(_listed(path))} {', '.join(names)}",
            remedy="Leave one of them out.",
        )
    chunks: NDArray[np.bool_] = (files & fitting)[table.file_row]
    return chunks if base is None else chunks & base


def _listed(names: Names) -> list[str]:
    if names is None:
        return []
    return [names] if isinstance(names, str) else list(names)


def _of_languages(table: ChunkTable, names: Sequence[str]) -> NDArray[np.bool_]:
    if not names:
        return np.ones(len(table.paths), dtype=np.bool_)
    known = set(table.languages)
    wanted: set[str] = set()
    for name in names:
        labels = labels_named(name) & known
        if not labels:
            raise ConfigError("language", got=name, allowed=", ".join(sorted(known)) or "none: the index is empty")
        wanted |= labels
    return np.array([label in wanted for label in table.languages], dtype=np.bool_)


def _fitting(paths: Sequence[str], filters: Sequence[_PathFilter]) -> NDArray[np.bool_]:
    """Which files fit one filter that includes, if there is any, and none that excludes."""
    included, excluded = np.zeros(len(paths), np.bool_), np.zeros(len(paths), np.bool_)
    for each in filters:
        match = _matcher(each.rules)
        matched = np.fromiter(map(match, paths), np.bool_, len(paths))
        if each.excludes:
            excluded |= matched
            continue
        if not matched.any():
            raise ConfigError("path: no indexed file matches", got=each.written, allowed=_PATTERNS, remedy=_REMEDY)
        included |= matched
    if all(each.excludes for each in filters):
        included[:] = True
    return included & ~excluded


def _matcher(rules: IgnoreRules | None) -> Callable[[str], bool]:
    """Whether a rule matches a file or one of its folders."""
    if rules is None:
        return lambda _: True
    folders: dict[str, bool] = {"": False}

    def matches_folder(path: str) -> bool:
        missing = []  # a loop, for a path may have more folders than Python has frames
        while path not in folders:
            missing.append(path)
            path = path.rpartition("/")[0]
        matched = folders[path]
        for folder in reversed(missing):
            matched = folders[folder] = matched or rules.decide(folder, is_directory=True) is not None
        return matched

    def matches(path: str) -> bool:
        return matches_folder(path.rpartition("/")[0]) or rules.decide(path, is_directory=False) is not None

    return matches


def _path_filter(written: str, root: Path) -> _PathFilter:
    pattern = written.strip("\n\r")
    excludes = pattern.startswith("!")
    pattern = _inside_tree(pattern.removeprefix("!"), root)
    if pattern == "/":
        return _PathFilter(written, excludes, None)
    rules = IgnoreRules(pattern if pattern[:1] not in ("!", "#") else "\\" + pattern)
    if not rules or "\n" in pattern or written.startswith("!!") or ".." in pattern.split("/"):
        raise ConfigError("path", got=written, allowed=_PATTERNS, remedy="Name what is inside the searched tree.")
    return _PathFilter(written, excludes, rules)


def _inside_tree(pattern: str, root: Path) -> str:
    """A pattern in which ``./``, ``..`` and an absolute path of the tree are anchored at the root."""
    if os.sep == "\\":
        pattern = pattern.replace("\\", "/")
    for top in {root.absolute().as_posix(), root.resolve().as_posix()}:
        if pattern == top or pattern.startswith(top.rstrip("/") + "/"):
            pattern = "/" + pattern[len(top) :]
            break
    parts = pattern.split("/")
    kept: list[str] = []
    for part in parts:
        if part == ".." and kept and kept[-1] != "..":
            kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    if not kept:
        return "/" if pattern else ""
    is_anchored = parts[0] in ("", ".") or ".." in parts
    return "/" * is_anchored + "/".join(kept) + "/" * (parts[-1] in ("", ".", ".."))
