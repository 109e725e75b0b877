"""`mose serve`, as programs meet it: a process of its own, asked over a socket."""

import asyncio
import base64
import json
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from serving import serving

from mose import CodeIndex, Encoder, SearchOptions
from mose.serve.http.guards import MOST_BODY_BYTES, Access, Guard

STATIC = Path(sys.modules["mose"].__file__).parent / "serve" / "page" / "static"


def test_search_equals_the_search_in_process(sample_tree):
    with CodeIndex.open(sample_tree) as index:
        index.deepen()
        queries = ["read a date in ISO form", "proxy connection", "parse_iso_date", "日付 date"]
        options = [{}, {"limit": 2, "exit": 0}, {"mode": "lexical"}, {"path": ["src/"], "per_file": False, "width": 64}]
        wanted = [[index.search(query, SearchOptions(**given)) for given in options] for query in queries]
        within = index.search(queries[0], SearchOptions(limit_tokens=80))
        like = index.like("src/dates.py", 5, SearchOptions(limit=3))
    with serving(sample_tree) as server:
        for query, row in zip(queries, wanted, strict=True):
            for given, hits in zip(options, row, strict=True):
                status, found = server.post("/search", query=query, **given)
                assert status == 200
                assert [(hit["path"], hit["start_line"], hit["text"], hit["score"]) for hit in found["hits"]] == [
                    (hit.path, hit.start_line, hit.text, round(hit.score, 4)) for hit in hits
                ]
        found = server.post("/similar", path="src/dates.py", line=5, limit=3)[1]
        assert [hit["path"] for hit in found["hits"]] == [hit.path for hit in like]
        assert found["hits"][0]["absolute_path"] == str(sample_tree / found["hits"][0]["path"])
        status, content, _ = server.ask("GET", "/status")
        assert json.loads(content)["trees"][0]["files"] == 6
        hits = server.post("/search", query=queries[0], limit_tokens=80)[1]["hits"]
        assert [hit["text"] for hit in hits] == [hit.text for hit in within]
        assert json.loads(server.ask("GET", "/healthz")[1])["status"] == "ok"
        assert json.loads(server.ask("GET", "/trees")[1])["trees"] == [{"name": "sample", "root": str(sample_tree)}]


def test_two_trees_a_filter_for_one_and_a_change_is_seen(sample_tree, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "retry.py").write_text("def retry_with_backoff(call):\n    '''Calls again later.'''\n")
    with serving(sample_tree, tmp_path / "other") as server:
        best = server.post("/search", query="retry with backoff")[1]["hits"][0]
        assert (best["tree"], best["path"]) == ("other", "retry.py")
        for max_tokens in (20, 60, 500):
            hits = server.post("/search", query="retry the date", limit_tokens=max_tokens, limit=1)[1]["hits"]
            assert sum(len(hit["text"]) for hit in hits) <= 4 * max_tokens
        assert {hit["tree"] for hit in hits} == {"other", "sample"}
        one = server.post("/search", query="retry with backoff", trees=["sample"])[1]
        assert {hit["tree"] for hit in one["hits"]} <= {"sample"}
        assert server.post("/similar", path="retry.py", line=1)[0] == 400
        (tmp_path / "other" / "odd.py").write_text("def launch_rocket():\n    '\x1b]0;x\x07\u202e'\n")
        for _ in range(50):
            _, content, _ = server.ask("POST", "/search", {"query": "launch_rocket"})
            hits = json.loads(content)["hits"]
            if hits:
                break
            time.sleep(0.2)
        assert hits[0]["path"] == "odd.py" and "\x1b" in hits[0]["text"]
        assert b"\x1b" not in content and "\u202e".encode() not in content


def test_embeddings_are_those_of_the_encoder(sample_tree):
    texts = ["def parse(x): return x", "a date", "x" * 9_000]
    with serving(sample_tree) as server:
        for name, exit_layer, width in (("small", 6, None), ("small@3", 3, 128), ("small@0", 0, None)):
            given = {} if width is None else {"dimensions": width}
            _, answer = server.post("/v1/embeddings", input=texts, model=name, **given)
            vectors = np.array([row["embedding"] for row in answer["data"]], dtype=np.float32)
            wanted = Encoder.load(exit=exit_layer, width=width).encode(texts)
            assert np.abs(vectors - wanted).max() < 1e-4
            assert answer["usage"]["total_tokens"] > 10 and answer["model"] == name
            _, coded = server.post("/v1/embeddings", input=texts, model=name, encoding_format="base64", **given)
            rows = [np.frombuffer(base64.b64decode(row["embedding"]), dtype="<f4") for row in coded["data"]]
            assert np.abs(np.stack(rows) - vectors).max() < 1e-6
        query = server.post("/v1/embeddings", input="a date", model="small", kind="query")[1]["data"][0]["embedding"]
        assert np.abs(np.array(query) - Encoder.load().encode(["a date"], kind="query")[0]).max() < 1e-4
        assert "small@3" in {row["id"] for row in json.loads(server.ask("GET", "/v1/models")[1])["data"]}


