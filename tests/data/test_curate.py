"""Near copies in tables, contamination, stages and data cards."""

import json
import random

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH
from datasketch.lsh import _false_negative_probability, _false_positive_probability

from mose.cli import main
from mose.data.curate.grams import GramTable, grams, jaccard
from mose.data.curate.near_pairs import (
    Bands,
    choose_bands,
    group_pairs,
    near_pairs,
    sign_texts,
)
from mose.data.curate.stage import DROPPED, STAGE
from mose.data.pairs import read_objects, write_objects
from mose.data.rename import renamed_form
from mose.errors import ConfigError
from mose.languages.tables import word_set

WORDS = sorted(word_set("read write open close file socket buffer token parse node value count index total path name"))


def make_codes(count, *, seed=0):
    """Codes of which about half are edited copies of another, more or less alike."""
    rng = random.Random(seed)
    codes = []
    for number in range(count):
        if codes and rng.random() < 0.5:
            words = rng.choice(codes).split(" ")
            for _ in range(rng.randrange(len(words) // 3)):
                words[rng.randrange(len(words))] = rng.choice(WORDS)
        else:
            words = [f"{rng.choice(WORDS)}{rng.randrange(50)}" for _ in range(rng.randrange(10, 60))] + [str(number)]
        codes.append(" ".join(words))
    return codes


def signed(codes, threshold=0.7):
    return sign_texts(GramTable(map(grams, codes)), threshold)


def true_pairs(codes, threshold):
    sets = [{code[at : at + 5] for at in range(max(1, len(code) - 4))} for code in codes]
    return {
        (first, second)
        for second in range(len(sets)) for first in range(second)
        if len(sets[first] & sets[second]) >= threshold * len(sets[first] | sets[second])
    }  # fmt: skip


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_near_pairs_are_those_of_brute_force(threshold):
    codes = make_codes(500)
    true = true_pairs(codes, threshold)
    found = {tuple(pair) for pair in near_pairs(signed(codes, threshold)).tolist()}
    assert found <= true
    assert len(true) > 50
    assert len(found) >= 0.95 * len(true)


def test_as_many_are_found_as_by_datasketch():
    codes = make_codes(300, seed=1)
    bands = choose_bands(0.7)
    index = MinHashLSH(num_perm=256, params=(bands.count, bands.rows))
    theirs = set()
    for number, code in enumerate(codes):
        sketch = MinHash(num_perm=256)
        sketch.update_batch([code[at : at + 5].encode() for at in range(max(1, len(code) - 4))])
        theirs |= {(other, number) for other in index.query(sketch)}
        index.insert(number, sketch)
    theirs &= true_pairs(codes, 0.7)
    ours = {tuple(pair) for pair in near_pairs(signed(codes)).tolist()}
    assert len(theirs) > 30
    assert len(ours ^ theirs) <= 0.05 * len(theirs)


@pytest.mark.parametrize("bands", [Bands(count=36, rows=7), Bands(count=16, rows=16)])
def test_error_masses_are_those_of_datasketch(bands):
    in_vain, missed = bands.error_mass(0.7)
    assert in_vain == pytest.approx(_false_positive_probability(0.7, bands.count, bands.rows), abs=2e-3)
    assert missed == pytest.approx(_false_negative_probability(0.7, bands.count, bands.rows), abs=2e-3)


def test_the_longest_bands_that_find_enough_are_chosen():
    bands = choose_bands(0.7)
    assert bands.chance(0.7) >= 0.95 > Bands(count=256 // (bands.rows + 1), rows=bands.rows + 1).chance(0.7)
    with pytest.raises(ConfigError, match="above 0, at most 1"):
        choose_bands(0)


def test_grams_fold_white_space_and_tell_characters_apart():
    assert np.array_equal(grams("a  =\n b + c"), grams(" a = b + c "))
    assert not np.array_equal(grams("a = b"), grams("a = d"))
    assert jaccard(grams("Größe 名前"), grams("Größe 名前")) == 1
    assert len(grams("")) == 1


def test_many_copies_of_one_text_are_one_group():
    codes = [f"def common(): return sum(range(1000)) + len('the same in all') # {number}" for number in range(200)]
    groups = group_pairs(near_pairs(signed(codes)), 200)
    assert set(groups.tolist()) == {0}


def test_pairs_with_a_reference_alone():
    codes = make_codes(200, seed=2)
    found = {tuple(pair) for pair in near_pairs(signed(codes), reference=80).tolist()}
    every = {tuple(pair) for pair in near_pairs(signed(codes)).tolist()}
    assert found == {(first, second) for first, second in every if first < 80 <= second}
    assert found


def test_names_and_comments_do_not_change_the_renamed_form():
    first = 'def area(width, height):\n    # in metres\n    return width * height * 2 + len("ab")'
    second = "def size(a, b):\n    return a * b * 17 + len('x')"
    assert renamed_form(first) == renamed_form(second)
    assert renamed_form(first) != renamed_form(second.replace("a * b", "a * a"))


EVALUATION = [
    {
        "query": "merge overlapping intervals of a list",
        "language": "python",
        "code": "def merge(intervals):\n    intervals.sort(key=lambda item: item[0])\n    merged = []\n"
        "    for interval in intervals:\n        if not merged or merged[-1][1] < interval[0]:\n"
        "            merged.append(interval)\n        else:\n"
        "            merged[-1][1] = max(merged[-1][1], interval[1])\n    return merged",
    }
]  # fmt: skip
CODE = EVALUATION[0]["code"]


def renamed(code):
    for old, new in (("intervals", "spans"), ("interval", "span"), ("merged", "out"), ("merge", "join"), ("item", "x")):
        code = code.replace(old, new)
    return code


PLANTED = {
    "code of an evaluation row": {"code": CODE.replace("    ", "\t"), "query": "something else"},
    "query of an evaluation row": {"code": "pass", "query": "Merge overlapping  intervals of a list."},
    "renamed copy of an evaluation row": {"code": renamed(CODE), "query": "join spans"},
    "near copy of an evaluation row": {"code": CODE.replace("sort(", "sort(reverse=False, "), "query": "near"},
    "an evaluation row inside": {
        "code": "\n".join(f"{word}_{n} = {n}" for n in range(3) for word in WORDS) + "\n" + CODE,
        "query": "inside",
    },
    "source of a held-out repository": {"code": "x = 1", "query": "held", "source": "pypi:flask"},
}


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "DATA" / "sets").mkdir(parents=True)
    write_objects(tmp_path / "DATA" / "sets" / "test.jsonl.xz", EVALUATION)
    write_objects(tmp_path / "DATA" / "sets" / "train.jsonl.xz", [{"code": "y = 2", "query": "y is two at the end"}])
    (tmp_path / "DATA" / "tree.json").write_text(json.dumps({"queries": [{"query": "where are the routes matched"}]}))
    own = [
        {"code": f"def own_{n}(value):\n    return [value * {n}, '{word * 4}']", "query": f"own {word}"}
        for n, word in enumerate(WORDS)
    ]
    rows = [{"language": "python", "kind": "doc", "license": "MIT", "source": "pypi:own", **row}
            for row in (*own, *PLANTED.values(), {"code": "y = 2", "query": "y"},
                        {"code": "z", "query": "Where are the routes matched?"})]  # fmt: skip
    (tmp_path / "pairs").mkdir()
    write_objects(tmp_path / "pairs" / "train.jsonl.xz", rows)
    return tmp_path


def test_check_finds_every_planted_copy_and_nothing_else(folders, capsys):
    assert main(["pairs", "check", f"{folders}/pairs", "--against", f"{folders}/DATA", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    expected = {name: 1 for name in PLANTED} | {"query of an evaluation row": 2}
    assert report["reasons"] == expected
    assert report["rows"] == 24
    assert [file["file"].removeprefix(f"{folders}/") for file in report["against"]] == [
        "DATA/sets/test.jsonl.xz", "DATA/tree.json",
    ]  # fmt: skip
    last = report["copies"][-1]
    assert last == {
        "row": "train.jsonl.xz:24",
        "reason": "query of an evaluation row",
        "copy_of": "DATA/tree.json:1",
    }


def test_what_dedup_leaves_passes_the_check(folders, capsys):
    final = folders / "final"
    assert main(["pairs", "dedup", f"{folders}/pairs", "--against", f"{folders}/DATA", "--out", str(final)]) == 0
    assert capsys.readouterr().out.startswith(f"{final}: 17 of 24 rows\n  2 query of an evaluation row\n")
    assert main(["pairs", "check", str(final), "--against", f"{folders}/DATA"]) == 0
    assert capsys.readouterr().out == "17 rows against 2 of 2 files\n  no copy found\n"
    dropped = [row for _, row in read_objects(final / DROPPED)]
    assert len(dropped) == 7
    assert all(row["reason"] for row in dropped)


def test_near_copies_within_are_found_beside_evaluation_sets_too(tmp_path, capsys):
    codes = [" ".join(f"{name}{number} = run({number * 7919})" for number in range(8)) for name in WORDS[:8]]
    rows = [{"language": "python", "query": f"the number {at}", "code": code + end, "kind": "doc"}
            for end in ("", " # again") for at, code in enumerate(codes)]  # fmt: skip
    write_objects(tmp_path / "pairs.jsonl", rows)
    (tmp_path / "DATA").mkdir()
    write_objects(tmp_path / "DATA" / "set.jsonl", [*EVALUATION, {"query": "", "code": codes[3], "language": "python"}])
    words = ["pairs", "dedup", f"{tmp_path}/pairs.jsonl", "--against", f"{tmp_path}/DATA", "--out", f"{tmp_path}/out"]
    assert main(words) == 0
    left = [row for _, row in read_objects(tmp_path / "out" / DROPPED)]
    assert {(row["query"], row["copy_of"]) for row in left} == {
        *((f"the number {at}", f"pairs.jsonl:{at + 1}") for at in range(8) if at != 3),
        ("the number 3", "DATA/set.jsonl:2"),
    }


def test_dedup_keeps_the_first_of_near_copies_of_one_kind(tmp_path, capsys):
    row = {"language": "python", "code": CODE, "query": "merge", "kind": "doc"}
    rows = [row, row, row | {"query": "other words"}, row | {"code": CODE + "\n"}, row | {"kind": "comment"},
            row | {"code": "def other():\n    return 'nothing alike'", "query": "other"}]  # fmt: skip
    write_objects(tmp_path / "pairs.jsonl.xz", rows)
    assert main(["pairs", "dedup", f"{tmp_path}/pairs.jsonl.xz", "--out", f"{tmp_path}/out", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["dropped"] == {"equal to another row": 2, "near copy of another row": 1}
    assert [row for _, row in read_objects(tmp_path / "out" / "pairs.jsonl.xz")] == [rows[0], *rows[4:]]
    assert summary == json.loads((tmp_path / "out" / STAGE).read_text())
    written = (tmp_path / "out" / "pairs.jsonl.xz").read_bytes()
    assert main(["pairs", "dedup", f"{tmp_path}/pairs.jsonl.xz", "--out", f"{tmp_path}/out"]) == 0
    assert (tmp_path / "out" / "pairs.jsonl.xz").read_bytes() == written


def test_an_interrupted_stage_leaves_nothing(folders, monkeypatch):
    from mose.data.curate import dedup

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(dedup, "group_pairs", stop)
    with pytest.raises(KeyboardInterrupt):
        dedup.drop_near_copies([folders / "pairs"], folders / "out")
    assert not (folders / "out").exists()


def test_the_card_counts_and_tells_every_stage(folders, capsys):
    final = folders / "final"
    assert main(["pairs", "dedup", f"{folders}/pairs", "--out", str(final), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["pairs", "card", str(final)]) == 0
    card = capsys.readouterr().out
    assert card.startswith(f"# Data card: {final}\n\n23 pairs of text and code, in 2 sources.\n")
    assert "| python | 23 |" in card
    assert "| MIT | 23 |" in card
    assert "## Dropped by `mose pairs dedup`" in card
    assert "| near copy of another row | 1 |" in card
    assert "| train.jsonl.xz | `" in card


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dedup", "nowhere.jsonl", "--out", "out"], "no pair file nowhere.jsonl"),
        (["dedup", "empty", "--out", "out"], "files or folders of JSON lines"),
        (["dedup", "pairs.jsonl", "--out", "out", "--jaccard", "2"], "above 0, at most 1"),
        (["dedup", "bad.jsonl", "--out", "out"], "bad.jsonl, line 2 has no field 'code'"),
        (["check", "pairs.jsonl", "--against", "empty"], "a file or a folder of JSON lines"),
        (["dedup", "twin/pairs.jsonl", "twin/pairs.jsonl", "--out", "out"], "are called twin-pairs.jsonl.xz"),
        (["dedup", "pairs.jsonl", "--out", "."], "lies in the folder to write"),
        (["dedup", "twin", "--out", "twin"], "lies in the folder to write"),
        (["filter", "noquery.jsonl", "--out", "out"], "line 1 has no field 'query'"),
        (["filter", "list.jsonl", "--out", "out"], "field 'source': got ['s']"),
        (["ask", "list.jsonl", "--out", "out"], "field 'source': got ['s']"),
        (["convert", "code.jsonl", "--out", "out.parquet"], "line 1 has no field 'language'"),
        (["card", "code.jsonl", "odd/pairs.jsonl"], "stage.json does not say how"),
        (["card", "torn/pairs.jsonl"], "stage.json is damaged"),
        (
            ["check", "pairs.jsonl", "--against", "labels.jsonl"],
            "got 'none in labels.jsonl', allowed: a field code, query",
        ),
        (
            ["dedup", "pairs.jsonl", "--against", "labels.jsonl", "--out", "out"],
            "rows of evaluation sets: got 'none in",
        ),
        (["check", "pairs.jsonl", "--against", "torn"], "is not JSON of an evaluation set"),
        (["check", "pairs.jsonl", "--against", "words.jsonl", "--jaccard", "nan"], "above 0, at most 1"),
    ],
)
def test_bad_input_is_told(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    line = json.dumps({"code": "x = 1", "query": "x", "language": "python"}) + "\n"
    for folder in ("empty", "twin"):
        (tmp_path / folder).mkdir()
    for name in ("pairs.jsonl", "twin/pairs.jsonl"):
        (tmp_path / name).write_text(line)
    (tmp_path / "bad.jsonl").write_text(line + "{}\n")
    (tmp_path / "code.jsonl").write_text('{"code": "x = 1", "query": "x"}\n')
    (tmp_path / "noquery.jsonl").write_text('{"code": "x = 1", "query": null, "language": "python"}\n')
    (tmp_path / "list.jsonl").write_text(line.replace("}", ', "kind": "doc", "source": ["s"]}'))
    (tmp_path / "labels.jsonl").write_text('{"label": 1}\n')
    (tmp_path / "words.jsonl").write_text('{"query": "x"}\n')
    for folder, content in (("odd", "[1]"), ("torn", "{")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pairs.jsonl").write_text(line)
        (tmp_path / folder / "stage.json").write_text(content)
    assert main(["pairs", *arguments]) == 2
    assert said in capsys.readouterr().err


def triplet(number, language2="C++"):
    return {
        "repository_name": "owner/name",
        "func_path_in_repository": "src/a.py",
        "language2": language2,
        "func2": f"int f{number}() {{ return {number}; }}",
        "language1_CSN": "python",
        "func1_CSN": f"def f{number}(): return {number}",
        "func_documentation_string": f"The number {number}.",
        "func_code_url": f"https://github.com/owner/name/blob/abc/src/a.py#L{number}",
    }


@pytest.fixture
def table(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [triplet(1), triplet(1, "Go"), triplet(2, "JavaScript")]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "train.parquet")
    return tmp_path / "train.parquet"


def test_synthconl_is_read_as_it_is(table, tmp_path, capsys):
    out = tmp_path / "pairs.jsonl.xz"
    assert main(["pairs", "convert", str(table), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 5 rows\n"
    rows = [row for _, row in read_objects(out)]
    assert [(row["kind"], row["language"], row["group"][-2:]) for row in rows] == [
        ("doc", "python", "L1"), ("translation", "cpp", "L1"), ("translation", "go", "L1"),
        ("doc", "python", "L2"), ("translation", "javascript", "L2"),
    ]  # fmt: skip
    assert rows[1]["query"] == "The number 1."


def test_pairs_become_a_table_of_synthconls_columns_and_come_back_the_same(table, tmp_path, capsys):
    from pyarrow import parquet

    first, again = tmp_path / "first.jsonl.xz", tmp_path / "again.jsonl.xz"
    assert main(["pairs", "convert", str(table), "--out", str(first)]) == 0
    assert main(["pairs", "convert", str(first), "--out", f"{tmp_path}/back.parquet", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (counts["triplets"], counts["without_function"], counts["other_rows"]) == (3, 0, 0)
    back = parquet.read_table(tmp_path / "back.parquet").to_pylist()
    original = parquet.read_table(table).to_pylist()
    assert [{name: row[name] for name in original[0]} for row in back] == [
        row | {"language1_CSN": "Python"} for row in original
    ]
    assert main(["pairs", "convert", f"{tmp_path}/back.parquet", "--out", str(again)]) == 0
    assert list(read_objects(again)) == list(read_objects(first))


def test_a_table_that_cannot_be_read_is_told(table, tmp_path, capsys):
    from pyarrow import parquet

    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(table.read_bytes()[:-9])
    parquet.write_table(parquet.read_table(table).drop_columns(["func2"]), tmp_path / "other.parquet")
    for name, said in (("damaged", "damaged"), ("other", "columns of"), ("gone", "no table")):
        assert main(["pairs", "convert", f"{tmp_path}/{name}.parquet", "--out", f"{tmp_path}/x.jsonl.xz"]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "x.jsonl.xz").exists()


def test_a_file_that_cannot_be_written_is_named_with_a_remedy(table, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["pairs", "convert", str(table), "--out", f"{tmp_path}/file/x.jsonl"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"mose: {tmp_path}/file/x.jsonl: Not a directory"
    assert second.startswith("  Name another file")


def test_files_of_one_name_keep_that_of_their_folder(tmp_path):
    for number, folder in enumerate(("asked", "translated")):
        (tmp_path / folder).mkdir()
        row = {"code": f"def f{number}():\n    return {'xy'[number] * 30}", "query": "x", "language": "python"}
        write_objects(tmp_path / folder / "accepted.jsonl.xz", [row])
    folders = [f"{tmp_path}/asked", f"{tmp_path}/translated"]
    assert main(["pairs", "dedup", *folders, "--out", f"{tmp_path}/out", "--quiet"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*-*.jsonl.xz")) == [
        "asked-accepted.jsonl.xz", "translated-accepted.jsonl.xz"
    ]  # fmt: skip


def test_codes_without_words_and_rows_without_labels_are_taken(tmp_path, capsys):
    """What a set of one's own may lack: docs/data.md asks for query, code and language alone."""
    code = "def f(a):\n    b = a + 1\n    c = b * 2\n    return c - a\n" * 4
    rows = [{"query": "{}", "code": "{}", "language": "python"}, {"query": "()", "code": "()", "language": "python"}]
    write_objects(tmp_path / "signs.jsonl", rows)
    write_objects(tmp_path / "doc.jsonl.gz", [{"query": "Sum", "code": code, "language": "python", "kind": "doc"}])
    assert (tmp_path / "signs.jsonl").read_text().startswith("{")
    assert main(["pairs", "filter", f"{tmp_path}/signs.jsonl", "--out", f"{tmp_path}/good", "--quiet"]) == 0
    assert main(["pairs", "ask", f"{tmp_path}/doc.jsonl.gz", "--out", f"{tmp_path}/asked"]) == 0
    assert "function python 1" in capsys.readouterr().out


def test_translations_without_a_group_have_no_function(tmp_path, capsys):
    pytest.importorskip("pyarrow")
    rows = [{"query": "q", "code": "x", "language": "go", "kind": kind} for kind in ("doc", "translation")]
    write_objects(tmp_path / "pairs.jsonl", rows)
    assert main(["pairs", "convert", f"{tmp_path}/pairs.jsonl", "--out", f"{tmp_path}/t.parquet"]) == 2
    assert "no translation with its function" in capsys.readouterr().err


@pytest.mark.parametrize(("value", "status", "said"), [(None, 0, "1 without text or code"), (5, 2, "allowed: texts")])
def test_a_table_with_other_values_than_texts(tmp_path, capsys, value, status, said):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([triplet(1) | {"func2": value}]), tmp_path / "t.parquet")
    assert main(["pairs", "convert", f"{tmp_path}/t.parquet", "--out", f"{tmp_path}/p.jsonl.xz"]) == status
    told = capsys.readouterr()
    assert said in told.out + told.err


def test_what_another_stage_or_other_settings_wrote_is_never_replaced(tmp_path, capsys):
    """Each is refused with a word that says what is there; the same run may be made again, also with more rows."""
    rows = [
        {"code": f"def f{n}(x):\n    return {'abcd'[n] * 40}", "query": f"find {n}", "language": "python"}
        for n in range(4)
    ]
    pairs, other, out = tmp_path / "pairs.jsonl", tmp_path / "other.jsonl", tmp_path / "out"
    write_objects(pairs, rows)
    write_objects(other, rows[:1])
    dedup = ["pairs", "dedup", str(pairs), "--out", str(out), "--quiet"]
    assert main(dedup) == 0
    held = (out / STAGE).read_bytes()
    for command, said in (
        (["pairs", "filter", str(pairs), "--out", str(out), "--quiet"], "holds what mose pairs dedup wrote."),
        ([*dedup, "--jaccard", "0.8"], "wrote with other settings."),
        ([*dedup, "--against", str(other)], "wrote with other settings."),
        (["pairs", "dedup", str(other), "--out", str(out), "--quiet"], "wrote with other inputs."),
        (["pairs", "ask", str(pairs), "--out", str(out)], "no row can be asked about"),
    ):
        assert main(command) == 2
        assert said in capsys.readouterr().err
        assert (out / STAGE).read_bytes() == held
    write_objects(pairs, [*rows, {"code": "x = 1" * 30, "query": "x", "language": "python"}])
    assert main(dedup) == 0
    assert (out / STAGE).read_bytes() != held


def test_a_converted_file_replaces_no_other(table, tmp_path, capsys):
    out = tmp_path / "pairs.jsonl.gz"
    convert = ["pairs", "convert", str(table), "--out", str(out)]
    assert main(convert) == main(convert) == 0
    write_objects(out, [{"query": "mine", "code": "own", "language": "c"}])
    held = out.read_bytes()
    assert main(convert) == 2
    assert "exists and holds something else" in capsys.readouterr().err
    assert out.read_bytes() == held
