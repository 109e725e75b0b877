"""``CodeIndex`` over a small tree with the model that ships: the facade, the cascade, every option."""

import dataclasses

import numpy as np
import pytest
from index_doubles import vector_matrix, write_tree

from mose import CodeIndex, Encoder, SearchOptions
from mose.errors import CodeIndexError, ConfigError, ModelError, SourceError
from mose.search.deepen import deepen
from mose.search.ranking.candidates import CascadeConfig
from mose.search.snippet import snippet
from mose.search.store.write import set_meta, transaction


@pytest.fixture
def index(sample_tree):
    with CodeIndex.open(sample_tree) as opened:
        yield opened


def paths(hits):
    return [hit.path for hit in hits]


@pytest.mark.parametrize(
    ("query", "path", "symbol"),
    [
        ("read a date from text", "src/dates.py", "parse_iso_date"),
        ("reuse an open connection", "src/network.py", "ProxyPool"),
        ("throw away the least recently used entry", "src/store.go", "Evict"),
        ("user authentication", "web/login.js", "signIn"),
        ("ProxyPool", "src/network.py", "ProxyPool"),
        ("Cache.Evict", "src/store.go", "Evict"),
        ("parse_iso_date", "src/dates.py", "parse_iso_date"),
    ],
)
def test_the_right_place_comes_first(index, query, path, symbol):
    best = index.search(query)[0]
    assert best.path == path
    assert symbol in best.text


def test_hits_are_frozen_values_with_places_and_parts(index):
    hit = index.search("parse_iso_date")[0]
    assert (hit.start_line >= 1, hit.end_line >= hit.start_line, hit.language) == (True, True, "python")
    parts = hit.parts
    total = parts.dense + parts.lexical + parts.definition + parts.path + parts.symbol + parts.file + parts.asked
    assert total * parts.factor == pytest.approx(hit.score, abs=1e-5)
    assert parts.exit == 6
    with pytest.raises(dataclasses.FrozenInstanceError):
        hit.score = 2.0


def test_hits_come_best_first_and_a_file_once(index):
    hits = index.search("connection")
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len(set(paths(hits))) == len(hits)
    assert len(index.search("connection", SearchOptions(per_file=False))) >= len(hits)
    assert len(index.search("connection", SearchOptions(limit=2))) == 2


def test_language_and_path_narrow_the_search(index):
    assert set(paths(index.search("connection", SearchOptions(language="go")))) == {"src/store.go"}
    assert set(paths(index.search("date", SearchOptions(path="tests/")))) == {"tests/test_dates.py"}
    assert set(paths(index.search("date", SearchOptions(path="*.py")))) <= {
        "src/dates.py",
        "src/network.py",
        "tests/test_dates.py",
    }
    with pytest.raises(ConfigError, match=r"cobol.*allowed: go, javascript, markdown, python"):
        index.search("date", SearchOptions(language="cobol"))
    with pytest.raises(ConfigError, match=r"\*\.rs"):
        index.search("date", SearchOptions(path="*.rs"))


def test_words_alone_and_vectors_alone(index):
    words = index.search("evict", SearchOptions(mode="lexical"))
    assert {hit.parts.cosine for hit in words} == {None}
    vectors = index.search("evict", SearchOptions(mode="dense"))
    assert {hit.parts.bm25 for hit in vectors} == {0.0}


@pytest.mark.parametrize("exit_layer", [0, 2, 3, 4, 6])
def test_every_exit_answers_be_it_chosen_for_the_index_or_for_one_search(sample_tree, exit_layer):
    with CodeIndex.open(sample_tree, exit=exit_layer) as shallow, CodeIndex.open(sample_tree) as index:
        hits = index.search("open a connection through the proxy", SearchOptions(exit=exit_layer))
        assert hits[0].path == "src/network.py"
        assert hits[0].parts.exit == exit_layer
        assert shallow.search("open a connection through the proxy") == hits
        like = index.like("src/network.py", 9, SearchOptions(exit=exit_layer))
        assert shallow.like("src/network.py", 9) == like


