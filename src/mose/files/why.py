"""Explain why a walk reads or leaves out one file of a tree, and by which rule."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mose import languages
from mose.files import records
from mose.files.disk import inside, list_folder
from mose.files.ignore_scope import Decision, Scope, scope_above
from mose.files.reading import read_source
from mose.files.records import Skipped, SourceFile, WalkLimits, is_odd, printable
from mose.files.walking import judge_file, judge_folder, reason_of_error

MISSING = "there is no such file"
OUTSIDE = "outside the tree"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Whether one file is read, and why."""

    path: str  # relative to the tree; of the folder that decides, with a slash at the end, if that is above it
    reason: str  # why it is left out: one of ``REASONS``, `MISSING` or `OUTSIDE`; empty if it is read
    detail: str = ""  # the rule, the size, the line that decides; a sentence without its full stop
    language: str = ""  # of a file that is read; empty for a folder


def explain(root: Path, name: str, limits: WalkLimits | None = None) -> Explanation:
    """Why a file is read or left out today, whether or not it is in an index.

    Args:
        root: The tree.
        name: The file or folder, relative to the current folder or to the tree; it need not exist.
        limits: Sizes; the defaults if None.
    """
    limits = limits or WalkLimits()
    top = os.path.realpath(root)
    path = _in_tree(top, name)
    if path is None:
        return Explanation(path=printable(name), reason=OUTSIDE)
    scope, directory, prefix = scope_above(top), top, ""
    parts = path.split("/") if path != "." else []
    for depth, part in enumerate(parts):
        here = prefix + part
        try:
            entries = list_folder(directory)
            scope = scope.entered(directory, prefix, {entry.name for entry in entries})
            entry = next((entry for entry in entries if entry.name == part), None)
            if entry is None:
                return _missing(scope, path, here)
            if is_odd(part):
                return Explanation(path=printable(here), reason=records.ODD_NAME)
            is_directory = entry.is_dir(follow_symlinks=False)
            decision = scope.decide(here, is_directory=is_directory)
            if not is_directory:
                found = judge_file(entry, here, scope, decision, limits, top)
                return (
                    _of_file(root, found, decision, limits) if depth == len(parts) - 1 else _missing(scope, path, here)
                )
            _, reason, scope = judge_folder(entry, here, scope, decision)
        except OSError as error:
            return Explanation(path=printable(here), reason=reason_of_error(error), detail=error.strerror or "")
        if reason:
            detail = _rule(decision) if reason == records.IGNORED else _DETAILS.get(reason, "")
            return Explanation(path=here + "/", reason=reason, detail=detail)
        directory, prefix = entry.path, here + "/"
    return Explanation(path=prefix or "./", reason="", detail="a folder that is entered")


def _in_tree(top: str, name: str) -> str | None:
    """Path of a file in the tree, None if it is outside; links in its folders are resolved, not the last one."""
    for base in (*_current_folder(), top):
        whole = os.path.normpath(os.path.join(base, name))
        whole = os.path.join(os.path.realpath(os.path.dirname(whole)), os.path.basename(whole))
        if inside(whole, top) and (base == top or os.path.lexists(whole)):
            return os.path.relpath(whole, top).replace(os.sep, "/").removeprefix("./") if whole != top else "."
    return None


def _current_folder() -> list[str]:
    try:
        return [os.getcwd()]
    except FileNotFoundError:  # it is gone
        return []


def _missing(scope: Scope, path: str, here: str) -> Explanation:
    decision = scope.decide(here, is_directory=here != path)
    would = f"it would be left out: {_rule(decision)}" if decision.ignored else ""
    return Explanation(path=printable(path), reason=MISSING, detail=would)


_DETAILS = {
    records.HIDDEN: "its name begins with a dot, and git tracks nothing in it",
    records.CACHE: "of version control, or made by a tool",
    records.DEPENDENCIES: "other people's code, installed by a tool",
    records.GENERATED: "its name is one that tools write",
    records.WORKTREE: "name that folder to search it",
    records.DATA: "a table, a catalogue or a drawing, by its extension",
    records.BINARY: "by its extension",
}


def _of_file(root: Path, found: SourceFile | Skipped, decision: Decision, limits: WalkLimits) -> Explanation:
    if isinstance(found, Skipped):
        detail = _DETAILS.get(found.reason, "")
        if found.reason == records.IGNORED:
            detail = _rule(decision)
        elif found.reason == records.OVERSIZED:
            size = os.stat(os.path.join(root, found.path), follow_symlinks=False).st_size
            detail = f"{size:,} bytes, read are files up to {limits.max_file_bytes:,}: see --max-file-size"
        return Explanation(path=found.path, reason=found.reason, detail=detail)
    text = read_source(root, found, limits)
    if isinstance(text, Skipped):
        return Explanation(path=found.path, reason=text.reason, detail=_BY_CONTENT.get(text.reason, ""))
    kept = _rule(decision) if decision.rule is not None and not decision.ignored else ""
    if decision.rule is not None and decision.rule.ignores:
        kept = f"git tracks it, though ignored: {_rule(decision)}"
    return Explanation(path=found.path, reason="", detail=kept, language=languages.label_of(found.path, text))


_BY_CONTENT = {
    records.BINARY: "by its content",
    records.GENERATED: "a comment near its top says that a tool wrote it",
    records.MINIFIED: "most of it is in very long lines",
    records.EMPTY: "it holds only white space",
}


def _rule(decision: Decision) -> str:
    """The file, line and text of the rule that decides."""
    if decision.rule is None:
        return "its folder is ignored or hidden, and git does not track it"
    line = decision.rule.line.encode("latin-1").decode("utf-8", "replace")
    return f"{decision.source}, line {decision.rule.line_number}: {printable(line)}"
