"""Copies of what is in the tree already: former versions, and what a build leaves behind."""

from test_rank import order, table_of

from mose.search.ranking.copies import older_version, original_of


def original(table, path):
    return original_of(table, table.paths.index(path))


def test_what_a_build_wrote_ranks_below_its_source():
    names = "Stream\nopen_stream"
    table = table_of(
        ("dist/cjs/Stream.js", "Stream", f"{names}\nhelper_1\nhelper_2\nhelper_3"),
        ("dist/types/Stream.d.ts", "Stream", names),
        ("src/Stream.ts", "Stream", names),
    )
    assert original(table, "dist/cjs/Stream.js") == original(table, "dist/types/Stream.d.ts") == "src/Stream.ts"
    assert original(table, "src/Stream.ts") == ""
    assert order("Stream", table, lexical=[6.0, 6.0, 4.0])[0] == "src/Stream.ts"


def test_a_folder_of_such_a_name_that_holds_sources_is_no_copy():
    table = table_of(("lib/stream.js", "Stream", "Stream"), ("src/other.js", "Other", "Other"))
    assert original(table, "lib/stream.js") == ""
    table = table_of(("build/stream.js", "make", "make"), ("src/stream.js", "Stream", "Stream"))
    assert original(table, "build/stream.js") == ""


def test_a_bundle_among_copies_is_one_of_them():
    sources = [(f"src/{name}.ts", name, name) for name in ("one", "two", "three")]
    built = [(f"dist/{name}.js", name, name) for name in ("one", "two", "three")]
    table = table_of(*sources, *built, ("dist/all.umd.js", "one", "one\ntwo\nthree"))
    assert original(table, "dist/all.umd.js") == "dist"


def test_an_older_version_ranks_below_the_newer_one_beside_it_unless_it_is_asked_for():
    table = table_of(("api/v1/client.py", "a", ""), ("api/v2/client.py", "b", ""))
    assert order("open a client", table, lexical=[5.5, 5.0])[0] == "api/v2/client.py"
    assert order("open a v1 client", table, lexical=[5.5, 5.0])[0] == "api/v1/client.py"
    alone = table_of(("api/v1/client.py", "a", ""), ("other.py", "b", ""))
    assert older_version(alone, 0) == ""
