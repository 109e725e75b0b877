"""A tree that holds every trick we know: no verb runs a program of it or writes outside its own index."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links, pipes and permissions of POSIX")
SCRIPT = "import sys; from mose.__main__ import main; sys.exit(main())"
ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
VERBS = (
    ["search", "parse", "--deepen", "--budget", "0"],
    ["search", "open a connection through a proxy", "--limit", "3"],
    ["index"],
    ["status"],
    ["search", "$(touch canary)", "--explain"],
    ["eval-repo", ".", "--list"],
    ["index", "--inside", "."],
    ["search", "parse", "."],
    ["forget"],
)


def git(folder, *words):
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(
        ["git", *who, "-C", str(folder), *words], check=True, env={**os.environ, **ALONE}, capture_output=True
    )


def plant_modules(tree, script):
    """Modules and programs under every name that might be looked up by name."""
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    known = {*sys.stdlib_module_names} - {name.partition(".")[0] for name in loaded}
    others = (
        "numpy onnxruntime tokenizers safetensors pathspec platformdirs filelock tqdm tree_sitter torch conftest setup"
    )
    for name in (*sorted(known)[::6], "_winapi", *others.split()):  # test_processes plants them all
        (tree / f"{name}.py").write_text(f"import os; os.system({str(script)!r} + ' module-{name}')\n")
    (tree / "mose").mkdir()
    (tree / "mose" / "__init__.py").write_text(f"import os; os.system({str(script)!r} + ' mose')\n")
    (tree / "evil.pth").write_text(f"import os; os.system({str(script)!r} + ' pth')\n")
    for name in ("git", "python", "python3", "sh", "less", "uname", "ldconfig", "gcc", "npm", "pip", "sqlite3"):
        shutil.copy(script, tree / name)


def plant_repository(tree, script):
    """Settings, hooks and odd files of git; some are pipes, which hold up whoever opens them."""
    git(tree, "init", "-q", "-b", "main")
    git(tree, "add", "src", "web", "tests", "README.md")
    git(tree, "commit", "-qm", "Open connections through a proxy and keep them")
    (tree / ".gitattributes").write_text("* filter=evil diff=evil\n")
    hooks = tree / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-index-change", "reference-transaction", "fsmonitor-watchman", "post-checkout"):
        shutil.copy(script, hooks / name)
    for name, value in {
        "core.fsmonitor": f"{script} fsmonitor",
        "core.hooksPath": str(hooks),
        "core.pager": f"{script} pager",
        "core.sshCommand": f"{script} ssh",
        "core.worktree": "/",
        "core.excludesFile": str(tree / "pipe.py"),
        "include.path": str(tree / "pipe.py"),
        "gpg.program": f"{script} gpg",
        "log.showSignature": "true",
        "diff.external": f"{script} diff",
        "diff.evil.textconv": f"{script} textconv",
        "filter.evil.clean": f"{script} clean",
        "filter.evil.process": f"{script} process",
        "remote.origin.url": f"ext::{script} remote",
        "remote.origin.promisor": "true",
        "protocol.ext.allow": "always",
        "extensions.partialClone": "origin",
    }.items():
        with (tree / ".git" / "config").open("a") as file:
            section, _, key = name.rpartition(".")
            first, _, rest = section.partition(".")
            file.write(f"[{first}{f' {chr(34)}{rest}{chr(34)}' if rest else ''}]\n\t{key} = {value}\n")
    os.utime(tree / "README.md", (1, 1))
    (tree / "module").mkdir()
    (tree / "module" / ".git").write_text(f"gitdir: {tree}/../outside\n")
    (tree / "piped").mkdir()
    for path in ("module/.gitignore", "piped/.git", ".git/info/exclude"):
        (tree / path).unlink(missing_ok=True)
        os.mkfifo(tree / path)


def plant_files(tree, script, outside):
    """Names, links and special files."""
    for name in (f"$({script} name).py", f"`{script} name`.py", f"; {script} name;.py", "-rf", "--deepen", "a\nb.py",
                 "\x1b]0;title\x07.py", "%n%s.py", "'\"quoted.py"):  # fmt: skip
        with_slash = name.replace("/", "\u2215")
        (tree / with_slash).write_text("def proxy():\n    return 'connection'\n")
    (tree / os.fsdecode(b"latin-\xe9.py")).write_text("def proxy(): pass\n")
    (tree / "secret.py").symlink_to(outside / "secret.py")
    (tree / "linked").symlink_to(outside, target_is_directory=True)
    (tree / "loop").symlink_to(tree, target_is_directory=True)
    (tree / "self.py").symlink_to("self.py")
    (tree / "zero.py").symlink_to("/dev/zero")
    os.mkfifo(tree / "pipe.py")
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryDirectory(dir="/tmp") as short:
        listener.bind(f"{short}/plug.py")  # a socket's path has no more than about a hundred bytes
        shutil.move(f"{short}/plug.py", tree / "plug.py")
    (tree / "codec.py").write_text("# -*- coding: evil -*-\nproxy = 1\n")
    (tree / "small").mkdir()
    (tree / "small" / "mose.json").write_text("{}")
    (tree / ".moseignore").write_text("**/" * 30 + "x\n" + "*a" * 30 + "\n")
    (tree / ".npmrc").write_text(f"node-options=--require {tree}/setup.py\n")
    (tree / "pip.conf").write_text("[global]\nindex-url = http://127.0.0.1:9/\n")
    (tree / "deep.json").write_text("[" * 100_000)
    (tree / "model.pkl").write_bytes(b"cos\nsystem\n(S'" + bytes(script) + b" pickle'\ntR.")
    (tree / "vectors.db").symlink_to(outside / "precious")


def mose_link(tree, outside):
    (tree / ".mose").symlink_to(outside, target_is_directory=True)


def mose_links_inside(tree, outside):
    (tree / ".mose").mkdir()
    for name in ("index.db", "deepen.log", "write.lock", "current", "exit_0.vec", "exit_6.vec", ".gitignore"):
        (tree / ".mose" / name).symlink_to(outside / "precious")


def mose_pipes(tree, outside):
    (tree / ".mose").mkdir()
    for name in ("index.db", "deepen.log", "write.lock", "current", "exit_0.vec"):
        os.mkfifo(tree / ".mose" / name)


def state(root, *, without):
    """Everything that is written somewhere: kind, mode, size, time and target of each path."""
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if Path(folder, name) != without]
        for name in (*folders, *files):
            path = Path(folder, name)
            about = path.lstat()
            target = os.readlink(path) if path.is_symlink() else ""
            times = 0 if path.is_dir() else about.st_mtime_ns
            found[str(path)] = (about.st_mode, about.st_size if not path.is_dir() else 0, times, target)
    return found


@pytest.mark.parametrize("plant_index", [mose_link, mose_links_inside, mose_pipes])
def test_no_verb_runs_or_writes_what_a_tree_wants(plant_index, sample_tree, tmp_path, monkeypatch):
    canaries, outside, user = tmp_path / "canaries", tmp_path / "outside", tmp_path / "user"
    for folder in (canaries, outside, user, tmp_path / "temporary"):
        folder.mkdir()
    (outside / "precious").write_text("mine")
    (outside / "secret.py").write_text("def password_of_the_user(): return 'hunter2'\n")
    script = tmp_path / "plant"
    script.write_text(f'#!/bin/sh\n/usr/bin/touch "{canaries}/$$-$1"\n')
    script.chmod(0o755)
    plant_modules(sample_tree, script)
    plant_files(sample_tree, script, outside)
    plant_repository(sample_tree, script)
    plant_index(sample_tree, outside)
    index = user / ".cache" / "mose"
    before = state(tmp_path, without=index)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MOSE_", "XDG_", "GIT_"))}
    environment = {
        **kept,
        "HOME": str(user),
        "TMPDIR": str(tmp_path / "temporary"),
        "PATH": os.pathsep.join([".", "", os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), ""]),  # ahead of the standard library all the same
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    outputs = []
    for words in VERBS:
        started = time.monotonic()
        command = [sys.executable, "-P", "-c", SCRIPT, *words]
        done = subprocess.run(command, cwd=sample_tree, env=environment, capture_output=True, timeout=100)
        assert done.returncode in (0, 1, 2), (words, done)
        assert b"Traceback" not in done.stderr, (words, done.stderr.decode("utf-8", "replace"))
        assert time.monotonic() - started < 100, words
        outputs.append(done.stdout)
        if b"in the background" in done.stderr:
            wait_for_deepening(index)
    assert b"src/network.py" in outputs[1]
    assert b"hunter2" not in b"".join(outputs)
    assert not list(canaries.iterdir())
    after = state(tmp_path, without=index)
    after.pop(str(user / ".cache"), None)
    allowed = str(sample_tree / ".mose")
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    assert {path for path in changed if not path.startswith(allowed)} == set()
    assert (outside / "precious").read_text() == "mine"


def wait_for_deepening(index):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        logs = list(index.rglob("deepen.log"))
        if logs and b"exit 6" in logs[0].read_bytes():
            return
        time.sleep(0.2)
    raise AssertionError([path.read_text() for path in index.rglob("deepen.log")])
