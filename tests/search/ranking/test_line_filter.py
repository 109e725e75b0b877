"""Only what has a line that matches: as grep says, whatever the expression, for every door to the index."""

import random
import re
import time

import pytest

from mose.errors import ConfigError
from mose.search.index import CodeIndex
from mose.search.options import SearchOptions
from mose.search.ranking import line_filter

PATTERNS = [r"self\.\w+", r"^def ", r"\)$", r"(?i)TOKEN|date", r"\bidle\b(?!\.)", r"^\s*$", "é", r"\d{4}-\d\d"]
TEXTS = ["self.idle", "return", "é", '")', "        self.", "def "]


@pytest.fixture
def index(sample_tree):
    (sample_tree / "windows.py").write_bytes('def élan():\r\n    return "é"\r\n\r\nvalue = 1  # token\r\n'.encode())
    with CodeIndex.open(sample_tree) as index:
        yield index


def every_place(index, **options):
    """Path, line and column of every hit."""
    hits = index.search("date connection user cache élan", SearchOptions(limit=1000, per_file=False, **options))
    return {(hit.path, hit.start_line, hit.line, hit.column) for hit in hits}


def by_hand(index, matches):
    """The same, by reading every hit of the search without a filter."""
    found = set()
    for hit in index.search("date connection user cache élan", SearchOptions(limit=1000, per_file=False)):
        for number, line in enumerate(hit.text.split("\n"), hit.start_line):
            at = matches(line.removesuffix("\r"))
            if at is not None:
                found.add((hit.path, hit.start_line, number, at + 1))
                break
    return found


@pytest.mark.parametrize("pattern", PATTERNS)
def test_an_expression_leaves_what_matches_line_by_line(index, pattern, monkeypatch):
    wanted = by_hand(index, lambda line: match.start() if (match := re.search(pattern, line)) else None)
    assert wanted
    assert every_place(index, line_regex=pattern) == wanted
    monkeypatch.setattr(line_filter, "NUM_TOGETHER", 3)
    assert every_place(index, line_regex=pattern) == wanted


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_leaves_what_holds_it_as_it_is(index, text):
    wanted = by_hand(index, lambda line: line.index(text) if text in line else None)
    assert wanted
    assert every_place(index, line_text=text) == wanted == every_place(index, line_regex=re.escape(text))


def test_the_other_filters_still_count(index):
    both = every_place(index, line_regex="def ", path="src/", language="python")
    assert {path for path, *_ in both} == {"src/dates.py", "src/network.py"}
    assert every_place(index, line_text="def ", path="!*.py") == set()


def test_the_order_among_what_matches_is_that_of_meaning(index):
    options = SearchOptions(line_text="return", limit=1000, per_file=False)
    hits = index.search("take an idle connection", options)
    assert hits[0].path == "src/network.py"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_code_like_a_line_is_filtered_too(index):
    hits = index.like("tests/test_dates.py", 5, SearchOptions(line_regex=r"^def parse"))
    assert [(hit.path, hit.line, hit.column) for hit in hits] == [("src/dates.py", 4, 1)]


def test_a_hit_shows_a_line_that_matches_even_if_it_says_nothing(tmp_path):
    (tmp_path / "list.py").write_text("# ----------------\n# ==========\ndef list_users():\n    return []\n")
    from mose.search.snippet import location

    with CodeIndex.open(tmp_path) as index:
        (hit,) = index.search("list users", SearchOptions(line_regex="^# =+$"))
        assert location(hit, "list users") == (2, 1, "# ==========")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*)*x", r"(?:\w+\W?)+;$"])
def test_a_slow_expression_ends_and_the_index_still_answers(tmp_path, pattern):
    random.seed(0)
    words = " ".join("".join(random.choices("abc", k=9)) for _ in range(40))
    (tmp_path / "slow.py").write_text(f"value = '{'a' * 60}!'\nwords = '{words} !'\n")
    with CodeIndex.open(tmp_path) as index:
        started = time.monotonic()
        with pytest.raises(ConfigError, match="takes too long"):
            index.search("value", SearchOptions(line_regex=pattern))
        assert time.monotonic() - started < 100, "two seconds of processor time, on however busy a machine"
        assert index.search("value", SearchOptions(line_regex="value"))
