"""What every test shares: an index home of its own, and a small source tree to search."""

import re
import shutil
from pathlib import Path

import pytest

from mose import cli

TREE = {
    "src/dates.py": '''
"""Dates and times as text."""


def parse_iso_date(text):
    """Read a date in ISO 8601 form, such as 2024-05-01."""
    year, month, day = text.split("-")
    return int(year), int(month), int(day)


def format_duration(seconds):
    """Write a number of seconds for people: 1h 5m."""
    return f"{seconds // 3600}h {seconds % 3600 // 60}m"
''',
    "src/network.py": '''
"""Connections to other machines."""

import socket


class ProxyPool:
    """Keeps open connections through a proxy and hands them out again."""

    def __init__(self, size):
        self.size = size
        self.idle = []

    def acquire(self, host, port):
        """Take an idle connection, or open a new one through the proxy."""
        if self.idle:
            return self.idle.pop()
        return socket.create_connection((host, port))

    def release(self, connection):
        """Give a connection back so that the next caller can use it."""
        if len(self.idle) < self.size:
            self.idle.append(connection)
        else:
            connection.close()
''',
    "src/store.go": """
package store

// Cache keeps the values that were read last and drops the oldest one when it is full.
type Cache struct {
    limit int
    items map[string]string
}

// Evict removes the entry that was not used for the longest time.
func (c *Cache) Evict() {
    for key := range c.items {
        delete(c.items, key)
        return
    }
}
""",
    "web/login.js": """
// Checks the password of a user and starts a session.
export function signIn(user, password) {
  if (!user.verify(password)) {
    throw new Error("wrong password");
  }
  return { user, token: Math.random().toString(36) };
}
""",
    "tests/test_dates.py": """
from src.dates import parse_iso_date


def test_parse_iso_date():
    assert parse_iso_date("2024-05-01") == (2024, 5, 1)
""",
    "README.md": "# A sample\n\nParses an ISO date, opens a proxy connection and evicts cache entries.\n",
}


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
    for path, text in TREE.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text.lstrip("\n"), encoding="utf8")
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
