"""What HTTP adds to a warm search, and whether fifty clients at once get the answers of one.

    python benchmarks/serve.py --sources SITE_PACKAGES

SOURCES is any folder with much source code; a tree of some 10,000 chunks is copied from it, with synthetic
vectors at the deepest exit (the time of a query does not depend on their values). Each query is asked in this process and over HTTP in turn (one connection, kept open), so that whatever else the machine does falls on
both. Bar: at most 1.3 times the time in process plus 3 ms. Then fifty clients ask all queries at once, each in an order of its
own; an error, or a hit that differs from a single client's, counts.
The last line is JSON; the same goes to benchmarks/results/serve-<commit>.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
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


class Client:
    """One connection to the server, kept open."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--files", type=int, default=700)
    parser.add_argument("--rounds", type=int, default=20)
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
            result = {
                "chunks": num_chunks,
                "exit": index.encoder.exit,
                "warm": compare(index, Client(port), arguments.rounds),
                "crowd": crowd(port),
            }
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    print(json.dumps(result, indent=1))
    write_result("serve", result)


if __name__ == "__main__":
    main()
