"""Walk one source tree and read its files; whatever is left out is reported with a reason.

``walk`` runs before every search, so it decides by name, ignore rules and ``stat`` alone. ``read_source`` opens one
file and decides by its content. Nothing outside the tree is read: links are reported, never followed.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mose import languages
from mose.errors import SourceError
from mose.ignore import IgnoreRules

IGNORED = "ignored"
HIDDEN = "hidden"
CACHE = "version control or cache"
DEPENDENCIES = "vendored"
BINARY = "binary"
DATA = "data"
GENERATED = "generated"
MINIFIED = "minified"
OVERSIZED = "oversized"
EMPTY = "empty"
UNREADABLE = "unreadable"
LINK = "link to a file of the tree"
LINK_OUTSIDE = "link outside the tree"
LINK_LOOP = "link loop"
LINK_BROKEN = "broken link"
SPECIAL = "not a regular file"
ODD_NAME = "odd name"

REASONS = (
    *(IGNORED, HIDDEN, CACHE, DEPENDENCIES, BINARY, DATA, GENERATED, MINIFIED, OVERSIZED, EMPTY, UNREADABLE),
    *(LINK, LINK_OUTSIDE, LINK_LOOP, LINK_BROKEN, SPECIAL, ODD_NAME),
)
"""Every reason that ``Skipped`` may carry."""

_VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".bzr", ".jj", ".sl", "CVS", "_darcs", ".pijul", ".fossil"})
_CACHES = frozenset({"__pycache__", "__pypackages__", "htmlcov", "site-packages.zip"})
_DEPENDENCIES = frozenset({"node_modules", "bower_components", "jspm_packages", "Pods", "Carthage"})
_DEPENDENCY_MARKS = {"vendor": ("modules.txt", "autoload.php", "bundle"), "deps": (".hex",)}
_CACHE_MARKS = frozenset({"CACHEDIR.TAG", "pyvenv.cfg", "conda-meta"})
_METADATA = (".dist-info", ".egg-info", ".xcodeproj", ".xcworkspace", ".dSYM")
_HIDDEN_KEPT = frozenset(
    {".github", ".gitlab", ".circleci", ".ci", ".buildkite", ".devcontainer", ".storybook", ".husky", ".config"}
)
_HIDDEN_FILES_SKIPPED = re.compile(r"\.env(\..*)?$|\.DS_Store$|\.netrc$|\.pgpass$|\.coverage(\..*)?$|.*~$|\.#.*")
_ODD = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_IGNORE_FILES = (".gitignore", ".moseignore")
_MAX_RULE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file worth reading."""

    path: str  # relative to the root, with forward slashes
    size_bytes: int
    modified_ns: int
    language: str  # "python", ...; "text" if the name says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """One file or directory that is left out; a directory's path ends with a slash."""

    path: str  # odd characters are written as backslash escapes, so it can always be printed
    reason: str  # one of ``REASONS``


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkLimits:
    """What is too large to be source that a person wrote."""

    max_file_bytes: int = 1_000_000
    """Larger files are left out."""
    max_line_chars: int = 2_000
    """A file that consists mostly of longer lines is minified (ten times this for prose)."""

    def __post_init__(self) -> None:
        for name in ("max_file_bytes", "max_line_chars"):
            if getattr(self, name) < 1:
                raise SourceError(name, got=getattr(self, name), allowed="1 or more")


