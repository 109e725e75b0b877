"""What commits changed: git's log and patches in, commits with the old text and lines of each changed file out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mose import git
from mose.errors import SourceError

_COMMIT = "\x01"
# All context, so that a patch holds the whole old file; a change of white space is none.
_SHOW = (
    "-c", "core.quotePath=false", "show", "--unified=10000000", "--ignore-all-space", "--no-renames",
    "--diff-filter=M", f"--format={_COMMIT}%H", *git.PLAIN, "--no-prefix",
)  # fmt: skip
_BATCH = 40
_SHOWN = re.compile(rf"^{_COMMIT}(?=[0-9a-f]{{40,64}}$)", re.MULTILINE)
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFile:
    """A file as it was before a commit."""

    commit: str
    path: str
    text: str
    spans: frozenset[tuple[int, int]]
    """First and last line, from 1, of what it changed: a line that was changed or removed, or the two lines between
    which others were added."""


def read_log(repository: git.Repository, most: int) -> list[git.LoggedCommit]:
    """The newest commits without merges, newest first; a renamed file is one removed and one added.

    Raises:
        SourceError: git cannot read them.
    """
    commits = git.read_log(repository, "--no-renames", f"--max-count={most}", repository.commit)
    if commits is None:
        raise SourceError(f"the history of {repository.top} cannot be read from {repository.commit}",
                          remedy="Clone it whole, and check the commit in the manifest.")  # fmt: skip
    return commits


def read_changes(repository: git.Repository, ids: Sequence[str]) -> Iterator[ChangedFile]:
    """Each modified file of some commits; what git cannot show, such as a file that is too large, is left out."""
    for first in range(0, len(ids), _BATCH):
        batch = ids[first : first + _BATCH]
        output = git.run_git(repository, *_SHOW, *batch)
        if output is None and len(batch) > 1:  # one of them costs no other
            for id_ in batch:
                yield from read_changes(repository, [id_])
            continue
        for entry in _SHOWN.split((output or b"").decode("utf8", "replace"))[1:]:
            id_, _, patch = entry.partition("\n")
            yield from _files_of(id_.strip(), patch.split("\n"))


def _files_of(commit: str, lines: Iterable[str]) -> Iterator[ChangedFile]:
    path = ""
    old: list[str] = []
    spans: set[tuple[int, int]] = set()
    inside = False
    before = ""
    for line in (*lines, "diff --git "):
        if line.startswith("diff --git "):
            if path and spans:
                yield ChangedFile(commit=commit, path=path, text="\n".join(old) + "\n", spans=frozenset(spans))
            path, old, spans, inside = "", [], set(), False
        elif inside:
            if line[:1] in (" ", "-"):
                old.append(line[1:])
            if line[:1] == "-":
                spans.add((len(old), len(old)))
            elif line[:1] == "+" and before == " ":
                spans.add((len(old), len(old) + 1))
            before = line[:1]
        elif line.startswith("--- ") and not line.startswith(('--- "', "--- /dev/null")):
            path = line[4:].rstrip("\t")
        elif _HUNK.match(line):
            inside, before = True, " "