WRONG = [
    ("/search", {}, 400, "query"),
    ("/search", {"query": ""}, 400, "empty"),
    ("/search", {"query": " \n"}, 400, "empty"),
    ("/search", {"query": 3}, 400, "a text"),
    ("/search", {"query": "date", "limit": 10**9}, 400, "from 1 to 200"),
    ("/search", {"query": "date", "limit": True}, 400, "whole number"),
    ("/search", {"query": "date", "exit": 1}, 400, "0, 2, 3, 4, 6"),
    ("/search", {"query": "date", "colour": 1}, 400, "colour"),
    ("/search", {"query": "date", "trees": ["/etc"]}, 400, "sample"),
    ("/search", {"query": "date", "path": ["no/such"]}, 400, "no/such"),
    ("/search", {"query": "date", "path": [f"a{number}*b" for number in range(201)]}, 400, "200"),
    ("/search", {"query": "date", "budget_s": 1e9}, 400, "30"),
    ("/similar", {"path": "../secret.py", "line": 1}, 404, "no line 1"),
    ("/similar", {"path": "/etc/passwd", "line": 1}, 404, "no line 1"),
    ("/v1/embeddings", {"input": [], "model": "small"}, 400, "1 to 512"),
    ("/v1/embeddings", {"input": ["x"] * 513, "model": "small"}, 400, "1 to 512"),
    ("/v1/embeddings", {"input": "", "model": "small"}, 400, "100,000"),
    ("/v1/embeddings", {"input": [[1, 2]], "model": "small"}, 400, "list of texts"),
    ("/v1/embeddings", {"input": "x", "model": "large"}, 400, "small@6"),
    ("/v1/embeddings", {"input": "x", "model": "small@1"}, 400, "small@6"),
    ("/v1/embeddings", {"input": "x", "model": "small@3", "dimensions": 10**5}, 400, "1 to"),
]


NO_NUMBERS = [b'{"query": "x", "budget_s": %s}' % word for word in (b"NaN", b"Infinity", b"-Infinity", b"1e999")]


