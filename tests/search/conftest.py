"""A small tree and its index, for tests of the index itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the tests beside this file share index_doubles
from index_doubles import SOURCES, WordEncoder, write_tree

from mose.search.refresh import refresh
from mose.search.store.location import index_folder
from mose.search.store.store import Store


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "tree", SOURCES)


@pytest.fixture
def store(tree):
    with Store.open(index_folder(tree)) as opened:
        refresh(opened, tree, WordEncoder())
        yield opened