def test_widths_are_leading_dimensions(sample_tree):
    with CodeIndex.open(sample_tree, width=64) as narrow, CodeIndex.open(sample_tree) as full:
        narrow.deepen()
        assert full.search("open a proxy", SearchOptions(width=64)) == narrow.search("open a proxy")
        ids, rows, matrix = vector_matrix(narrow.store, 6)
        query = full.encoder.encode(["open a proxy"], kind="query")[0][:64]
        query /= np.linalg.norm(query)
        leading = matrix[rows][:, :64] / np.linalg.norm(matrix[rows][:, :64], axis=1, keepdims=True)
        expected = dict(zip(ids.tolist(), (leading @ query).tolist(), strict=True))
        hit = narrow.search("open a proxy")[0]
        table = narrow.store.chunk_table()
        chunk_id = int(table.ids[table.row_at(hit.path, hit.start_line)])
        assert hit.parts.cosine == pytest.approx(expected[chunk_id], abs=1e-4)


def test_without_a_budget_nothing_is_read_deeply(index):
    hits = index.search("open a connection", SearchOptions(budget_s=0))
    assert {hit.parts.exit for hit in hits} == {0}
    assert hits.stats.num_encoded == 0
    assert index.search("open a connection").stats.num_encoded > 0
    assert index.search("open a connection").stats.num_encoded == 0


def test_what_was_left_unread_is_counted_however_much_is_known_from_before(tmp_path):
    """Candidates by vectors have been read before, every one: they say nothing of the short list."""
    for number in range(40):
        (tmp_path / f"task{number}.py").write_text(f"def task_{number}():\n    return {number}\n")
    (tmp_path / "giraffe.md").write_text("the giraffe\n")
    cascade = CascadeConfig(num_deep=5)
    with CodeIndex.open(tmp_path) as index:
        index.cascade = cascade
        for number in range(0, 40, 4):
            index.search(f"task_{number}")
        stats = index.search("giraffe", SearchOptions(budget_s=0)).stats
    assert (stats.num_short, stats.num_encoded) == (5, 0)
    assert stats.num_deep < stats.num_short


def test_the_cascade_over_a_small_tree_equals_the_deep_index(sample_tree):
    queries = ["read a date", "reuse a connection", "drop the oldest entry", "check a password", "signIn"]
    with CodeIndex.open(sample_tree) as index:
        cold = [paths(index.search(query, SearchOptions(budget_s=60))) for query in queries]
        index.deepen()
        deep = [paths(index.search(query)) for query in queries]
    assert cold == deep


def test_dense_search_equals_brute_force(index):
    index.deepen()
    vector = index.encoder.encode(["give a connection back"], kind="query")[0]
    ids, rows, matrix = vector_matrix(index.store, 6)
    best = index.store.chunks([int(ids[np.argmax(matrix[rows] @ vector)])])[0]
    index.weights = dataclasses.replace(index.weights, signals=False)
    hit = index.search("give a connection back", SearchOptions(mode="dense"))[0]
    assert (hit.path, hit.start_line) == (best.path, best.first_line)


def test_like_finds_its_kind_and_leaves_out_the_place_itself(index):
    hits = index.like("tests/test_dates.py", 5, SearchOptions(per_file=False))
    assert hits[0].path == "src/dates.py"
    assert all(not (hit.path == "tests/test_dates.py" and hit.start_line <= 5 <= hit.end_line) for hit in hits)
    with pytest.raises(SourceError, match="no line 9999"):
        index.like("src/dates.py", 9999)


@pytest.mark.parametrize("exit_layer", [0, 2, 3, 4, 6])
def test_like_asks_with_the_vector_that_the_index_holds(index, exit_layer, monkeypatch):
    if exit_layer:
        index.deepen(exit=exit_layer)
    encode, asked_with = Encoder.encode, []

    def record(self, texts, **options):
        vectors = encode(self, texts, **options)
        asked_with.extend(vectors if self.exit == exit_layer else ())
        return vectors

    monkeypatch.setattr(Encoder, "encode", record)
    table = index.store.chunk_table()
    ids, rows, matrix = vector_matrix(index.store, exit_layer)
    stored = dict(zip(ids.tolist(), matrix[rows], strict=True))
    for row in range(len(table)):
        path, line = table.paths[table.file_row[row]], int(table.first_line[row])
        asked_with.clear()
        index.like(path, line, SearchOptions(exit=exit_layer))
        own = stored[int(table.ids[table.row_at(path, line)])]
        assert asked_with[0] @ own > 0.999, (path, line)


