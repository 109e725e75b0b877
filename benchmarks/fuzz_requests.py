"""Inputs of `fuzz.py`: requests to `mose serve`."""

from __future__ import annotations

import asyncio
import json
import random
from functools import cache
from pathlib import Path
from typing import Any

from fuzz_texts import mixture, sample_tree


def requests(rng: random.Random, work: Path) -> None:
    """A request to the server: odd bodies, fields, headers and paths."""
    named = {
        "query": [_text(rng), "date", "x" * 100_000], "path": ["src/dates.py", "../x", ["*.py"] * 3, ["!*"], _text(rng)],
        "line": [1, 0, 10**9, "1"], "tree": ["tree", str(sample_tree()), "/etc"], "trees": ["tree", ["tree"] * 9, []],
        "input": [_text(rng), ["a", _text(rng)], [["a"]], [1, 2]], "model": ["small@0", "small@2", "small", "x@0"],
        "dimensions": [1, 64, 0, 1e3], "encoding_format": ["base64", "float"], "kind": ["code", "query"],
        "limit": [1, 200, 201, 1.0, -1], "limit_tokens": [1, 5_000], "mode": ["lexical", "dense"], "exit": [0, 2, 6, 7],
        "width": [1, 64], "language": ["python", ["js", "go"], _text(rng)], "budget_s": [0, 0.01, 31], "per_file": [True],
        "highlight": [True, False], "user": [_text(rng)], "measure": [False], "other": [1],
    }  # fmt: skip
    odd = [None, True, -1, 1e300, [], {}, "", "\ud800", "\0", [[]], {"a": 1}, "\x1b[31m\u202e"]
    needed = {
        "/search": ["query"], "/similar": ["path", "line"], "/file": ["path"], "/exits": [], "/v1/embeddings": ["input", "model"],
        "/nothing": [],
    }  # fmt: skip
    path = rng.choice(list(needed))
    fields = [*needed[path], *rng.sample(list(named), rng.choice([0, 0, 1, 3]))]
    values = {name: rng.choice(odd) if rng.random() < 0.1 else rng.choice(named[name]) for name in fields}
    body = json.dumps(values).encode()
    if rng.random() < 0.2:
        at = rng.randrange(len(body) + 1)
        body = body[:at] + rng.choice([b"\xff", b"[" * 100_000, b"NaN", b"1e999", b"9" * 5_000, b"{", b'"']) + body[at:]
    headers = [(b"host", rng.choice([b"localhost"] * 9 + [b"evil.example", b"\xff[", b""]))]
    headers += [(b"content-type", rng.choice([b"application/json"] * 9 + [b"text/plain", b"\xff"]))]
    if rng.random() < 0.1:
        headers.append((b"origin", rng.choice([b"null", b"http://localhost", b"http://[", b"\xff"])))
    if rng.random() < 0.1:
        headers.append((b"content-length", rng.choice([b"0", b"-1", b"9" * 40, b"\xb2", b"x"])))
    method = "POST" if rng.random() < 0.9 else rng.choice(["GET", "HEAD", "OPTIONS", "PUT", "\u0130"])
    if rng.random() < 0.1:
        path = rng.choice(
            ["/static/../page.html", "//", "/%00", "/trees", "/status", "/metrics", "/x" * 5_000, "/\ud800"]
        )
    status, answer = _ask(method, path, headers, body)
    assert status in (200, 400, 403, 404, 405, 413, 415, 421, 429), f"status {status}: {answer[:300]!r}"
    if answer[:1] in (b"{", b"["):
        json.loads(answer, parse_constant=_refuse)


def _refuse(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


def _text(rng: random.Random) -> str:
    return mixture(rng, rng.choice([30, 30, 3_000]))


@cache
def _api() -> Any:
    """The application that answers about the tree, made once a process."""
    from mose.serve.http.api import Api
    from mose.serve.http.guards import Access
    from mose.serve.trees import Trees

    trees = Trees(deepens=False, listens=False, max_age_s=3_600.0)
    return Api(trees, [trees.get(sample_tree())]).app(Access(host="127.0.0.1"))


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One for all requests: the application keeps what belongs to it."""
    return asyncio.new_event_loop()


def _ask(method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> tuple[int, bytes]:
    """Status and content of a response."""
    sent: list[dict[str, Any]] = []
    parts = [{"type": "http.request", "body": body}]

    async def receive() -> Any:
        return parts.pop() if parts else await asyncio.Event().wait()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode("utf-8", "replace"), "headers": headers,
        "query_string": b"", "root_path": "",
    }  # fmt: skip
    _loop().run_until_complete(_api()(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])
