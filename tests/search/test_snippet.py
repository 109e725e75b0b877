"""The lines of a hit that are shown."""

import pytest

from mose.search.hits import Hit, Parts
from mose.search.snippet import snippet, split_at_matches

TEXT = """
    def proxy_manager_for(self, proxy):
        # 1
        # 2
        # 3
        # 4
        # 5
        # 6
        # 7
        manager = open_connection(proxy)
        connection = manager.connect()
        return connection
"""


def hit(text):
    return Hit(
        path="a.py",
        start_line=1,
        end_line=9,
        symbol="f",
        language="python",
        score=1.0,
        text=text,
        parts=Parts(),
    )


def test_the_beginning_is_shown_unless_another_place_says_clearly_more():
    assert snippet(hit(TEXT), "proxy manager", num_lines=2)[0] == (2, "def proxy_manager_for(self, proxy):")
    assert snippet(hit(TEXT), "open the connection, connect and return", num_lines=3) == [
        (10, "manager = open_connection(proxy)"),
        (11, "connection = manager.connect()"),
        (12, "return connection"),
    ]


def test_words_of_the_query_are_found_in_all_their_forms():
    pieces = split_at_matches("open_connections(url)  # reopen", "open a connection")
    assert pieces == [("open", True), ("_", False), ("connections", True), ("(url)  # reopen", False)]
    assert split_at_matches("", "x") == []
    assert split_at_matches("as it is", "") == [("as it is", False)]


@pytest.mark.parametrize("odd", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\r"])
def test_lines_end_where_editors_end_them(odd):
    text = f"# a{odd}b\n{odd}\ndef compute(total):\r\n    return total\n"
    assert [number for number, line in snippet(hit(text), "compute") if "def compute" in line] == [3]
    assert snippet(hit(text), "compute")[2:] == [(3, "def compute(total):"), (4, "    return total")]


def test_an_empty_query_shows_the_first_lines():
    assert snippet(hit("\n\na\nb\n"), "") == [(3, "a"), (4, "b")]


def test_lines_that_only_divide_are_not_shown_first():
    divider = "//////////      //////////"
    assert snippet(hit(f"{divider}\n{divider}\n////  Dates  ////\nclass A {{\n"), "") == [
        (3, "////  Dates  ////"),
        (4, "class A {"),
    ]
    assert snippet(hit("/**\n * Dates.\n */\n"), "")[0] == (1, "/**"), "an opened comment stays whole"
    assert snippet(hit(f"{divider}\n"), "") == [(1, divider)], "nothing else to show"
