"""What HTTP adds to a warm search, and whether fifty clients at once get the answers of one.

    python benchmarks/serve.py --sources SITE_PACKAGES

SOURCES is any folder with much source code; a tree of some 10,000 chunks is copied from it, with synthetic
vectors at the deepest exit (the time of a query does not depend on their values). Each query is asked in this process and over HTTP in turn (one connection, kept open), so that whatever else the machine does falls on
both. Bar: at most 1.3 times the time in process plus 3 ms. Then fifty clients ask all queries at once, each in an order of its
own; an error, or a hit that differs from a single client's, counts.

A mixed load of embeddings follows: one text of 8 to 256 tokens a request, exits in turn, the same requests in the same order for

- a first-come queue at the deepest exit, one request at a time, and one for each core,
- the server's own queue, where each request has its exit and many clients ask at once.

Bar: twice the throughput of the first. Then the same once more, while one client asks for exit 0 at intervals: 99 of 100 answers in 20 ms.
`--only mixed` runs this part alone.

`--only memory` asks `--requests` times at exit 0, no two texts alike: searches, similar places, embeddings, lists of trees and faulty
requests in turn. The memory of the server must stay what it was after a tenth of them.
The last line is JSON; the same goes to benchmarks/results/serve-<commit>.json.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from results import write_result
from search_speed import QUERIES, copy_tree, synthetic_deep

import mose

NUM_CLIENTS = 50
NUM_LOADING = 16
MIXED_ROUNDS = 5
PROBE_S = 0.005
TOKENS_A_WORD = 1.3


class Client:
    """One connection to the server, kept open."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def embed(self, text: str, exit_layer: int) -> float:
        """Seconds of one request for an embedding."""
        body = json.dumps({"input": text, "model": f"small@{exit_layer}", "encoding_format": "base64"}).encode()
        started = time.perf_counter()
        self.connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        answer.read()
        assert answer.status == 200
        return time.perf_counter() - started

    def search(self, query: str) -> tuple[int, list[dict[str, object]]]:
        body = json.dumps({"query": query, "limit": 10}).encode()
        self.connection.request("POST", "/search", body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        value = json.loads(answer.read())
        return answer.status, value.get("hits", [])


def compare(index: mose.CodeIndex, client: Client, rounds: int) -> dict[str, object]:
    """Milliseconds of warm searches, in process and over HTTP."""
    within, over, differing = [], [], 0
    for number in range(rounds + 1):
        for query in QUERIES:
            started = time.perf_counter()
            hits = index.search(query)
            between = time.perf_counter()
            status, found = client.search(query)
            ended = time.perf_counter()
            assert status == 200
            differing += [(hit.path, hit.start_line) for hit in hits] != [
                (hit["path"], hit["start_line"]) for hit in found
            ]
            if number:  # the first round reads the short lists
                within.append(1e3 * (between - started))
                over.append(1e3 * (ended - between))
    medians = statistics.median(within), statistics.median(over)
    return {
        "in_process_ms": medians[0],
        "http_ms": medians[1],
        "in_process_p95_ms": statistics.quantiles(within, n=20)[-1],
        "http_p95_ms": statistics.quantiles(over, n=20)[-1],
        "bar_ms": 1.3 * medians[0] + 3,
        "answers_that_differ": differing,
    }


def crowd(port: int) -> dict[str, object]:
    """Fifty clients at once."""
    alone = {query: Client(port).search(query)[1] for query in QUERIES}
    num_errors = num_differing = 0
    lock = threading.Lock()
    times = []

    def ask(number: int) -> None:
        nonlocal num_errors, num_differing
        client, queries = Client(port), random.Random(number).sample(QUERIES, len(QUERIES))
        for query in queries:
            started = time.perf_counter()
            status, hits = client.search(query)
            with lock:
                times.append(1e3 * (time.perf_counter() - started))
                num_errors += status != 200
                num_differing += hits != alone[query]

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(NUM_CLIENTS)]
    started = time.perf_counter()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    seconds = time.perf_counter() - started
    return {
        "clients": NUM_CLIENTS,
        "requests": len(times),
        "errors": num_errors,
        "answers_that_differ": num_differing,
        "requests_a_second": len(times) / seconds,
        "median_ms": statistics.median(times),
        "p95_ms": statistics.quantiles(times, n=20)[-1],
    }


def texts_and_exits(num_requests: int, exits: tuple[int, ...]) -> list[tuple[str, int]]:
    """The requests of a mixed load."""
    rng = random.Random(0)
    words = [word for query in QUERIES for word in query.split()]
    rows = []
    for number in range(num_requests):
        num_words = max(2, round(rng.uniform(8, 256) / TOKENS_A_WORD))
        rows.append((" ".join(rng.choices(words, k=num_words)), exits[number % len(exits)]))
    return rows


