"""Nothing leaves the machine: a process that searches for 25 seconds opens no socket of the internet and no file of others."""

import os
import platform
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from sample_files import write_tree

SECONDS = 25  # ONNX Runtime's telemetry, where it is on, calls after about ten
# The kernel kills whoever asks for a socket of the internet: threads of C++ libraries and children included.
CAGE = """
import ctypes, platform, struct, sys
numbers = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}  # architecture, socket(2)
def rule(code, value, yes=0, no=0):
    return struct.pack("HBBI", code, yes, no, value)
def cage():
    architecture, socket = numbers[platform.machine()]
    load, equal, leave = 0x20, 0x15, 0x06
    program = b"".join([
        rule(load, 4), rule(equal, architecture, 1, 0), rule(leave, 0x80000000),
        rule(load, 0), rule(equal, socket, 0, 4),
        rule(load, 16), rule(equal, 2, 1, 0), rule(equal, 10, 0, 1),  # AF_INET, AF_INET6
        rule(leave, 0x80000000), rule(leave, 0x7FFF0000),
    ])
    code = ctypes.create_string_buffer(program)
    filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(38, 1, 0, 0, 0) or prctl(22, 2, filter, 0, 0):  # no new privileges, then the filter
        sys.exit(f"no seccomp here: {ctypes.get_errno()}")
"""
SEARCHING = """
import time
import mose
from mose.cli import main
assert main(["search", "parse a date", sys.argv[1], "--deepen"]) == 0
end = time.monotonic() + float(sys.argv[2])
with mose.CodeIndex.open(sys.argv[1]) as index:
    while time.monotonic() < end:
        assert index.search("open a connection through a proxy", mose.SearchOptions(limit=1))
        time.sleep(0.5)
"""
# The server over HTTP without its socket: what asks, and what packages of the extra do by themselves, is the same.
SERVING = """
import asyncio, json, pathlib, threading, time
import anyio, mcp, pygments, starlette, uvicorn, watchfiles
import mcp.server.lowlevel, mcp.server.stdio, uvicorn.protocols.http.auto
from mose.serve.http.api import Api
from mose.serve.http.guards import Access
from mose.serve.trees import Trees

async def ask(app, method, path, **body):
    sent, parts = [], [{"type": "http.request", "body": json.dumps(body).encode()}]
    async def receive():
        return parts.pop() if parts else await asyncio.Event().wait()
    async def send(message):
        sent.append(message)
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b"", "root_path": ""}
    await app(scope, receive, send)
    assert sent[0]["status"] == 200, sent

async def ask_on():
    trees = Trees()
    app = Api(trees, [trees.get(sys.argv[1])]).app(Access(host="127.0.0.1"))
    threading.Thread(target=trees.keep_up, daemon=True).start()
    end = time.monotonic() + float(sys.argv[2])
    while time.monotonic() < end:
        await ask(app, "POST", "/search", query="open a connection through a proxy", highlight=True)
        for exit_layer in (0, 6):
            await ask(app, "POST", "/v1/embeddings", input="a date", model=f"small@{exit_layer}")
        for path in ("/", "/status", "/metrics", "/openapi.json"):
            await ask(app, "GET", path)
        await asyncio.sleep(0.5)
    trees.close()

asyncio.run(ask_on())
"""


def start(code, *words, **environment):
    command = [sys.executable, "-c", code, *map(str, words)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MOSE_", "XDG_", "ORT_"))}
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        command, env={**kept, **paths, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(code):
    with start(code) as process:
        out, _ = process.communicate(timeout=200)
        return out, process.returncode


@cache
def has_cage():
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return False
    return run(f"{CAGE}\ncage()")[1] == 0


def files_below(folder):
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if not path.is_dir()}


@pytest.mark.skipif(not has_cage(), reason="the kernel lets no process give up sockets here")
def test_cage_kills_whoever_opens_a_socket_of_the_internet():
    asked = f"{CAGE}\ncage()\nimport socket\nsocket.socket(socket.AF_UNIX)\nprint('local', flush=True)\n"
    assert run(f"{asked}socket.socket(socket.AF_INET6)") == ("local\n", -signal.SIGSYS)


WORK = {"search": SEARCHING, "serve": SERVING}


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """For each work its process, its folder and the files of its tree: both work at the same time."""
    started = {}
    for name, work in WORK.items():
        folder = tmp_path_factory.mktemp(name)
        for part in ("tree", "home", "temporary"):
            (folder / part).mkdir()
        write_tree(folder / "tree")
        code = f"{CAGE}\n{'cage()' if has_cage() else ''}\n{work}"
        environment = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "temporary")}
        before = files_below(folder / "tree")
        started[name] = (start(code, folder / "tree", SECONDS, **environment), folder, before)
    yield started
    for process, _, _ in started.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", WORK)
def test_process_that_searches_for_long_writes_only_its_index_and_opens_no_socket(name, workers):
    process, folder, before = workers[name]
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, (process.returncode, err[-2000:])
    written = files_below(folder / "home")
    assert written and not [path for path in written if not path.startswith(".cache/mose/")], sorted(written)
    if name == "search":
        assert "chunks read" in next((folder / "home").rglob("deepen.log")).read_text()
    assert not files_below(folder / "temporary")
    assert files_below(folder / "tree") == before
