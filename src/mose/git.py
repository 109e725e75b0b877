"""What a source tree's history says, read with git but without the tree's own settings.

The settings of a repository can make git run programs: filters, text converters, hooks, pagers, signature checks,
monitors, remotes that fetch what is missing. So git never sees the repository. It works in an empty one of ours, made
for the call, that borrows the objects of the tree: whatever else lies in ``.git`` (settings, hooks, attributes,
replacements, grafts) is not read by anyone, and the user's own settings and ``GIT_*`` variables are not either. HEAD
itself is read here. Nothing of the repository is trusted, so it does not matter whose it is (``safe.directory``).
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import sys
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from mose import processes

TIMEOUT_SECONDS = 30.0
MEMORY_BYTES = 1_500_000_000
"""Address space of git, where the system lets one process limit another."""
MOST_OUTPUT_BYTES = 64_000_000
"""A few kilobytes of objects can stand for billions of files."""
_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SMALL_BYTES = 65_536
_LARGE_BYTES = 64_000_000
_MAX_LINKS = 5
_CONFIG = """[core]
    repositoryformatversion = {version}
    bare = {bare}
    commitGraph = false
    multiPackIndex = false
    packedGitWindowSize = 32m
    packedGitLimit = 256m
    hooksPath = {nothing}
    attributesFile = {nothing}
    excludesFile = {nothing}
[protocol]
    allow = never
[extensions]
    {extension}
"""
_VARIABLES = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "LC_ALL": "C",
}


PLAIN = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-show-signature")
"""Options of a command that prints commits: nothing for people, and no program is run."""
_LOG = ("log", "--no-merges", "--name-status", "-z", *PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository with a work tree and at least one commit."""

    top: Path
    """The work tree."""
    folder: Path
    """``.git``, or what it points to: HEAD and the index of this work tree."""
    common: Path
    """Objects and branches; the same folder, except in a linked work tree."""
    commit: str
    """The commit that HEAD names."""


def find_repository(root: Path) -> Repository | None:
    """The repository that a folder lies in; None if there is none, or one without a commit."""
    root = Path(os.path.realpath(root))
    for top in (root, *root.parents):
        folder = _git_folder(top / ".git")
        if folder is not None:
            common = _pointed_to(folder, _read(folder / "commondir") or ".")
            commit = _resolve(folder, common, "HEAD")
            return Repository(top=top, folder=folder, common=common, commit=commit) if commit else None
    return None


def open_repository(folder: Path, commit: str) -> Repository | None:
    """A clone, with or without a work tree, as it was at a commit; None if it is not a repository.

    Whether the commit is there shows when git is asked for it.
    """
    bare = Path(os.path.realpath(folder))
    found = find_repository(folder)
    if found is not None and found.top == bare:
        return replace(found, commit=commit)
    if not (bare / "objects").is_dir() or not (bare / "HEAD").is_file():
        return None
    return Repository(top=bare, folder=bare, common=bare, commit=commit)


