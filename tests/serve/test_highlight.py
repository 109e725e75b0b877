"""Code in pieces: the same text, whatever it is and whatever colours it has."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mose.escaping import escape
from mose.serve.page.highlight import highlight

SOURCES = sorted(path for path in Path(__file__).parents[2].rglob("*.py") if ".git" not in path.parts)[::40]


def joined(text, language, query=""):
    return ["".join(piece for piece, _ in line) for line in shown(text, language, query)]


def shown(text, language, query=""):
    (lines,) = highlight([(text, language)], query)
    return lines


@settings(deadline=None)
@given(
    text=st.text(st.sampled_from("a_b \t\n\r\f\v'\"#/*<>{}()=+0\\\x1b\u202e\u2028é日")),
    language=st.sampled_from(["python", "php", "javascript", "html", "no such", "text", "markdown", "rust", "bash"]),
    query=st.sampled_from(["", "a b", "b"]),
)
def test_pieces_joined_are_the_lines(text, language, query):
    assert joined(text, language, query) == [escape(line.removesuffix("\r")) for line in text.split("\n")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_real_files_keep_their_lines(path):
    text = path.read_text("utf8")
    assert joined(text, "python", "read a file") == [escape(line)[:1_000] for line in text.split("\n")]


def test_kinds_and_matches():
    (first, second) = shown("def open_url(x):\n    return 'a'  # opened", "python", "open")
    assert first[:4] == [("def", "keyword"), (" ", ""), ("open", "function match"), ("_url", "function")]
    assert ("'a'", "string") in second and ("opened", "comment match") in second


def test_a_line_that_is_too_long_is_cut_and_says_so():
    (line,) = shown("x" * 5_000, "python")
    assert line[0][0] == "x" * 1_000 and line[1] == (" … 4,000 more characters", "cut")


def test_a_text_that_takes_long_keeps_its_end_without_colour(monkeypatch):
    monkeypatch.setattr("mose.serve.page.highlight.MOST_SECONDS", -1.0)
    assert joined("def f():\n    return 1\n", "python") == ["def f():", "    return 1", ""]
    assert shown("def f():\n    return 1\n", "python")[1] == [("    return 1", "")]


def test_a_text_that_a_lexer_never_comes_back_from_has_no_colours():
    lines = ["x", *[" " * 900] * 500]
    started = time.monotonic()
    slow, quick = highlight([("\n".join(lines), "c"), ("def f(): pass", "python")])
    assert time.monotonic() - started < 60
    assert slow == [[(line, "")] for line in lines]
    assert quick == [[("def f(): pass", "")]]
    assert ("def", "keyword") in shown("def f(): pass", "python")[0]
