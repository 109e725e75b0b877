"""A language model's server: what goes wrong on the way, and that nothing is lost or asked twice."""

import contextlib
import json
import lzma
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mose.cli import main
from mose.data.pairs import read_objects, write_objects
from mose.data.translate.endpoint import Endpoint, answer_all, estimate
from mose.data.translate.ledger import answered
from mose.errors import ConfigError, EndpointError

from .test_translate import row

LINES = "search: join ranges that touch\nwhere: where are ranges joined\nproblem: touching ranges stay apart"


NO_COMPLETIONS = {
    "wrong json": b"<html>busy</html>",
    "other json": b'{"choices": []}',
    "large": b" " * 9_000_000 + b"{}",
    "deep": b"[" * 100_000,
}


class Misbehaving(ThreadingHTTPServer):
    """Answers chat completions; ``faults`` holds what happens first to each request, by its id or "*"."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults = {}
        self.answered = Counter()
        self.tried = Counter()
        self.bodies = []
        self.keys = set()
        self.busiest = self.busy = 0
        self.lock = threading.Lock()
        self.delay = 0.0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        id_ = self.headers["Idempotency-Key"]
        with server.lock:
            server.bodies.append(body)
            server.keys.add(self.headers["Authorization"])
            server.tried[id_] += 1
            faults = server.faults.get(id_, server.faults.get("*", []))
            fault = faults[server.tried[id_] - 1] if server.tried[id_] <= len(faults) else None
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
        try:
            time.sleep(server.delay)
            self.answer(id_, fault)
        finally:
            with server.lock:
                server.busy -= 1

    def answer(self, id_, fault):
        text = LINES
        if fault == "drop":
            self.close_connection = True
            self.connection.close()
        elif fault == "slow":
            time.sleep(1.5)
            self.send(200, completion(text))
        elif fault == "truncated":
            content = completion(text)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content) + 50))
            self.end_headers()
            self.wfile.write(content[:40])
            self.close_connection = True
        elif fault == "endless":
            self.send_without_end()
        elif fault == "moved":
            self.send(307, b"", Location="http://elsewhere/v1")
        elif fault == "repeats the key":
            self.send(400, self.headers["Authorization"].encode())
        elif fault in NO_COMPLETIONS:
            self.send(200, NO_COMPLETIONS[fault])
        elif isinstance(fault, tuple):
            self.send(fault[0], b'{"error": {"message": "no"}}', **{"Retry-After": fault[1]})
        elif isinstance(fault, int):
            self.send(fault, b'{"error": {"message": "no such thing"}}')
        else:
            self.server.answered[id_] += 1
            self.send(200, completion(text))

    def send_without_end(self):
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b" " * 1_000)
                time.sleep(0.05)

    def send(self, status, content, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def completion(text):
    return json.dumps(
        {"model": "tiny", "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    ).encode()


@pytest.fixture
def server():
    with Misbehaving() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def requests(count):
    return [
        {"custom_id": f"r{n}", "body": {"messages": [{"role": "user", "content": f"code {n}"}], "max_tokens": 9}}
        for n in range(count)
    ]


def endpoint(server, **settings):
    return Endpoint(url=server.url, model="tiny", **{"first_pause": 0.01, "timeout": 0.8, **settings})


def ids_of(ledger):
    return [json.loads(line)["custom_id"] for line in ledger.read_text().splitlines()]


FAULTS = {
    "r0": [500],
    "r1": [(429, "0.2")],
    "r2": ["drop", "drop"],
    "r3": ["slow"],
    "r4": ["truncated"],
    "r5": ["wrong json", "other json"],
    "r6": [503, "drop", "truncated", (429, formatdate(time.time() - 9, usegmt=True))],
    "r7": ["endless", "large", "deep"],
}


def test_every_fault_is_survived_and_every_answer_is_there_once(server, tmp_path):
    server.faults = FAULTS
    ledger = tmp_path / "answers.jsonl"
    assert answer_all(requests(20), ledger, endpoint(server, concurrency=4)) == 0
    assert sorted(ids_of(ledger)) == sorted(f"r{n}" for n in range(20))
    assert {id_: server.tried[id_] for id_ in FAULTS} == {id_: len(faults) + 1 for id_, faults in FAULTS.items()}
    assert all(server.tried[f"r{n}"] == 1 for n in range(8, 20))
    assert all(body["model"] == "tiny" and body["max_tokens"] == 9 for body in server.bodies)
    assert server.busiest <= 4


def test_nothing_is_asked_twice(server, tmp_path):
    ledger = tmp_path / "answers.jsonl"
    answer_all(requests(5), ledger, endpoint(server))
    assert answer_all(requests(9), ledger, endpoint(server)) == 0
    assert set(server.tried.values()) == {1}
    assert sorted(ids_of(ledger)) == sorted(f"r{n}" for n in range(9))


def test_the_piece_of_a_line_is_asked_again(server, tmp_path):
    ledger = tmp_path / "answers.jsonl"
    answer_all(requests(3), ledger, endpoint(server, concurrency=1))
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[:-20])
    assert answered(ledger) == {"r0", "r1"}
    answer_all(requests(3), ledger, endpoint(server))
    assert ledger.read_bytes() == whole


def test_a_wrong_request_is_answered_with_its_error(server, tmp_path):
    server.faults = {"r1": [400] * 9}
    ledger = tmp_path / "answers.jsonl"
    assert answer_all(requests(3), ledger, endpoint(server)) == 0
    errors = {line["custom_id"]: line["error"] for line in map(json.loads, ledger.read_text().splitlines())}
    assert errors == {"r0": None, "r1": {"code": 400, "message": '{"error": {"message": "no such thing"}}'}, "r2": None}
    assert server.tried["r1"] == 1


def test_a_request_that_always_fails_is_left_out_and_asked_again_later(server, tmp_path):
    server.faults = {"r1": [500] * 3}
    ledger = tmp_path / "answers.jsonl"
    assert answer_all(requests(4), ledger, endpoint(server, attempts=3)) == 1
    assert sorted(ids_of(ledger)) == ["r0", "r2", "r3"]
    assert answer_all(requests(4), ledger, endpoint(server, attempts=3)) == 0


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_ends_the_run(server, tmp_path, status):
    server.faults = {"*": [status] * 9}
    with pytest.raises(EndpointError, match=rf"refuses the request with status {status}: .*no such thing"):
        answer_all(requests(50), tmp_path / "answers.jsonl", endpoint(server))
    assert sum(server.tried.values()) <= 8


def test_a_server_that_is_gone_ends_the_run(tmp_path):
    gone = Endpoint(url="http://127.0.0.1:9/v1", model="tiny", attempts=2, first_pause=0.01, concurrency=2)
    with pytest.raises(EndpointError, match="does not answer"):
        answer_all(requests(50), tmp_path / "answers.jsonl", gone)


def test_nobody_asks_before_the_time_that_a_busy_server_names(server, tmp_path):
    server.faults = {"r0": [(429, "0.6")]}
    start = time.monotonic()
    answer_all(requests(2), tmp_path / "answers.jsonl", endpoint(server, concurrency=1))
    assert time.monotonic() - start >= 0.6


def test_so_many_requests_a_minute(server, tmp_path):
    start = time.monotonic()
    answer_all(requests(4), tmp_path / "answers.jsonl", endpoint(server, per_minute=600))
    assert time.monotonic() - start >= 0.3


def test_the_key_is_sent_and_not_shown(server, tmp_path):
    asked = endpoint(server, key="secret-key")
    answer_all(requests(1), tmp_path / "answers.jsonl", asked)
    assert server.keys == {"Bearer secret-key"}
    assert "secret-key" not in repr(asked) + (tmp_path / "answers.jsonl").read_text()


def test_settings_are_checked():
    for url in (
        "localhost:8000",
        "http://",
        "http://[::1",
        "http://h:port/v1",
        "http://me:word@h/v1",
        "http://h/?k=word",
    ):
        with pytest.raises(ConfigError, match=r"http://") as raised:
            Endpoint(url=url, model="tiny")
        assert "word" not in str(raised.value).replace("a password", "")
    for key in ("secret\nkey", "secret\N{EURO SIGN}"):
        with pytest.raises(ConfigError, match="cannot be sent") as raised:
            Endpoint(url="http://h/v1", model="tiny", key=key)
        assert "secret" not in str(raised.value)


def test_a_key_that_the_server_repeats_is_not_shown(server, tmp_path):
    server.faults = {"*": ["repeats the key"]}
    answer_all(requests(1), tmp_path / "answers.jsonl", endpoint(server, key="secret-key"))
    assert "Bearer (the key)" in (tmp_path / "answers.jsonl").read_text()


def test_a_server_that_has_moved_ends_the_run(server, tmp_path):
    server.faults = {"*": ["moved"]}
    with pytest.raises(EndpointError, match="sends on to http://elsewhere/v1"):
        answer_all(requests(9), tmp_path / "answers.jsonl", endpoint(server))
    assert server.tried["r0"] == 1


def test_the_reason_is_told_where_no_request_is_answered(server, tmp_path):
    server.faults = {"*": [500, 500]}
    with pytest.raises(EndpointError, match=r"does not answer \(status 500\)"):
        answer_all(requests(1), tmp_path / "answers.jsonl", endpoint(server, attempts=2))


@pytest.mark.parametrize("proxy", ["socks5h://h:1", "ftp://h:1"])
def test_a_proxy_that_cannot_be_used_is_told(tmp_path, monkeypatch, proxy):
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigError, match="NO_PROXY"):
        answer_all(requests(1), tmp_path / "answers.jsonl", Endpoint(url="http://192.0.2.1/v1", model="tiny"))


def test_a_ledger_that_cannot_grow_is_an_error_of_the_system(server, tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            answer_all(requests(9), tmp_path / "answers.jsonl", endpoint(server))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_two_runs_do_not_write_one_ledger(server, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / "answers.jsonl").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(EndpointError, match="another run"):
            answer_all(requests(1), tmp_path / "answers.jsonl", endpoint(server))
    assert not server.tried


def test_a_ledger_that_is_a_folder_is_told(tmp_path):
    with pytest.raises(EndpointError, match="not a file of answers"):
        answered(tmp_path)


def test_estimate():
    found = estimate(requests(2))
    assert (found.requests, found.prompt_tokens, found.written_tokens) == (2, 3, 18)
    assert found.cost((1.0, 10.0)) == pytest.approx((3 + 180) / 1e6)
    assert found.hours((3.0, 9.0)) == pytest.approx((1 + 2) / 3600)
    assert found.hours((3.0, 9.0), per_minute=1) == pytest.approx(2 / 60), "the server would be faster than is asked"


@pytest.fixture
def pairs(tmp_path):
    (tmp_path / "mined").mkdir()
    write_objects(tmp_path / "mined" / "train.jsonl.xz", [row(number) for number in range(12)])
    return tmp_path


def run(pairs, out, server, *more):
    return ["pairs", "ask", f"{pairs}/mined", "--out", str(out), "--endpoint", server.url, "--model", "tiny",
            "--quiet", *more]  # fmt: skip


def test_ask_from_pairs_to_checked_questions(server, pairs, capsys):
    server.faults = {"*": [503]}
    assert main(run(pairs, pairs / "asked", server, "--json")) == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["requests"], counts["unanswered"], counts["answers"]) == (12, 0, 12)
    accepted = [value for _, value in read_objects(pairs / "asked" / "accepted.jsonl.xz")]
    assert {value["query"] for value in accepted} <= set(LINES.replace(": ", "\n").split("\n"))
    assert len(accepted) + len(list(read_objects(pairs / "asked" / "rejected.jsonl.xz"))) == 36


def test_estimate_asks_nothing(server, pairs, capsys):
    assert main(run(pairs, pairs / "asked", server, "--estimate", "--price", "100", "400", "--json")) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["left"] == 12
    assert counts["tokens written at most"] == 12 * 96
    assert counts["price at most"] > 0
    small = run(pairs, pairs / "asked", server, "--estimate", "--price", "1e-6", "0", "--speed", "90", "30", "--json")
    assert main(small) == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["price at most"], counts["hours at most"] > 0) == (0.01, True), "rounded up"
    assert not server.tried
    for words in (["--price", "nan", "1"], ["--price", "1", "-1"], ["--speed", "0", "1"], ["--speed", "nan", "1"]):
        assert main(run(pairs, pairs / "asked", server, "--estimate", *words)) == 2
        assert "allowed: two numbers" in capsys.readouterr().err


def test_endpoint_needs_a_model(pairs, capsys):
    assert main(["pairs", "ask", f"{pairs}/mined", "--out", f"{pairs}/a", "--endpoint", "http://localhost:1/v1"]) == 2
    assert "--endpoint needs --model" in capsys.readouterr().err


def test_killed_at_random_it_ends_as_in_one_go(server, pairs, capsys):
    server.delay = 0.05
    assert main(run(pairs, pairs / "whole", server)) == 0
    rng = random.Random(0)
    command = [sys.executable, "-m", "mose", *run(pairs, pairs / "killed", server, "--concurrency", "1")]
    kills = 0
    for _ in range(8):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
        try:
            process.wait(rng.uniform(0.3, 1.5))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
    assert main(run(pairs, pairs / "killed", server)) == 0
    assert kills
    for name in ("accepted.jsonl.xz", "rejected.jsonl.xz"):
        assert lzma.decompress((pairs / "killed" / name).read_bytes()) == lzma.decompress(
            (pairs / "whole" / name).read_bytes()
        )
    ids = ids_of(pairs / "killed" / "answers.jsonl")
    assert len(ids) == len(set(ids)) == 12