def test_an_edit_is_seen_by_the_next_search(sample_tree):
    with CodeIndex.open(sample_tree) as index:
        index.search("invert a matrix")
    (sample_tree / "src" / "algebra.py").write_text("def invert_matrix(rows):\n    '''Invert a square matrix.'''\n")
    (sample_tree / "README.md").unlink()
    with CodeIndex.open(sample_tree) as index:
        assert (index.last_refresh.num_added, index.last_refresh.num_removed) == (1, 1)
        assert index.search("invert a matrix")[0].path == "src/algebra.py"
        assert "README.md" not in paths(index.search("ISO date"))


def test_a_second_search_of_an_unchanged_tree_reads_nothing(sample_tree):
    with CodeIndex.open(sample_tree) as index:
        index.deepen()
    with CodeIndex.open(sample_tree) as index:
        report = index.last_refresh
        assert (report.num_added, report.num_changed, report.num_new_chunks) == (0, 0, 0)
        assert index.deepen().num_wanted == 0


@pytest.mark.parametrize("query", ["", "  \n"])
def test_an_empty_query_is_an_error(index, query):
    with pytest.raises(ConfigError, match="query is empty"):
        index.search(query)


@pytest.mark.parametrize("query", ["AND OR NOT", "a* NEAR(b)", "symbol:x", "ü ñ 漢字", "x" * 5000])
def test_odd_queries_are_only_words(index, query):
    index.search(query)


@pytest.mark.parametrize("query", ['"', "\x00", "()", "-", "???"])
def test_a_query_without_a_word_is_an_error(index, query):
    with pytest.raises(ConfigError, match="the query has no word"):
        index.search(query)


def test_a_query_that_nothing_answers_gives_no_error(index):
    assert isinstance(index.search("zxqv", SearchOptions(mode="lexical")), list)


def test_a_name_that_no_word_of_the_tree_resembles_is_not_found(index):
    assert index.search("zzzqqq") == index.search("Zzzqqq.xyzzy") == []
    assert not index.search("zzzqqq").stats.has_words
    assert index.search("zzzqqq", SearchOptions(mode="dense"))


def test_a_sentence_of_unknown_words_is_searched_by_meaning_and_says_that_no_word_was_found(index):
    unknown, partly_known = index.search("zzzqqq xyzzy plugh"), index.search("a connection to zzzqqq")
    assert unknown
    assert not unknown.stats.has_words
    assert partly_known
    assert partly_known.stats.has_words


def test_another_form_of_a_word_of_the_tree_is_no_unknown_name(tmp_path):
    write_tree(tmp_path, {"routing.py": "def routing():\n    ...\n", "authentication.py": "def check():\n    ...\n"})
    with CodeIndex.open(tmp_path) as index:
        assert paths(index.search("router"))[0] == "routing.py"
        assert paths(index.search("auth"))[0] == "authentication.py"
        assert index.search("zzzqqq") == []


def test_wrong_arguments_say_what_is_allowed(sample_tree, tmp_path):
    with pytest.raises(ModelError, match="0, 2, 3, 4, 6"):
        CodeIndex.open(sample_tree, exit=5)
    with pytest.raises(ModelError, match="1 to 512"):
        CodeIndex.open(sample_tree, width=1000)
    with pytest.raises(SourceError, match="no folder"):
        CodeIndex.open(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="not a folder"):
        CodeIndex.open(sample_tree / "README.md")
    with pytest.raises(CodeIndexError, match="mose index"):
        CodeIndex.open(sample_tree, update=False)
    with pytest.raises(ConfigError, match="limit"):
        SearchOptions(limit=0)
    with CodeIndex.open(sample_tree) as index:
        with pytest.raises(ModelError, match="0, 2, 3, 4, 6"):
            index.search("x", SearchOptions(exit=5))
        with pytest.raises(ModelError, match="1 to 512"):
            index.search("x", SearchOptions(width=1000))


@pytest.mark.parametrize("key", ["model", "chunker"])
def test_index_of_another_version_is_made_anew_unless_its_model_was_named(sample_tree, key):
    with CodeIndex.open(sample_tree) as index:
        expected = paths(index.search("connection"))
        with transaction(index.store):
            set_meta(index.store, **{key: "of another version"})
    with CodeIndex.open(sample_tree) as index:
        assert index.last_refresh.num_added > 0
        assert paths(index.search("connection")) == expected
        assert index.store.meta("model") == index.encoder.identity
        with transaction(index.store):
            set_meta(index.store, **{key: "another", "model_name": "path/to/model"})
    with pytest.raises(CodeIndexError, match="--rebuild"):
        CodeIndex.open(sample_tree)


