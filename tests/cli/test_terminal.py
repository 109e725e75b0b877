"""What reaches a terminal: foreign text escaped, lines that fit, styles where they are wanted."""

import json
import shutil
import subprocess
import sys
import unicodedata

import pytest

from mose.cli import terminal

UNSEEN = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
UTF8 = [one for one in UNSEEN if unicodedata.category(one) != "Cs"]
TOKEN = "\x1b]0;title\x07\x9b2J\u202eevil\u2066\u200b\u2028\x7f"


def is_clean(text):
    return not [hex(ord(one)) for one in text if one in UNSEEN and one not in "\n\t"]


@pytest.fixture(scope="module")
def hostile_tree(tmp_path_factory):
    """Every unseen character in contents, symbols and, where the file system takes it, in names."""
    root = tmp_path_factory.mktemp("hostile") / f"tree{TOKEN.replace('/', '')}"
    root.mkdir()
    for number in range(0, len(UTF8), 60):
        lines = [f'# paint "{one}" here' for one in UTF8[number : number + 60] if one not in "\0\n"]
        names = [
            f"def paint{one}{place}(): pass" for place, one in enumerate(UTF8[number : number + 60]) if one != "\0"
        ]
        (root / f"paint_{number}.py").write_bytes("\n".join([*lines, *names]).encode())
    for one in UTF8:
        if one not in "\0/":
            (root / f"name{one}{ord(one)}.py").write_text(f"def paint_{ord(one)}():\n    '''Paints.'''\n")
    (root / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\ndef paint(): return '\x9b31m\x9d0;pwn\x9c'\n")
    (root / "test_paint.py").write_text("from paint_0 import paint\n\n\ndef test_paint():\n    assert paint()\n")
    yield root
    shutil.rmtree(root.parent, ignore_errors=True)


VERBS = [
    ["search", "paint", "TREE", "--limit", "300", "--all-places", "--explain"],
    ["search", "paint", "TREE", "--limit", "300", "--all-places", "--json"],
    ["search", f"paint {TOKEN}", "TREE"],
    ["search", "--like", "latin.py:1", "TREE"],
    ["search", "paint", "TREE", "--limit", "300", "--all-places", "--format", "rg"],
    ["search", "paint", "TREE", "-e", f"({TOKEN}"],
    ["search", "paint", "TREE", "-F", TOKEN],
    ["search", "--like", f"{TOKEN}:1", "TREE"],
    ["search", "paint", "TREE", "--path", TOKEN],
    ["search", "paint", "TREE", "--language", TOKEN],
    ["search", "paint", "TREE", "--model", TOKEN],
    ["search", "paint", "TREE", "--budget", TOKEN],
    ["search", "paint", "TREE", f"--{TOKEN}"],
    ["search", "paint", TOKEN],
    ["search", "paint", TOKEN, TOKEN],
    ["index", "TREE"],
    ["index", "TREE", "--json"],
    ["index", "TREE", "--where"],
    ["index", TOKEN],
    ["status", "TREE"],
    ["status", "TREE", "--json"],
    ["status", TOKEN],
    ["eval-repo", "TREE", "--list"],
    ["eval-repo", "TREE", "--exit", "0", "--json"],
    ["eval-repo", "TREE", "--check", TOKEN],
    ["eval", TOKEN, "--data", TOKEN],
    ["eval", "--compare", TOKEN, TOKEN],
    ["info", TOKEN],
    ["cut", TOKEN, TOKEN, "--exit", "2"],
    ["convert", TOKEN, TOKEN, "--exits", "2"],
    ["export", TOKEN, TOKEN],
    ["finetune", "clones", "--config", TOKEN],
    ["finetune", TOKEN],
    ["pairs", "mine", TOKEN, "--out", TOKEN],
    ["pairs", "negatives", TOKEN, TOKEN, "--out", TOKEN],
    ["pairs", TOKEN],
    [TOKEN],
    ["forget", "TREE"],
    ["forget", TOKEN],
]


@pytest.fixture(scope="module")
def kept_home(tmp_path_factory):
    """Indexes that the verbs leave to each other."""
    return tmp_path_factory.mktemp("kept")


@pytest.mark.parametrize("words", VERBS, ids=lambda words: " ".join(words).replace(TOKEN, "?"))
def test_no_unseen_character_reaches_the_terminal(mose, hostile_tree, kept_home, tmp_path, monkeypatch, words):
    monkeypatch.setenv("MOSE_HOME", str(kept_home))
    monkeypatch.chdir(tmp_path)
    code, out, err = mose(*(str(hostile_tree) if word == "TREE" else word for word in words))
    assert is_clean(out), err
    assert is_clean(err)
    assert code in (0, 1, 2)
    assert out or err
    if "--json" in words and code == 0:
        for line in out.splitlines():
            json.loads(line)


def test_json_keeps_what_text_escapes(mose, hostile_tree):
    _, out, _ = mose("search", "paint", hostile_tree, "--path", "latin.py", "--json")
    assert "return '\x9b31m\x9d0;pwn\x9c'" in json.loads(out)["text"]
    assert json.loads(out)["root"] == str(hostile_tree)


def test_progress_and_warnings_are_escaped_too(hostile_tree, tmp_path):
    """A real terminal, with the bars that only a terminal gets."""
    pty = pytest.importorskip("pty")
    import os

    program = f"import sys; sys.argv = ['mose', 'index', {str(hostile_tree)!r}]; import mose.__main__ as m; m.main()"
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=child, stdout=child, stderr=child,
        env={**os.environ, "MOSE_HOME": str(tmp_path), "TERM": "xterm"},
    )  # fmt: skip
    os.close(child)
    data = b""
    try:
        while part := os.read(parent, 65536):
            data += part
    except OSError:  # the other end is closed
        pass
    assert process.wait() == 0
    assert is_clean(data.decode().replace("\r", "")), data


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("漢字漢字", 8, "漢字漢字"),
        ("漢字漢字", 7, "漢字漢…"),
        ("漢字漢字", 6, "漢字…"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
        ("\x1bx", 4, "\\x1…"),
        ("\ta", 5, "    a"),
        ("", 3, ""),
    ],
)
def test_a_line_is_clipped_to_the_columns_that_it_takes(text, width, shown):
    assert terminal.clip(text, width) == shown
    assert terminal.width_of(shown) <= width


