"""The search over HTTP: a JSON API, embeddings and a page for people, from one process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mose import __version__
from mose.errors import MoseError
from mose.search.hits import hit_as_dict
from mose.search.options import SearchOptions
from mose.serve import asking
from mose.serve.asking import Found, short_names, tree_named
from mose.serve.fields import FLAG, TEXT, TEXTS, Fields, Kind, integer, number, one_of, some_of
from mose.serve.http.calls import Call, run_in
from mose.serve.http.embeddings import Embeddings, models
from mose.serve.http.encoding import OverloadError
from mose.serve.http.guards import Access, Guard, TooLargeError, too_large, wrong_type
from mose.serve.http.metrics import CONTENT_TYPE, Metrics
from mose.serve.http.openapi import Endpoint, document
from mose.serve.http.responses import error_response, failure, json_response, overloaded
from mose.serve.page.files import PATHS, page_response
from mose.serve.page.highlight import file_as_dict, highlighted
from mose.serve.page.measuring import Measuring
from mose.serve.trees import StoppedError, Tree, Trees

MOST_CALLS = 8
"""Requests that are answered at the same time; others wait. Embeddings have threads of their own."""
_QUERY = TEXT._replace(schema={"type": "string", "pattern": r"\S"})
_NAME_SCHEMA = {"type": "string", "minLength": 1}
_NAMES = TEXTS._replace(schema={"anyOf": [_NAME_SCHEMA, {"type": "array", "items": _NAME_SCHEMA}]})


class Api:
    """The requests that are answered over HTTP.

    Args:
        trees: All open trees.
        served: The trees to answer about.

    Raises:
        ModelError: The model cannot be loaded.
    """

    def __init__(self, trees: Trees, served: Sequence[Tree]) -> None:
        self._trees = trees
        self._served = list(served)
        self._names = short_names(self._served)
        self._encoder = trees.load()
        self._metrics = Metrics()
        self._embeddings = Embeddings(trees, self._metrics)
        self._searching = ThreadPoolExecutor(MOST_CALLS, "mose-search")
        self._num_calls = 0
        self.measuring = Measuring()
        self._endpoints = self._define()
        self._paths = {"/", *(endpoint.path for endpoint in self._endpoints)}

    def app(self, access: Access) -> ASGIApp:
        """The application with its guards."""
        routes = [Route(path, page_response, methods=["GET"]) for path in ("/", PATHS + "{name}")]
        for endpoint in self._endpoints:
            routes.append(Route(endpoint.path, partial(self._answer, endpoint), methods=[endpoint.method]))
        refuse: dict[Any, Any] = {404: self._not_found, 405: self._not_found, TooLargeError: _too_large}
        return Guard(Starlette(routes=routes, exception_handlers=refuse), access, self._count)

    def _fields(self) -> tuple[Fields, Fields, Fields, Fields]:
        """The fields of a search, of a search for similar code, of a file, and of a measurement."""
        names = (*self._names.values(), *(str(tree.root) for tree in self._served))
        options: dict[str, Kind] = {
            "limit": integer(1, 200),
            "limit_tokens": integer(1, 100_000),
            "mode": one_of("fused", "lexical", "dense"),
            "exit": one_of(*self._encoder.exits),
            "width": integer(1, max(self._encoder.manifest.widths.values())),
            "language": _NAMES,
            "budget_s": number(0, 30),
            "per_file": FLAG,
            "highlight": FLAG,
        }
        search = {"query": _QUERY, "trees": some_of(*names), "path": _NAMES, **options}
        file = {"path": TEXT, "line": integer(1, 2**31 - 1), "tree": one_of(*names)}
        needed = ("path",) if len(self._served) == 1 else ("path", "tree")
        return (
            Fields(kinds=search, required=("query",)),
            Fields(kinds={**file, **options}, required=(*needed, "line")),
            Fields(kinds=file, required=needed),
            Fields(kinds={"tree": file["tree"], "measure": FLAG}, required=needed[1:]),
        )

    def _define(self) -> list[Endpoint]:
        search, similar, file, exits = self._fields()
        as_json = partial(partial, self._as_json)
        hits = ("hits", "trees", "notes")
        vectors = ("object", "data", "model", "usage")
        return [
            Endpoint("POST", "/search", "Best places for a query", as_json(self._search), fields=search, gives=hits),
            Endpoint("POST", "/similar", "Code like a line's", as_json(self._similar), fields=similar, gives=hits),
            Endpoint("POST", "/file", "A file as the index has it", as_json(self._file), fields=file, gives=("tree",)),
            Endpoint("POST", "/exits", "How good each exit is on a tree", as_json(self._exits), fields=exits,
                     gives=("state", "exits")),
            Endpoint("POST", "/v1/embeddings", "Vectors of texts, as OpenAI's", self._embeddings.answer,
                     fields=self._embeddings.fields, gives=vectors),
            Endpoint("GET", "/v1/models", "Names of the model at each exit", self._models, gives=("object", "data")),
            Endpoint("GET", "/trees", "Trees and exits", self._list_trees, gives=("trees", "exits", "exit")),
            Endpoint("GET", "/status", "What is indexed", as_json(self._status), gives=("version", "trees")),
            Endpoint("GET", "/progress", "How far trees are read", self._progress, gives=("trees",)),
            Endpoint("GET", "/healthz", "Whether the server answers", _health, gives=("status", "version")),
            Endpoint("GET", "/metrics", "Counters and times", self._show_metrics, media_type="text/plain"),
            Endpoint("GET", "/openapi.json", "This document", self._document, gives=("openapi", "paths")),
        ]  # fmt: skip

    async def _answer(self, endpoint: Endpoint, request: Request) -> Response:
        """Do the work; stop it if the client disconnects."""
        refusal = wrong_type(request.headers.get("content-type", "")) if endpoint.method == "POST" else None
        if refusal is not None:
            return refusal
        call = Call(await request.body(), endpoint.fields, threading.Event(), time.perf_counter())
        working = asyncio.ensure_future(endpoint.work(call))
        gone = asyncio.ensure_future(_disconnected(request))
        self._num_calls += 1
        try:
            await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
        except MoseError as error:
            return failure(error)
        except OverloadError as error:
            return overloaded(error.retry_after_s)
        except StoppedError:
            pass
        finally:
            self._num_calls -= 1
            call.cancelled.set()
            working.cancel()
            gone.cancel()
        return error_response(499, "the client is gone")

    async def _as_json(self, work: Callable[[Call], object], call: Call) -> Response:
        return await run_in(self._searching, lambda: json_response(work(call)))

    def _search(self, call: Call) -> object:
        fields = call.values()
        query, named, is_coloured = fields.pop("query"), fields.pop("trees", None), fields.pop("highlight", False)
        asked = self._served
        if named is not None:
            wanted = [named] if isinstance(named, str) else named
            asked = [self._tree(name) for name in dict.fromkeys(wanted)]
        found = self._timed(call, partial(asking.search, self._trees, asked, query), SearchOptions(**fields))
        return self._found(found, query if is_coloured else None)

    def _similar(self, call: Call) -> object:
        fields = call.values()
        path, line, is_coloured = fields.pop("path"), fields.pop("line"), fields.pop("highlight", False)
        tree = self._tree(fields.pop("tree", None))
        found = self._timed(call, partial(asking.similar, self._trees, tree, path, line), SearchOptions(**fields))
        return self._found(found, "" if is_coloured else None)

    def _file(self, call: Call) -> object:
        fields = call.values()
        tree = self._tree(fields.get("tree"))
        lines = asking.read_file(self._trees, tree, fields["path"], fields.get("line", 1), call.cancelled)
        return {"tree": self._names[tree], **file_as_dict(lines, tree.root)}

    def _exits(self, call: Call) -> object:
        fields = call.values()
        tree = self._tree(fields.get("tree"))
        if fields.get("measure"):
            self.measuring.begin(tree.root)
        return asdict(self.measuring.state(tree.root))

    def _tree(self, name: str | None) -> Tree:
        """The tree of this name; the only one if None."""
        return self._served[0] if name is None else tree_named(self._served, self._names, name)

    def _named(self, tree: Tree) -> dict[str, object]:
        return {"name": self._names[tree], "root": str(tree.root)}

    def _timed(
        self, call: Call, ask: Callable[[SearchOptions, threading.Event], Found], options: SearchOptions
    ) -> Found:
        exit_layer = self._encoder.exit if options.exit is None else options.exit
        label = None if options.mode == "lexical" else exit_layer
        self._metrics.add_time("queue", label, time.perf_counter() - call.arrived)
        with self._metrics.timed("search", label):
            return ask(options, call.cancelled)

    def _found(self, found: Found, coloured_for: str | None) -> object:
        hits = [hit for _, hit in found.hits]
        shown = [{}] * len(hits) if coloured_for is None else highlighted(hits, coloured_for)
        return {
            "hits": [
                {"tree": self._names[tree], **hit_as_dict(hit, tree.root), **more}
                for (tree, hit), more in zip(found.hits, shown, strict=True)
            ],
            "trees": [{**self._named(tree), **asdict(depth)} for tree, depth in found.depths.items()],
            "notes": list(found.notes),
        }

    async def _models(self, _: Call) -> Response:
        data = [{"id": name, "object": "model", "owned_by": "mose"} for name in models(self._encoder)]
        return json_response({"object": "list", "data": data})

    async def _list_trees(self, _: Call) -> Response:
        return json_response(
            {
                "trees": [self._named(tree) for tree in self._served],
                "exits": list(self._encoder.exits),
                "exit": self._encoder.exit,
            }
        )

    async def _progress(self, _: Call) -> Response:
        rows = [
            {"name": self._names[tree], "reading": None if tree.reading is None else asdict(tree.reading)}
            for tree in self._served
        ]
        return json_response({"trees": rows})

    def _status(self, call: Call) -> object:
        return {"version": __version__, "trees": [self._status_of(tree, call.cancelled) for tree in self._served]}

    def _status_of(self, tree: Tree, cancelled: threading.Event) -> dict[str, object]:
        try:
            ready = tree.ready(cancelled)
            status = ready.index.status()
        except MoseError as error:
            return {**self._named(tree), "error": str(error)}
        return {
            **self._named(tree),
            "files": status.num_files,
            "chunks": status.num_chunks,
            "languages": {row.language: row.num_files for row in status.languages},
            "vectors": status.vectors,
            "complete": status.complete,
            "bytes": status.size_bytes,
            "refreshed_at": status.refreshed_at,
            "notes": list(ready.notes),
        }

    async def _show_metrics(self, _: Call) -> Response:
        gauges = {
            "requests_now": ("Requests that wait or are answered.", self._num_calls),
            "texts_waiting": ("Texts that wait for the encoder.", self._embeddings.num_waiting),
        }
        return Response(self._metrics.text(gauges), media_type=CONTENT_TYPE)

    async def _document(self, _: Call) -> Response:
        return json_response(document(self._endpoints))

    def _count(self, path: str, status: int) -> None:
        self._metrics.count_request(path if path in self._paths else "other", status)

    async def _not_found(self, request: Request, error: Exception) -> Response:
        allowed = ", ".join(["GET /", *(f"{endpoint.method} {endpoint.path}" for endpoint in self._endpoints)])
        status = int(getattr(error, "status_code", 404))
        headers = getattr(error, "headers", None)
        return error_response(status, f"{request.method} {request.url.path[:200]}", allowed=allowed, headers=headers)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _health(_: Call) -> Response:
    return json_response({"status": "ok", "version": __version__})


async def _too_large(_: Request, __: Exception) -> Response:
    return too_large()
