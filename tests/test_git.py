"""git reads the objects of a repository and nothing else of it: no setting of the tree runs a program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mose import git
from mose.evaluate.repository.history import read_commits, tree_state

ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
WHO = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "protocol.file.allow=always"]


def run(folder, *words, **changes):
    command = ["git", *WHO, "-C", str(folder), *map(str, words)]
    done = subprocess.run(command, check=True, env={**os.environ, **ALONE, **changes}, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(sample_tree):
    """Three commits: all files, one renamed and edited, one changed in a subfolder."""
    run(sample_tree, "init", "-q", "-b", "main")
    run(sample_tree, "add", ".")
    run(sample_tree, "commit", "-qm", "Parse dates and open connections")
    run(sample_tree, "mv", "src/network.py", "src/connections.py")
    (sample_tree / "src" / "connections.py").open("a").write("\n\nLIMIT = 3\n")
    run(sample_tree, "commit", "-qam", "Connections have a limit of their own")
    (sample_tree / "web" / "login.js").open("a").write("// signs out, too\n")
    run(sample_tree, "commit", "-qam", "Sign users out when the session ends")
    return sample_tree


def subjects(root):
    commits = read_commits(root)
    assert not isinstance(commits, str), commits
    return [commit.subject for commit in commits]


ALL = [
    "Sign users out when the session ends",
    "Connections have a limit of their own",
    "Parse dates and open connections",
]


def linked(repository, tmp_path):
    run(repository, "worktree", "add", "-q", tmp_path / "linked", "-b", "other")
    return tmp_path / "linked"


def packed(repository, tmp_path):
    run(repository, "pack-refs", "--all")
    run(repository, "gc", "-q")
    return repository


def detached(repository, tmp_path):
    run(repository, "checkout", "-q", "--detach")
    return repository


def borrowed(repository, tmp_path):
    run(tmp_path, "clone", "-q", "--shared", repository, tmp_path / "borrowed")
    return tmp_path / "borrowed"


def submodule(repository, tmp_path):
    run(tmp_path, "init", "-q", "outer")
    run(tmp_path / "outer", "submodule", "add", "-q", repository, "inner")
    return tmp_path / "outer" / "inner"


@pytest.mark.parametrize("form", [linked, packed, detached, borrowed, submodule])
def test_every_form_of_a_repository_is_read(form, repository, tmp_path):
    root = form(repository, tmp_path)
    assert subjects(root) == ALL
    assert tree_state(root).commit == run(root, "rev-parse", "HEAD")
    assert not tree_state(root).is_dirty
    (root / "README.md").write_text("changed")
    assert tree_state(root).is_dirty


def test_rename_and_paths_are_those_of_the_folder_asked_for(repository):
    assert [commit.paths for commit in read_commits(repository)][:2] == [("web/login.js",), ("src/connections.py",)]
    (edited, first) = read_commits(repository / "src")
    assert edited.paths == ("connections.py",)
    assert sorted(first.paths) == ["dates.py", "network.py", "store.go"]


def test_shallow_and_partial_clones_are_read_without_fetching(repository, tmp_path):
    run(repository, "config", "uploadpack.allowFilter", "true")
    url = f"file://{repository}"
    run(tmp_path, "clone", "-q", "--depth", "2", url, tmp_path / "shallow")
    assert subjects(tmp_path / "shallow") == ALL[:2]
    run(tmp_path, "clone", "-q", "--filter=blob:none", url, tmp_path / "partial")
    repository.rename(tmp_path / "gone")
    assert subjects(tmp_path / "partial") == ALL


def test_repository_of_longer_hashes_is_read(tmp_path):
    root = tmp_path / "sha256"
    root.mkdir()
    run(root, "init", "-q", "--object-format=sha256")
    (root / "a.py").write_text("x = 1\n")
    run(root, "add", ".")
    run(root, "commit", "-qm", "Count things in a new way")
    assert subjects(root) == ["Count things in a new way"]
    assert len(tree_state(root).commit) == 64


def test_few_objects_that_stand_for_billions_of_files_are_refused_in_little_memory(tmp_path, peak_memory):
    run(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "a.py").write_text("x = 1\n")
    run(tmp_path, "add", ".")
    run(tmp_path, "commit", "-qm", "Count things in a new way")
    (tmp_path / "long").write_text("x")
    entry = f"100644 blob {run(tmp_path, 'hash-object', '-w', tmp_path / 'long')}\t"
    for _ in range(9):
        names = "".join(f"{entry}{letter * 200}\n" for letter in "abcdefghij")
        entry = f"040000 tree {make_tree(tmp_path, names)}\t"
    head = run(
        tmp_path, "commit-tree", make_tree(tmp_path, f"{entry}top\n"), "-p", "HEAD", "-m", "Keep a billion files"
    )
    run(tmp_path, "update-ref", "HEAD", head)
    started = peak_memory()
    assert read_commits(tmp_path) == "the git history cannot be read"
    assert peak_memory() - started < 3 * git.MOST_OUTPUT_BYTES


def make_tree(folder, entries):
    made = subprocess.run(
        ["git", "-C", str(folder), "mktree"], input=entries, check=True, capture_output=True, text=True
    )
    return made.stdout.strip()


def test_no_repository_and_one_without_a_commit(tmp_path):
    assert git.find_repository(tmp_path) is None
    run(tmp_path, "init", "-q")
    assert git.find_repository(tmp_path) is None
    assert read_commits(tmp_path) == "there is no git history"


@pytest.fixture
def trap(repository, tmp_path):
    """A repository whose every setting, hook and reference plants a canary when git acts on it."""
    canaries = tmp_path / "canaries"
    canaries.mkdir()
    script = tmp_path / "plant"
    script.write_text(f'#!/bin/sh\ntouch "{canaries}/$$-$1"\ncat\n')
    script.chmod(0o755)
    settings = {
        "gpg.program": f"{script} gpg",
        "log.showSignature": "true",
        "commit.gpgSign": "true",
        "core.fsmonitor": f"{script} fsmonitor",
        "core.sshCommand": f"{script} ssh",
        "core.gitProxy": f"{script} proxy",
        "core.pager": f"{script} pager",
        "core.editor": f"{script} editor",
        "core.askPass": f"{script}",
        "core.hooksPath": str(tmp_path / "hooks"),
        "core.worktree": str(tmp_path / "elsewhere"),
        "core.alternateRefsCommand": f"{script} alternates",
        "pager.log": f"{script} pager.log",
        "pager.status": f"{script} pager.status",
        "alias.log": f"!{script} alias",
        "alias.status": f"!{script} alias",
        "credential.helper": f"!{script} credential",
        "diff.external": f"{script} diff",
        "diff.trap.textconv": f"{script} textconv",
        "diff.trap.command": f"{script} command",
        "filter.trap.clean": f"{script} clean",
        "filter.trap.smudge": f"{script} smudge",
        "filter.trap.process": f"{script} process",
        "filter.trap.required": "true",
        "merge.trap.driver": f"{script} merge",
        "interactive.diffFilter": f"{script} interactive",
        "protocol.allow": "always",
        "protocol.ext.allow": "always",
        "remote.origin.url": f"ext::{script} remote",
        "remote.origin.promisor": "true",
        "remote.origin.partialclonefilter": "blob:none",
        "extensions.partialClone": "origin",
        "core.repositoryFormatVersion": "1",
        "include.path": str(tmp_path / "included"),
        "includeIf.gitdir:/.path": str(tmp_path / "included"),
        "uploadpack.packObjectsHook": f"{script} pack",
        "trace2.eventTarget": str(canaries / "trace"),
        "submodule.recurse": "true",
        "status.submoduleSummary": "true",
        "diff.submodule": "log",
    }
    (tmp_path / "included").write_text(f"[core]\n\tfsmonitor = {script} included\n")
    (tmp_path / "hooks").mkdir()
    for hook in ("fsmonitor-watchman", "post-index-change", "post-checkout", "reference-transaction", "pre-auto-gc"):
        (tmp_path / "hooks" / hook).symlink_to(script)
    inner = repository / "inner"
    missing = run(repository, "rev-parse", "HEAD~2:src/network.py")
    run(repository, "clone", "-q", "--bare", repository, repository / "bare.git")
    run(repository, "clone", "-q", repository, inner)
    run(repository, "add", "-f", "inner")
    (repository / ".gitattributes").write_text("* filter=trap diff=trap merge=trap\n")
    run(repository, "commit", "-qam", "Keep a module of its own inside")
    signed = run(repository, "cat-file", "commit", "HEAD").replace(
        "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\n", 1
    )
    (tmp_path / "signed").write_text(signed + "\n")
    head = run(repository, "hash-object", "-t", "commit", "-w", tmp_path / "signed")
    run(repository, "update-ref", "HEAD", head)
    run(repository, "replace", head, "HEAD~1")
    (repository / ".git" / "info" / "grafts").write_text(f"{head}\n")
    (repository / ".git" / "info" / "attributes").write_text("* filter=trap diff=trap\n")
    (repository / ".git" / "objects" / missing[:2] / missing[2:]).unlink()
    for folder in (repository, inner, repository / "bare.git"):
        for name, value in settings.items():
            if (folder, name) not in {(repository / "bare.git", "core.worktree")}:
                run(folder, "config", name, value)
    os.utime(repository / "README.md", (1, 1))  # its content is compared: a filter would run
    (inner / "README.md").write_text("changed")
    return repository, canaries


def test_trap_works(trap):
    """The settings are live: git itself, asked as one would, runs programs of the tree."""
    root, canaries = trap
    subprocess.run(["git", "-C", str(root), "log", "-1"], env={**os.environ, **ALONE}, capture_output=True)
    command = ["git", f"--work-tree={root}", f"--git-dir={root / '.git'}", "status"]
    subprocess.run(command, env={**os.environ, **ALONE}, capture_output=True)
    planted = {path.name.partition("-")[2] for path in canaries.iterdir()}
    assert planted & {"gpg", "fsmonitor", "pager.log", "included", "clean", "process"}, planted


def test_no_setting_of_a_tree_runs_anything(trap, mose, monkeypatch):
    root, canaries = trap
    before = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    for name in ("GIT_SSH_COMMAND", "GIT_EXTERNAL_DIFF", "GIT_PAGER", "GIT_ASKPASS", "GIT_PROXY_COMMAND"):
        monkeypatch.setenv(name, f"{canaries.parent}/plant {name}")
    for name, value in {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": f"{canaries.parent}/plant count",
        "GIT_DIR": str(root / "bare.git"),
        "GIT_TRACE": str(canaries / "trace"),
    }.items():
        monkeypatch.setenv(name, value)
    commits = read_commits(root)
    assert [commit.subject for commit in commits] == ["Keep a module of its own inside", *ALL]
    assert not tree_state(root).is_dirty
    assert tree_state(root / "src").commit == tree_state(root).commit
    for folder in (root, root / "inner", root / "bare.git"):
        tree_state(folder)
        read_commits(folder)
    code, out, err = mose("eval-repo", root, "--list")
    assert code == 0, err
    assert "history" in out
    assert not list(canaries.iterdir())
    assert {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()} == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["HEAD", "index", "packed-refs", "shallow", "commondir", "refs/heads/main"])
def test_pipe_in_place_of_a_file_holds_nothing_up(name, repository):
    path = repository / ".git" / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    tree_state(repository)
    read_commits(repository)


@pytest.mark.parametrize(
    "head",
    [
        "ref: refs/../../secret",
        "ref: HEAD",
        "ref: refs/heads/\0",
        "0" * 39,
        "x" * 100_000,
        "ref: /etc/passwd",
        "--help",
    ],
)
def test_odd_head_is_no_repository(head, repository):
    (repository / ".git" / "HEAD").write_text(head)
    assert git.find_repository(repository) is None


def test_damaged_objects_are_told_not_raised(repository):
    for path in (repository / ".git" / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"x" * 100)
    assert read_commits(repository) == "the git history cannot be read"
    assert tree_state(repository).is_dirty


def test_only_one_module_runs_git():
    sources = Path(git.__file__).parent
    for path in sources.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path != Path(git.__file__):
            assert '["git"' not in text and "'git'" not in text, path
    assert sys.modules["mose.git"] is git


def test_short_name_says_whether_one_of_the_folders_was_changed(repository):
    found = git.find_repository(repository)
    (repository / "web" / "login.js").write_text("// new\n")
    assert git.short_name(found, repository / "src") == found.commit[:12]
    assert git.short_name(found, repository / "src", repository / "web") == f"{found.commit[:12]}+"
