"""The folders of an agent's client: its roots, or the working directory of the server."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from mose.errors import SourceError
from mose.search.store.location import is_home_or_top


def folders_of(uris: Iterable[str]) -> list[Path]:
    """The folders of ``file:`` URIs, each once, in their order; others are left out.

    Raises:
        SourceError: A folder is the user's home or the root of the file system.
    """
    found: dict[Path, None] = {}
    for uri in uris:
        try:
            parts = urlsplit(uri)
            if parts.scheme == "file" and parts.netloc in ("", "localhost"):
                found[require_tree(Path(url2pathname(unquote(parts.path)) if "%" in parts.path else parts.path))] = None
        except (ValueError, OSError, RuntimeError):  # not a URI, or not a path
            continue
    return list(found)


def require_tree(folder: Path) -> Path:
    """The folder without links.

    Raises:
        SourceError: The folder is the user's home or the root of the file system: too large to be read unasked.
    """
    resolved = folder.resolve()
    if is_home_or_top(resolved):
        raise SourceError(
            f"{resolved} is too large to be read for an agent",
            allowed="a folder with source code",
            remedy="Open a project in the agent, or name its folder in the agent's settings: mose mcp PATH.",
        )
    return resolved


def current_tree() -> Path:
    """The folder that this process was started in.

    Raises:
        SourceError: It is gone, or too large to be read unasked.
    """
    try:
        return require_tree(Path.cwd())
    except FileNotFoundError as error:
        what = "the folder that the server was started in is gone"
        raise SourceError(what, remedy="Open a project in the agent, and start it again.") from error
