"""Readers of published formats, each on a small file in exactly that format."""

import gzip
import json

import numpy as np
import pytest

from mose.errors import DataError
from mose.evaluate.tasks import code_search_net, load_tasks, published, task_names
from mose.metrics import ranking


def lines(*rows):
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def put(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text, encoding="utf8")
    return folder


BEIR = {
    "corpus.jsonl": lines(
        {"_id": "d1", "title": "", "text": "def a(): pass", "language": "Python"},
        {"_id": "d2", "title": "Title", "text": "def b(): pass", "metadata": {}},
        {"_id": "q2", "text": "def c(): pass"},
    ),
    "queries.jsonl": lines(
        {"_id": "q1", "text": "do a"}, {"_id": "q2", "text": "do b"}, {"_id": "q3", "text": "not judged"}
    ),
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t2\nq2\td1\t0\nq2\td2\t1\n",
}


def test_beir(tmp_path):
    put(tmp_path / "CodeFeedback-ST", BEIR)
    (task,) = load_tasks(tmp_path / "CodeFeedback-ST")
    assert (task.name, task.dataset, task.metric) == ("beir-codefeedback-st", "CodeFeedback-ST", "ndcg@10")
    assert task.queries.ids == ("q1", "q2")  # q3 has no answer
    assert task.corpus.texts == ("def a(): pass", "Title def b(): pass", "def c(): pass")
    assert task.corpus.languages == ("python", "text", "text")
    assert task.relevant == (frozenset({0, 1}), frozenset({1}))
    assert task.excluded == (frozenset(), frozenset({2}))  # the row with the query's own id


