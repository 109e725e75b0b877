"""Random damage to every file of an index: each search gives a right answer, mends the index, or says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from index_doubles import SOURCES, write_tree
from rounds import ROUNDS

import mose
from mose import CodeIndex
from mose.errors import CodeIndexError
from mose.search.store.location import index_folder
from mose.search.store.store import Store

SEEDS = 40 * ROUNDS
QUERIES = ("parse an ISO date", "open a proxy", "writer_lock", "DateRange.contains")
PAGE = 4096


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """A tree and the user's folder with its index, every chunk read deeply."""
    root = tmp_path_factory.mktemp("pattern")
    store = Path(mose.__file__).parent / "search" / "store"
    parts = {f"lib/{name}.py": (store / f"{name}.py").read_text() for name in ("lock", "write")}
    write_tree(root / "tree", {**SOURCES, **parts})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOSE_HOME", str(root / "home"))
        with CodeIndex.open(root / "tree", exit=2) as index:
            index.deepen()
    return root


def _ask(index):
    hits = [hit for query in QUERIES for hit in index.search(query)] + index.like("src/dates.py", 9)
    return [(hit.path, hit.start_line, hit.end_line, hit.text) for hit in hits]


def _is_true(tree, hits):
    """Every hit shows what its file has in those lines."""
    for path, first, last, text in hits:
        lines = (tree / path).read_text().split("\n")[first - 1 : last]
        if "\n".join(lines).rstrip("\n") != text.rstrip("\n"):
            return False
    return True


def _damage(home, random):
    files = sorted(path for path in home.rglob("*") if path.is_file() and path.stat().st_size)
    for _ in range(int(random.integers(1, 4))):
        path = files[int(random.integers(len(files)))]
        data = bytearray(path.read_bytes())
        place = int(random.integers(len(data)))
        page = slice(place // PAGE * PAGE, place // PAGE * PAGE + PAGE)
        kind = int(random.integers(5))
        if kind == 0:
            data = data[:place]
        elif kind == 1:
            data[page] = bytes(len(data[page]))
        elif kind == 2:
            for _ in range(int(random.integers(1, 200))):
                data[int(random.integers(len(data)))] ^= int(random.integers(1, 256))
        elif kind == 3:
            data[page] = data[: len(data[page])]
        else:
            data[place] ^= 1 << int(random.integers(8))
        path.write_bytes(data)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_damaged_index_answers_rightly_or_mends_itself_or_says_what_to_do(pattern, home, seed):
    tree = pattern / "tree"
    shutil.copytree(pattern / "home", home, dirs_exist_ok=True)
    _damage(home, np.random.default_rng(seed))
    for _ in range(2):
        try:
            with CodeIndex.open(tree, exit=2, update=False) as index:
                assert _is_true(tree, _ask(index))
        except CodeIndexError as error:
            assert error.remedy
        try:
            with CodeIndex.open(tree, exit=2) as index:
                answers = _ask(index)
                assert len(answers) > 10
                assert _is_true(tree, answers)
                index.deepen()
                assert index.status().damaged == {}
        except CodeIndexError as error:  # the header says that it is foreign, or of another version
            assert error.remedy
            assert any(words in error.what for words in ("is not an index of mose", "was written by a")), error


def test_note_says_that_a_damaged_index_was_made_anew_and_one_opened_to_read_is_left_alone(pattern, home, mose):
    tree = pattern / "tree"
    shutil.copytree(pattern / "home", home, dirs_exist_ok=True)
    with Store.open(index_folder(tree)) as store:
        store.connection.execute("UPDATE texts SET text = replace(text, 'date', 'dote')")
        damaged = store.path
    code, _, err = mose("search", "parse an ISO date", tree, "--no-update")
    assert code == 2
    assert "--rebuild" in err
    code, out, err = mose("search", "parse an ISO date", tree, "--limit", 1)
    assert (code, "src/dates.py" in out) == (0, True)
    assert err.count("rebuilt") == 1
    assert not damaged.exists()
    code, out, err = mose("search", "parse an ISO date", tree)
    assert (code, "rebuilt" in err) == (0, False)
