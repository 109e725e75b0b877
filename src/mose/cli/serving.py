"""``mose mcp``, ``mose serve`` and ``mose list``."""

from __future__ import annotations

import sys
from argparse import Namespace as Arguments
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mose.cli.options import add_exit, add_json, define
from mose.cli.output import need_packages
from mose.cli.parser import Parser
from mose.cli.terminal import clip, columns, counted, flush, is_terminal, megabytes, say, show, show_json
from mose.errors import ConfigError

if TYPE_CHECKING:
    from mose.serve.settings.clients import AgentClient
    from mose.serve.settings.install import Change

_SHORTEST_KEY = 16
_CLIENTS = ("claude", "codex", "cursor", "vscode", "opencode", "zed", "gemini")

_MCP_NOTES = """which trees:
  Those named by PATH. Without PATH the folders that are open in the agent (its client's roots); if it names none, the
  folder that the server is started in. Nothing outside them is read.
how much is said:
  At most max_tokens, which the agent chooses, for each answer; a cursor asks for what comes next."""


def add_mcp(command: Parser) -> None:
    """Add the arguments of ``mose mcp``."""
    define(command, mcp, example="mose mcp --install claude", notes=_MCP_NOTES)
    command.add_argument("trees", nargs="*", metavar="PATH", help="source trees (default: those of the agent's client)")
    add_exit(command)
    settings = command.add_mutually_exclusive_group()
    settings.add_argument(
        "--install",
        choices=_CLIENTS,
        metavar="AGENT",
        help=f"write the server into an agent's settings: {', '.join(_CLIENTS)}",
    )
    settings.add_argument("--uninstall", choices=_CLIENTS, metavar="AGENT", help="take it out of them again")
    command.add_argument(
        "--hook",
        action="store_true",
        help="with --install claude: also remind the agent of the search where it is about to grep a phrase of words",
    )
    command.add_argument("--yes", action="store_true", help="change the settings without asking")


def mcp(arguments: Arguments) -> int:
    """``mose mcp``: serves an agent on standard input and output, or tells an agent of that."""
    if arguments.uninstall is not None:
        return _uninstall(arguments)
    if arguments.hook and arguments.install is None:
        raise ConfigError("--hook", allowed="with --install claude", remedy="Run `mose mcp --install claude --hook`.")
    need_packages("mcp", "mcp", extra="serve")
    if arguments.install is not None:
        return _install(arguments)
    if sys.stdin is None or sys.stdout is None:
        remedy = "Let an agent start it: mose mcp --install AGENT"
        raise ConfigError("standard input or output is closed, and an agent talks through them", remedy=remedy)
    from mose.search.store.location import source_root
    from mose.serve.mcp import serve

    if is_terminal(sys.stdin):
        say("This talks to an agent, which starts it by itself after `mose mcp --install AGENT`. Ctrl-C ends it.")
    serve([source_root(path) for path in arguments.trees], exit=arguments.exit)


def _install(arguments: Arguments) -> int:
    from dataclasses import replace

    from mose.search.store.location import source_root
    from mose.serve.settings.clients import CLIENTS, grep_hook, launch
    from mose.serve.settings.install import plan_hook, plan_install

    how = launch()
    more = () if arguments.exit is None else ("--exit", str(arguments.exit))
    roots = tuple(str(source_root(path)) for path in arguments.trees)
    client = CLIENTS[arguments.install]
    changes = [plan_install(client, replace(how, arguments=(*how.arguments, *more, *roots)))]
    if arguments.hook:
        if client.hooks is None:
            raise ConfigError("--hook", got=f"--install {client.name}", allowed="--install claude")
        changes.append(plan_hook(client.hooks(), grep_hook()))
    if all(change.is_none for change in changes):
        show(f"{client.title} has it already: {_files(changes)}")
        return 0
    if not _agreed(changes, client, yes=arguments.yes):
        return 1
    show(f"{client.title} finds it when it is started again. `mose mcp --uninstall {client.name}` undoes this.")
    return 0


def _uninstall(arguments: Arguments) -> int:
    from mose.serve.settings.clients import CLIENTS
    from mose.serve.settings.install import plan_hook, plan_uninstall

    client = CLIENTS[arguments.uninstall]
    changes = [plan_uninstall(client)]
    if client.hooks is not None:
        changes.append(plan_hook(client.hooks(), None))
    if all(change.is_none for change in changes):
        show(f"{client.title} does not have it: {_files(changes)}")
        return 0
    return 0 if _agreed(changes, client, yes=arguments.yes) else 1


def _files(changes: Sequence[Change]) -> str:
    return ", ".join(str(change.file) for change in changes)


