"""What Python callers may pass: an answer, or a `ConfigError` that names the argument."""

import math

import numpy as np
import pytest

import mose
from mose.errors import ConfigError, SourceError
from mose.search.query import MAX_QUERY_CHARS


@pytest.fixture
def index(sample_tree):
    with mose.CodeIndex.open(sample_tree) as opened:
        yield opened


@pytest.mark.parametrize(
    ("query", "options"),
    [
        (None, {}),
        (b"proxy", {}),
        ("", {}),
        ("???", {}),
        ("\0", {}),
        ("\U0001f600", {}),
        ("proxy", {"mode": "x"}),
        ("proxy", {"mode": None}),
        ("proxy", {"budget_s": -1}),
        ("proxy", {"budget_s": math.nan}),
        ("proxy", {"budget_s": "3s"}),
        ("proxy", {"limit": "3"}),
        ("proxy", {"limit": 0}),
        ("proxy", {"limit": 2.5}),
    ],
)
def test_a_wrong_argument_is_named(index, query, options):
    with pytest.raises(ConfigError):
        index.search(query, mose.SearchOptions(**options))


def test_odd_queries_are_answered(index):
    wanted = index.search("proxy pool")[0].path
    for query in ("proxy\0pool", "\ud800proxy pool\udcff", "proxy pool " * 100_000, "proxy pool " + "x" * 10_000_000):
        assert index.search(query)[0].path == wanted
    assert index.search("proxy", mose.SearchOptions(budget_s=math.inf, limit=10**12))
    assert index.deepen(budget_s=math.inf).num_left == 0


def test_of_a_long_query_the_beginning_is_read(index):
    beginning = "proxy pool ".ljust(MAX_QUERY_CHARS, "x")
    assert index.search(beginning + " parse a date", mose.SearchOptions(budget_s=0)) == index.search(
        beginning, mose.SearchOptions(budget_s=0)
    )


@pytest.mark.parametrize(
    ("path", "line"), [("src/dates.py", 0), ("src/dates.py", -1), ("src/dates.py", 2**70), ("\ud800", 1), ("a\0b", 1)]
)
def test_a_place_that_cannot_be_is_not_in_the_index(index, path, line):
    with pytest.raises(SourceError):
        index.like(path, line)


@pytest.mark.parametrize("exit", [0, 2])
def test_one_text_is_one_vector(exit):
    encoder = mose.Encoder.load(exit=exit)
    one = encoder.encode("def f(): pass")
    assert one.shape == (1, encoder.width)
    assert np.array_equal(one, encoder.encode(["def f(): pass"]))
    assert encoder.encode_exits("def f(): pass")[exit].shape[0] == 1
    with pytest.raises(ConfigError, match="text 1 to encode: got 'NoneType'"):
        encoder.encode(["a", None])


def test_public_names_are_listed():
    assert {"CodeIndex", "Encoder", "Hit", "MoseError", "SearchOptions"} <= set(dir(mose))