def walk(root: Path, limits: WalkLimits | None = None) -> Iterator[SourceFile | Skipped]:
    """Files below ``root`` and what was left out, sorted by path.

    ``root`` itself is always entered, whatever its name and whatever the rules above it say. ``.moseignore``
    outranks ``.gitignore`` and ``.git/info/exclude``, and a "!" line in any of them brings back hidden folders,
    dependencies and generated files.

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
        entries = _list(top)
    except OSError as error:
        raise SourceError(f"{root} cannot be listed: {error.strerror}") from error
    return _walk(top, entries, limits or WalkLimits())


@dataclass(frozen=True, slots=True)
class _Scope:
    """Ignore files that apply in a directory: (length of the directory's prefix, rules), deepest first."""

    git: tuple[tuple[int, IgnoreRules], ...]
    mose: tuple[tuple[int, IgnoreRules], ...]

    def decide(self, path: str, is_directory: bool) -> bool | None:
        for length, rules in self.mose + self.git:
            decision = rules.decide(path[length:], is_directory=is_directory)
            if decision is not None:
                return decision
        return None


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
            if _ODD.search(name):
                yield Skipped(path=_printable(path), reason=ODD_NAME)
                continue
            try:
                is_link = entry.is_symlink()
                is_directory = not is_link and entry.is_dir(follow_symlinks=False)
                decision = scope.decide(path, is_directory) if has_rules else None
                if is_directory:
                    reason = _directory_reason(name, decision)
                    below = [] if reason else _list(entry.path)
                    reason = reason or _marked_reason(name, decision, below)
                    if reason:
                        yield Skipped(path=path + "/", reason=reason)
                    else:
                        yield _Directory(path + "/", scope, below)
                    continue
                if decision:
                    yield Skipped(path=path, reason=IGNORED)
                elif is_link:
                    yield Skipped(path=path, reason=_link_reason(entry.path, top))
                else:
                    yield _judge_file(entry, path, limits, kept=decision is False)
            except OSError:
                yield Skipped(path=path, reason=UNREADABLE)


def _list(directory: str) -> list[os.DirEntry[str]]:
    """Entries in the order of their full paths: "a-b" before what is inside "a"."""
    with os.scandir(directory) as entries:
        return sorted(entries, key=_sort_key)


def _sort_key(entry: os.DirEntry[str]) -> str:
    try:
        return entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
    except OSError:
        return entry.name


def _directory_reason(name: str, decision: bool | None) -> str | None:
    if name in _VERSION_CONTROL:
        return CACHE
    if decision is not None:
        return IGNORED if decision else None
    if name in _CACHES:
        return CACHE
    if name in _DEPENDENCIES:
        return DEPENDENCIES
    if name.endswith(_METADATA):
        return GENERATED
    if name.startswith(".") and name not in _HIDDEN_KEPT:
        return HIDDEN
    return None


def _marked_reason(name: str, decision: bool | None, entries: list[os.DirEntry[str]]) -> str | None:
    """Reason given by files that tools leave in the folders they write."""
    if decision is False:
        return None
    marks = _DEPENDENCY_MARKS.get(name)
    for entry in entries:
        if entry.name in _CACHE_MARKS:
            return CACHE
        if marks is not None and entry.name in marks:
            return DEPENDENCIES
    return None


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
    return SourceFile(
        path=path, size_bytes=status.st_size, modified_ns=status.st_mtime_ns, language=language
    )


def _script_language(path: str) -> str | None:
    line = _read(path, 128).partition(b"\n")[0]
    return languages.language_of_shebang(line.decode("utf-8", "replace"))


def _link_reason(path: str, top: str) -> str:
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        return LINK_LOOP if error.errno == errno.ELOOP else LINK_BROKEN
    if not _inside(target, top):
        return LINK_OUTSIDE
    return LINK_LOOP if _inside(os.path.dirname(path), target) else LINK


def _inside(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip(os.sep) + os.sep)


def _with_rules_here(scope: _Scope, prefix: str, entries: list[os.DirEntry[str]]) -> _Scope:
    for entry in entries:
        if entry.name in _IGNORE_FILES:
            rules = _read_rules(entry.path)
            if rules and entry.name == ".gitignore":
                scope = _Scope(((len(prefix), rules), *scope.git), scope.mose)
            elif rules:
                scope = _Scope(scope.git, ((len(prefix), rules), *scope.mose))
    return scope


def _rules_above(top: str) -> tuple[tuple[int, IgnoreRules], ...]:
    """The repository's own exclude file, which lies beside the tree's rules and below them in rank."""
    rules = _read_rules(os.path.join(top, ".git", "info", "exclude"))
    return ((0, rules),) if rules else ()


def _read_rules(path: str) -> IgnoreRules | None:
    """Rules of a regular file; None (no rules) if there is no such file or it cannot be read."""
    try:
        return IgnoreRules(_read(path, _MAX_RULE_BYTES).decode("utf-8", "surrogateescape"))
    except OSError:
        return None


def _read(path: str, limit: int) -> bytes:
    """At most ``limit`` bytes of a regular file. Follows no link at the end of ``path`` and never waits on a pipe.

    Raises:
        OSError: Not a regular file, or it cannot be opened or read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        parts = []
        while limit > 0 and (part := file.read(limit)):
            parts.append(part)
            limit -= len(part)
    return b"".join(parts)


def _printable(path: str) -> str:
    escaped = path.encode("utf-8", "backslashreplace").decode("utf-8")
    return _ODD.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), escaped)


def read_source(root: Path, file: SourceFile, limits: WalkLimits | None = None) -> str | Skipped:
    """Text of one file with ``\\n`` line ends, or why it is left out.

    UTF-8, UTF-16 and UTF-32 with a byte order mark, and files that name their encoding in a coding line are decoded
    as such; other bytes are read as Latin-1, so that the rest of the file can still be searched.

    Args:
        root: The folder given to ``walk``.
        file: What ``walk`` found; it may have changed or gone since.
        limits: Sizes; the defaults if None.
    """
    limits = limits or WalkLimits()
    top = os.path.realpath(root)
    path = os.path.join(top, *file.path.split("/"))
    try:
        if not _inside(os.path.realpath(os.path.dirname(path)), top):
            return Skipped(path=file.path, reason=LINK_OUTSIDE)
        content = _read(path, limits.max_file_bytes + 1)
    except (OSError, ValueError):
        return Skipped(path=_printable(file.path), reason=UNREADABLE)
    if len(content) > limits.max_file_bytes:
        return Skipped(path=file.path, reason=OVERSIZED)
    text = _decode(content)
    if text is None:
        return Skipped(path=file.path, reason=BINARY)
    text = text.replace("\r\n", "\n") if "\n" in text else text.replace("\r", "\n")
    reason = _content_reason(text, file, limits)
    return text if reason is None else Skipped(path=file.path, reason=reason)


_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = re.compile(rb"coding[:=][ \t]*([-\w.]{2,40})")
_CONTROL = bytes(set(range(32)) - {7, 8, 9, 10, 11, 12, 13, 27})


def _decode(content: bytes) -> str | None:
    """Text, or None if the bytes are not text."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace").replace("\x00", "\ufffd")
    if b"\x00" in content:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    num_control = len(content) - len(content.translate(None, _CONTROL))
    if num_control * 50 > len(content):
        return None
    named = _CODING.search(b"\n".join(content[:400].split(b"\n")[:2]))
    if named:
        try:
            return content.decode(named.group(1).decode("ascii"))
        except (LookupError, UnicodeError):
            pass
    return content.decode("latin-1")