def test_what_is_wrong_is_said_in_four_parts_and_nothing_breaks(sample_tree, tmp_path):
    (tmp_path / "secret.py").write_text("secret = 'hunter2'\n")
    with serving(sample_tree) as server:
        for path, body, wanted, said in WRONG:
            status, answer = server.post(path, **body)
            assert (status, said in answer["error"]["message"]) == (wanted, True), answer
            assert {"message", "type", "code", "what", "got", "allowed", "remedy"} <= set(answer["error"])
        for raw in (b"", b"[1]", b"{", b"\xff", b"[" * 100_000, b"null", b'"x"', *NO_NUMBERS):
            status, content, _ = server.ask("POST", "/search", raw=raw)
            assert status == 400
            json.loads(content, parse_constant=pytest.fail)  # what is refused is not repeated as it came
        assert server.ask("GET", "/nothing")[0] == 404
        assert server.ask("GET", "/../../etc/passwd")[0] == 404
        assert server.ask("GET", "/search")[0] == 405
        assert server.ask("POST", "/search", raw=b"{}", headers={"Content-Type": "text/plain"})[0] == 415
        too_long = {"query": "x" * (MOST_BODY_BYTES + 1)}
        with pytest.raises((ConnectionError, AssertionError)):
            assert server.ask("POST", "/search", too_long)[0] != 413
        with socket.create_connection(("127.0.0.1", server.port)) as plain:  # a body that does not say how long it is
            plain.sendall(
                b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            try:
                for _ in range(80):
                    plain.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                plain.sendall(b"0\r\n\r\n")
                assert plain.recv(100).split()[1] == b"413"
            except ConnectionError:
                pass  # it has hung up already
        assert server.post("/search", query="date")[0] == 200


@pytest.mark.parametrize("length", [b"\xb2", b"9" * 5_000, b"-1", b"+1", b"x", b"", b"4000001"])
def test_a_length_that_is_no_number_or_too_large_is_refused_before_the_body_is_read(length):
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-length", length)]
    scope = {"type": "http", "method": "POST", "path": "/search", "headers": headers}
    asyncio.run(Guard(None, Access(host="127.0.0.1"), lambda *_: None)(scope, None, send))
    assert sent[0]["status"] == 413


def test_a_page_gets_the_code_of_a_hit_in_pieces_and_whole_files_of_the_index_alone(sample_tree, tmp_path):
    (tmp_path / "secret.py").write_text("secret = 'hunter2'\n")
    with serving(sample_tree) as server:
        plain = server.post("/search", query="parse a date")[1]["hits"]
        for hit, bare in zip(
            server.post("/search", query="parse a date", highlight=True)[1]["hits"], plain, strict=True
        ):
            code, (first, last) = hit.pop("code"), hit.pop("excerpt")
            assert hit == bare and hit["start_line"] <= first <= last <= hit["end_line"]
            assert ["".join(text for text, _ in line) for line in code] == hit["text"].split("\n")
        found = server.post("/file", path="src/dates.py", line=3)[1]
        lines = (sample_tree / "src/dates.py").read_text("utf8").split("\n")
        shown = ["".join(text for text, _ in line) for line in found["code"]]
        assert shown == lines[found["first_line"] - 1 : found["last_line"]] and len(shown) >= len(lines) - 2
        assert any(["def", "keyword"] in line for line in found["code"])
        for path in ("../secret.py", "/etc/passwd", str(tmp_path / "secret.py"), ".git/config", ""):
            assert server.post("/file", path=path)[0] == 404
        assert json.loads(server.ask("GET", "/progress")[1]) == {"trees": [{"name": "sample", "reading": None}]}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks processes up in /proc")
def test_a_tree_that_cannot_be_measured_says_why_and_a_server_that_stops_ends_the_measurement(sample_tree, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("nothing to ask\n")
    with serving(sample_tree, tmp_path / "other") as server:
        assert server.post("/exits", tree="other")[1]["state"] == "none"
        server.post("/exits", tree="other", measure=True)
        assert server.post("/exits", tree="sample", measure=True)[0] in (200, 400)
        for _ in range(600):
            found = server.post("/exits", tree="other")[1]
            if found["state"] != "running":
                break
            time.sleep(0.1)
        assert found["state"] == "failed" and "makes a query" in found["message"], found
        for _ in range(600):
            if server.post("/exits", tree="sample", measure=True)[0] == 200:
                break
            time.sleep(0.1)
        lists = Path(f"/proc/{server.process.pid}/task").glob("*/children")  # each thread has the processes it started
        children = {int(pid) for listed in lists for pid in listed.read_text().split()}
        running = [pid for pid in children if b"eval-repo" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert running or server.post("/exits", tree="sample")[1]["state"] != "running"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        time.sleep(0.5)
        assert not any(
            Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in running
        )


def test_other_hosts_other_pages_and_other_origins_are_refused(sample_tree):
    with serving(sample_tree) as server:
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::2]", "", "localhost.evil"):
            assert server.ask("POST", "/search", {"query": "date"}, {"Host": host})[0] == 421, host
            assert server.ask("GET", "/", headers={"Host": host})[0] == 421
        for host in ("localhost", f"127.0.0.1:{server.port}", "LOCALHOST", "[::1]:80"):
            assert server.ask("POST", "/search", {"query": "date"}, {"Host": host})[0] == 200, host
        for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
            assert server.ask("POST", "/search", {"query": "date"}, {"Origin": origin})[0] == 403
        status, _, headers = server.ask(
            "POST", "/search", {"query": "date"}, {"Origin": f"http://127.0.0.1:{server.port}"}
        )
        assert status == 200 and not [name for name in headers if name.lower().startswith("access-control")]
        assert server.ask("OPTIONS", "/search", headers={"Access-Control-Request-Method": "POST"})[0] == 405


def test_another_address_demands_a_key_and_the_key_is_checked(sample_tree, mose):
    code, out, err = mose("serve", sample_tree, "--host", "0.0.0.0", "--port", "0")
    assert (code, out) == (2, "") and "--api-key" in err
    code, _, err = mose("serve", sample_tree, "--api-key", "short", "--port", "0")
    assert code == 2 and "16 or more" in err
    key = "correct-horse-battery"
    with serving(sample_tree, "--host", "0.0.0.0", MOSE_API_KEY=key) as server:
        assert server.ask("GET", "/healthz")[0] == 200 and server.ask("GET", "/")[0] == 200
        for path in ("/trees", "/status", "/v1/models"):
            assert server.ask("GET", path)[0] == 401
        for wrong in (
            {},
            {"Authorization": f"Bearer {key}x"},
            {"Authorization": "Bearer \xe9"},
            {"Authorization": "Bearer "},
        ):
            assert server.ask("POST", "/search", {"query": "date"}, wrong)[0] == 401
        right = {"Authorization": f"Bearer {key}", "Host": "my.server.example"}
        assert server.ask("POST", "/search", {"query": "date"}, right)[0] == 200


def test_fifty_clients_at_once_get_the_answers_of_one(sample_tree):
    queries = [
        f"{word} {number % 5}" for number, word in enumerate(["date", "proxy", "evict", "password", "session"] * 4)
    ]
    with CodeIndex.open(sample_tree) as index:
        index.deepen()
    with serving(sample_tree) as server:
        alone = {query: server.post("/search", query=query)[1]["hits"] for query in queries}
        wrong = []

        def ask(number):
            for query in queries[number % 15 :][:6]:
                status, found = server.post("/search", query=query)
                if status != 200 or found["hits"] != alone[query]:
                    wrong.append((status, query))

        clients = [threading.Thread(target=ask, args=(number,)) for number in range(50)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert not wrong


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_end_and_then_ends_the_server(sample_tree, number):
    with serving(sample_tree) as server:
        server.post("/search", query="date")
        answers = []
        body = {"input": ["def f(x): return x " * 40] * 48, "model": "small"}
        client = threading.Thread(target=lambda: answers.append(server.post("/v1/embeddings", **body)[0]))
        client.start()
        while client.is_alive() and b"texts_waiting 0" in server.ask("GET", "/metrics")[1]:
            time.sleep(0.01)
        server.process.send_signal(number)
        client.join(60)
        assert server.process.wait(60) == 0
        assert answers == [200]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP")
def test_a_signal_that_is_ignored_on_purpose_stays_ignored(sample_tree):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as by nohup: processes that we start inherit it
    try:
        with serving(sample_tree) as server:
            assert server.ask("GET", "/healthz")[0] == 200
            server.process.send_signal(signal.SIGHUP)
            time.sleep(1.0)
            assert server.ask("GET", "/healthz")[0] == 200
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_port_that_is_taken_and_a_tree_that_is_not_there_are_errors(mose, sample_tree, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = mose("serve", sample_tree, "--port", taken.getsockname()[1])
    assert code == 2 and "cannot listen" in err and "--port" in err
    assert mose("serve", sample_tree, "--port", 99_999)[0] == 2
    assert mose("serve", sample_tree, "--host", "no.such.host.invalid", "--api-key", "k" * 16)[0] == 2
    assert mose("serve", tmp_path / "none", "--port", "0")[0] == 2


def test_the_page_runs_nothing_but_its_own_files(sample_tree):
    with serving(sample_tree, MOSE_API_KEY="correct-horse-battery") as server:
        _, page, headers = server.ask("GET", "/")
        named = re.findall(r'(?:src|href)="([^"]+)"', page.decode())
        named += re.findall(r'from "\./([^"]+)"', "".join(path.read_text("utf8") for path in STATIC.glob("*.js")))
        files = {Path(name).name: server.ask("GET", f"/static/{Path(name).name}") for name in named}
        for path in ("no.js", "..%2fpage.py", "%2e%2e/page.py", "page.py", "../http.py", ""):
            assert server.ask("GET", f"/static/{path}")[0] in (401, 404), path
    assert page == (STATIC / "page.html").read_bytes()
    assert set(files) == {path.name for path in STATIC.iterdir()} - {"page.html"}
    for name, (status, content, given) in files.items():
        assert (status, content, given["X-Content-Type-Options"]) == (200, (STATIC / name).read_bytes(), "nosniff")
    policy = headers["Content-Security-Policy"]
    assert headers["Content-Type"].startswith("text/html") and policy.startswith("default-src 'none';")
    assert "unsafe" not in policy and "*" not in policy and "data:" not in policy
    text = "".join(path.read_text("utf8") for path in STATIC.iterdir())
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function| on\w+=| style=", text
    )
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|<(iframe|object|base)\b|@import|url\(", text)


def test_an_answer_is_not_held_back_until_its_head_is_acknowledged():
    from mose.serve.http.server import listen

    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
