"""The set of questions: its recipe, and the files that it has written."""

import json
import lzma
import sys
from collections import Counter
from pathlib import Path

import pytest

from mose import Encoder
from mose.data.evaluation_sets import read_evaluation
from mose.data.mine.harvest import Mined
from mose.data.mine.manifest import LICENSES, held_out_name
from mose.data.mine.package import Part, write_part
from mose.data.mine.select import Evaluation
from mose.data.pairs import write_objects
from mose.data.translate.prompts import PROMPTS
from mose.languages.tables import word_set

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "recipes"))

import question_set  # noqa: E402
from question_set import FILES, copyright_lines, lines_of, published, rank_all, select  # noqa: E402

NOT_FOR_TRAINING = word_set(
    "sympy pytest sphinx astropy requests pylint xarray seaborn flask django matplotlib scikit-learn"
)
BODY = "def {name}(spans, limit):\n    total = 0\n    for first, last in spans:\n        total += last - first\n"
CODE = BODY + "    if total > limit:\n        raise ValueError(total, limit)\n    return total"


def row(number, *, code=CODE, source="pypi:spans", path="src/spans/join.py", query="", kind="function-search"):
    name = f"covered_{number}"
    return {
        "query": query or f"length of all parts, number {number}",
        "code": code.replace("{name}", name),
        "language": "python",
        "kind": kind,
        "group": f"{source.split(':')[1]}/{path}:{name}",
        "source": source,
        "path": path,
        "license": "MIT",
        "version": "1.0",
        "id": f"function-1-00000000-{number:016x}",
        "prompt": "function-1-00000000",
        "writer": "Qwen2.5 Coder 1.5B Instruct GGUF cc324af070c2",
    }


def lines(path):
    with lzma.open(path, "rt", encoding="utf8") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize(
    ("source", "path"),
    [("pypi:django", "a.py"), ("pypi:tokio", "a.py"), ("pypi:spans", "lib/sympy/core.py")],
)
def test_rows_of_excluded_packages_are_dropped(source, path):
    dropped = Counter()
    assert select([row(1, source=source, path=path)], {}, Evaluation([], 0.7), dropped) == []
    assert dropped == {("function-search", "excluded package"): 1}


def test_copies_of_evaluation_rows_are_dropped(tmp_path):
    planted = tmp_path / "test.jsonl"
    planted.write_text(json.dumps({"query": "sum up", "code": CODE.replace("{name}", "other")}) + "\n")
    evaluation = Evaluation(read_evaluation([planted]), 0.7)
    other = "fn keep(a: &str) -> usize {\n    a.len()\n}"
    dropped = Counter()
    translated = row(2, code=other, kind="translation")
    copies = [row(1), translated]
    assert select(copies, {translated["id"]: CODE}, evaluation, dropped) == []
    assert sum(dropped.values()) == 2
    assert select([translated], {translated["id"]: other}, evaluation, dropped) == [translated]


def test_duplicate_questions_are_kept_once():
    dropped = Counter()
    rows = [row(1, query="the length of all"), row(2, code="class A:\n    size = 3", query="The length of all")]
    assert select(rows, {}, Evaluation([], 0.7), dropped) == rows[:1]
    assert dropped == {("function-search", "duplicate"): 1}


def mined(symbol, code, *, kind="name", path="a.py"):
    return Mined(kind=kind, query="", code=code, language="python", path=path, symbol=symbol)


def test_lines_are_those_of_the_file():
    text = "import os\n\n\nclass A:\n    size = 3\n\n    def b(self):\n        return self.size\n"
    assert lines_of(text, "class A:\n    def b(self):\n        return self.size") == [7, 8]
    assert lines_of(text, "def c():\n    pass") is None
    assert lines_of(text + text, "class A:\n    def b(self):\n        return self.size") is None


def test_a_published_row_points_at_its_code_and_does_not_hold_it(tmp_path):
    folder = tmp_path / "pypi" / "spans-1.0" / "src/spans"
    folder.mkdir(parents=True)
    found = row(7) | {"rank": 3}
    (folder / "join.py").write_text("# first line\n" + found["code"] + "\n")
    value = published(found, found["code"], tmp_path)
    assert (value["id"], value["path"], value["symbol"]) == ("0000000000000007-search", found["path"], "covered_7")
    assert value["lines"] == [2, 8]
    assert (value["registry"], value["package"], value["version"], value["rank"]) == ("pypi", "spans", "1.0", 3)
    assert "code" not in value
    assert len(value["writer_sha256"]) == 64


