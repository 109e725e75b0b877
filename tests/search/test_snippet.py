"""The lines of a hit that are shown."""

from mose.search.hits import Hit, Parts
from mose.search.snippet import MAX_COLUMNS, snippet

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


def test_words_of_the_query_are_marked_in_all_their_forms():
    lines = snippet(hit("open_connections(url)  # reopen"), "open a connection", mark=lambda word: f"<{word}>")
    assert lines == [(1, "<open>_<connections>(url)  # reopen")]


def test_long_lines_are_clipped():
    assert len(snippet(hit("x" * 5000), "y")[0][1]) == MAX_COLUMNS


def test_an_empty_query_shows_the_first_lines():
    assert snippet(hit("\n\na\nb\n"), "") == [(3, "a"), (4, "b")]
