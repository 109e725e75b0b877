"""The queue that encodes texts of many requests."""

import json
import random
import re
import select
import socket
import threading
import time

import numpy as np
import pytest
from serving import serving

from mose.runtime.encoder import Encoder
from mose.serve.http.encoding import EncodingQueue, OverloadError
from mose.serve.http.metrics import Metrics

WORDS = ["def", "return", "parse", "date", "proxy", "open", "close", "retry", "session", "token", "value", "for"]


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load()


@pytest.fixture
def queue():
    queue = EncodingQueue(Metrics(), num_threads=1)
    yield queue
    queue.close()


def text_of(num_words, seed=0):
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(num_words))


def submit(queue, encoder, texts):
    return queue.submit(encoder, texts, encoder.token_ids(texts))


def test_vectors_of_mixed_requests_are_those_of_the_encoder(encoder):
    queue = EncodingQueue(Metrics(), num_threads=3)
    asked = []
    for number in range(24):
        chosen = encoder.at(exit=encoder.exits[1:][number % 4], width=(None, 64)[number % 2])
        asked.append(
            (chosen, [text_of(random.Random(number).randrange(1, 300), seed) for seed in range(number % 3 + 1)])
        )
    results = [submit(queue, chosen, texts) for chosen, texts in asked]
    for (chosen, texts), result in zip(asked, results, strict=True):
        assert np.abs(result.result(120) - chosen.encode(texts)).max() < 1e-5
    queue.close()


def test_equal_texts_leave_in_the_order_in_which_they_came(queue, encoder):
    done = []
    results = [submit(queue, encoder, [text_of(30)]) for _ in range(12)]
    for number, result in enumerate(results):
        result.add_done_callback(lambda _, number=number: done.append(number))
    for result in results:
        result.result(60)
    assert done == sorted(done)


def test_short_text_passes_a_large_request_that_came_before(queue, encoder):
    large = submit(queue, encoder, [text_of(200, seed) for seed in range(60)])
    assert submit(queue, encoder.at(exit=2), ["a date"]).result(60).shape == (1, encoder.at(exit=2).width)
    assert not large.done()
    assert np.isfinite(large.result(120)).all()


def test_long_text_does_not_wait_for_ever_beside_short_ones(queue, encoder):
    long = submit(queue, encoder, [text_of(200)])
    is_over = threading.Event()

    def ask_on():
        while not is_over.is_set():
            for result in [submit(queue, encoder.at(exit=2), [text_of(8)]) for _ in range(8)]:
                result.result(60)

    clients = [threading.Thread(target=ask_on) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        long.result(60)
    finally:
        is_over.set()
        for client in clients:
            client.join()


def test_too_much_work_is_refused_until_it_is_done_or_cancelled(queue, encoder):
    texts, ids = [text_of(300)] * 512, encoder.token_ids([text_of(300)]) * 512
    results = []
    with pytest.raises(OverloadError) as refused:
        while len(results) < 100:
            results.append(queue.submit(encoder, texts, ids))
    assert 1 <= refused.value.retry_after_s < 600 and results
    for result in results:
        assert result.cancel()
    assert submit(queue, encoder, ["a date"]).result(60).shape == (1, encoder.width)
    assert queue.num_waiting == 0


def test_too_many_requests_are_refused(queue, encoder):
    results = []
    with pytest.raises(OverloadError):
        while len(results) < 1_000:
            results.append(submit(queue, encoder, ["a"]))
    for result in results:
        result.result(60)


def test_text_that_fails_is_an_error_of_its_request_alone(queue, encoder):
    broken = queue.submit(encoder, ["a", "b"], [[10**9], [10**9]])
    assert broken.exception(60) is not None
    assert np.abs(submit(queue, encoder, ["a date"]).result(60) - encoder.encode(["a date"])).max() < 1e-5
    assert queue.num_waiting == 0


def test_overloaded_server_says_when_to_ask_again_answers_exit_0_and_drops_what_nobody_waits_for(sample_tree):
    large = json.dumps({"input": [text_of(300)] * 512, "model": "small"}).encode()
    request = (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(large)}\r\n\r\n"
    ).encode() + large
    with serving(sample_tree) as server:
        clients = []
        try:
            refused = None
            while refused is None and len(clients) < 20:
                client = socket.create_connection(("127.0.0.1", server.port))
                client.sendall(request)
                clients.append(client)
                for answered in select.select(clients, [], [], 2)[0]:
                    refused = answered.recv(10_000).decode()
            assert refused is not None and refused.startswith("HTTP/1.1 429"), refused
            assert 1 <= int(re.search(r"retry-after: (\d+)", refused, re.IGNORECASE)[1]) < 600
            assert server.post("/v1/embeddings", input="a date", model="small@0")[0] == 200
            assert server.post("/search", query="date", exit=0)[0] == 200
            assert waiting(server) > 0
        finally:
            for client in clients:
                client.close()
        deadline = time.monotonic() + 60
        while waiting(server):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert server.post("/v1/embeddings", input="a date", model="small")[0] == 200


def waiting(server):
    return int(re.search(r"^mose_texts_waiting (\d+)", server.ask("GET", "/metrics")[1].decode(), re.MULTILINE)[1])
