"""What ``mose search`` prints for people, scripts and editors: whole commands, exact output."""

import json
import os
import re
from pathlib import Path

import pytest

from mose.cli import terminal

DATES = "src/dates.py"


def first_line(mose, *words):
    code, out, err = mose("search", "parse_iso_date", *words, "--limit", 1)
    assert code == 0, err
    return out.splitlines()[0]


# ---- paths


@pytest.mark.parametrize(
    ("folder", "typed", "shown"),
    [
        (".", (), "src/dates.py"),
        (".", (".",), "src/dates.py"),
        (".", ("./src",), "./src/dates.py"),
        (".", ("src/",), "src/dates.py"),
        (".", ("src/dates.py",), "src/dates.py"),
        ("src", (), "dates.py"),
        ("src", ("..",), "../src/dates.py"),
        ("web", ("../src",), "../src/dates.py"),
        ("web", ("../src/dates.py",), "../src/dates.py"),
        ("web", ("..", "../tests"), "../src/dates.py"),
        ("web", ("../src", "../tests"), "../src/dates.py"),
    ],
)
@pytest.mark.parametrize("format", ["text", "rg"])
def test_paths_lead_from_the_current_folder_to_the_file(mose, sample_tree, monkeypatch, folder, typed, shown, format):
    mose("search", "date", sample_tree)  # one index, and PATH names parts of it
    monkeypatch.chdir(sample_tree / folder)
    line = first_line(mose, *typed, "--format", format, "--no-update")
    found = line.split()[1] if format == "text" else line
    assert found.rpartition(".py:")[0] + ".py" == shown or found.startswith(f"{shown}:")
    assert os.path.samefile(shown, sample_tree / DATES)


def test_an_absolute_tree_gives_absolute_paths_and_json_names_both(mose, sample_tree, monkeypatch):
    monkeypatch.chdir(sample_tree)
    assert f" {sample_tree}/{DATES}:" in first_line(mose, sample_tree)
    row = json.loads(first_line(mose, "src", "--json"))
    assert (row["root"], row["path"], row["absolute_path"]) == (
        str(sample_tree / "src"), "dates.py", str(sample_tree / DATES)
    )  # fmt: skip


def test_copies_are_named_as_hits_are(mose, sample_tree, monkeypatch):
    text = (sample_tree / DATES).read_text()
    (sample_tree / "src" / "old").mkdir()
    (sample_tree / "src" / "old" / "dates.py").write_text(text)
    monkeypatch.chdir(sample_tree / "web")
    mose("search", "date", "..", "--quiet")
    out = mose("search", "parse_iso_date", "../src", "--limit", 1)[1]
    assert "also in ../src/old/dates.py" in out
    assert json.loads(first_line(mose, "../src", "--json"))["copies"] == ["old/dates.py"]


@pytest.mark.parametrize("options", [("--limit", 30), ("--limit", 30, "--all-places"), ("--max-tokens", 5000)], ids=str)
def test_what_two_trees_share_is_listed_once(mose, sample_tree, monkeypatch, options):
    monkeypatch.chdir(sample_tree)
    alone = mose("search", "date connection", "--format", "rg", *options)[1].splitlines()
    shared = mose("search", "date connection", ".", "src", "src/dates.py", "--format", "rg", *options)[1].splitlines()
    assert len(alone) > 4
    assert sorted(shared) == sorted(alone)


# ---- formats


@pytest.mark.parametrize("format", ["rg", "vimgrep"])
def test_a_hit_is_one_line_with_its_path_line_column_and_text(mose, sample_tree, monkeypatch, format):
    (sample_tree / "wide.py").write_text(
        'def größe(überschrift, title_width):\n    """Ä title width."""\n', encoding="utf8"
    )
    monkeypatch.chdir(sample_tree)
    assert mose("search", "parse_iso_date", "--format", format, "--path", DATES, "--quiet") == (
        0, f"{DATES}:4:5:def parse_iso_date(text):\n", ""
    )  # fmt: skip
    code, out, _ = mose("search", "title width", "--format", format, "--limit", 1)
    assert (code, out) == (0, "wide.py:1:27:def größe(überschrift, title_width):\n")
    assert "def größe(überschrift, title_width):".encode()[27 - 1 :] == b"title_width):"
    code, out, err = mose("search", "zzzqqq", "--format", format)
    assert (code, out) == (1, "") and "Nothing found" in err


