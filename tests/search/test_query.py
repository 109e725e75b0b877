"""What a query asks for."""

import pytest

from mose.search.query import last_name, read_query


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
        ("def level", True, True),
        ("fn poll", True, True),
        ("func close", True, True),
        ("session", False, True),
        ("type checking", False, True),
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


def test_capitalised_words_in_a_sentence_may_be_names_and_acronyms_are_not():
    assert read_query("parse the JSON of a Session").names == ("Session",)
    assert read_query("How does the parser work").names == ()


def test_words_of_plain_english_count_inside_a_name():
    assert read_query("how FromRequest is used").words == ("from", "request")
    assert read_query("into_response").words == ("into", "response")


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("class Rule", "Rule", ("rule",)),
        ("def parse", "parse", ("parse",)),
        ("func Foo", "Foo", ("foo",)),
        ("struct point_t", "point_t", ("point",)),
        ("interface Shape {", "Shape", ("shape",)),
        ("pub fn run()", "run", ("run",)),
        ("export async function load()", "load", ("export", "async", "function", "load")),
        ("type checking", "checking", ("type", "checking")),
    ],
)
def test_a_keyword_and_a_name_ask_for_that_definition(text, name, words):
    query = read_query(text)
    assert (query.names, query.is_name, query.words) == ((name,), True, words)


def test_a_sentence_that_begins_with_a_keyword_is_a_sentence():
    query = read_query("class for reading dates")
    assert (query.is_name, query.words) == (False, ("class", "reading", "dates"))


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("src/app.py:120", "src/app.py", 120),
        ("./src/app.py", "src/app.py", None),
        ("`app.py`", "app.py", None),
        ("src\\app.py(7)", "src/app.py", 7),
        ("app.py#L3", "app.py", 3),
        ("src/", "", None),
    ],
)
def test_a_query_may_be_the_path_of_a_file(text, path, line):
    query = read_query(text)
    assert (query.path, query.line) == (path, line)


def test_a_run_of_letters_without_spaces_is_searched_by_its_pairs():
    assert read_query("查找用户").terms == ("查找用户", "查找", "找用", "用户")
    assert read_query("查找用户").readable == 0
    assert read_query("查找 user").readable == 0.5


def test_last_name():
    assert [last_name(name) for name in ("a", "a.b", "a::b", "a->b", "A#b", "A\\b")] == ["a", *"bbbbb"]
