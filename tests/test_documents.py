"""The documents: tables come from result files, commands exist, files that are named are there."""

import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

from mose.config import ClonesConfig, FinetuneConfig, PretrainConfig
from mose.model.settings import ModelSettings

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


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_the_source_distribution_holds_every_file_of_the_repository():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
    held = {*settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"], "pyproject.toml", ".gitignore"}
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {Path(file).parts[0] for file in files.splitlines()} <= held
    ignored = subprocess.run(
        ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    assert not ignored, "hatch leaves out what git ignores, be it committed or not"


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


def test_the_shell_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    """In a part of this repository: all of it would take minutes."""
    from mose import cli

    for name in (
        "README.md",
        "src/mose/words.py",
        "src/mose/limited.py",
        "src/mose/search/index.py",
        "tests/test_git.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(tmp_path)
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
    _, location, symbol = capsys.readouterr().out.splitlines()[0].split()
    shown = re.search(r"```text\n(.*?)```", readme, re.DOTALL)[1].splitlines()
    path = location.partition(":")[0]
    assert shown[0].split()[1].startswith(f"{path}:") and shown[0].split()[2] == symbol
    code = (ROOT / path).read_text(encoding="utf8")
    assert all(line.split(maxsplit=1)[1] in code for line in shown[1:])


def _status(main, words):
    try:
        return main(words)
    except SystemExit as stop:  # `mose help`
        return stop.code


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))])
def test_links_lead_to_files(page):
    for name in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf8")):
        assert (ROOT / page).parent.joinpath(name).exists(), f"{page} links to {name}"


@pytest.mark.parametrize(
    "page",
    ["README.md", *(f"docs/{name}.md" for name in ("architecture", "paper-map", "benchmarks", "files", "security"))],
)
def test_files_that_are_named_exist(page):
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf8"), flags=re.DOTALL)
    folders = {path.name for folder in (ROOT, ROOT / "src" / "mose") for path in folder.iterdir() if path.is_dir()}
    folders.discard(".git")  # its files are the reader's, and not every clone has them all
    for name in re.findall(r"`([\w./-]+)`", text):
        if name.endswith(".py") or ("/" in name and name.partition("/")[0] in folders):
            known = (ROOT / name, ROOT / "src" / "mose" / name, *(ROOT / "tests").rglob(name))
            assert any(path.exists() for path in known), f"{page} names {name}"


def test_functions_that_the_maps_name_are_in_their_files():
    for page in ("architecture", "paper-map"):
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf8")
        for names, file in re.findall(r"((?:`\w+`,\s)*`\w+`)\sin\s`([\w./-]+\.py)`", text):
            source = (ROOT / "src" / "mose" / file).read_text(encoding="utf8")
            for name in re.findall(r"`(\w+)`", names):
                assert re.search(rf"\b{name}\b", source), f"{page} looks for {name} in {file}"


def test_settings_that_the_documents_change_exist():
    kinds = (FinetuneConfig, ClonesConfig, PretrainConfig, ModelSettings)
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "configs").glob("*.toml")]
    for page in pages:
        for key in re.findall(r"--set ([a-z_.]+)=", page.read_text(encoding="utf8")):
            assert any(_has_field(config, key) for config in kinds), f"{page.name}: {key}"


def _has_field(config, key):
    name, _, rest = key.partition(".")
    kind = get_type_hints(config).get(name) if is_dataclass(config) else None
    return kind is not None and (not rest or _has_field(kind, rest))