def test_coir_sets_say_which_side_is_code(tmp_path):
    for name, kinds in {
        "codesearchnet-go": ("code", "query"),
        "CodeSearchNet-ccr-go": ("code", "code"),
        "codetrans-dl": ("code", "code"),
        "apps": ("query", "code"),
    }.items():
        (task,) = load_tasks(put(tmp_path / name, BEIR))
        assert (task.queries.kind, task.corpus.kind) == kinds
        assert task.family == ("code-code" if kinds == ("code", "code") else "text-code")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("qrels/test.tsv", "q1\td9\t1\n", "test.tsv, line 1: refers to an unknown id: got 'd9'"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq9\td1\t1\n", "test.tsv, line 2: .*unknown id: got 'q9'"),
        ("qrels/test.tsv", "q1 d1 1\n", "test.tsv, line 1: got 'q1 d1 1', allowed: query-id"),
        ("qrels/test.tsv", "q1\td1\tyes\n", "test.tsv, line 1, score: got 'yes'"),
        ("qrels/test.tsv", "q1\td1\t0\n", "no score above 0"),
        ("queries.jsonl", lines({"_id": "q1", "text": " "}), "queries.jsonl, line 1: field 'text' is empty"),
        ("queries.jsonl", lines({"_id": "q1", "text": "a"}, "nonsense"), "queries.jsonl, line 2 is not JSON"),
        (
            "corpus.jsonl",
            lines({"_id": "d1", "text": "a"}, {"_id": "d1", "text": "b"}),
            "corpus.jsonl, line 2: duplicate id",
        ),
        ("corpus.jsonl", lines({"text": "a"}), "corpus.jsonl, line 1 has no field '_id'"),
    ],
)
def test_faulty_beir(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        load_tasks(put(tmp_path, {**BEIR, name: text}))


@pytest.mark.parametrize("name", BEIR)
def test_beir_with_a_missing_file(tmp_path, name):
    with pytest.raises(DataError, match=f"has no file {name}"):
        load_tasks(put(tmp_path, {file: text for file, text in BEIR.items() if file != name}))


def csn_row(number, language="python", **fields):
    return {
        "repo": "o/r", "path": "m.py", "func_name": f"f{number}", "original_string": f'def f{number}():\n "doc"',
        "language": language, "code": f"def f{number}():\n    '''Does {number}.'''\n    return {number}",
        "code_tokens": ["def", f"f{number}", "(", ")", ":", "return", str(number)], "docstring": f"Does {number}.",
        "docstring_tokens": ["Does", str(number), "."], "sha": "0", "url": f"https://x/{number}", "partition": "test",
        **fields,
    }  # fmt: skip


def test_code_search_net_corpus_of_the_first_paper(tmp_path):
    folder = tmp_path / "resources" / "data"
    part = "python/final/jsonl/test/python_test_{}.jsonl.gz"
    put(folder, {part.format(0): lines(csn_row(0), csn_row(1)), part.format(1): lines(csn_row(2))})
    put(folder, {"ruby/final/jsonl/test/ruby_test_0.jsonl.gz": lines(csn_row(0, "ruby"))})
    assert task_names(folder) == ["codesearchnet-python", "codesearchnet-ruby"]
    task, _ = load_tasks(folder)
    assert task.queries.texts == ("Does 0 .", "Does 1 .", "Does 2 .")
    assert task.corpus.texts[2] == "def f2 ( ) : return 2"
    assert set(task.corpus.languages) == {"python"}
    assert task.relevant == tuple(frozenset({row}) for row in range(3))
    assert "all functions of the test split" in task.protocol


def test_code_search_net_pools_are_a_task_of_their_own(tmp_path):
    put(tmp_path, {"go/test.jsonl": lines(*(csn_row(number, "go") for number in range(5)))})
    found = code_search_net.tasks(tmp_path, pool=2)
    assert list(found) == ["codesearchnet-go", "codesearchnet-go-2"]
    task = found["codesearchnet-go-2"]()
    assert len(task.queries.ids) == len(task.corpus.ids) == 4  # the last pool has only one row
    assert task.excluded == (frozenset({2, 3}),) * 2 + (frozenset({0, 1}),) * 2
    assert task.excluded[0] is task.excluded[1]
    scores = [[0, 1, 9, 9], [0, 1, 9, 9], [9, 9, 1, 0], [9, 9, 1, 0]]
    ranks = ranking.relevant_ranks(np.array(scores), task.corpus.ids, task.relevant, task.excluded)
    assert [rank.tolist() for rank in ranks] == [[2.0], [1.0], [1.0], [2.0]]
    assert len(found["codesearchnet-go"]().corpus.ids) == 5


def test_one_full_pool_excludes_no_row(tmp_path):
    put(tmp_path, {"go/test.jsonl": lines(csn_row(0, "go"), csn_row(1, "go"))})
    assert code_search_net.tasks(tmp_path, pool=2)["codesearchnet-go-2"]().excluded == ()


def test_code_search_net_cleaned_with_a_code_base(tmp_path):
    put(
        tmp_path / "python",
        {"test.jsonl": lines(csn_row(1), csn_row(2)), "codebase.jsonl": lines(*map(csn_row, (5, 2, 1)))},
    )
    for folder in (tmp_path, tmp_path / "python"):
        (task,) = load_tasks(folder)
        assert task.name == "codesearchnet-python"
        assert task.corpus.ids == ("https://x/5", "https://x/2", "https://x/1")
        assert task.relevant == (frozenset({2}), frozenset({1}))
        assert "code base of validation and test" in task.protocol


def test_code_search_net_without_tokens(tmp_path):
    rows = [{key: value for key, value in csn_row(number).items() if "tokens" not in key} for number in range(2)]
    rows[0]["docstring"] = "Does 0.\n\nArgs: none."
    rows[0]["code"] = "def f0():\n    '''Does 0.\n\nArgs: none.'''"
    (task,) = load_tasks(put(tmp_path, {"python/test.jsonl": lines(*rows)}))
    assert task.queries.texts == ("Does 0.", "Does 1.")
    assert task.corpus.texts == ("def f0():\n    ''''''", "def f1():\n    ''''''\n    return 1")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"codebase.jsonl": lines(csn_row(5))}, "test.jsonl, line 1: refers to an unknown id"),
        ({"codebase.jsonl": lines(csn_row(1), csn_row(1))}, "codebase.jsonl, line 2: duplicate id"),
        (
            {"test.jsonl": lines(csn_row(1), csn_row(2, docstring_tokens=[]))},
            "line 2: field 'docstring_tokens' is empty",
        ),
        ({"test.jsonl": lines(csn_row(1), csn_row(2, code_tokens=[1]))}, "line 2, field 'code_tokens'"),
    ],
)
def test_faulty_code_search_net(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        load_tasks(put(tmp_path / "python", {"test.jsonl": lines(csn_row(1)), **files}))


ADV = [
    {
        "repo": "o/r", "path": "m.py", "func_name": "C.f", "language": "python", "docstring": "Reads it.",
        "docstring_tokens": ["Reads", "it", "."], "url": "https://x", "score": 0.0, "idx": number,
        "function": f"def Func(arg_{number}):\n    return arg_{number}",
        "function_tokens": ["def", "Func", "(", f"arg_{number}", ")", ":", "return", f"arg_{number}"],
    }
    for number in range(2)
]  # fmt: skip


def test_adv_test(tmp_path):
    (task,) = load_tasks(put(tmp_path, {"test.jsonl": lines(*ADV)}))
    assert (task.name, task.metric) == ("advtest", "mrr")
    assert task.queries.texts == ("Reads it .",) * 2
    assert task.corpus.texts[1] == "def Func ( arg_1 ) : return arg_1"
    assert task.corpus.ids == ("0", "1")
    assert task.relevant == (frozenset({0}), frozenset({1}))


def test_faulty_adv_test(tmp_path):
    with pytest.raises(DataError, match=r"test.jsonl, line 3: duplicate id: got '0'"):
        load_tasks(put(tmp_path, {"test.jsonl": lines(*ADV, ADV[0])}))


POJ = [
    {"label": label, "index": str(number), "code": f"int main(){{return {number};}}"}
    for number, label in enumerate(["65", "65", "65", "66", "66"])
]


def test_poj104(tmp_path):
    (task,) = load_tasks(put(tmp_path, {"test.jsonl": lines(*POJ)}))
    assert (task.name, task.family, task.metric) == ("poj104", "code-code", "map@r")
    assert task.queries == task.corpus
    assert task.relevant[0] == {1, 2}
    assert task.relevant[4] == {3}
    assert task.excluded == tuple(frozenset({row}) for row in range(5))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**POJ[0], "index": "9", "label": "67"}, "each label needs two programs or more: got '67'"),
        (POJ[0], "line 6: duplicate id"),
        ({**POJ[0], "index": "9", "code": ""}, "line 6: field 'code' is empty"),
    ],
)
def test_faulty_poj104(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        load_tasks(put(tmp_path, {"test.jsonl": lines(*POJ, row)}))


COSQA = {
    "code_idx_map.txt": json.dumps({"def a():\n  '''Doc.'''": 0, "def b(): pass": 1}, indent=1),
    "cosqa-retrieval-test-500.json": json.dumps(
        [{"idx": "cosqa-train-7", "doc": "python b", "code": "def b(): pass", "label": 1, "retrieval_idx": 1}], indent=1
    ),
    "cosqa-retrieval-dev-500.json": json.dumps(
        [{"idx": "cosqa-train-8", "doc": "python a", "code": "def a()", "label": 1, "retrieval_idx": 0}]
    ),
}


def test_cosqa(tmp_path):
    put(tmp_path, COSQA)
    (task,) = load_tasks(tmp_path)
    assert task.name == "cosqa-published"
    assert (task.queries.ids, task.queries.texts) == (("cosqa-train-7",), ("python b",))
    assert task.corpus.texts == ("def a():\n  '''Doc.'''", "def b(): pass")
    assert task.relevant == (frozenset({1}),)
    (dev,) = load_tasks(tmp_path, ["valid-cosqa-published"])
    assert dev.relevant == (frozenset({0}),)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("code_idx_map.txt", '{\n "a": 1,\n oops', "code_idx_map.txt, line 3 is not JSON"),
        ("code_idx_map.txt", "[]", "code_idx_map.txt, line 1: got 'list'"),
        ("code_idx_map.txt", '{"a": 1, "b": 1}', "code_idx_map.txt, entry 2: duplicate id"),
        ("cosqa-retrieval-test-500.json", '{"a": 1}', "test-500.json, line 1: got 'dict'"),
        ("cosqa-retrieval-test-500.json", "[]", "has no queries"),
        (
            "cosqa-retrieval-test-500.json",
            '[{"idx": "1", "doc": "x", "retrieval_idx": 9}]',
            "test-500.json, entry 1: refers to an unknown id: got '9'",
        ),
        ("cosqa-retrieval-test-500.json", '[{"idx": "1", "doc": ""}]', "test-500.json, entry 1: field 'doc' is empty"),
    ],
)
def test_faulty_cosqa(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        load_tasks(put(tmp_path, {**COSQA, name: text}))


@pytest.mark.parametrize("name", ["code_idx_map.txt", "cosqa-retrieval-test-500.json"])
def test_cosqa_with_a_missing_file(tmp_path, name):
    put(tmp_path, COSQA)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"has no file {name}"):
        load_tasks(tmp_path)


