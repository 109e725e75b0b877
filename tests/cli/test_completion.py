"""``mose completion``: what a real shell offers, typed word by word."""

import shutil
import subprocess

import pytest

from mose.cli import COMMANDS, build_parser
from mose.cli.parser import Parser

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture
def offered(mose, tmp_path):
    """What bash offers for the last word of a line; it splits words as it does for people."""
    script = mose("completion", "bash")[1]

    def offers(*words):
        line = "\n".join(
            [script, 'COMP_WORDS=("$@")', "COMP_CWORD=$(($# - 1))", "_mose", 'printf "%s\\n" "${COMPREPLY[@]}"']
        )
        done = subprocess.run(
            ["bash", "-c", line, "bash", *words], capture_output=True, text=True, cwd=tmp_path, check=True
        )
        assert done.stderr == ""
        return done.stdout.split()

    return offers


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["mose", "sea"], ["search"]),
        (["mose", "pairs", "d"], ["dedup"]),
        (["mose", "search", "--col"], ["--color"]),
        (["mose", "search", "a query", "--color", ""], ["auto", "always", "never"]),
        (["mose", "search", "a query", "--color", "=", "al"], ["always"]),
        (["mose", "search", "a query", "--color", "="], ["auto", "always", "never"]),
        (["mose", "search", "a query", "--format", "v"], ["vimgrep"]),
        (["mose", "search", "index", "--rebu"], []),
        (["mose", "pairs", "mine", "--sk"], ["--skip-missing"]),
        (["mose", "finetune", ""], ["retrieval", "clones"]),
        (["mose", "completion", ""], list(SHELLS)),
        (["mose", "search", "a query", ""], []),
        (["mose", "search", "--limit", ""], []),
        (["mose", "--vers"], ["--version"]),
    ],
    ids=" ".join,
)
def test_bash_offers_commands_options_and_values(offered, words, wanted):
    assert offered(*words) == wanted


def test_every_command_and_option_is_offered(offered):
    assert offered("mose", "") == list(COMMANDS)

    def check(parser: Parser, *words: str) -> None:
        names = {name for action in parser._actions for name in action.option_strings}
        assert set(offered("mose", *words, "-")) == names
        below = next((action for action in parser._actions if action.nargs == "A..."), None)
        for name, command in below.choices.items() if below else ():
            check(command, *words, name)

    check(build_parser(COMMANDS))


def test_bash_completes_files_where_nothing_else_fits(mose):
    assert mose("completion", "bash")[1].endswith("complete -o default -F _mose mose\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_can_read_its_script(mose, tmp_path, shell):
    code, out, err = mose("completion", shell)
    assert (code, err) == (0, "") and "--skip-missing" in out.replace("-l ", "--")
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    (tmp_path / "script").write_text(out)
    subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_an_unknown_shell_is_named(mose):
    code, out, err = mose("completion", "tcsh")
    assert (code, out) == (2, "")
    assert "got 'tcsh', allowed: bash, zsh, fish" in err
