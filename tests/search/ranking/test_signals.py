"""What a reader of code would look at: names of files and folders, definitions, files asked for by name."""

import numpy as np
import pytest
from test_rank import order, table_of

from mose.search.chunking.names import MEMBER, TOP, DefinedName
from mose.search.query import read_query
from mose.search.ranking.signals import asked_rows, best_definition, read_signals


def signals(query, table):
    return read_signals(read_query(query), table, np.arange(len(table)))


def test_the_file_called_what_is_asked_comes_before_one_whose_long_name_holds_it():
    table = table_of(("web/HeadersAndResponseCompression.swift", "a", ""), ("web/Response.swift", "b", ""))
    assert order("how a response is sent", table, lexical=[5.0, 5.0])[0] == "web/Response.swift"


def test_a_file_that_speaks_for_its_folder_has_the_name_of_the_folder():
    table = table_of(("src/handler/mod.rs", "a", ""), ("src/handler/extra.rs", "b", ""))
    assert order("handler of a call", table, lexical=[5.0, 5.0])[0] == "src/handler/mod.rs"
    table = table_of(("src/workers/init.ts", "a", ""), ("src/workers.ts", "b", ""))
    assert order("workers at start", table, lexical=[5.0, 5.0])[0] == "src/workers.ts"


def test_all_of_a_dotted_name_counts():
    table = table_of(("forms/fields.py", "TextField", "TextField"), ("models/__init__.py", "TextField", "TextField"))
    assert order("models.TextField", table, lexical=[6.0, 5.0])[0] == "models/__init__.py"
    assert order("forms.TextField", table, lexical=[5.0, 6.0])[0] == "forms/fields.py"


def test_a_member_spelled_out_comes_before_a_file_and_a_type_of_that_name_in_another_case():
    table = table_of(("options.py", "Options.PROXY", "PROXY"), ("proxy.py", "Proxy", "Proxy"))
    assert order("PROXY", table, lexical=[5.0, 5.0])[0] == "options.py"
    assert order("Proxy", table, lexical=[5.0, 5.0])[0] == "proxy.py"
    assert order("proxy", table, lexical=[5.0, 5.0])[0] == "proxy.py"  # says nothing of its case
    assert signals("PROXY", table).definition.tolist() == [1.0, 0.25]


def test_a_name_that_only_a_member_has_counts_in_full_when_it_is_all_that_is_asked():
    table = table_of(("options.py", "Options.maxAge", "maxAge"), ("max/age/max_age.py", "x", "x"))
    assert signals("maxAge", table).definition[0] == 1.0
    assert signals("what is maxAge good for", table).definition[0] == 0.5


@pytest.mark.parametrize("keyword", ["def", "fn", "func", "fun"])
def test_a_member_behind_a_keyword_comes_before_a_file_and_a_type_of_that_name_in_another_case(keyword):
    table = table_of(("tank.py", "Tank.level", "level"), ("level.py", "Level", "Level"), ("level/deep.py", "x", "x"))
    assert order("level", table, lexical=[5.0, 5.0, 5.0])[0] == "level.py"
    assert order(f"{keyword} level", table, lexical=[5.0, 5.0, 5.0])[0] == "tank.py"
    assert signals(f"{keyword} level", table).definition.tolist() == [1.0, 0.25, 0.0]


def test_a_plain_word_that_only_a_member_is_called_comes_before_files_whose_names_are_akin_to_it():
    table = table_of(("shape.py", "Shape.relate", "relate"), ("fields/related.py", "resolve_relation", "relation"))
    assert order("relate", table, lexical=[5.0, 6.0])[0] == "shape.py"
    table = table_of(("errors.kt", "Fault.source", "source"), ("ErrorSource.kt", "ErrorSource", "ErrorSource"))
    assert order("source", table, lexical=[5.0, 6.0])[0] == "errors.kt"


@pytest.mark.parametrize("path", ["relate.py", "relate/__init__.py", "relate/rules.py", "src/Relate.kt"])
def test_a_plain_word_that_a_file_or_folder_is_called_may_mean_that(path):
    table = table_of(("shape.py", "Shape.relate", "relate"), (path, "x", "x"))
    assert signals("relate", table).definition.tolist() == [0.5, 0.0]
    assert signals("relate()", table).definition.tolist() == [1.0, 0.0]


def test_a_plain_word_that_no_file_is_called_means_what_is_spelled_so():
    table = table_of(("path.rs", "Reader.advance", "advance"), ("from.rs", "Advance", "Advance"))
    assert signals("advance", table).definition.tolist() == [1.0, 0.25]
    assert order("advance", table, lexical=[5.0, 6.0])[0] == "path.rs"
    assert signals("how to advance", table).definition.tolist() == [0.0, 0.0]
    table = table_of(("path.rs", "Reader.advance", "advance"), ("advance.rs", "Advance", "Advance"))
    assert order("advance", table, lexical=[5.0, 5.0])[0] == "advance.rs"


