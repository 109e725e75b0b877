from __future__ import annotations

import os
import shutil

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from index_doubles import SOURCES, WordEncoder, content, fresh_content, settle, write_tree

from mose.search.deepen import deepen
from mose.search.refresh import refresh
from mose.search.store.location import index_folder
from mose.search.store.store import Store

NAMES = st.sampled_from(["a.py", "b.py", "src/c.py", "src/d.js", "src/deep/e.md", "f.bin", "g", "h.go"])
TEXTS = st.one_of(
    st.sampled_from([*SOURCES.values(), "", "\0\0\0", "x = 1\n", "package main\n\nfunc Run() {}\n"]),
    st.text(max_size=200),
)


class TreeLife(RuleBasedStateMachine):
    """Edits, moves and removals with refreshes and deepenings in between."""

    @initialize()
    def begin(self):
        import tempfile
        from pathlib import Path

        self.folder = Path(tempfile.mkdtemp())
        os.environ["MOSE_HOME"] = str(self.folder / "home")
        self.tree = write_tree(self.folder / "tree", SOURCES)
        self.store = Store.open(index_folder(self.tree))
        self.age = 1000.0
        self.current = False

    def _settle(self, path):
        self.age -= 5.0  # every write has its own time, as on a machine used by people
        settle(path, self.age)
        self.current = False

    @rule(name=NAMES, text=TEXTS)
    def write(self, name, text):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        self._settle(path)

    @rule(name=NAMES)
    def remove(self, name):
        (self.tree / name).unlink(missing_ok=True)
        self.current = False

    @rule(source=NAMES, goal=NAMES)
    def move(self, source, goal):
        if (self.tree / source).exists() and source != goal:
            (self.tree / goal).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / source).rename(self.tree / goal)
            self.current = False

    @rule(rules=st.sampled_from(["", "*.js\n", "src/\n", "!*.bin\n"]))
    def ignore(self, rules):
        (self.tree / ".gitignore").write_text(rules)
        self._settle(self.tree / ".gitignore")

    @rule()
    def refresh(self):
        refresh(self.store, self.tree, WordEncoder())
        self.current = True

    @rule()
    def deepen(self):
        deepen(self.store, WordEncoder(), 2)

    @precondition(lambda self: self.current)
    @invariant()
    def equals_a_fresh_index(self):
        deepen(self.store, WordEncoder(), 2)
        assert content(self.store, (0, 2)) == fresh_content(self.tree, self.folder, (0, 2))
        self.store.connection.execute("INSERT INTO words(words) VALUES ('integrity-check')")

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder, ignore_errors=True)


TestTreeLife = TreeLife.TestCase
TestTreeLife.settings = settings(
    max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
