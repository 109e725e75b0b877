"""The command as a process: its standard files may be closed, full or narrow, and anyone may interrupt it."""

import json
import os
import signal
import subprocess
import sys
from functools import partial

import pytest
from sample_files import write_tree

from mose.search.query import MAX_QUERY_CHARS

MOSE = [sys.executable, "-m", "mose"]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if os.path.isabs(entry)),
    "PYTHONUNBUFFERED": "",  # as people run it: what is left in a buffer has its own errors
}


def run(line, **variables):
    """Runs a line of shell in which `mose` is the command: exit status, stdout, stderr."""
    done = subprocess.run(
        ["bash", "-c", f'mose() {{ "{sys.executable}" -m mose "$@"; }}; {line}'],
        capture_output=True, timeout=120, env={**ENVIRONMENT, **variables},
    )  # fmt: skip
    err = done.stderr.decode()
    assert "Traceback" not in err and "should not have happened" not in err, err
    return done.returncode, done.stdout.decode("utf-8", "surrogateescape"), err


@pytest.fixture
def shell(sample_tree, home):
    """Runs a line of shell in which `$TREE` is the sample tree, which has no index yet."""
    return partial(run, TREE=str(sample_tree), MOSE_HOME=str(home))


@pytest.fixture(scope="module")
def indexed_shell(tmp_path_factory):
    """Runs a line of shell in which `$TREE` is a tree that has an index; what forgets it has to make it anew."""
    tree = tmp_path_factory.mktemp("tree")
    write_tree(tree)
    names = {"TREE": str(tree), "MOSE_HOME": str(tmp_path_factory.mktemp("home"))}
    assert run("mose index $TREE", **names)[0] == 0
    return partial(run, **names)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "ascii:strict", "latin-1"])
def test_a_narrow_encoding_shows_escapes(shell, sample_tree, encoding):
    (sample_tree / "user.py").write_text('def lookup_user(uid):\n    """根据用户编号 \U0001f600"""\n', encoding="utf8")
    code, out, _ = shell("mose search lookup_user $TREE --limit 1", PYTHONIOENCODING=encoding)
    assert code == 0
    assert '"""\\u6839\\u636e\\u7528\\u6237\\u7f16\\u53f7 \\U0001f600"""' in out
    _, out, _ = shell("mose search lookup_user $TREE --limit 1 --json", PYTHONIOENCODING=encoding)
    assert "根据用户编号 \U0001f600" in json.loads(out)["text"]


VERBS = ["search proxy $TREE", "search proxy $TREE --json", "index $TREE", "status $TREE", "status $TREE --json",
         "info", "--help", "search --help", "-V", "eval-repo $TREE --list", "index $TREE --where", "forget $TREE"]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_an_answer_that_cannot_be_written_is_an_error_with_a_remedy(indexed_shell, verb):
    places = {">&-": "standard output is closed", "> /dev/full": "No space left on device"}
    for place, why in places.items():
        if place == "> /dev/full" and not os.path.exists("/dev/full"):
            continue
        code, _, err = indexed_shell(f"mose {verb} {place}")
        assert (code, err.splitlines()[-2]) == (2, f"OutputError: the answer cannot be written: {why}.")
        if verb.startswith("forget"):
            assert indexed_shell("mose index $TREE")[0] == 0


def test_an_error_behind_an_answer_that_cannot_be_written_is_told_with_its_own_status(shell, tmp_path):
    pytest.importorskip("mcp")
    places = ["| true; exit ${PIPESTATUS[0]}", *(["> /dev/full"] if os.path.exists("/dev/full") else [])]
    for place in places:
        code, _, err = shell(f"mose mcp --install claude {place}", HOME=str(tmp_path))
        assert (code, err.splitlines()[0]) == (2, "ConfigError: nobody can be asked here, allowed: a terminal.")
        assert "Exception ignored" not in err


@pytest.mark.parametrize("verb", VERBS)
def test_a_reader_that_has_enough_is_no_error(indexed_shell, verb):
    code, out, _ = indexed_shell(f"mose {verb} | true; echo ${{PIPESTATUS[0]}}")
    assert (code, out) == (0, "0\n")


