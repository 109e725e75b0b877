"""What a query asks for."""

import pytest

from mose.search.intent import last_name, read_query


@pytest.mark.parametrize(
    ("text", "is_symbol", "is_name"),
    [
        ("HTTPAdapter", True, True),
        ("parse_date", True, True),
        ("Session.get", True, True),
        ("Sinatra::Base", True, True),
        ("connect()", True, True),
        ("_private", True, True),
        ("Group", True, True),
        ("session", False, True),
        ("g", False, True),
        ("open a proxy", False, False),
        ("how HTTPAdapter works", False, False),
        ("what is C++", False, False),
    ],
)
def test_names_are_told_from_sentences(text, is_symbol, is_name):
    query = read_query(text)
    assert (query.is_symbol, query.is_name) == (is_symbol, is_name)


def test_words_of_plain_english_are_left_out():
    assert read_query("how is the URL parsed from a request").words == ("url", "parsed", "request")


def test_a_query_of_plain_english_alone_keeps_its_words():
    assert read_query("how to do it").words == ("how", "to", "do", "it")


def test_identifiers_are_searched_whole_and_in_parts():
    query = read_query("where does parse_isoDate run")
    assert query.words == ("parse", "iso", "date", "run")
    assert query.terms == ("parse", "iso", "date", "run", "parse_isodate")
    assert query.names == ("parse_isoDate",)


def test_acronyms_and_plain_words_in_a_sentence_are_no_names():
    assert read_query("parse the JSON of a Session").names == ()


def test_last_name():
    assert [last_name(name) for name in ("a", "a.b", "a::b", "a->b", "A#b", "A\\b")] == ["a", *"bbbbb"]