OCEAN = {
    "multilingual_test.json": lines(
        {"id": 1, "name": "Sum", "C": "int s;", "C++": "int sum;"},
        {"id": 2, "name": "Max", "C": "int m;", "C++": "int max;"},
        {"id": 3, "name": "Max", "C": "int m;", "C++": "auto max;"},
        {"id": 4, "name": "Sum", "C++": "int sum;", "Visual Basic": "Dim s"},
    ),
    "dl_test.json": lines({"id": "7", "PyTorch": "torch.ones(1)", "MXNet": "nd.ones(1)"}),
}


def test_code_trans_ocean(tmp_path):
    put(tmp_path, OCEAN)
    assert task_names(tmp_path) == [
        "codetransocean-dl-pytorch-mxnet",
        "codetransocean-multilingual-c-cpp",
        "codetransocean-multilingual-cpp-visual-basic",
    ]
    deep, task, _ = load_tasks(tmp_path)
    assert task.queries.texts == ("int s;", "int m;")
    assert task.corpus.texts == ("int sum;", "int max;", "auto max;")
    assert task.relevant == (frozenset({0}), frozenset({1, 2}))
    assert (set(task.queries.languages), set(task.corpus.languages)) == ({"c"}, {"cpp"})
    assert set(deep.queries.languages) == {"python"}