def test_talk_that_cannot_be_written_stops_nothing(shell):
    wanted = shell("mose index $TREE >/dev/null; mose search proxy $TREE --json")[1]
    assert wanted
    for place in ("2>&-", "2>/dev/full", "2>&- <&-"):
        assert shell(f"mose search proxy $TREE --json {place}")[:2] == (0, wanted)
    assert shell("mose search proxy $TREE/none 2>&-")[:2] == (2, "")
    assert shell("mose search proxy $TREE <&- >&- 2>&-")[:2] == (2, "")


def test_standard_input_may_be_closed_odd_or_endless(shell):
    code, _, err = shell("mose search - $TREE <&-")
    assert (code, err.splitlines()[0]) == (2, "ConfigError: there is no query: standard input is closed.")
    assert shell(r"printf 'proxy\0pool \xff' | mose search - $TREE --json --limit 1")[0] == 0
    code, _, err = shell("yes 'proxy pool connection' | mose search - $TREE --json --limit 1")
    assert (code, err.splitlines()[0]) == (0, f"Of the query, the first {MAX_QUERY_CHARS:,} characters are read.")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_an_agent_cannot_be_served_through_closed_streams(shell, closed):
    pytest.importorskip("mcp")
    code, out, err = shell(f"mose mcp $TREE {closed}")
    assert (code, out) == (2, "")
    assert not err or err.splitlines() == [
        "ConfigError: standard input or output is closed, and an agent talks through them.",
        "  Let an agent start it: mose mcp --install AGENT",
    ]


def test_no_folder_for_temporary_files_is_needed(shell):
    assert (
        shell("mose index $TREE --rebuild && mose search proxy $TREE && mose status $TREE", TMPDIR="/nonexistent")[0]
        == 0
    )


def test_the_current_folder_may_be_gone(shell, tmp_path):
    gone = f"mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir {tmp_path}/gone && mose"
    for words in ("search proxy $TREE --deepen", "index $TREE", "status $TREE --why src/network.py", "list", "help"):
        code, out, err = shell(f"{gone} {words}")
        assert (code, bool(out)) == (0, True), (words, err)
    for verb in (
        "search proxy",
        "index",
        "status",
        "status --why a.py",
        "eval-repo --list",
        "forget",
        "watch",
        "serve",
    ):
        code, _, err = shell(f"{gone} {verb}")
        assert (code, "SourceError" in err) == (2, True), (verb, err)


def test_a_tree_whose_name_is_no_text_is_searched(shell):
    line = r"""cp -r $TREE "$TREE"$'\xff'; cd "$TREE"$'\xff'; mose search proxy . --json --limit 1"""
    code, out, _ = shell(line)
    assert (code, json.loads(out)["path"]) == (0, "src/network.py")
    assert json.loads(out)["root"].endswith("\udcff")
    for verb in ("index", "status", "eval-repo --list", "forget"):
        assert shell(rf"""mose {verb} "$TREE"$'\xff' """)[0] == 0


ODD = ["--", "\udcff", "\ud800", "", " ", "~", "~nobody/x", "..", "/dev/null", "a:b:3", ":", "*", "\n", "9" * 20, "a\0b", "x" * 5000,
       "-1", "0", "nan", "inf", "1e309", "1e-400", "\uff13", "²", "C:\\x\\y.py", "[z-a]", "!", "\\", "**/" * 99]  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        "search {} TREE --budget 0",
        "search --like {} TREE --budget 0",
        "search --like {}:3 TREE --budget 0",
        "search --like src/dates.py:{} TREE --budget 0",
        "search proxy TREE --budget 0 --path {}",
        "search proxy TREE --budget 0 --path={}",
        "search proxy TREE --language={} --model={}",
        "search proxy TREE --budget 0 --language {}",
        "search proxy TREE --model {}",
        "search proxy TREE --budget {}",
        "search proxy TREE --budget 0 --limit {}",
        "search proxy TREE --budget 0 --width {}",
        "search proxy TREE --budget 0 --exit {}",
        "status {}",
        "forget {}",
        "index --where {}",
        "info {}",
        "info --length {}",
        "cut {} {} --exit 1",
        "convert {} {} --exits 2",
        "finetune clones --config {}",
        "pairs mine {} --out /dev/null/x",
        "eval-repo TREE --check {}",
        "eval-repo TREE --list --queries {}",
        "eval --report {}",
        "eval --compare {} {}",
        "{}",
    ],
)
def test_odd_arguments_give_an_answer_or_a_clear_error(mose, sample_tree, monkeypatch, command):
    monkeypatch.chdir(sample_tree)
    monkeypatch.setenv("HOME", "/nonexistent")
    for odd in ODD:
        words = [word.replace("{}", odd).replace("TREE", str(sample_tree)) for word in command.split()]
        code, out, err = mose(*words)  # anything but an exit status would be a traceback
        assert code in (0, 1, 2), (odd, code)
        assert out or err, odd


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"\0", b"", b"null", b"[1]", b'"x"', b"a = 1\n" * 9,
                                     b'{"format": 1e999}', b"a = " + b"[" * 5000, "a = 'ü'".encode("latin-1")])  # fmt: skip