def run_git(repository: Repository, *words: str, in_work_tree: bool = False) -> bytes | None:
    """What a reading command of git prints; None if it fails, takes too long, says too much, or there is no git.

    Args:
        repository: Where its objects come from. HEAD is its commit; there are no branches.
        words: The command. Paths are relative to the work tree and taken literally.
        in_work_tree: True if it must see the files and the index.
    """
    import subprocess

    program = processes.find_program("git")
    if program is None:
        return None
    with tempfile.TemporaryDirectory(prefix="mose-git-", ignore_cleanup_errors=True) as name:
        own = Path(name)
        _make_empty(own, repository, bare=not in_work_tree)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        environment |= {**_VARIABLES, "HOME": name, "XDG_CONFIG_HOME": name, "GIT_DIR": name}
        environment["GIT_OBJECT_DIRECTORY"] = str(repository.common / "objects")
        if in_work_tree:
            environment |= {"GIT_WORK_TREE": str(repository.top), "GIT_INDEX_FILE": str(repository.folder / "index")}
        with subprocess.Popen(
            [program, "--no-pager", *words],
            cwd=name,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            _limit_memory(process.pid)
            timer = threading.Timer(TIMEOUT_SECONDS, process.kill)
            timer.start()
            try:
                assert process.stdout is not None
                output = process.stdout.read(MOST_OUTPUT_BYTES + 1)
                if len(output) <= MOST_OUTPUT_BYTES:
                    process.wait()
            finally:
                timer.cancel()
                process.kill()
    return output if process.returncode == 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedCommit:
    """One commit of a log."""

    id: str
    subject: str
    files: tuple[tuple[str, str], ...]
    """Status, such as "M", "A", "D" or "R", and path of each file; of a renamed or copied one the new path."""


def read_log(repository: Repository, *words: str) -> list[LoggedCommit] | None:
    """Commits without merges, newest first, with the files they changed; None where `run_git` gives none.

    Args:
        repository: As for `run_git`.
        words: Further options, and what to list.
    """
    mark = secrets.token_hex(16)  # that no subject and no path can hold
    output = run_git(repository, *_LOG, f"--format={mark}%H%x00%s", *words)
    if output is None:
        return None
    return [_logged(entry) for entry in output.decode("utf-8", "replace").split(mark)[1:]]


def _logged(entry: str) -> LoggedCommit:
    id_, subject, *fields = entry.split("\0")
    files = []
    rest = iter(field.lstrip("\n") for field in fields)
    for status in rest:
        if not status:
            continue
        path = next(rest, "")
        if status[0] in "RC":
            path = next(rest, "")
        if path:
            files.append((status[0], path))
    return LoggedCommit(id=id_, subject=subject, files=tuple(files))


def short_name(repository: Repository, *folders: Path) -> str:
    """Twelve digits of the commit, with "+" unless all tracked files below the folders are as it has them."""
    return repository.commit[:12] + "+" * any(is_changed(repository, folder) for folder in folders)


def is_changed(repository: Repository, folder: Path) -> bool:
    """True unless all tracked files below a folder are known to be as the commit has them; submodules do not count."""
    try:
        if not stat.S_ISREG((repository.folder / "index").stat().st_mode):
            return True
    except OSError:
        return True
    form = ("--porcelain", "--untracked-files=no", "--ignore-submodules=all", "--no-renames")
    output = run_git(repository, "status", *form, "--", relative_to_top(repository, folder) or ".", in_work_tree=True)
    return output is None or bool(output.strip())


def is_tracked(repository: Repository, file: Path) -> bool:
    """True if the commit has a file."""
    return bool(run_git(repository, "ls-tree", "--name-only", "HEAD", "--", relative_to_top(repository, file)))


def relative_to_top(repository: Repository, path: Path) -> str:
    """A path as git spells it; empty for the work tree itself."""
    relative = Path(os.path.realpath(path)).relative_to(repository.top).as_posix()
    return "" if relative == "." else relative


def _git_folder(path: Path) -> Path | None:
    if not path.is_dir():
        text = _read(path)
        if text is None or not text.startswith("gitdir: "):
            return None
        path = _pointed_to(path.parent, text.removeprefix("gitdir: "))
    return path if (path / "HEAD").exists() else None


def _pointed_to(folder: Path, text: str) -> Path:
    """A path as files in ``.git`` hold it, relative to their folder."""
    return Path(os.path.realpath(folder / text.rstrip("\r\n")))


def _resolve(folder: Path, common: Path, name: str) -> str:
    """The commit of a reference, empty if it has none."""
    for _ in range(_MAX_LINKS):
        text = (_read(folder / name) or _read(common / name) or "").strip()
        if _HASH.fullmatch(text):
            return text
        if not text.startswith("ref: "):
            return _packed(common, name)
        name = text.removeprefix("ref: ").strip()
        if not name.startswith("refs/") or ".." in name:
            return ""
    return ""


def _packed(common: Path, name: str) -> str:
    text = _read(common / "packed-refs", _LARGE_BYTES) or ""
    found = re.search(rf"^({_HASH.pattern}) {re.escape(name)}$", text, re.MULTILINE)
    return found[1] if found else ""


def _read(path: Path, limit: int = _SMALL_BYTES) -> str | None:
    """The text of a regular file that is not larger than expected."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe must not hold us up
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            content = file.read(limit + 1)
    except (OSError, ValueError):  # ValueError: a zero byte in a name
        return None
    return os.fsdecode(content) if len(content) <= limit else None


def _make_empty(own: Path, repository: Repository, *, bare: bool) -> None:
    """A repository without anything but HEAD, and without the parents of a shallow clone's oldest commits."""
    (own / "refs").mkdir()
    (own / "HEAD").write_text(f"{repository.commit}\n", encoding="ascii")
    is_sha256 = len(repository.commit) == 64
    config = _CONFIG.format(
        version=int(is_sha256),
        bare=str(bare).lower(),
        nothing=os.devnull,
        extension="objectFormat = sha256" if is_sha256 else "",
    )
    (own / "config").write_text(config, encoding="ascii")
    cut_off = [
        line for line in (_read(repository.common / "shallow", _LARGE_BYTES) or "").split() if _HASH.fullmatch(line)
    ]
    if cut_off:
        (own / "shallow").write_text("".join(f"{line}\n" for line in cut_off), encoding="ascii")


def _limit_memory(process_id: int) -> None:
    if sys.platform == "linux":
        import resource
        from contextlib import suppress

        with suppress(OSError, ValueError):  # it has ended, or its limit is lower
            resource.prlimit(process_id, resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
