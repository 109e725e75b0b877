"""Find git repositories and the user's ignore rules without running git.

``.git`` of a tree is untrusted. A ``.git`` file may name any folder, so it counts only if that folder names the tree
in return, which nobody outside can arrange. The tree's own configuration is not used: the file that
``core.excludesFile`` names is read only if the user's own configuration names it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from mose.files.disk import read_regular

_MAX_LINK_BYTES = 8_192
_MAX_CONFIG_BYTES = 1_000_000
_MAX_INCLUDES = 5
_SECTION = re.compile(r'\[\s*([-.\w]+)\s*(?:"((?:[^"\\]|\\.)*)"\s*)?\]')
_ENTRY = re.compile(r"([A-Za-z][-\w]*)\s*(?:=\s*(.*))?")


@dataclass(frozen=True, slots=True)
class Repository:
    """Git folder of a working tree, and the one that it shares with its linked worktrees."""

    own_folder: str
    common_folder: str


def repository_at(folder: str) -> Repository | None:
    """The repository whose working tree is this folder; None if there is none."""
    link = os.path.join(folder, ".git")
    try:
        mode = os.lstat(link).st_mode
        if stat.S_ISDIR(mode):
            return Repository(link, link)
        if not stat.S_ISREG(mode):
            return None
        own = _named_folder(folder, _read(link), "gitdir:")
        if own is None or not _names_in_return(own, folder):
            return None
        common = _named_folder(own, _read_if_there(os.path.join(own, "commondir")))
        return Repository(own, common or own)
    except (OSError, ValueError):
        return None


def _read(path: str) -> str:
    return read_regular(path, _MAX_LINK_BYTES).decode("utf-8", "surrogateescape")


def _read_if_there(path: str) -> str:
    try:
        return _read(path)
    except OSError:
        return ""


def _named_folder(base: str, text: str, before: str = "") -> str | None:
    """The folder that a line names, relative to ``base``; None without one, or for a network path."""
    name = text.removeprefix(before).strip()
    if not text.startswith(before) or not name or name.startswith(("//", "\\\\")):
        return None
    folder = os.path.normpath(os.path.join(base, name))
    return folder if os.path.isdir(folder) else None


def _names_in_return(own: str, folder: str) -> bool:
    """Whether a git folder names this working tree, in ``gitdir`` of a worktree or the config of a submodule."""
    back = _read_if_there(os.path.join(own, "gitdir")).strip()
    if back:
        return os.path.realpath(os.path.join(own, os.path.dirname(back))) == os.path.realpath(folder)
    values = dict(_entries(_read_if_there(os.path.join(own, "config"))))
    named = values.get("core.worktree")
    return named is not None and os.path.realpath(os.path.join(own, named)) == os.path.realpath(folder)


def user_excludes() -> str | None:
    """The file with the user's ignore rules for all repositories; None if there is none.

    As in git: ``core.excludesFile`` of ``~/.gitconfig`` or ``$XDG_CONFIG_HOME/git/config`` (or of the file
    that ``GIT_CONFIG_GLOBAL`` names), else ``$XDG_CONFIG_HOME/git/ignore``. ``[include]`` is followed,
    ``[includeIf]`` and the configuration of the machine are not.
    """
    home = os.path.expanduser("~")
    settings = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    if not os.path.isabs(settings):
        return None
    configs = [os.path.join(settings, "git", "config"), os.path.join(home, ".gitconfig")]
    named = os.environ.get("GIT_CONFIG_GLOBAL")
    found = os.path.join(settings, "git", "ignore")
    for config in configs if named is None else [named]:
        for key, value in _user_entries(config, _MAX_INCLUDES):
            if key == "core.excludesfile":
                found = os.path.expanduser(value)
    return found if os.path.isabs(found) and os.path.isfile(found) else None


def _user_entries(path: str, includes_left: int) -> Iterator[tuple[str, str]]:
    try:
        text = read_regular(path, _MAX_CONFIG_BYTES, follow=True).decode("utf-8", "surrogateescape")
    except OSError:
        return
    for key, value in _entries(text):
        if key == "include.path" and includes_left:
            yield from _user_entries(os.path.join(os.path.dirname(path), os.path.expanduser(value)), includes_left - 1)
        else:
            yield key, value


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Settings of a configuration file: section and key in lower case, and the value."""
    section = ""
    for line in text.removeprefix("\ufeff").replace("\\\n", "").split("\n"):
        rest = line.strip()
        header = _SECTION.match(rest)
        if header:
            section = header[1].lower() + (f".{header[2]}" if header[2] is not None else "")
            rest = rest[header.end() :].strip()
        entry = _ENTRY.match(rest)
        if entry:
            yield f"{section}.{entry[1].lower()}", _value(entry[2] or "")


def _value(text: str) -> str:
    """A value without its quotes, escapes and comment."""
    value, quoted, kept = "", False, 0
    characters = iter(text)
    for char in characters:
        if char == "\\":
            escaped = next(characters, "")
            value += {"n": "\n", "t": "\t", "b": "\b"}.get(escaped, escaped)
        elif char == '"':
            quoted = not quoted
        elif char in "#;" and not quoted:
            break
        else:
            value += char
        if quoted or not value.endswith((" ", "\t")):
            kept = len(value)
    return value[:kept]
