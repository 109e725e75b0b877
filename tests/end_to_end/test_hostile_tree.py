"""A tree that holds every trick we know: no verb runs a program of it or writes outside its own index."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links, pipes and permissions of POSIX")
COMMAND = [sys.executable, "-P", "-c", "import sys; from mose.__main__ import main; sys.exit(main())"]
ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
OF_PACKAGES = (
    "numpy onnxruntime tokenizers safetensors pathspec platformdirs filelock tqdm tree_sitter torch conftest setup pygments"
    " starlette uvicorn anyio h11 httptools uvloop websockets watchfiles mcp mcp_types pydantic"
)
VERBS = (
    ["search", "parse", "--deepen", "--budget", "0"],
    ["search", "open a connection through a proxy", "--limit", "3"],
    ["index"],
    ["status"],
    ["search", "$(touch canary)", "--explain"],
    ["eval-repo", ".", "--list"],
    ["search", "proxy", "--regex", "(connection|(a+)+$)", "--format", "rg", "--exclude", "*.md"],
    ["search", "proxy", "linked"],
    ["search", "--like", "secret.py:1"],
    ["status", "--why", "secret.py"],
    ["list"],
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
    for name in (*sorted(known)[::6], "_winapi", *OF_PACKAGES.split()):  # test_processes plants them all
        (tree / f"{name}.py").write_text(f"import os; os.system({str(script)!r} + ' module-{name}')\n")
    (tree / "mose").mkdir()
    (tree / "mose" / "__init__.py").write_text(f"import os; os.system({str(script)!r} + ' mose')\n")
    (tree / "evil.pth").write_text(f"import os; os.system({str(script)!r} + ' pth')\n")
    (tree / "evil-1.dist-info").mkdir()  # plugins of libraries are found by their metadata
    (tree / "evil-1.dist-info" / "METADATA").write_text("Name: evil\nVersion: 1\n")
    groups = ("pygments.lexers", "console_scripts", "uvicorn.loops", "transformers.plugins", "torch.backends")
    points = "".join(f"[{group}]\nPythonLexer = conftest:main\n" for group in groups)
    (tree / "evil-1.dist-info" / "entry_points.txt").write_text(points)
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
    alternates = tree / ".git" / "objects" / "info" / "alternates"
    alternates.parent.mkdir(exist_ok=True)
    alternates.write_text(f"{tree}/../outside\n{tree}/pipe.py\n/proc/self/fd\n")
    (tree / ".gitmodules").write_text(f'[submodule "module"]\n\tpath = module\n\turl = ext::{script} module\n')
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
    (tree / "deep.ipynb").write_text('{"cells": [{"cell_type": "code", "source": ' + "[" * 100_000)
    cells = [{"cell_type": "code", "source": [f"proxy = '{word}'\n"]} for word in ("\x1b[31m", "\u202e", "\ud800")]
    about = {"language_info": {"name": "../../evil"}, "kernelspec": {"language": "/bin/sh"}}
    (tree / "odd.ipynb").write_text(json.dumps({"cells": cells, "metadata": about}))
    (tree / "book.ipynb").symlink_to(outside / "secret.py")
    (tree / "src" / ".moseignore").symlink_to(outside / "precious")
    (tree / "web" / ".moseignore").mkdir()
    with (tree / "endless.py").open("wb") as file:
        file.truncate(1 << 40)
    (tree / "slow.c").write_text(("int proxy\n" + (" " * 900 + "\n") * 3 + ";\n") * 40)  # for a lexer of colours
    (tree / "src" / "network.py:1:1: proxy = evil.py").write_text("def proxy(): pass\n")
    for name, text in {
        ".env": f"UVICORN_APP=conftest:app\nPATH={tree}\n", "pyvenv.cfg": f"home = {tree}\n", ".netrc": "machine evil login x\n",
        "openssl.cnf": "openssl_conf = evil\n", "tokenizer.json": "{}", "config.json": '{"auto_map": {"AutoModel": "evil.Model"}}',
        "libonnxruntime_providers_shared.so": "\x7fELF", ".pypirc": "[evil]\n", "uvicorn.ini": "[uvicorn]\nreload = true\n",
        ".mcp.json": json.dumps({"mcpServers": {"mose": {"command": str(script), "args": ["mcp"]}}}),
    }.items():  # fmt: skip
        (tree / name).write_text(text)
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


@pytest.fixture
def planted(sample_tree, tmp_path):
    """Plants every trick; gives a function that asserts that none has worked, and how to start a process there."""
    canaries, outside, user = tmp_path / "canaries", tmp_path / "outside", tmp_path / "user"
    for folder in (canaries, outside, user, tmp_path / "temporary"):
        folder.mkdir()
    (outside / "precious").write_text("mine")
    (outside / "secret.py").write_text("def password_of_the_user(): return 'hunter2'\n")
    script = tmp_path / "plant"
    script.write_text(f'#!/bin/sh\n/usr/bin/touch "{canaries}/$$-$1"\n')
    script.chmod(0o755)
    index = user / ".cache" / "mose"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MOSE_", "XDG_", "GIT_"))}
    environment = {
        **kept,
        "HOME": str(user),
        "TMPDIR": str(tmp_path / "temporary"),
        "PATH": os.pathsep.join([".", "", os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), ""]),  # ahead of the standard library all the same
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def plant(plant_index):
        plant_modules(sample_tree, script)
        plant_files(sample_tree, script, outside)
        plant_repository(sample_tree, script)
        plant_index(sample_tree, outside)
        before = state(tmp_path, without=index)

        def check(output):
            assert b"hunter2" not in output
            assert not list(canaries.iterdir())
            after = state(tmp_path, without=index)
            after.pop(str(user / ".cache"), None)
            allowed = str(sample_tree / ".mose")
            changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
            assert {path for path in changed if not path.startswith(allowed)} == set()
            assert (outside / "precious").read_text() == "mine"

        return check

    return plant, {"cwd": sample_tree, "env": environment}, index


@pytest.mark.parametrize("plant_index", [mose_link, mose_links_inside, mose_pipes])
def test_no_verb_runs_or_writes_what_a_tree_wants(plant_index, planted):
    plant, there, index = planted
    check = plant(plant_index)
    outputs = []
    for words in VERBS:
        started = time.monotonic()
        done = subprocess.run([*COMMAND, *words], **there, capture_output=True, timeout=100)
        assert done.returncode in (0, 1, 2), (words, done)
        assert b"Traceback" not in done.stderr, (words, done.stderr.decode("utf-8", "replace"))
        assert b"should not have happened" not in done.stderr, (words, done.stderr.decode("utf-8", "replace"))
        assert time.monotonic() - started < 100, words
        outputs.append(done.stdout + done.stderr)
        if b"in the background" in done.stderr:
            wait_for_deepening(index)
    assert b"src/network.py" in outputs[1]
    check(b"".join(outputs))


def test_no_server_runs_writes_or_reads_what_a_tree_wants(planted):
    plant, there, _ = planted
    check = plant(mose_links_inside)
    outputs = []
    watching = subprocess.Popen([*COMMAND, "watch", ".", "--json"], **there, stdout=subprocess.PIPE)
    serving = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0"], **there, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        address = serving.stdout.readline().decode().strip()

        def ask(path, /, **body):
            request = urllib.request.Request(
                address + path, json.dumps(body).encode() if body else None, {"Content-Type": "application/json"}
            )
            try:
                answer = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=100)
            except urllib.error.HTTPError as error:
                answer = error
            outputs.append(answer.read())
            return answer.status

        deadline = time.monotonic() + 60  # the watcher may be reading the tree: an answer is from what is there
        found = False
        while not found and time.monotonic() < deadline:
            assert ask("/search", query="connection through a proxy", highlight=True) == 200
            found = b"src/network.py" in outputs[-1]
        assert found
        for language in ("c", "jupyter", "python"):
            assert ask("/search", query="proxy", language=language, highlight=True, limit=50) == 200
        for path in (
            "secret.py",
            "linked/secret.py",
            "../outside/secret.py",
            "book.ipynb",
            ".mose/index.db",
            "zero.py",
        ):
            assert ask("/file", path=path) == 404
            assert ask("/similar", path=path, line=1) == 404
        assert ask("/file", path="slow.c") == 200
        assert ask("/v1/embeddings", input="$(touch canary)", model="small") == 200
        for path in ("/", "/status", "/metrics", "/trees", "/progress"):
            assert ask(path) == 200
        assert watching.stdout.readline(), "nothing was read"
    finally:
        for process in (watching, serving):
            process.send_signal(signal.SIGTERM)
        _, said = serving.communicate(timeout=60)
        outputs += [said, watching.communicate(timeout=60)[0]]
    assert b"Traceback" not in b"".join(outputs)
    check(b"".join(outputs))


def wait_for_deepening(index):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        logs = list(index.rglob("deepen.log"))
        if logs and b"exit 6" in logs[0].read_bytes():
            return
        time.sleep(0.2)
    raise AssertionError([path.read_text() for path in index.rglob("deepen.log")])
