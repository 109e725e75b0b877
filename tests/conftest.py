"""What every test shares: an index home of its own, and a small source tree to search."""

import re
import shutil
from pathlib import Path

import pytest
from sample_files import write_tree

from mose import cli


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """No test touches the user's own indexes."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MOSE_HOME", str(folder))
    return folder


@pytest.fixture
def no_home(monkeypatch):
    """A user whom the system does not know, as in some containers, without a home folder."""
    pwd = pytest.importorskip("pwd")

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sample_tree(tmp_path):
    """A source tree of six small files in three languages and prose."""
    root = tmp_path / "sample"
    write_tree(root)
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def mose(capsys):
    """Runs one command in this process: exit code, stdout, stderr."""

    def run(*words):
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as stopped:
            code = stopped.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def peak_memory():
    """Forgets this process's peak of memory and gives a function that reads the peak since then, in bytes.

    `getrusage` would not do: its peak is that of the whole test run, whichever test reached it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("the peak of memory is read from /proc")
    Path("/proc/self/clear_refs").write_text("5")

    def peak():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024

    return peak
