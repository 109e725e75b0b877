"""A source tree of six small files in three languages and prose, which many tests search."""

from pathlib import Path

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


def write_tree(root: Path) -> None:
    for path, text in TREE.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text.lstrip("\n"), encoding="utf8")