@pytest.mark.parametrize(
    "ask",
    [
        lambda index: index.search("date"),
        lambda index: index.like("src/dates.py", 5),
        lambda index: index.status(),
        lambda index: index.refresh(),
        lambda index: index.deepen(),
    ],
)
def test_a_closed_index_says_so(sample_tree, ask):
    with CodeIndex.open(sample_tree) as index:
        pass
    with pytest.raises(CodeIndexError, match="closed here"):
        ask(index)


def test_an_empty_tree_has_no_answers(tmp_path):
    (tmp_path / "empty").mkdir()
    with CodeIndex.open(tmp_path / "empty") as index:
        assert index.search("anything") == []


def test_a_name_is_shown_with_the_line_that_defines_it(tmp_path):
    text = "package t\n\n// Start runs.\nfunc (s *Server) Start() error { return nil }\n\ntype Handler interface { Serve() }\n"
    write_tree(tmp_path, {"t.go": text, "shop.h": "namespace shop {\nclass Cart {\n};\nclass Box {\n};\n}\n"})
    with CodeIndex.open(tmp_path) as index:
        hits = {name: index.search(name, SearchOptions(limit=1))[0] for name in ("Handler", "Box", "interface Handler")}
        assert {name: (hit.symbol, hit.line) for name, hit in hits.items()} == {
            "Handler": ("Handler", 6),
            "Box": ("shop.Box", 4),
            "interface Handler": ("Handler", 6),
        }
        assert snippet(hits["Box"], "Box")[0] == (4, "class Box {")
        assert index.search("t.go:4", SearchOptions(limit=1))[0].line == 4


def test_words_in_scripts_without_spaces_are_found(tmp_path):
    lookup = 'def lookup(uid):\n    """根据用户编号查找用户信息"""\n    return DB[uid]\n'
    order = 'def compute(o):\n    """计算订单的总价格"""\n    return o.qty * o.price\n'
    write_tree(tmp_path, {"user.py": lookup, "order.py": order, "page.js": "// 検索結果を表示する\nshow()\n"})
    with CodeIndex.open(tmp_path) as index:
        for query, path in (("用户", "user.py"), ("订单总价格", "order.py"), ("検索", "page.js")):
            assert paths(index.search(query)) == [path]
        assert index.search("漢") == []


def test_an_answer_does_not_depend_on_what_was_asked_or_read_before(tmp_path):
    words = ["open", "proxy", "date", "cache", "token", "route", "match", "close", "parse", "store"]
    pairs = [(one, other) for one in words for other in words if one != other]
    write_tree(tmp_path, {f"{a}_{b}.py": f"def {a}_{b}(value):\n    return {b}.{a}(value)\n" for a, b in pairs})
    queries = [
        f"{one} a {other} for the {third}" for one, other, third in zip(words, words[3:], words[5:], strict=False)
    ]

    def answers(index):
        return [[(hit.path, hit.score) for hit in index.search(query, SearchOptions(budget_s=60))] for query in queries]

    with CodeIndex.open(tmp_path) as index:
        index.cascade = dataclasses.replace(index.cascade, num_deep=8)
        alone = answers(index)
        for query in reversed(words):
            index.search(query, SearchOptions(budget_s=60))
        assert answers(index) == alone
        index.deepen()
        assert answers(index) == alone


def test_what_was_read_for_another_question_does_not_overtake_what_is_unread(tmp_path):
    """Without time to read, a file that was asked for by name stays first, whichever other chunks have been read."""
    words = ["apple", "banana", "cherry", "damson", "elder", "fig", "grape", "hazel", "iris", "juniper"]
    write_tree(tmp_path / "tree", {f"{word}.py": f"def {word}_basket(): return {word!r}\n" for word in words})
    with CodeIndex.open(tmp_path / "tree") as index:
        unread = [hit.path for hit in index.search("fig.py", SearchOptions(budget_s=0))]
        assert unread[0] == "fig.py"
        table = index.store.chunk_table()
        others = [number for number in table.ids.tolist() if index.store.chunks([number])[0].path != "fig.py"]
        deepen(index.store, index.encoder, 6, ids=others)
        found = index.search("fig.py", SearchOptions(budget_s=0))
        assert paths(found) == unread
        assert found.stats.num_deep == 0