def test_every_line_that_is_named_is_in_the_file_as_it_is_printed(mose, sample_tree, monkeypatch):
    monkeypatch.chdir(sample_tree)
    lines = mose("search", "connection date cache user", "--format", "vimgrep", "--all-places")[1].splitlines()
    assert len(lines) > 5
    for line in lines:
        path, number, column, text = line.split(":", 3)
        assert Path(path).read_text(encoding="utf8").split("\n")[int(number) - 1] == text
        assert not text.encode()[int(column) - 1 :][:1].isspace()


def test_json_is_a_format_and_its_fields_are_documented(mose, sample_tree):
    mose("index", sample_tree, "--quiet")
    out = mose("search", "parse a date", sample_tree, "--json")[1]
    assert mose("search", "parse a date", sample_tree, "--format", "json")[1] == out
    rows = [json.loads(line) for line in out.splitlines()]
    page = (Path(__file__).parents[2] / "docs" / "scripts.md").read_text(encoding="utf8")
    documented = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", page.partition("JSON object")[2], re.M)))
    assert documented == list(rows[0])
    assert rows[0]["exit"] == rows[0]["parts"]["exit"] == 6
    assert json.loads(mose("search", "date", sample_tree, "--json", "--lexical")[1].splitlines()[0])["exit"] is None


def test_one_format_at_a_time(mose, sample_tree):
    code, out, err = mose("search", "date", sample_tree, "--json", "--format", "rg")
    assert (code, out) == (2, "") and "not allowed with argument" in err


def test_quiet_leaves_hits_and_errors(mose, sample_tree, monkeypatch):
    monkeypatch.chdir(sample_tree)
    assert mose("search", "date", "--quiet")[2] == ""
    assert mose("search", "zzzqqq", "--quiet") == (1, "", "")
    assert "ConfigError" in mose("search", "date", "--quiet", "--language", "cobol")[2]


# ---- filters


def paths_of(mose, *words):
    _, out, _ = mose("search", "date connection cache", *words, "--json", "--limit", 50)
    return {json.loads(line)["path"] for line in out.splitlines()}


def test_excluded_files_are_no_answers(mose, sample_tree):
    everything = paths_of(mose, sample_tree)
    assert {"tests/test_dates.py", "README.md", "src/store.go"} <= everything
    without = paths_of(mose, sample_tree, "--exclude", "tests/", "--exclude", "*.md")
    assert without == everything - {"tests/test_dates.py", "README.md"}
    assert without == paths_of(mose, sample_tree, "--path", "!tests/", "--path", "!*.md")
    assert paths_of(mose, sample_tree, "--path", "src/", "--exclude", "*.go") == {DATES, "src/network.py"}
    assert paths_of(mose, sample_tree, "--language", "py", "--language", "Golang", "--exclude", "tests") == {
        DATES, "src/network.py", "src/store.go"
    }  # fmt: skip
    code, _, err = mose("search", "date", sample_tree, "--exclude", "*")
    assert code == 2 and "path: no indexed file is left: got '!*'" in err
    for pattern in ("", " ", "!src/"):
        code, _, err = mose("search", "date", sample_tree, "--exclude", pattern)
        assert code == 2 and f"--exclude: got {pattern!r}, allowed: a pattern" in err


def test_only_what_has_a_line_that_matches_is_ranked_and_that_line_is_shown(mose, sample_tree, monkeypatch):
    monkeypatch.chdir(sample_tree)
    query = "give a connection back"
    assert mose("search", query, "--format", "rg", "-F", 'text.split("-")')[:2] == (
        0, f'{DATES}:6:24:    year, month, day = text.split("-")\n'
    )  # fmt: skip
    code, out, _ = mose("search", query, "-e", r"^\s+self\.\w+ = \[\]$")
    assert code == 0
    assert re.fullmatch(r"0\.\d\d  src/network\.py:\d+-\d+  ProxyPool", out.splitlines()[0])
    assert out.splitlines()[1].split(maxsplit=1) == ["11", "self.idle = []"]
    row = json.loads(mose("search", query, "--json", "-e", r"idle = \[")[1])
    assert (row["path"], row["line"], row["column"]) == ("src/network.py", 11, 14)