def test_odd_files_give_a_clear_error(mose, tmp_path, sample_tree, content):
    """Every verb that reads TOML or JSON: settings, baselines, results, models."""
    file = tmp_path / "file.json"
    file.write_bytes(content)
    for folder, names in {"checkpoint": ["config.json"], "model": ["mose.json", "manifest.json"]}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_bytes(content)
    commands = [
        ["finetune", "retrieval", "--config", file],
        ["finetune", "clones", "--config", file],
        ["pairs", "mine", file, "--out", tmp_path / "out"],
        ["pairs", "negatives", tmp_path / "checkpoint", file, "--out", tmp_path / "out.jsonl"],
        ["eval-repo", sample_tree, "--check", file],
        ["eval", "--report", file],
        ["eval", "--compare", file, file],
        ["info", tmp_path / "checkpoint"],
        ["info", tmp_path / "model"],
        ["search", "x", sample_tree, "--model", tmp_path / "model"],
        ["cut", tmp_path / "checkpoint", tmp_path / "out", "--exit", "1"],
        ["convert", tmp_path / "checkpoint", tmp_path / "out", "--exits", "1"],
        ["export", tmp_path / "checkpoint", tmp_path / "out"],
    ]
    for words in commands:
        code, out, err = mose(*words)
        assert (code, out) == (2, ""), words
        assert err.count("\n") < 6, err


SIGNAL_AT_IMPORT = """
import os, sys
import mose.__main__ as command
wanted, number, *words = sys.argv[1:]
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), int(number))
sys.meta_path.insert(0, Finder())
sys.argv = ["mose", *words]
command.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "module",
    ["argparse", "mose.cli", "mose.cli.terminal", "mose.cli.search.command", "numpy", "mose.search.index", "onnxruntime",
     "tokenizers", "sqlite3", "mose.search.snippet"],
)  # fmt: skip
def test_an_interruption_during_any_import_is_no_traceback(mose, sample_tree, home, module, number):
    words = ["-c", SIGNAL_AT_IMPORT, module, str(int(number)), "search", "proxy", str(sample_tree)]
    environment = {**ENVIRONMENT, "MOSE_HOME": str(home)}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 128 + number, done.stderr
    assert "Traceback" not in done.stderr and "should not" not in done.stderr
    assert mose("search", "proxy", sample_tree)[0] == 0


def test_an_interruption_at_any_moment_is_130_and_nothing_is_lost(sample_tree, home):
    for number in range(400):
        (sample_tree / f"more_{number}.py").write_text(f"def proxy_{number}():\n    return {number}\n" * 20)
    codes = []
    environment = {**ENVIRONMENT, "MOSE_HOME": str(home)}
    for tenths in range(3, 20, 2):
        process = subprocess.Popen(
            [*MOSE, "index", str(sample_tree)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        try:
            err = process.communicate(timeout=tenths / 10)[1]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            err = process.communicate(timeout=60)[1]
        assert b"Traceback" not in err and b"should not" not in err, err
        # While Python itself still starts, the signal ends it; a shell shows that as 130 too.
        codes.append(130 if process.returncode == -signal.SIGINT else process.returncode)
    assert set(codes) <= {0, 130}
    assert 130 in codes
    done = subprocess.run(
        [*MOSE, "index", str(sample_tree), "--json"], capture_output=True, timeout=300, env=environment
    )
    assert json.loads(done.stdout)["files"] == 406


def test_a_second_interruption_ends_the_process_at_once(sample_tree, home):
    program = (
        "import os, signal, sys, mose.cli, mose.__main__ as command\n"
        "def stubborn():\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n        os.kill(os.getpid(), signal.SIGINT)\n"
        "    while True: pass\n"
        "mose.cli.main = stubborn\n"
        "command.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (130, b"")
