"""Our processes import nothing from the folder they stand in, and start no program that lies there."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mose
from mose import processes

PACKAGES = Path(mose.__file__).parents[1]
THIRD_PARTY = (
    *("numpy", "onnxruntime", "tokenizers", "safetensors", "pathspec", "platformdirs", "filelock", "tqdm"),
    *("tree_sitter", "tree_sitter_python", "tree_sitter_c", "torch", "transformers", "huggingface_hub", "onnx"),
)
SCRIPT = "import sys; from mose.__main__ import main; sys.exit(main())"
"""What the installed command runs."""


def run(command, tree, **changes):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **changes}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def trap(sample_tree, tmp_path):
    """A tree with a module for every name that Python has not loaded when it starts; each plants a canary."""
    empty = tmp_path / "path" / "empty"
    empty.mkdir(parents=True)
    (empty / "__init__.py").touch()
    (empty / "__main__.py").write_text("import sys; print(*(name.partition('.')[0] for name in sys.modules))")
    loaded = run([sys.executable, "-m", "empty"], sample_tree, PYTHONPATH=str(empty.parent)).stdout.split()
    canaries = tmp_path / "canaries"
    canaries.mkdir()
    (sample_tree / "deps").mkdir()
    for name in {*sys.stdlib_module_names, *THIRD_PARTY} - {*loaded, "sitecustomize", "usercustomize"}:
        planted = f"open({str(canaries)!r} + '/{name}', 'w').close()\nraise SystemExit('code of the tree')\n"
        (sample_tree / f"{name}.py").write_text(planted)
        (sample_tree / "deps" / f"{name}.py").write_text(planted)
    for name in ("git", "pip", "npm"):
        (sample_tree / name).write_text(f"#!/bin/sh\ntouch {canaries}/{name}\n")
        (sample_tree / name).chmod(0o755)
    yield sample_tree, canaries
    assert not list(canaries.iterdir())


WAYS = {
    "python -m mose": ([sys.executable, "-m", "mose"], {}),
    "mose with an empty PYTHONPATH entry": (
        [sys.executable, "-P", "-c", SCRIPT],
        {"PYTHONPATH": os.pathsep.join(["", *filter(None, sys.path), "."])},
    ),
    "mose with a folder of the tree in PYTHONPATH": (
        [sys.executable, "-P", "-c", SCRIPT],
        {"PYTHONPATH": os.pathsep.join(["deps", *filter(None, sys.path), "./src/../deps"])},
    ),
    "mose with an empty PATH entry": (
        [sys.executable, "-P", "-c", SCRIPT],
        {"PATH": os.pathsep.join([".", "", os.environ["PATH"]])},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_verb_imports_or_starts_what_lies_in_the_current_folder(way, trap):
    tree, _ = trap
    command, changes = WAYS[way]
    for words in (
        ["search", "parse an ISO date", "--budget", "0", "--limit", "1"],
        ["index"],
        ["status"],
        ["eval-repo", ".", "--list"],
        ["info"],
        ["forget"],
    ):
        done = run([*command, *words], tree, **changes)
        assert done.returncode == 0, (words, done.stderr)


def test_deepening_runs_nothing_of_the_tree_and_ends(trap, home):
    tree, _ = trap
    done = run([sys.executable, "-P", "-c", SCRIPT, "search", "parse", ".", "--budget", "0", "--deepen"], tree)
    assert "in the background" in done.stderr
    (log,) = home.rglob("deepen.log")
    deadline = time.monotonic() + 120
    while "exit 6" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "chunks read" in log.read_text()


def test_log_of_deepening_is_not_written_through_a_link(sample_tree, home, tmp_path, mose):
    mose("search", "parse", sample_tree)
    folder = next(home.rglob("index.db")).parent
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (folder / "deepen.log").symlink_to(precious)
    _, _, err = mose("search", "parse", sample_tree, "--deepen")
    assert "Traceback" not in err
    assert precious.read_text() == "mine"


def test_current_folder_leaves_the_path_unless_this_package_lies_there(tmp_path, monkeypatch):
    standard = os.path.dirname(os.__file__)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), ".", "relative", standard, str(tmp_path), str(PACKAGES)])
    assert processes.import_path() == [standard, str(PACKAGES)]  # nor behind the standard library: `_winapi`, extras
    monkeypatch.chdir(standard)
    monkeypatch.setattr(sys, "path", [standard, str(PACKAGES)])
    assert processes.import_path() == [standard, str(PACKAGES)]
    monkeypatch.chdir(PACKAGES)
    monkeypatch.setattr(sys, "path", [str(PACKAGES), standard])
    assert processes.import_path() == [str(PACKAGES), standard]


def test_child_process_finds_what_this_one_finds(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('code of the tree')")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "found_by_path.py").write_text("answer = 42")
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    command = processes.python_command("import json, mose, found_by_path; print(sys.argv[1:], found_by_path.answer)")
    done = run([*command, "a b"], tmp_path, PYTHONPATH="")
    assert done.stdout == "['a b'] 42\n", done.stderr
