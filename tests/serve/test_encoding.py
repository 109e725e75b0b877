"""The queue that encodes texts of many requests."""

import random
import threading

import numpy as np
import pytest

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
            submit(queue, encoder.at(exit=2), [text_of(8)]).result(60)

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
    texts = [text_of(300)] * 512
    results = []
    with pytest.raises(OverloadError) as refused:
        while len(results) < 100:
            results.append(submit(queue, encoder, texts))
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
