"""Repositories as git sees them: worktrees, submodules, excludes, tracked files. Real git makes them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from mose.files import Skipped, SourceFile, walk
from mose.files.repository import repository_at, user_excludes
from mose.files.tracked import tracked_files

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL"):
        monkeypatch.delenv(name, raising=False)
    return folder


def git(folder: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "GIT_CONFIG_NOSYSTEM": "1"}
    fixed = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *fixed, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make(root: Path, *paths: str, text: str = "x = 1\n") -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.fixture
def repository(tmp_path):
    root = make(tmp_path / "main", "a.py")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "x")
    return root


def found(root: Path) -> list[str]:
    return [item.path for item in walk(root) if isinstance(item, SourceFile)]


def left_out(root: Path) -> dict[str, str]:
    return {item.path: item.reason for item in walk(root) if isinstance(item, Skipped)}


# Worktrees and submodules


def test_linked_worktree_uses_the_excludes_of_its_repository_and_skips_its_git_file(repository, tmp_path):
    (repository / ".git" / "info" / "exclude").write_text("notes.py\n")
    git(repository, "worktree", "add", "-q", "../linked")
    make(repository, "notes.py")
    make(tmp_path / "linked", "notes.py", "sub/notes.py", "sub/b.py")
    assert found(repository) == ["a.py"]
    assert found(tmp_path / "linked") == ["a.py", "sub/b.py"]
    assert found(tmp_path / "linked" / "sub") == ["b.py"]
    assert left_out(tmp_path / "linked")[".git"] == "version control or cache"


def test_linked_worktree_inside_the_tree_is_left_out_and_found_when_named(repository):
    git(repository, "worktree", "add", "-q", "worktrees/feature")
    make(repository, "worktrees/other/b.py")
    assert found(repository) == ["a.py", "worktrees/other/b.py"]
    assert left_out(repository)["worktrees/feature/"] == "linked worktree of the same repository"
    assert found(repository / "worktrees" / "feature") == ["a.py"]


def test_submodule_is_read_by_its_own_rules(repository, tmp_path):
    part = make(tmp_path / "part", "kept.log", "b.py")
    git(part, "init", "-q")
    git(part, "add", "-A")
    git(part, "commit", "-qm", "x")
    git(repository, "submodule", "add", "-q", "../part", "sub")
    make(repository, "c.log", "sub/notes.py").joinpath(".gitignore").write_text("*.log\n")
    (repository / ".git" / "modules" / "sub" / "info" / "exclude").write_text("notes.py\n")
    assert found(repository) == [".gitignore", ".gitmodules", "a.py", "sub/b.py", "sub/kept.log"]
    assert left_out(repository)["sub/.git"] == "version control or cache"
    assert found(repository / "sub") == ["b.py", "kept.log"]


def test_nested_repository_uses_its_own_rules_alone(repository):
    make(repository, "x.log", "nested/y.log", "nested/z.tmp").joinpath(".gitignore").write_text("*.log\n")
    git(repository / "nested", "init", "-q")
    (repository / "nested" / ".gitignore").write_text("*.tmp\n")
    assert found(repository) == [".gitignore", "a.py", "nested/.gitignore", "nested/y.log"]


@pytest.mark.parametrize("target", ["../secret", "{tmp}/secret", "//host/share", "\\\\host\\share", "", "\0", "."])
def test_git_file_of_a_stranger_is_not_believed(tmp_path, target):
    secret = make(tmp_path / "secret", "HEAD", "config")
    make(secret, "info/exclude", text="b.py\n")
    tree = make(tmp_path / "tree", "b.py")
    (tree / ".git").write_text(f"gitdir: {target.format(tmp=tmp_path)}\n")
    assert repository_at(str(tree)) is None
    assert found(tree) == ["b.py"]


# The user's own excludes


@pytest.mark.parametrize(
    ("config", "text", "rules"),
    [
        (None, "", ".config/git/ignore"),
        (".gitconfig", "[core]\n\texcludesFile = ~/mine\n", "mine"),
        (".gitconfig", '[CORE] ExcludesFile = "~/m\\"y mine" ; comment\n', 'm"y mine'),
        (".config/git/config", "[user]\nname = x\n[core]\n  excludesfile = ~/mine # comment\n", "mine"),
        (".gitconfig", "[include]\n\tpath = more\n", "mine"),
    ],
)
def test_excludes_of_the_user_apply_in_repositories(repository, home, config, text, rules):
    make(home, "more", text="[core]\nexcludesFile = ~/mine\n")
    make(home, rules, text="scratch_*.py\n")
    if config:
        make(home, config, text=text)
    make(repository, "scratch_a.py", "b.py")
    assert user_excludes() == str(home / rules)
    assert found(repository) == ["a.py", "b.py"]
    assert git(repository, "ls-files", "-o", "--exclude-standard").split() == ["b.py"]


def test_excludes_named_by_the_tree_are_not_read(repository, tmp_path):
    make(tmp_path, "foreign", text="b.py\n")
    git(repository, "config", "core.excludesFile", str(tmp_path / "foreign"))
    make(repository, "b.py")
    assert found(repository) == ["a.py", "b.py"]


def test_gitignore_outranks_info_exclude_and_that_the_excludes_of_the_user(repository, home):
    make(home, ".config/git/ignore", text="*.one\n*.two\n*.three\n")
    (repository / ".git" / "info" / "exclude").write_text("!*.two\n!*.three\n")
    make(repository, "x.one", "x.two", "x.three").joinpath(".gitignore").write_text("*.three\n")
    assert found(repository) == [".gitignore", "a.py", "x.two"]


# Tracked files


def test_tracked_files_are_read_though_ignored_or_hidden(repository):
    tracked = ["build/keep.py", "build/deep/er.py", "out.log", ".hidden/a.py", ".env", ".config2/x/y.py"]
    make(repository, *tracked, "build/made.py", "build/deep/made.py", "other.log", ".hidden/b.py", ".cache/c.py")
    (repository / ".gitignore").write_text("build/\n*.log\n")
    git(repository, "add", "-f", ".gitignore", *tracked)
    assert found(repository) == sorted([".gitignore", "a.py", *tracked])
    assert found(repository / "build") == ["deep/er.py", "deep/made.py", "keep.py", "made.py"]  # it is named itself
    assert left_out(repository)["build/made.py"] == "ignored"


def test_moseignore_outranks_what_git_tracks(repository):
    make(repository, "gen/a.py", "gen/b.py").joinpath(".moseignore").write_text("a.py\n")
    (repository / ".gitignore").write_text("gen/\n")
    git(repository, "add", "-f", "gen")
    assert found(repository) == [".gitignore", ".moseignore", "gen/b.py"]


@pytest.mark.parametrize("version", [2, 3, 4])
def test_every_version_of_the_index_gives_what_git_lists(repository, version):
    rng = random.Random(version)
    names = ["a", "b", "long name " * 20, "é", "x" * 200]
    paths = {"/".join([*rng.choices(names, k=rng.randint(1, 5)), f"f{n}.py"]) for n in range(300)}
    make(repository, *paths)
    git(repository, "add", "-A")
    if version == 3:
        make(repository, "later.py")
        git(repository, "add", "-N", "later.py")  # an entry with extended flags
    git(repository, "update-index", "--index-version", str(version))
    assert (repository / ".git" / "index").read_bytes()[7] in {version, 2}
    tracked = tracked_files(str(repository / ".git"))
    listed = git(repository, "ls-files", "-z").split("\0")[:-1]
    assert tracked._paths == sorted(path.encode() for path in listed)
    assert tracked.has(listed[0])
    assert tracked.has_below(listed[-1].partition("/")[0]) is ("/" in listed[-1])
    assert not tracked.has("nowhere")


def test_split_index_and_other_hash(repository, tmp_path):
    make(repository, "b.py", "c/d.py")
    git(repository, "add", "-A")
    git(repository, "update-index", "--split-index")
    make(repository, "e.py")
    git(repository, "add", "e.py")
    assert sorted(set(tracked_files(str(repository / ".git"))._paths)) == [b"a.py", b"b.py", b"c/d.py", b"e.py"]
    other = make(tmp_path / "other", "a.py", "b/c.py")
    git(other, "init", "-q", "--object-format=sha256")
    git(other, "add", "-A")
    assert tracked_files(str(other / ".git"))._paths == [b"a.py", b"b/c.py"]


def test_changed_index_is_read_again(repository):
    assert not tracked_files(str(repository / ".git")).has("b.py")
    git(make(repository, "b.py"), "add", "b.py")
    assert tracked_files(str(repository / ".git")).has("b.py")


def test_damaged_index_gives_no_more_than_wrong_paths(repository):
    make(repository, *(f"d{n}/f.py" for n in range(20)))
    git(repository, "add", "-A")
    index = repository / ".git" / "index"
    rng = random.Random(0)
    for version in (2, 4):
        git(repository, "update-index", "--index-version", str(version))
        good = index.read_bytes()
        for _ in range(300):
            data = bytearray(good)
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            index.write_bytes(data[: rng.choice([len(data), len(data), rng.randrange(len(data))])])
            assert isinstance(tracked_files(str(repository / ".git")).has("a.py"), bool)
        index.write_bytes(good)


def test_index_that_unfolds_to_far_more_than_it_holds_is_refused(tmp_path):
    entry = bytes(60)
    names = b"".join(
        entry + min(length, 0xFFF).to_bytes(2) + b"\0" + b"a\0" for length in range(1, 4_000)
    )  # version 4: each path is the one before and a letter more
    folder = tmp_path / ".git"
    folder.mkdir()
    (folder / "index").write_bytes(b"DIRC" + (4).to_bytes(4) + (3_999).to_bytes(4) + names + bytes(20))
    assert not tracked_files(str(folder)).has("a")
