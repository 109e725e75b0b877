"""The search over HTTP: a JSON API, embeddings and a page for people, from one process."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import uvicorn
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mose import __version__
from mose.errors import ConfigError, MoseError
from mose.search.hits import Hit, hit_as_dict
from mose.search.options import SearchOptions
from mose.serve import asking
from mose.serve.asking import Found, short_names, tree_named
from mose.serve.embeddings import embed, models
from mose.serve.fields import FLAG, TEXT, TEXTS, integer, number, one_of, read_fields
from mose.serve.guards import Access, Guard, TooLargeError, too_large
from mose.serve.page.files import PATHS, page_response
from mose.serve.page.highlight import file_as_dict, highlighted
from mose.serve.responses import error_response, failure, json_response
from mose.serve.signals import handle_signals
from mose.serve.trees import StoppedError, Tree, Trees

T = TypeVar("T")
MAX_AGE_S = 2.0
"""How old the state of a tree that cannot be watched may be: looking for changes takes longer than a search."""
MOST_CALLS = 8
"""Requests that are answered at the same time; others wait."""
STOP_S = 15.0
"""Time for requests that are being answered when the server stops."""
_OPTIONS = {
    "trees": TEXTS,
    "limit": integer(1, 200),
    "mode": one_of("fused", "lexical", "dense"),
    "exit": integer(0, 1_000),
    "width": integer(1, 1_000_000),
    "language": TEXTS,
    "path": TEXTS,
    "budget_s": number(0, 30),
    "per_file": FLAG,
    "highlight": FLAG,
}
_SEARCH = {"query": TEXT, **_OPTIONS}
_SIMILAR = {"path": TEXT, "line": integer(1, 2**31 - 1), "tree": TEXT}
_FILE = {"path": TEXT, "line": integer(1, 2**31 - 1), "tree": TEXT}
_SIMILAR |= {name: kind for name, kind in _OPTIONS.items() if name not in ("trees", "path")}


class Api:
    """The requests that are answered over HTTP.

    Args:
        trees: All open trees.
        served: The trees to answer about.
    """

    def __init__(self, trees: Trees, served: Sequence[Tree]) -> None:
        self._trees = trees
        self._served = list(served)
        self._names = short_names(self._served)
        self._limiter: anyio.CapacityLimiter | None = None

    def app(self, access: Access) -> ASGIApp:
        """The application with its guards."""
        routes = [
            Route("/", page_response, methods=["GET"]),
            Route(PATHS + "{name}", page_response, methods=["GET"]),
            Route("/search", partial(self._post, self._search), methods=["POST"]),
            Route("/similar", partial(self._post, self._similar), methods=["POST"]),
            Route("/file", partial(self._post, self._file), methods=["POST"]),
            Route("/v1/embeddings", partial(self._post, self._embeddings), methods=["POST"]),
            Route("/v1/models", partial(self._get, self._models), methods=["GET"]),
            Route("/trees", partial(self._get, self._list_trees), methods=["GET"]),
            Route("/status", partial(self._get, self._status), methods=["GET"]),
            Route("/progress", self._progress, methods=["GET"]),
            Route("/healthz", _health, methods=["GET"]),
        ]
        refuse: dict[Any, Any] = {404: _not_found, 405: _not_found, TooLargeError: _too_large}
        return Guard(Starlette(routes=routes, exception_handlers=refuse), access)

    async def _post(self, work: Callable[[bytes, threading.Event], object], request: Request) -> Response:
        body = await request.body()
        return await self._answer(partial(work, body), request)

    async def _get(self, work: Callable[[threading.Event], object], request: Request) -> Response:
        await request.body()
        return await self._answer(work, request)

    async def _answer(self, work: Callable[[threading.Event], object], request: Request) -> Response:
        """Do the work in a thread and return its result; stop it if the client disconnects."""
        self._limiter = self._limiter or anyio.CapacityLimiter(MOST_CALLS)
        cancelled = threading.Event()
        response = error_response(499, "the client is gone")

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            cancelled.set()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            try:
                answer = await run_sync(work, cancelled, limiter=self._limiter)
                response = await run_sync(json_response, answer)
            except MoseError as error:
                response = failure(error)
            except StoppedError:
                pass
            group.cancel_scope.cancel()
        return response

    def _search(self, body: bytes, cancelled: threading.Event) -> object:
        fields = read_fields(body, _SEARCH, ("query",))
        query, named, is_coloured = fields.pop("query"), fields.pop("trees", None), fields.pop("highlight", False)
        asked = self._served
        if named is not None:
            wanted = [named] if isinstance(named, str) else named
            asked = [tree_named(self._served, self._names, name) for name in dict.fromkeys(wanted)]
        found = asking.search(self._trees, asked, query, SearchOptions(**fields), cancelled)
        return self._found(found, query if is_coloured else None)

    def _similar(self, body: bytes, cancelled: threading.Event) -> object:
        fields = read_fields(body, _SIMILAR, ("path", "line"))
        path, line, is_coloured = fields.pop("path"), fields.pop("line"), fields.pop("highlight", False)
        tree = self._tree(fields.pop("tree", None))
        found = asking.similar(self._trees, tree, path, line, SearchOptions(**fields), cancelled)
        return self._found(found, "" if is_coloured else None)

    def _file(self, body: bytes, cancelled: threading.Event) -> object:
        fields = read_fields(body, _FILE, ("path",))
        tree = self._tree(fields.get("tree"))
        lines = asking.read_file(self._trees, tree, fields["path"], fields.get("line", 1), cancelled)
        return {"tree": self._names[tree], **file_as_dict(lines, tree.root)}

    def _tree(self, name: str | None) -> Tree:
        if name is None and len(self._served) > 1:
            raise ConfigError("the field tree is missing", allowed=", ".join(self._names.values()))
        return self._served[0] if name is None else tree_named(self._served, self._names, name)

    def _found(self, found: Found, coloured_for: str | None) -> object:
        def shown(hit: Hit) -> dict[str, object]:
            return {} if coloured_for is None else highlighted(hit, coloured_for)

        return {
            "hits": [
                {"tree": self._names[tree], **hit_as_dict(hit, tree.root), **shown(hit)} for tree, hit in found.hits
            ],
            "trees": [
                {"name": self._names[tree], "root": str(tree.root), **asdict(depth)}
                for tree, depth in found.depths.items()
            ],
            "notes": list(found.notes),
        }

    def _embeddings(self, body: bytes, cancelled: threading.Event) -> object:
        with self._trees.asking():
            return embed(self._trees.load(), body, cancelled)

    def _models(self, _: threading.Event) -> object:
        names = models(self._trees.load())
        return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "mose"} for name in names]}

    def _list_trees(self, _: threading.Event) -> object:
        encoder = self._trees.load()
        return {
            "trees": [{"name": self._names[tree], "root": str(tree.root)} for tree in self._served],
            "exits": list(encoder.exits),
            "exit": encoder.exit,
        }

    async def _progress(self, _: Request) -> Response:
        rows = [
            {"name": self._names[tree], "reading": None if tree.reading is None else asdict(tree.reading)}
            for tree in self._served
        ]
        return json_response({"trees": rows})

    def _status(self, cancelled: threading.Event) -> object:
        return {"version": __version__, "trees": [self._status_of(tree, cancelled) for tree in self._served]}

    def _status_of(self, tree: Tree, cancelled: threading.Event) -> dict[str, object]:
        named: dict[str, object] = {"name": self._names[tree], "root": str(tree.root)}
        try:
            ready = tree.ready(cancelled)
            status = ready.index.status()
        except MoseError as error:
            return {**named, "error": str(error)}
        return {
            **named,
            "files": status.num_files,
            "chunks": status.num_chunks,
            "languages": {row.language: row.num_files for row in status.languages},
            "vectors": status.vectors,
            "complete": status.complete,
            "bytes": status.size_bytes,
            "refreshed_at": status.refreshed_at,
            "notes": list(ready.notes),
        }


async def _health(_: Request) -> Response:
    return json_response({"status": "ok", "version": __version__})


async def _too_large(_: Request, __: Exception) -> Response:
    return too_large()


async def _not_found(request: Request, error: Exception) -> Response:
    allowed = "GET /, /trees, /status, /progress, /healthz, /v1/models; POST /search, /similar, /file, /v1/embeddings"
    status = int(getattr(error, "status_code", 404))
    return error_response(status, f"{request.method} {request.url.path[:200]}", allowed=allowed)


class _Server(uvicorn.Server):
    """Stops gracefully at the first signal and at once at the second; the process ends cleanly either way."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        handle_signals(self.handle_exit)
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: The address is in use, or not one of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=1_024)
        # Without it, the body of a response waits 40 ms for the client to acknowledge the head; connections inherit it.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(
            f"cannot listen at {host}, port {port}: {getattr(error, 'strerror', None) or error}",
            remedy="Name another --port (0 takes a free one) or --host.",
        ) from error


def serve(folders: Sequence[Path], listening: socket.socket, access: Access, *, exit: int | None = None) -> None:
    """Answer requests until a signal comes, then end the process.

    Args:
        folders: The trees to answer about.
        listening: The socket, from `listen`.
        access: Who may send requests.
        exit: Exit of requests that do not choose one; the deepest if None.
    """
    trees = Trees(exit=exit, max_age_s=MAX_AGE_S)
    served = [trees.get(folder) for folder in dict.fromkeys(folders)]
    api = Api(trees, served)
    config = uvicorn.Config(
        api.app(access),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(STOP_S),
        timeout_keep_alive=30,
    )
    threading.Thread(target=_warm, args=(trees, served), daemon=True).start()
    _Server(config).run(sockets=[listening])
    trees.close()
    os._exit(0)  # Python would wait for threads that read a tree; what they have committed is kept


def _warm(trees: Trees, served: Sequence[Tree]) -> None:
    """Open every tree, so that it has been read before the first request, and keep it up to date from then on."""
    for tree in served:
        try:
            tree.ready(threading.Event())
        except MoseError:  # the first request raises the error itself
            continue
    trees.keep_up()