def test_faulty_code_trans_ocean(tmp_path):
    text = OCEAN["multilingual_test.json"] + lines({"id": 5, "name": "x", "C": "int s;"})
    with pytest.raises(DataError, match=r"multilingual_test.json, line 5: got .*allowed: id, name"):
        load_tasks(put(tmp_path, {"multilingual_test.json": text}))


SETS = {
    "beir": BEIR,
    "cosqa": COSQA,
    "poj104": {"test.jsonl": lines(*POJ)},
    "advtest": {"test.jsonl": lines(*ADV)},
    "codesearchnet": {"python/test.jsonl": lines(csn_row(1))},
    "codetransocean": OCEAN,
}


@pytest.mark.parametrize("name", SETS)
def test_format_is_detected_by_the_files(tmp_path, name):
    assert published.format_of(put(tmp_path, SETS[name])) == name
    matching = [other for other, module in published.FORMATS.items() if module.matches(tmp_path)]
    assert matching == [name]


def test_a_folder_of_several_sets(tmp_path):
    for name, files in SETS.items():
        put(tmp_path / f"my {name}", files)
    names = task_names(tmp_path)
    assert {"beir-my-beir", "cosqa-published", "poj104", "advtest", "codesearchnet-python"} <= set(names)
    assert [task.name for task in load_tasks(tmp_path, ["poj104", "advtest"])] == ["poj104", "advtest"]


def test_sets_of_the_same_name_are_refused(tmp_path):
    for name in ("one", "two"):
        put(tmp_path / name, SETS["poj104"])
    with pytest.raises(DataError, match=r"another task in .* has the same name.*poj104"):
        load_tasks(tmp_path)
