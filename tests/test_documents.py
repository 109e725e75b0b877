"""The documents: tables come from result files, commands exist, files that are named are there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_tables_equal_their_results():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "tables.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_reference_of_the_command_line_equals_its_parser():
    done = subprocess.run(
        [sys.executable, ROOT / "recipes" / "command_line.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_ci_finds_the_test_command():
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    block = re.search(r"<!-- test command -->\n```sh\n(pip .*)\n```", readme)
    assert block is not None
    assert "constraints.txt" in block[1]


def test_the_python_of_the_readme_runs(sample_tree, capsys):
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    exec(code.replace("path/to/tree", str(sample_tree)), {})
    assert "src/network.py" in capsys.readouterr().out.splitlines()[0]


def test_the_shell_of_the_readme_runs(sample_tree, monkeypatch, capsys):
    from mose import cli

    monkeypatch.chdir(sample_tree)
    functions = [f"def f{n}(): return {n}" for n in range(200)]
    (sample_tree / "src" / "app.py").write_text("\n".join([*functions, "class HTTPAdapter: pass"]))
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    blocks = re.findall(r"```sh\n(mose .*?)```", readme, re.DOTALL)
    for line in "".join(blocks).splitlines():
        for command in line.partition("#")[0].split("&&"):
            assert _status(cli.main, shlex.split(command)[1:]) == 0, capsys.readouterr().err


def test_the_first_command_of_the_readme_finds_something_in_a_fresh_clone(monkeypatch, capsys):
    from mose import cli

    monkeypatch.chdir(ROOT)
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    command = re.search(r"<!-- install command -->\n```sh\npip install \. && (mose .*)\n```", readme)[1]
    assert cli.main(shlex.split(command)[1:]) == 0
    assert "mose/search/store/location.py" in capsys.readouterr().out


def _status(main, words):
    try:
        return main(words)
    except SystemExit as stop:  # `mose help`
        return stop.code


@pytest.mark.parametrize("page", ["README.md", "docs/paper-map.md", "docs/benchmarks.md", "docs/files.md"])
def test_files_that_are_named_exist(page):
    text = (ROOT / page).read_text(encoding="utf8")
    for name in re.findall(r"`((?:src|tests|benchmarks|docs|configs)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), f"{page} names {name}"
    for name in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / page).parent.joinpath(name).exists(), f"{page} links to {name}"
