"""An index that is brought up to date only when its watcher says so equals one made from nothing."""

from __future__ import annotations

import os
import random
import sys
import time
from contextlib import suppress

import pytest
from index_doubles import WordEncoder, content, fresh_content
from rounds import ROUNDS

from mose.files.watch import Watch
from mose.search.refresh import refresh
from mose.search.store.location import index_folder
from mose.search.store.store import Store

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="untested elsewhere")


def random_change(tree, rng, number):
    """One edit, save by rename, new file, rename, removal, or rename of a folder."""
    files = sorted(path for path in tree.rglob("*.py") if path.is_file())
    folders = sorted(path for path in tree.rglob("*") if path.is_dir())
    text = f"def task_{number}(value):\n    '''Counts {number}.'''\n    return value + {rng.randrange(1000)}\n"
    with suppress(OSError):
        path = rng.choice(files) if files else tree / "first.py"
        match rng.choice(["edit", "edit", "save", "new", "rename", "remove", "folder", "touch"]):
            case "edit":
                path.write_text(text)
            case "save":
                path.with_suffix(".tmp").write_text(text)
                path.with_suffix(".tmp").replace(path)
            case "new":
                (rng.choice([tree, *folders]) / f"deep{number}").mkdir()
                (tree / f"new{number}.py").write_text(text)
                (rng.choice([tree, *folders]) / f"new{number}.py").write_text(text)
            case "rename":
                path.rename(rng.choice([tree, *folders]) / f"moved{number}.py")
            case "remove":
                path.unlink()
            case "folder" if folders:
                folder = rng.choice(folders)
                folder.rename(folder.parent / f"folder{number}")
            case "touch":
                os.utime(path)


@pytest.mark.parametrize("seed", [0, 1])
def test_after_random_edits_renames_and_removals_the_index_equals_a_new_one(seed, tree, tmp_path):
    rng, changes = random.Random(seed), 100 * ROUNDS
    watch = Watch(tree)
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder(), watch=watch)
        num_refreshed, number, deadline = 0, 0, time.monotonic() + 120 * ROUNDS
        while number < changes or not watch.is_unchanged(store.folder, time.monotonic() - 0.2):
            assert time.monotonic() < deadline
            if number < changes:
                random_change(tree, rng, number)
                number += 1
                time.sleep(rng.choice([0, 0, 0.01, 0.05]))
                time.sleep(0.5 * (number % 50 == 0))
            else:
                time.sleep(0.05)
            if watch.is_due(None):
                refresh(store, tree, WordEncoder(), watch=watch)
                num_refreshed += 1
        assert 2 < num_refreshed < changes // 2
        assert content(store) == fresh_content(tree, tmp_path)
    watch.close()