def test_a_filter_that_nothing_passes_finds_nothing(mose, sample_tree):
    for words in (("-e", "^nowhere$"), ("-F", "return .*")):
        code, out, err = mose("search", "date", sample_tree, *words)
        assert (code, out) == (1, "")
        assert err.splitlines()[0] == "Nothing found where a line matches."
        assert "No word of the query" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-e", "(a"), "ConfigError: the regular expression cannot be read: got '(a', allowed: those of Python's `re`."
                       "\n  missing ), unterminated subpattern at position 0\n"),
        (("-e", "a" * 1001), "It has more than 1,000 characters."),
        (("-e", "(" * 900), "the regular expression cannot be read"),
        (("-F", ""), "ConfigError: the text that a line must hold: got '', allowed: one line that is not empty.\n"),
        (("-F", "a\nb"), "the text that a line must hold: got 'a\\nb'"),
        (("-F", "a", "-e", "b"), "not allowed with argument"),
    ],
)  # fmt: skip
def test_a_filter_that_cannot_match_is_an_error(mose, sample_tree, words, message):
    code, out, err = mose("search", "date", sample_tree, *words)
    assert (code, out) == (2, "")
    assert message in err and "Traceback" not in err


def test_an_expression_that_takes_endless_time_is_an_error(mose, sample_tree):
    (sample_tree / "long.py").write_text(f"value = '{'a' * 60}!'\n")
    code, out, err = mose("search", "value", sample_tree, "-e", "(a+)+$")
    assert (code, out) == (2, "")
    assert err == (
        "ConfigError: the regular expression takes too long: got '(a+)+$'.\n"
        "  Leave out repeats of repeats, such as (a+)+, or look for a fixed text.\n"
    )


@pytest.mark.parametrize("option", ["--hidden", "--no-ignore"])
def test_who_wants_to_read_more_files_hears_how(mose, sample_tree, option):
    (sample_tree / ".ci").mkdir()
    (sample_tree / ".ci" / "release.py").write_text("def publish_release():\n    pass\n")
    code, out, err = mose("search", "publish_release", sample_tree, option)
    assert (code, out) == (2, "")
    assert f"there is no option {option}" in err and "!.github/ into a .moseignore" in err
    (sample_tree / ".moseignore").write_text("!.ci/\n")
    assert ".ci/release.py:1-" in mose("search", "publish_release", sample_tree)[1]


# ---- links


def test_file_names_are_links_on_a_terminal_alone(mose, sample_tree, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.chdir(sample_tree)
    (sample_tree / "odd näme.py").write_text("def odd_name():\n    pass\n")
    assert "\x1b]8" not in mose("search", "proxy", "--color", "always")[1], "not a terminal"
    monkeypatch.setattr(terminal, "is_terminal", lambda stream: True)
    link = f"\x1b]8;;file://{os.uname().nodename}{{}}\x1b\\\x1b[1m{{}}\x1b[0m\x1b]8;;\x1b\\"
    network = link.format(sample_tree / "src/network.py", "src/network.py:1-24")
    assert network in mose("search", "proxy")[1]
    assert link.format(f"{sample_tree}/odd%20n%C3%A4me.py", "odd näme.py") in mose(
        "search", "odd_name", "--format", "rg"
    )[1]  # fmt: skip
    assert "\x1b" not in mose("search", "proxy", "--color", "never")[1]
    monkeypatch.setenv("TERM", "linux")
    assert "\x1b]8" not in mose("search", "proxy")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in mose("search", "proxy")[1]


# ---- words without quotes


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("retry", "backoff"), 'mose search "retry backoff"'),
        (("retry", "with", "backoff"), 'mose search "retry with backoff"'),
        (("retry", "with", "backoff", "src"), 'mose search "retry with backoff" src'),
    ],
)
def test_words_without_quotes_are_answered_with_the_command(mose, sample_tree, monkeypatch, words, remedy):
    monkeypatch.chdir(sample_tree)
    code, out, err = mose("search", *words)
    assert (code, out) == (2, "")
    assert err.rstrip().endswith(remedy)