def send_all(port: int, rows: list[tuple[str, int]], num_clients: int) -> float:
    """Requests a second, if so many clients take the next request each; run in a process of its own."""
    todo, lock = iter(rows), threading.Lock()

    def ask() -> None:
        client = Client(port)
        while True:
            with lock:
                row = next(todo, None)
            if row is None:
                return
            client.embed(*row)

    clients = [threading.Thread(target=ask) for _ in range(num_clients)]
    started = time.perf_counter()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return len(rows) / (time.perf_counter() - started)


def mixed(port: int, exits: tuple[int, ...], num_requests: int) -> dict[str, object]:
    """Throughput of a mixed load beside that of first-come queues, and what exit 0 waits meanwhile."""
    rows = texts_and_exits(num_requests, exits)
    deepest = [(text, exits[-1]) for text, _ in rows]
    prober = Client(port)
    for exit_layer in exits:
        prober.embed("a text that loads the exit", exit_layer)
    rates: dict[str, list[float]] = {"first_come": [], "first_come_each_core": [], "own_queue": []}
    waits: list[float] = []
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(send_all, (port, rows[:20], 4))
        for _ in range(MIXED_ROUNDS):
            rates["first_come"].append(pool.apply(send_all, (port, deepest, 1)))
            rates["first_come_each_core"].append(pool.apply(send_all, (port, deepest, os.cpu_count() or 1)))
            rates["own_queue"].append(pool.apply(send_all, (port, rows, NUM_LOADING)))
            running = pool.apply_async(send_all, (port, rows, NUM_LOADING))
            for number in itertools.count():
                if running.ready():
                    break
                waits.append(1e3 * prober.embed(rows[number % len(rows)][0], 0))
                time.sleep(PROBE_S)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "requests": num_requests,
        "clients": NUM_LOADING,
        "requests_a_second": rates,
        "ratio": medians["own_queue"] / medians["first_come"],
        "ratio_each_core": medians["own_queue"] / medians["first_come_each_core"],
        "exit_0": {
            "requests": len(waits),
            "median_ms": statistics.median(waits),
            "p99_ms": statistics.quantiles(waits, n=100)[-1],
        },
        "load_average": os.getloadavg()[0],
    }


def memory(pid: int, port: int, num_requests: int) -> dict[str, object]:
    """Resident memory of the server before, while and after many requests of one client."""
    rng = random.Random(0)
    words = sorted({word for query in QUERIES for word in query.split()})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    statuses: dict[int, int] = {}
    resident = {0: resident_mb(pid)}
    hit: dict[str, object] = {}

    def ask(method: str, path: str, value: object = None) -> dict[str, list[dict[str, object]]]:
        body = None if value is None else json.dumps(value)
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        return json.loads(answer.read())

    for number in range(1, num_requests + 1):
        text = f"{' '.join(rng.choices(words, k=rng.randrange(1, 12)))} {number}"
        match number % 5:
            case 0:
                ask("GET", "/trees")
            case 1:
                ask("POST", "/v1/embeddings", {"input": text, "model": "small@0"})
            case 2 if hit:
                ask("POST", "/similar", {"path": hit["path"], "line": hit["start_line"], "exit": 0, "limit": 5})
            case 3 if number % 100 == 3:
                ask("POST", "/search", {"query": text, "exit": number})  # there is no such exit
            case _:
                hit = (ask("POST", "/search", {"query": text, "exit": 0, "limit": 10}).get("hits") or [hit])[0]
        if number % 1_000 == 0:
            connection.close()  # and opened again
        if number in {num_requests // 100, num_requests // 10, num_requests // 2, num_requests}:
            resident[number] = resident_mb(pid)
            print(f"{number:,} requests: {resident[number]:.1f} MB", file=sys.stderr)
    return {"resident_mb": resident, "statuses": statuses}


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--files", type=int, default=700)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=400, help="of the mixed load, or for the memory")
    parser.add_argument("--only", choices=["mixed", "memory"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MOSE_HOME"] = f"{folder}/home"
        tree = Path(folder) / "tree"
        copy_tree(arguments.sources, tree, num_files=arguments.files)
        index = mose.CodeIndex.open(tree)
        synthetic_deep(index)
        num_chunks = index.status().num_chunks
        command = [sys.executable, "-m", "mose", "serve", str(tree), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            port = int(server.stdout.readline().rpartition(":")[2])
            result = {"chunks": num_chunks, "exit": index.encoder.exit}
            if arguments.only is None:
                result |= {"warm": compare(index, Client(port), arguments.rounds), "crowd": crowd(port)}
            if arguments.only == "memory":
                result["memory"] = memory(server.pid, port, arguments.requests)
            else:
                result["mixed"] = mixed(port, index.encoder.exits, arguments.requests)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    print(json.dumps(result, indent=1))
    write_result("serve", result)


if __name__ == "__main__":
    main()