_GENERATED_HEAD = re.compile(
    r"""(?imx)
    ^ [^\w\n]* (<!--|//|/\*|\*|\#|--|;|%|\"\"\"|') .{0,80}? (
        (?-i: @generated\b )
      | \b (code|file|source|document|module) \b .{0,40} \b (auto(matically)?[- ]?)? generated \b .{0,200}? (do\ not|don't) .{0,20} (edit|modif|change)
      | \b auto(matically)?[- ]?generated \b .{0,40} \b (by|from|file|do\ not|don't) \b
      | \b generated\ by\ .{0,100} (do\ not|don't) .{0,20} (edit|modif|change)
      | \b this\ (file|code|module|source) \s (is|was|has\ been) \s (auto(matically)?[- ]?)? generated \b
      | \b do\ not\ (edit|modify) \b .{0,60} \b generated \b
    )
    """
)
_HEAD_CHARS = 1_200


def _content_reason(text: str, file: SourceFile, limits: WalkLimits) -> str | None:
    if not text.strip():
        return EMPTY
    if _GENERATED_HEAD.search(text[:_HEAD_CHARS]):
        return GENERATED
    longest_allowed = limits.max_line_chars * (10 if languages.is_documentation(file.path) else 1)
    if len(text) > longest_allowed:
        num_long = sum(len(line) for line in text.split("\n") if len(line) > longest_allowed)
        if num_long * 2 > len(text):
            return MINIFIED
    return None