def test_color_is_for_terminals_unless_told_otherwise(mose, sample_tree, monkeypatch):
    monkeypatch.chdir(sample_tree)
    assert "\x1b" not in mose("search", "proxy", sample_tree)[1]
    assert "\x1b[1msrc/network.py:1-24\x1b[0m" in mose("search", "proxy", "--color", "always")[1]
    monkeypatch.setattr(terminal, "is_terminal", lambda stream: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1m" in mose("search", "proxy", sample_tree)[1]
    assert "\x1b" not in mose("search", "proxy", sample_tree, "--color", "never")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in mose("search", "proxy", sample_tree)[1]
    assert "\x1b[1m" in mose("search", "proxy", sample_tree, "--color", "always")[1]


def test_talk_and_reasons_are_wrapped_on_a_screen_and_whole_in_a_pipe(monkeypatch):
    import io

    class Screen(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "40")
    text = "score = " + " + ".join(f"part {number}" for number in range(20))
    assert terminal.wrapped(text, io.StringIO()) == terminal.wrapped(text, None) == [text]
    lines = terminal.wrapped(text, Screen(), indent=9)
    assert max(map(len, lines)) <= 31 and " ".join(lines) == text


def test_lines_of_code_fit_a_narrow_screen(mose, sample_tree, monkeypatch):
    monkeypatch.setattr(terminal, "columns", lambda: 40)
    monkeypatch.setattr("mose.cli.search.hits.columns", lambda: 40)
    (sample_tree / "wide.py").write_text("def wide_function_of_words():\n    return '" + "wide " * 100 + "'\n")
    monkeypatch.chdir(sample_tree)
    _, out, _ = mose("search", "wide function of words", "--limit", 1)
    assert max(map(len, out.splitlines())) <= 40 and terminal.ELLIPSIS in out


@pytest.mark.parametrize(("term", "quiet"), [("dumb", False), ("xterm", True)])
def test_no_bar_is_drawn_where_none_is_wanted(monkeypatch, capsys, term, quiet):
    import io

    from mose.cli.output import ProgressBar
    from mose.progress import Progress

    class Screen(io.StringIO):
        def isatty(self):
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", term)
    with ProgressBar(quiet=quiet) as tell:
        tell(Progress("cut", 1, 9))
    assert screen.getvalue() == ""
    assert ProgressBar(quiet=False).draws == (term == "xterm")


@pytest.mark.parametrize("columns", [40, 120])
def test_talk_fits_the_terminal_that_it_goes_to_wherever_the_answer_goes(sample_tree, tmp_path, columns):
    """Standard output is a pipe, standard error a terminal of so many columns."""
    pty = pytest.importorskip("pty")
    import os

    parent, child = pty.openpty()
    termios = pytest.importorskip("termios")
    termios.tcsetwinsize(child, (24, columns))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-m", "mose", "search", "date", str(sample_tree), "--exit", "6", "--budget", "0"],
        stdout=subprocess.DEVNULL, stderr=child, check=True, cwd=tmp_path,
        env={**environment, "TERM": "dumb", "PYTHONPATH": os.pathsep.join(filter(os.path.isabs, sys.path))},
    )  # fmt: skip
    assert done.returncode == 0
    lines = os.read(parent, 65536).decode().split("\r\n")
    os.close(child), os.close(parent)
    assert columns - 20 < max(map(len, lines)) <= columns