@pytest.mark.parametrize(
    "path", ["vendor/query.js", "tests/test_query.js", "docs/query.js", "v1/query.js", "legacy/query.js"]
)
def test_a_name_that_only_a_file_has_that_is_seldom_meant_is_meant_there(path):
    table = table_of((path, "visible", "visible"), ("core.js", "visibleParts", "visibleParts"), ("v2/x.js", "x", "x"))
    assert order("visible", table, lexical=[5.0, 6.0, 0.0])[0] == path
    assert order("function visible", table, lexical=[5.0, 6.0, 0.0])[0] == path
    assert order("Visible", table, lexical=[5.0, 6.0, 0.0])[0] == path


def test_a_file_that_is_seldom_meant_stays_below_another_that_defines_the_name():
    table = table_of(("vendor/query.js", "show", "show"), ("core.js", "show", "show"), ("a.js", "Show", "Show"))
    assert order("show", table, lexical=[9.0, 5.0, 5.0])[0] == "core.js"
    assert signals("show", table).factor.tolist() == [0.5, 1.0, 1.0]
    assert signals("what does show do", table).factor.tolist() == [0.5, 1.0, 1.0]


def test_of_two_names_in_another_case_the_one_shown_is_as_it_was_typed():
    both = DefinedName("DIRTY", "", TOP, 0), DefinedName("dirty", "Status", MEMBER, 4)
    for names in (both, both[::-1]):
        assert best_definition(read_query("dirty"), names, "a.py").name == "dirty"


def test_a_facade_that_defines_the_name_is_no_facade():
    table = table_of(("shop/__init__.py", "Cart", "Cart"), ("shop/other.py", "use", "use"))
    assert signals("Cart", table).factor.tolist() == [1.0, 1.0]


def test_types_of_the_tree_are_names_in_a_sentence_and_other_capitalised_words_are_not():
    table = table_of(("a.py", "x", "storage"), ("b.py", "Storage", "Storage"), ("c.py", "y", "y"))
    found = signals("where is the Storage of an Application", table).definition
    assert found.argmax() == 1
    assert found[2] == 0
    assert not signals("Where is it stored", table).definition.any()


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("http.py", ["http.py", "net/http.py"]),
        ("net/http.py", ["net/http.py"]),
        ("./net/http.py", ["net/http.py"]),
        ("net\\http.py", ["net/http.py"]),
        ("/home/me/project/net/http.py", ["net/http.py"]),
        ("HTTP.py", ["http.py", "net/http.py"]),
        ("Makefile", ["Makefile"]),
        ("where.py", ["where.py"]),
        ("tests/test_http.py", ["tests/test_http.py"]),
        ("ttp.py", []),
        ("http", []),
    ],
)
def test_the_name_or_path_of_a_file_asks_for_that_file(query, paths):
    all_paths = ("Makefile", "http.py", "net/http.py", "tests/test_http.py", "where.py")
    table = table_of(*((path, "x", "") for path in all_paths))
    found = asked_rows(read_query(query), table)
    best_first = sorted(found, key=lambda row: -found[row])
    assert [table.paths[table.file_row[row]] for row in best_first] == paths
    if paths:
        assert order(query, table, lexical=[5.0] * 5)[0] == paths[0]


def test_a_line_behind_the_path_asks_for_the_chunk_that_holds_it():
    table = table_of(("a.py", "f", "f"), ("a.py", "g", "g"), ("a.py", "h", "h"))  # ten lines each
    for query in ("a.py:15", "a.py:15:3", "a.py#L15", "a.py(15)"):
        assert list(asked_rows(read_query(query), table)) == [1], query
    assert list(asked_rows(read_query("a.py:999"), table)) == [0, 1, 2]


def test_a_line_that_only_one_of_the_namesakes_has_says_which_is_meant():
    table = table_of(("io/a.py", "x", "x"), ("net/a.py", "f", "f"), ("net/a.py", "g", "g"))  # 1-10, 11-20, 21-30
    found = asked_rows(read_query("a.py:25"), table)
    assert max(found, key=found.__getitem__) == 2
    assert order("a.py:25", table, lexical=[9.0, 1.0, 1.0])[0] == "net/a.py"


def test_a_line_between_two_chunks_asks_for_the_next_one():
    table = table_of(("a.py", "f", "f"), ("b.py", "between", ""), ("a.py", "g", "g"))  # a.py: 1-10, 21-30
    assert list(asked_rows(read_query("a.py:15"), table)) == [2]


def test_the_definition_shown_is_the_one_asked_for():
    table = table_of(("a.py", "Cart.add", "Cart\nadd\nother"))
    names = table.names_of(0)
    assert best_definition(read_query("other"), names, "a.py").name == "other"
    assert best_definition(read_query("missing"), names, "a.py") is None


def test_files_that_a_tool_wrote_rank_below():
    table = table_of(("made.py", "run", "run"), ("written.py", "run", "run"), generated=("made.py",))
    assert order("run it", table, lexical=[6.0, 5.0]) == ["written.py", "made.py"]
