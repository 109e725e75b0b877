"""The model in the wheel."""

from __future__ import annotations

import numpy as np
import pytest

from mose.runtime.encoder import Encoder


@pytest.fixture(scope="module")
def small():
    return Encoder.load("small")


def test_every_file_matches_its_hash(small):
    small.verify()


def test_it_is_the_ladder_we_promise(small):
    assert small.exits == (0, 2, 3, 4, 6)
    assert small.manifest.dtype == "int8"
    assert small.manifest.licence


def test_it_is_small_enough_for_the_wheel(small):
    assert sum(entry.size for entry in small.manifest.files.values()) < 35_000_000


def test_licences_travel_along(small):
    assert any(name.startswith("LICENSE") for name in small.manifest.files)


@pytest.mark.parametrize("exit_layer", [0, 6])
def test_the_right_function_comes_first(exit_layer, small):
    code = [
        "def read_json(path):\n    with open(path) as file:\n        return json.load(file)",
        "def add(a, b):\n    return a + b",
        "def send_mail(address, subject, body):\n    smtp.sendmail(sender, address, message(subject, body))",
        "class Proxy:\n    def connect(self, host, port):\n        self.socket.connect((host, port))",
    ]
    queries = ["load a JSON file", "sum of two numbers", "email someone", "open a connection through a proxy"]
    encoder = small.at(exit=exit_layer)
    scores = encoder.encode(queries, kind="query") @ encoder.encode(code).T
    right = int((scores.argmax(1) == np.arange(4)).sum())
    assert right >= (4 if exit_layer == 6 else 2)
