from __future__ import annotations

import threading

import pytest
from index_doubles import write_file

from mose.errors import CodeIndexError
from mose.search.store.lock import LOCK_NAME, writer_lock


def test_second_writer_is_refused_and_a_waiting_one_comes_next(tmp_path):
    events = []

    def wait():
        with writer_lock(tmp_path, wait=True, progress=lambda progress: events.append(progress.stage)) as mine:
            events.append(mine)

    thread = threading.Thread(target=wait)
    with writer_lock(tmp_path, wait=True) as first:
        with writer_lock(tmp_path, wait=False) as second:
            assert (first, second) == (True, False)
        thread.start()
        thread.join(0.6)
        assert events == ["wait"]
    thread.join()
    assert events == ["wait", True]


def test_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), writer_lock(tmp_path, wait=False):
        raise KeyboardInterrupt
    with writer_lock(tmp_path, wait=False) as mine:
        assert mine


def test_lock_on_a_file_that_was_removed_meanwhile_does_not_count(tmp_path):
    """As `forget` does: whoever waited for the old file must compete for the new one."""
    results = []

    def take():
        with writer_lock(tmp_path, wait=True) as mine:
            results.append((mine, (tmp_path / LOCK_NAME).exists()))

    thread = threading.Thread(target=take)
    with writer_lock(tmp_path, wait=True):
        thread.start()
        (tmp_path / LOCK_NAME).unlink()
    thread.join()
    assert results == [(True, True)]


def test_lock_that_cannot_be_written_is_a_clear_error(tmp_path):
    write_file(tmp_path / "file", "")
    with pytest.raises(CodeIndexError, match="MOSE_HOME"), writer_lock(tmp_path / "file", wait=True):
        pass
