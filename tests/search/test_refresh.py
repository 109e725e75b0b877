from __future__ import annotations

import os
import time

import numpy as np
import pytest
from index_doubles import SOURCES, WordEncoder, content, fresh_content, settle, wait_until_settled, write_file

from mose.errors import CodeIndexError
from mose.search import lifecycle
from mose.search import refresh as indexer
from mose.search.chunking import prepare
from mose.search.chunking.chunks import ChunkerConfig
from mose.search.deepen import deepen
from mose.search.refresh import refresh
from mose.search.store.location import index_folder
from mose.search.store.store import Store
from mose.search.store.write import set_meta
from mose.search.store.write_vectors import write_vectors


def read_nothing(monkeypatch):
    """Let every attempt to read a file of a tree fail."""
    for name in ("read_source", "read_next"):
        monkeypatch.setattr(prepare, name, None)


# ---- refresh


def test_unchanged_tree_is_neither_read_nor_written(store, tree, monkeypatch):
    generation, encoder = store.generation, WordEncoder()
    read_nothing(monkeypatch)
    monkeypatch.setattr(Store, "writing", None)
    report = refresh(store, tree, encoder)
    assert (report.num_added, report.num_changed, report.num_removed) == (0, 0, 0)
    assert store.generation == generation
    assert encoder.calls == []


def test_one_edit_reads_and_embeds_that_file_alone(store, tree, tmp_path):
    before = {chunk.id for chunk in store.chunks(store.chunk_ids().tolist()) if chunk.path != "src/proxy.js"}
    write_file(tree / "src" / "proxy.js", "export function closeProxy() {}\n")
    encoder = WordEncoder()
    report = refresh(store, tree, encoder)
    assert (report.num_added, report.num_changed, report.num_removed, report.num_new_chunks) == (0, 1, 0, 1)
    assert encoder.num_encoded(0) == 1
    assert before < set(store.chunk_ids().tolist())
    assert content(store) == fresh_content(tree, tmp_path)


def test_new_time_stamp_alone_cuts_nothing_again(store, tree, monkeypatch):
    generation = store.generation
    settle(tree / "src" / "dates.py", age_s=50)
    wait_until_settled()
    report = refresh(store, tree, WordEncoder())
    assert (report.num_changed, report.num_new_chunks) == (0, 0)
    assert store.generation == generation
    read_nothing(monkeypatch)
    refresh(store, tree, WordEncoder())


def test_edit_with_equal_size_and_time_is_noticed_if_it_was_quick(tmp_path):
    tree = tmp_path / "tree"
    write_file(tree / "a.py", "value = 1\n", age_s=0)
    moment = (tree / "a.py").stat().st_mtime_ns
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        (tree / "a.py").write_text("value = 2\n")
        os.utime(tree / "a.py", ns=(moment, moment))
        refresh(store, tree, WordEncoder())
        assert "value = 2" in store.chunks(store.chunk_ids())[0].text


def test_settled_file_is_not_doubted_any_more(tmp_path, monkeypatch):
    tree = tmp_path / "tree"
    write_file(tree / "a.py", "value = 1\n", age_s=0)
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        later = time.time_ns() + 10**10
        monkeypatch.setattr(prepare.time, "time_ns", lambda: later)
        refresh(store, tree, WordEncoder())
        read_nothing(monkeypatch)
        refresh(store, tree, WordEncoder())


def test_moved_and_removed_files_leave_nothing_behind(store, tree, tmp_path):
    (tree / "lib").mkdir()
    (tree / "src" / "dates.py").rename(tree / "lib" / "dates.py")
    (tree / "README.md").unlink()
    report = refresh(store, tree, WordEncoder())
    assert (report.num_added, report.num_removed) == (1, 2)
    assert content(store) == fresh_content(tree, tmp_path)


def test_file_left_out_for_its_content_is_not_read_again(store, tree, monkeypatch):
    (tree / "blob.py").write_bytes(b"\0\1\2\xff" * 50)
    settle(tree / "blob.py")
    wait_until_settled()
    assert refresh(store, tree, WordEncoder()).skipped["binary"] == 1
    read_nothing(monkeypatch)
    assert refresh(store, tree, WordEncoder()).skipped["binary"] == 1


def test_file_that_becomes_binary_and_source_again(store, tree, tmp_path):
    source = SOURCES["src/dates.py"]
    (tree / "src" / "dates.py").write_bytes(b"\0\1\2\xff" * 50)
    refresh(store, tree, WordEncoder())
    assert "src/dates.py" not in store.chunk_table().paths
    assert content(store) == fresh_content(tree, tmp_path)
    write_file(tree / "src" / "dates.py", source)
    refresh(store, tree, WordEncoder())
    assert content(store) == fresh_content(tree, tmp_path)


def test_empty_tree_is_complete_and_empty(tmp_path):
    (tmp_path / "nothing").mkdir()
    with Store.open(index_folder(tmp_path / "nothing")) as store:
        refresh(store, tmp_path / "nothing", WordEncoder())
        assert store.complete
        assert len(store.chunk_table()) == 0


def test_small_batches_give_the_same_index_as_large_ones(tree, tmp_path, monkeypatch):
    expected = fresh_content(tree, tmp_path)
    monkeypatch.setattr(indexer, "BATCH_CHUNKS", 1)
    assert fresh_content(tree, tmp_path) == expected


def test_progress_tells_of_every_file(tree):
    told = []
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder(), progress=told.append)
    assert (told[-1].stage, told[-1].done, told[-1].total) == ("cut", 3, 3)


# ---- mismatches


def test_other_model_is_refused_with_what_to_run(store, tree):
    other = WordEncoder(identity="words-2")
    for act in (lambda: refresh(store, tree, other), lambda: deepen(store, other, 6)):
        with pytest.raises(CodeIndexError, match="another model") as caught:
            act()
        assert f"mose index {tree.resolve()} --rebuild" in str(caught.value)
        assert "words-" not in str(caught.value), "a hash says nothing to a user"


def test_an_index_of_a_model_that_was_named_names_it(store, tree):
    with store.writing():
        set_meta(store, model_name="models/mine")
    with pytest.raises(CodeIndexError, match=r"another model, models/mine\.\n  Ask with --model models/mine, or "):
        refresh(store, tree, WordEncoder(identity="words-2"))


def test_other_chunker_is_refused_with_what_to_run(store, tree, monkeypatch):
    monkeypatch.setattr(lifecycle, "ChunkerConfig", lambda: ChunkerConfig(min_chars=10))
    with pytest.raises(CodeIndexError, match="another version of mose") as caught:
        refresh(store, tree, WordEncoder())
    assert f"mose index {tree.resolve()} --rebuild" in str(caught.value)


def test_other_way_of_splitting_words_is_another_chunker(store, tree, monkeypatch):
    monkeypatch.setattr(lifecycle, "fingerprint", lambda: "changed")
    with pytest.raises(CodeIndexError, match="another version of mose"):
        refresh(store, tree, WordEncoder())


def test_vectors_of_another_model_are_never_put_beside_those_of_the_index(store):
    with pytest.raises(CodeIndexError, match="--rebuild"):
        write_vectors(store, 0, "words-2", np.array([1]), np.ones((1, 8), np.float32))
    with pytest.raises(CodeIndexError, match="--rebuild"):
        write_vectors(store, 0, "words-1", np.array([1]), np.ones((1, 9), np.float32))