def test_copyright_comes_from_notices_or_else_from_heads_of_files(tmp_path):
    (tmp_path / "a.py").write_text("# Copyright (c) 2020 A. Writer\nx = 1\n")
    assert copyright_lines(tmp_path, "pypi", "a", ["a.py"]) == ["Copyright (c) 2020 A. Writer"]
    (tmp_path / "LICENSE").write_text("The licence\n\nCopyright 2019, Somebody\n")
    (tmp_path / "LICENSE-THIRD-PARTY").write_text("Copyright 2001, Others\n")
    assert copyright_lines(tmp_path, "pypi", "a", ["a.py"]) == ["Copyright 2019, Somebody"]


def test_ranks_are_read_from_the_parts_of_mining(tmp_path):
    found = row(1)
    part = Part(rows=[mined("covered_1", found["code"], path=found["path"])], dropped={}, num_files=1)
    write_part(tmp_path / "pypi-spans-1.0-0123456789ab.json.gz", part)
    rank_all([found], tmp_path, Encoder.load("small", exit=0))
    assert found["rank"] == 1


def test_recipe_writes_the_set_from_folders_of_answers(tmp_path, monkeypatch, capsys):
    found = {name: value for name, value in row(1).items() if name != "version"}
    translated = found | {"kind": "translation", "code": "fn keep(a: u8) -> u8 {\n    a\n}", "from": "python"}
    translated |= {"language": "rust", "id": "translate-1-00000000-0000000000000002"}
    (tmp_path / "ask").mkdir()
    write_objects(tmp_path / "ask/accepted.jsonl.xz", [found, translated])
    write_objects(tmp_path / "ask/rows.jsonl.xz", [found, found | {"id": translated["id"]}])
    package = {"registry": "pypi", "name": "spans", "version": "1.0"}
    part = Part(rows=[mined("covered_1", found["code"], path=found["path"])], dropped={}, num_files=1)
    write_part(tmp_path / "mined/parts/pypi-spans-1.0-0123456789ab.json.gz", part)
    (tmp_path / "mined/manifest.json").write_text(json.dumps({"packages": [package]}))
    (tmp_path / "test.jsonl").write_text(json.dumps({"query": "a day of the week", "code": "x = 1"}) + "\n")
    command = ["question_set.py", "ask", "--mined", "mined", "--sources", "sources", "--exclude-near", "test.jsonl"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [*command, "--out", "out"])
    question_set.main()
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] == {"function-search": {"python": 1}, "translation": {"rust": 1}}
    values = {name: lines(tmp_path / "out" / name) for name in FILES.values()}
    assert [len(some) for some in values.values()] == [1, 0, 1]
    assert values[FILES["function"]][0]["version"] == "1.0"
    assert values[FILES["translation"]][0]["code"] == translated["code"]
    assert json.loads((tmp_path / "out/packages.json").read_text()) == {
        "pypi:spans": {"version": "1.0", "license": "MIT", "copyright": []}
    }


# -- what is committed ------------------------------------------------------------------------------------------------

SET = ROOT / "datasets" / "questions"


@pytest.fixture(scope="module")
def committed():
    if not SET.is_dir():
        pytest.skip("datasets/ is not in this copy")
    return [(name, lines(SET / name)) for name in FILES.values()]


def test_committed_files_are_small_and_ids_are_unique(committed):
    assert all((SET / name).stat().st_size < 3_000_000 for name, _ in committed)
    ids = [value["id"] for _, values in committed for value in values]
    assert len(ids) == len(set(ids)) > 20_000


def test_every_committed_row_has_its_pointer_and_its_writer(committed):
    packages = json.loads((SET / "packages.json").read_text(encoding="utf8"))
    prompts = {prompt.name for prompt in PROMPTS.values()}
    for _, values in committed:
        for value in values:
            text = value["code"] if value["kind"] == "translation" else value["query"]
            assert text.strip()
            assert ("code" in value) == (value["kind"] == "translation")
            assert value["path"]
            assert value["symbol"] or not value["kind"].startswith("function")
            assert len(value["sha256"]) == question_set.HASH_DIGITS
            assert value["prompt"] in prompts
            assert len(value["writer_sha256"]) == 64
            assert 1 <= value["rank"] <= 20
            package = packages[f"{value['registry']}:{value['package']}"]
            assert (value["version"], value["license"]) == (package["version"], package["license"])
            assert all(name in LICENSES for part in value["license"].split(" OR ") for name in part.split(" AND "))


def test_no_committed_row_comes_from_an_excluded_package(committed):
    for _, values in committed:
        for value in values:
            assert not held_out_name(value["package"]), value["id"]
            assert value["package"].lower() not in NOT_FOR_TRAINING, value["id"]
            assert not NOT_FOR_TRAINING & set(value["path"].lower().split("/")[:-1]), value["id"]