def _agreed(changes: Sequence[Change], client: AgentClient, *, yes: bool) -> bool:
    """Show the changes, and make them if the user confirms it."""
    import difflib

    wanted = [change for change in changes if not change.is_none]
    for change in wanted:
        before, after = (change.before or "").splitlines(), (change.after or "").splitlines()
        verb = "Removes" if change.after is None else "Changes" if change.before is not None else "Makes"
        show(f"{verb} {change.file}:")
        for line in list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]:
            show(clip(f"  {line}", columns()))
    if client.note:
        show(client.note)
    if not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise ConfigError("nobody can be asked here", allowed="a terminal", remedy="Say --yes to have it changed.")
        say("Change it? [y/N] ")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            show("Nothing was changed.")
            return False
    for change in wanted:
        change.make()
        show(f"{change.file} is {'removed' if change.after is None else 'changed'}.")
    return True


_SERVE_NOTES = """what is answered:
  GET / (a page), /trees, /status, /healthz, /metrics, /openapi.json, /v1/models; POST /search, /similar,
  /v1/embeddings (OpenAI's shape; "small@3" is the model at exit 3). docs/http.md shows each.
who may ask:
  Programs on this machine. Any other --host needs --api-key, or MOSE_API_KEY in the environment, which is not shown in
  the list of processes; the connection is not encrypted."""


def add_serve(command: Parser) -> None:
    """Add the arguments of ``mose serve``."""
    define(command, serve, example="mose serve ~/src/a ~/src/b", notes=_SERVE_NOTES)
    command.add_argument("trees", nargs="*", metavar="PATH", help="source trees (default: this folder)")
    command.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: 127.0.0.1)")
    command.add_argument("--port", type=int, default=7575, help="port to listen at; 0 takes a free one (default: 7575)")
    command.add_argument("--api-key", metavar="KEY", help="what requests must send as Authorization: Bearer KEY")
    add_exit(command)


def serve(arguments: Arguments) -> int:
    """``mose serve``: answers over HTTP until it is interrupted."""
    need_packages("serve", "starlette", "uvicorn", "anyio", "pygments", extra="serve")
    import os

    from mose.search.store.location import source_root
    from mose.serve.http.guards import Access
    from mose.serve.http.server import listen
    from mose.serve.http.server import serve as serve_http

    folders = [source_root(path) for path in arguments.trees or ["."]]
    key = arguments.api_key if arguments.api_key is not None else os.environ.get("MOSE_API_KEY")
    access = Access(host=arguments.host, api_key=key)
    if key is not None and (len(key) < _SHORTEST_KEY or not key.isascii() or not key.isprintable()):
        raise ConfigError("the API key", allowed=f"{_SHORTEST_KEY} or more letters, digits and signs of ASCII")
    if not access.is_local and key is None:
        raise ConfigError(
            "--host: whoever reaches it could read the code of these trees",
            got=arguments.host,
            allowed="127.0.0.1, localhost, ::1; any other address with --api-key",
            remedy="Add --api-key KEY, or leave --host out.",
        )
    listening = listen(arguments.host, arguments.port)
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    show(f"http://{host}:{listening.getsockname()[1]}")
    flush()
    if not access.is_local:
        say("Whoever has the key and reaches this address can read the code of: " + ", ".join(map(str, folders)))
    serve_http(folders, listening, access, exit=arguments.exit)
    return 0


def add_list(command: Parser) -> None:
    """Add the arguments of ``mose list``."""
    define(command, list_indexes, example="mose list --json")
    add_json(command)


def list_indexes(arguments: Arguments) -> int:
    """``mose list``: every index on this machine; 1 if there is none."""
    import time

    from mose.search.store.prune import list_indexes as listed

    found = list(listed())
    if arguments.json:
        show_json(
            {
                "root": index.root, "folder": str(index.folder), "has_tree": index.has_tree, "bytes": index.size_bytes,
                "files": index.num_files, "chunks": index.num_chunks, "vectors": index.vectors,
                "refreshed_at": index.refreshed_at, "trouble": index.trouble,
            }
            for index in found
        )  # fmt: skip
        return 0 if found else 1
    for index in found:
        size = megabytes(index.size_bytes)
        if index.trouble:
            show(f"{index.folder}")
            show(f"  {size}, cannot be read: {index.trouble}")
            continue
        gone = "" if index.has_tree else "  (the tree is gone: `mose prune` removes the index)"
        show(f"{index.root}{gone}")
        read = ", ".join(
            f"{count / max(index.num_chunks, 1):.0%} for --exit {exit_layer}"
            for exit_layer, count in sorted(index.vectors.items())
        )
        age = "" if index.refreshed_at is None else f", changed {_age(time.time() - index.refreshed_at)} ago"
        show(
            f"  {counted(index.num_files, 'file')}, {counted(index.num_chunks, 'chunk')}, {size}{age}"
            + (f"; read {read}" if read else "")
        )
    if not found:
        say("There is no index on this machine. `mose search` makes one.")
    return 0 if found else 1


def _age(seconds: float) -> str:
    """A length of time in its largest unit.

    Example:
        >>> _age(7_300), _age(30)
        ('2 hours', '30 seconds')
    """
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            return counted(int(seconds // size), unit)
    return counted(max(int(seconds), 0), "second")
