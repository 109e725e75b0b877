"""Registering the server and its hook with an agent, and undoing that: one entry of a file, and no other byte of it."""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mose.errors import OutputError
from mose.serve.settings import jsonc
from mose.serve.settings.clients import HOOK_PATH, HOOK_SCRIPT, AgentClient, Launch
from mose.storage import new_file

_LARGEST_BYTES = 64_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of one file, not yet made."""

    file: Path
    before: str | None
    """None if there is no file."""
    after: str | None
    """None if the file is to be removed because it holds nothing else."""

    @property
    def is_none(self) -> bool:
        """Whether the file is already as it should be."""
        return self.before == self.after

    def make(self) -> None:
        """Write or remove the file, in one step.

        Raises:
            OutputError: The file cannot be written, or has changed since it was read.
        """
        if _read(self.file) != self.before:
            raise OutputError(f"{self.file} has just been changed by another program", remedy="Try again.")
        target = Path(os.path.realpath(self.file))  # the target, if it is a link
        try:
            if self.after is None:
                target.unlink(missing_ok=True)
                return
            mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o600
            target.parent.mkdir(parents=True, exist_ok=True)
            with new_file(target, mode) as file:
                os.chmod(file.name, mode)
                file.write(self.after.encode("utf-8"))
        except OSError as error:
            raise OutputError(
                f"{self.file} cannot be written: {error.strerror}", remedy="Make it writable, and try again."
            ) from error


def plan_install(client: AgentClient, how: Launch) -> Change:
    """The change that registers the server with a client.

    Raises:
        OutputError: The client's settings cannot be read or changed.
    """
    return _change(client.file(), client.path, client.entry(how))


def plan_uninstall(client: AgentClient) -> Change:
    """The change that undoes `plan_install`.

    Raises:
        OutputError: The client's settings cannot be read or changed.
    """
    return _change(client.file(), client.path, None)


def plan_hook(file: Path, hook: dict[str, object] | None) -> Change:
    """The change that puts our hook behind all others in a settings file, or takes it out.

    Args:
        file: The settings, in plain JSON.
        hook: What `mose.serve.settings.clients.grep_hook` gives; None to take it out.

    Raises:
        OutputError: The settings cannot be read or changed.
    """
    try:
        hooks = _entry_of(json.loads((_read(file) or "").strip() or "{}"), HOOK_PATH) or []
        if not isinstance(hooks, list):
            raise ValueError(f"{HOOK_PATH[1]} is not a list")
    except (ValueError, RecursionError) as error:
        raise _not_changed(file, HOOK_PATH, hook and [hook], str(error)) from error
    others = [other for other in hooks if not _is_own_hook(other)]
    if hook is None and len(others) == len(hooks):
        before = _read(file)
        return Change(file=file, before=before, after=before)
    return _change(file, HOOK_PATH, [*others, hook] if hook else others or None)


def _is_own_hook(entry: Any) -> bool:
    """Whether an entry of the list runs our script and nothing else."""
    try:
        (hook,) = entry["hooks"]
        return HOOK_SCRIPT.name in hook["command"]
    except (TypeError, KeyError, ValueError):
        return False


def _change(file: Path, path: tuple[str, ...], entry: object) -> Change:
    """The change that sets an entry of a settings file, or removes it if ``entry`` is None."""
    before = _read(file)
    is_toml = file.suffix == ".toml"
    ends = "\r\n" if before and before.count("\r\n") == before.count("\n") > 0 else "\n"
    text = (before or "").replace(ends, "\n")
    try:
        old = _parsed(text, is_toml)
        if _entry_of(old, path) == entry:
            return Change(file=file, before=before, after=before)
        if is_toml:
            after = _in_toml(text, path, entry)
        elif entry is None:
            after = jsonc.remove_member(text, path)
        else:
            after = jsonc.set_member(text, path, entry)
        new = _parsed(after, is_toml)
        is_right = _without_empty(new, path[0]) == _expected(old, path, entry)
    except (ValueError, IndexError, RecursionError) as error:
        raise _not_changed(file, path, entry, str(error)) from error
    if not is_right:
        raise _not_changed(file, path, entry, "an entry of this name is written in an unusual way")
    if entry is None and (before is None or (not new and after.strip() in ("", "{}"))):
        return Change(file=file, before=before, after=None)
    return Change(file=file, before=before, after=after.replace("\n", ends))


def _not_changed(file: Path, path: tuple[str, ...], entry: object, why: str) -> OutputError:
    what = "Remove" if entry is None else "Add"
    inner = json.dumps({path[-1]: entry} if entry else path[-1], ensure_ascii=False)
    return OutputError(
        f"{file} cannot be changed safely: {why}",
        remedy=f"Nothing was written. {what} it by hand, under {path[0]}: {inner}",
    )


def _expected(old: Any, path: tuple[str, ...], entry: object) -> Any:
    """What the settings should be afterwards."""
    if not isinstance(old, dict):
        raise ValueError("it is not an object")
    new = dict(old)
    section = new.get(path[0], {})
    if not isinstance(section, dict):
        raise ValueError(f"{path[0]} is not an object")
    if entry is not None:
        new[path[0]] = {**section, path[1]: entry}
    else:
        new[path[0]] = {name: value for name, value in section.items() if name != path[1]}
    return _without_empty(new, path[0])


def _entry_of(settings: Any, path: tuple[str, ...]) -> Any:
    section = settings.get(path[0]) if isinstance(settings, dict) else None
    return section.get(path[1]) if isinstance(section, dict) else None


def _without_empty(settings: dict[str, Any], name: str) -> dict[str, Any]:
    """The settings without an empty section, which means the same."""
    return settings if settings.get(name) else {key: value for key, value in settings.items() if key != name}


def _parsed(text: str, is_toml: bool) -> Any:
    if is_toml:
        return tomllib.loads(text)
    return jsonc.parse(text) if text.strip() else {}


def _in_toml(text: str, path: tuple[str, ...], entry: Any) -> str:
    """The text with the table of the server at its end, or without it."""
    name = rf"{re.escape(path[0])}\s*\.\s*(?:{re.escape(path[1])}|\"{re.escape(path[1])}\")"
    table = re.compile(rf"(?:^|\n)\n?[ \t]*\[\s*{name}\s*(?:\.[^\]]*)?\][^\n]*(?:\n(?![ \t]*\[)[^\n]*)*")
    kept = table.sub(lambda found: "\n" if found.end() < len(text) and found.start() > 0 else "", text)
    if kept and not kept.endswith("\n"):
        kept += "\n"
    if entry is None:
        return kept
    values = {key: value for key, value in entry.items() if not isinstance(value, dict)}
    lines = [f"[{path[0]}.{path[1]}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
    for key, value in entry.items():
        if isinstance(value, dict):
            inner = ", ".join(f"{inner_key} = {_toml(inner_value)}" for inner_key, inner_value in value.items())
            lines.append(f"{key} = {{ {inner} }}")
    return kept + ("\n" if kept else "") + "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """A text or a list of texts as TOML."""
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read(file: Path) -> str | None:
    try:
        if file.stat().st_size > _LARGEST_BYTES:
            raise OutputError(f"size of {file}", got=file.stat().st_size, allowed=f"up to {_LARGEST_BYTES:,} bytes")
        return file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise OutputError(f"{file} cannot be read: {reason}", remedy="Correct it, and try again.") from error
