"""The agents and editors that the server can be registered with: their settings files and entries."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mose.errors import ConfigError
from mose.storage import HOME_VARIABLE, home

HOOK_SCRIPT = Path(__file__).with_name("grep_hint.py")
HOOK_PATH = ("hooks", "PreToolUse")
"""Names on the path to the list of hooks before calls of tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a client starts the server."""

    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentClient:
    """One agent or editor."""

    name: str
    title: str
    file: Callable[[], Path]
    """Its settings file for all projects of the user."""
    path: tuple[str, ...]
    """Names on the path to the entry of the server."""
    entry: Callable[[Launch], dict[str, object]]
    note: str = ""
    """What to do afterwards."""
    hooks: Callable[[], Path] | None = None
    """Its settings file that has hooks before calls of tools, as those of Claude Code; None without."""


def launch() -> Launch:
    """How to start this installation, whatever the client's working directory."""
    program = Path(sys.executable).with_name("mose.exe" if os.name == "nt" else "mose")
    found = program.is_file()
    command = str(program) if found else sys.executable
    return Launch(
        command=command,
        arguments=("mcp",) if found else ("-P", "-m", "mose", "mcp"),
        environment={HOME_VARIABLE: str(home())} if os.environ.get(HOME_VARIABLE) else {},
    )


def grep_hook() -> dict[str, object]:
    """The hook of Claude Code that runs `mose.serve.settings.grep_hint`."""
    command = shlex.join((sys.executable, "-I", "-S", str(HOOK_SCRIPT)))
    # A Python that does not find its script, once mose is removed, ends with 2: that would refuse the call.
    return {"matcher": "Grep|Bash", "hooks": [{"type": "command", "command": f"{command} || true", "timeout": 5}]}


def _plain(how: Launch) -> dict[str, object]:
    entry: dict[str, object] = {"command": how.command, "args": list(how.arguments)}
    return {**entry, "env": dict(how.environment)} if how.environment else entry


def _typed(how: Launch) -> dict[str, object]:
    return {"type": "stdio", **_plain(how)}


def _of_opencode(how: Launch) -> dict[str, object]:
    entry: dict[str, object] = {"type": "local", "command": [how.command, *how.arguments], "enabled": True}
    return {**entry, "environment": dict(how.environment)} if how.environment else entry


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise ConfigError("there is no home folder, in which agents keep their settings",
                          remedy="Set HOME to that folder.") from error  # fmt: skip


def _folder(variable: str, *default: str) -> Path:
    """The folder that a variable names, else one in the user's home."""
    named = os.environ.get(variable)
    return Path(named) if named else _home().joinpath(*default)


def _claude() -> Path:
    return _folder("CLAUDE_CONFIG_DIR") / ".claude.json"


def _claude_hooks() -> Path:
    return _folder("CLAUDE_CONFIG_DIR", ".claude") / "settings.json"


def _vscode() -> Path:
    if sys.platform == "darwin":
        base = _home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        base = _folder("APPDATA", "AppData", "Roaming")
    else:
        base = _folder("XDG_CONFIG_HOME", ".config")
    return base / "Code" / "User" / "mcp.json"


def _opencode() -> Path:
    folder = _folder("XDG_CONFIG_HOME", ".config") / "opencode"
    with_comments = folder / "opencode.jsonc"
    return with_comments if with_comments.is_file() else folder / "opencode.json"


def _zed() -> Path:
    if sys.platform == "win32":
        return _folder("APPDATA", "AppData", "Roaming") / "Zed" / "settings.json"
    folder = _home() / ".config" if sys.platform == "darwin" else _folder("XDG_CONFIG_HOME", ".config")
    return folder / "zed" / "settings.json"


CLIENTS = {
    client.name: client
    for client in (
        AgentClient(
            name="claude", title="Claude Code", file=_claude, path=("mcpServers", "mose"), entry=_typed,
            note="Close running sessions first: they write this file too.", hooks=_claude_hooks,
        ),
        AgentClient(
            name="codex", title="Codex", file=lambda: _folder("CODEX_HOME", ".codex") / "config.toml",
            path=("mcp_servers", "mose"), entry=_plain,
        ),
        AgentClient(
            name="cursor", title="Cursor", file=lambda: _home() / ".cursor" / "mcp.json",
            path=("mcpServers", "mose"), entry=_plain,
        ),
        AgentClient(name="vscode", title="VS Code", file=_vscode, path=("servers", "mose"), entry=_typed),
        AgentClient(name="opencode", title="opencode", file=_opencode, path=("mcp", "mose"), entry=_of_opencode),
        AgentClient(name="zed", title="Zed", file=_zed, path=("context_servers", "mose"), entry=_plain),
        AgentClient(
            name="gemini", title="Gemini CLI", file=lambda: _home() / ".gemini" / "settings.json",
            path=("mcpServers", "mose"), entry=_plain,
        ),
    )
}  # fmt: skip
