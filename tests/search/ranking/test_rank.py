"""Ranking: each signal on its own, and how they come together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mose.search.chunking.names import MEMBER, TOP, DefinedName, format_names
from mose.search.query import read_query
from mose.search.ranking.matching import related
from mose.search.ranking.path_factors import path_factor
from mose.search.ranking.rank import Candidates, RankWeights, file_coherence, rank, stretched
from mose.search.store.records import ChunkTable


def names_of(symbol, defines):
    """Names, one a line, as an index keeps them; a member where the symbol says what it is a member of."""
    names = []
    for name in filter(None, defines.split("\n")):
        owner = symbol.removesuffix(f".{name}") if symbol.endswith(f".{name}") else ""
        names.append(DefinedName(name, owner, MEMBER if owner else TOP, 0))
    return format_names(names)


def table_of(*chunks, generated=()):
    """A chunk table of (path, symbol, defines) tuples, ten lines each."""
    paths = sorted({path for path, _, _ in chunks})
    return ChunkTable(
        generation=1,
        ids=np.arange(1, len(chunks) + 1, dtype=np.int64),
        file_row=np.array([paths.index(path) for path, _, _ in chunks], dtype=np.int32),
        first_line=np.arange(len(chunks), dtype=np.int32) * 10 + 1,
        last_line=np.arange(len(chunks), dtype=np.int32) * 10 + 10,
        symbol=[symbol for _, symbol, _ in chunks],
        kind=["function"] * len(chunks),
        defined=[names_of(symbol, defines) for _, symbol, defines in chunks],
        paths=paths,
        languages=["python"] * len(paths),
        generated=[path in generated for path in paths],
    )


def candidates_of(table, lexical=None, shallow=None, deep=None):
    size = len(table)

    def column(values, default):
        return np.array([default] * size if values is None else values, dtype=np.float32)

    return Candidates(
        rows=np.arange(size),
        lexical=column(lexical, 0),
        shallow=column(shallow, np.nan),
        deep=column(deep, np.nan),
    )


def order(query, table, weights=None, **columns):
    ranking = rank(read_query(query), table, candidates_of(table, **columns), weights)
    return [table.paths[table.file_row[row]] for row in np.argsort(-ranking.score, kind="stable")]


def test_the_definition_of_a_name_comes_before_its_uses():
    table = table_of(("use.py", "run", "run"), ("define.py", "Proxy", "Proxy"))
    assert order("Proxy", table, lexical=[9.0, 3.0]) == ["define.py", "use.py"]


def test_a_top_level_definition_comes_before_a_member_of_that_name():
    table = table_of(("member.py", "Client.get", "get"), ("top.py", "get", "get"))
    assert order("get", table, lexical=[5.0, 5.0]) == ["top.py", "member.py"]


def test_a_qualified_name_finds_the_member():
    table = table_of(("other.py", "Server.get", "get"), ("wanted.py", "Client.get", "get"))
    assert order("Client.get", table, lexical=[5.0, 5.0]) == ["wanted.py", "other.py"]


def test_the_spelling_of_a_name_counts():
    table = table_of(("lower.py", "request", "request"), ("upper.py", "Request", "Request"))
    assert order("Request", table, lexical=[5.0, 5.0]) == ["upper.py", "lower.py"]


def test_a_file_named_after_the_subject_comes_first():
    table = table_of(("misc.py", "a", ""), ("cookies.py", "b", ""))
    assert order("cookie handling", table, lexical=[5.0, 5.0]) == ["cookies.py", "misc.py"]


def test_tests_come_after_what_they_test():
    table = table_of(("tests/test_url.py", "parse", ""), ("url.py", "parse", ""))
    assert order("join two parts", table, lexical=[5.0, 4.0]) == ["url.py", "tests/test_url.py"]


def test_an_old_copy_comes_after_its_original():
    names = "Field\nModel"
    table = table_of(("pkg/v1/fields.py", "Field", names), ("pkg/fields.py", "Field", names))
    assert order("Field", table, lexical=[6.0, 5.0]) == ["pkg/fields.py", "pkg/v1/fields.py"]


def test_a_folder_of_namesakes_is_a_copy_whatever_it_defines():
    names = ["fields.py", "main.py", "types.py", "tools.py"]
    above = [(f"pkg/{name}", "a", "a") for name in names]
    old = [(f"pkg/v1/{name}", "b", "b") for name in [*names, "only_there.py"]]
    table = table_of(*above, *old)
    best = order("read something", table, lexical=[5.0] * 4 + [6.0] * 5)[:4]
    assert set(best) == {path for path, _, _ in above}


def test_a_file_of_the_same_name_with_other_content_is_no_copy():
    table = table_of(("pkg/v1/fields.py", "Rope", "Rope\nKnot"), ("pkg/fields.py", "Field", "Field\nModel"))
    assert order("something else", table, lexical=[6.0, 5.0])[0] == "pkg/v1/fields.py"


def test_several_good_places_beat_a_single_one():
    table = table_of(("one.py", "a", ""), ("many.py", "b", ""), ("many.py", "c", ""), ("none.py", "d", ""))
    assert order("x y", table, deep=[0.5, 0.49, 0.48, 0.0])[0] == "many.py"


def test_chunks_not_read_deeply_come_below_those_that_were():
    table = table_of(("deep.py", "a", ""), ("shallow.py", "b", ""))
    ranking = rank(
        read_query("x y"), table, candidates_of(table, shallow=[0.1, 0.9], lexical=[0, 9], deep=[0.2, np.nan])
    )
    assert ranking.is_deep.tolist() == [True, False]
    assert ranking.score[0] >= ranking.score[1]


def test_without_signals_only_the_text_counts():
    table = table_of(("misc.py", "a", ""), ("cookies.py", "cookie", "cookie"))
    assert order("cookie", table, RankWeights(signals=False), lexical=[5.0, 4.0]) == ["misc.py", "cookies.py"]


def test_parts_sum_to_the_score():
    table = table_of(("url.py", "parse", "parse"), ("tests/test_url.py", "test_parse", "test_parse"))
    ranking = rank(
        read_query("parse"), table, candidates_of(table, lexical=[3, 5], shallow=[0.2, 0.4], deep=[0.1, 0.7])
    )
    total = sum(ranking.parts.values())
    np.testing.assert_allclose(total * ranking.factor, ranking.score, rtol=1e-5)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("route", "routes", True),
        ("route", "routing", True),
        ("validate", "validation", True),
        ("auth", "authentication", True),
        ("config", "configuration", True),
        ("get", "gevent", False),
        ("io", "ions", False),
        ("request", "response", False),
        ("parse", "parallel", False),
    ],
)
def test_forms_of_a_word(one, other, same):
    assert related(one, other) is same
    assert related(other, one) is same


def test_places_that_are_seldom_meant():
    assert path_factor("src/app.py", "python") == 1.0
    for path in (
        "tests/test_app.py",
        "examples/app.py",
        "vendor/app.py",
        "app_pb2.py",
        "legacy/app.py",
        "pkg/__init__.py",
    ):
        assert path_factor(path, "python") < 1.0, path
    assert path_factor("README.md", "markdown") < 1.0


floats = st.floats(-1, 1, width=32)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(floats, floats, st.floats(0, 50, width=32), st.booleans()), min_size=1, max_size=12),
    st.randoms(),
)
def test_scores_lie_between_0_and_1_and_do_not_depend_on_the_order(rows, random):
    chunks = [(f"pkg/m{i % 3}.py", f"f{i}", f"f{i}") for i in range(len(rows))]
    table = table_of(*chunks)
    deep = [cosine if known else np.nan for _, cosine, _, known in rows]
    candidates = candidates_of(table, lexical=[r[2] for r in rows], shallow=[r[0] for r in rows], deep=deep)
    query = read_query("read the f1 module")
    score = rank(query, table, candidates).score
    assert ((score >= 0) & (score <= 1.0001)).all()
    places = list(range(len(rows)))
    random.shuffle(places)
    shuffled = Candidates(
        rows=candidates.rows[places],
        lexical=candidates.lexical[places],
        shallow=candidates.shallow[places],
        deep=candidates.deep[places],
    )
    np.testing.assert_allclose(rank(query, table, shuffled).score, score[places], atol=1e-5)


@given(st.lists(st.one_of(floats, st.just(float("nan"))), min_size=1, max_size=20))
def test_stretching_keeps_the_order_and_fills_the_range(values):
    array = np.array(values, dtype=np.float32)
    out = stretched(array)
    assert np.isfinite(out).all()
    known = np.isfinite(array)
    if known.sum() > 1 and np.ptp(array[known]) > 1e-6:
        assert out[known].min() == 0
        assert out[known].max() == 1
        assert (np.diff(out[known][np.argsort(array[known], kind="stable")]) >= 0).all()


def test_coherence_counts_only_what_stands_out():
    text = np.array([0.9, 0.1, 0.1, 0.1, 0.1], dtype=np.float32)
    files = np.array([0, 1, 1, 1, 1], dtype=np.int32)
    assert file_coherence(text, files).tolist() == [1, 0, 0, 0, 0]
