from __future__ import annotations

import shutil
import time

import numpy as np
import pytest
from index_doubles import WordEncoder, content, fresh_content, many_files, vector_matrix, write_tree

from mose.search import deepen as deepening
from mose.search import refresh as indexer
from mose.search.chunking.chunk import embedding_key, embedding_text
from mose.search.deepen import deepen
from mose.search.refresh import refresh
from mose.search.store import write
from mose.search.store.location import index_folder
from mose.search.store.store import Store


def test_deepen_gives_every_chunk_the_encoders_vector(store):
    report = deepen(store, WordEncoder(), 6)
    assert report.num_encoded == report.num_wanted == len(store.chunk_ids())
    ids, rows, matrix = vector_matrix(store, 6)
    assert sorted(ids.tolist()) == store.chunk_ids().tolist()
    for chunk, row in zip(store.chunks(ids.tolist()), rows, strict=True):
        expected = WordEncoder(exit=6).encode([embedding_text(chunk, chunk.path)])[0]
        np.testing.assert_allclose(matrix[row], expected, atol=1e-3)
    assert deepen(store, WordEncoder(), 6).num_wanted == 0


def test_deepen_of_given_ids_gives_their_vectors_and_no_others(store):
    wanted = store.chunk_ids()[[2, 0]].tolist()
    report = deepen(store, WordEncoder(), 6, ids=[*wanted, wanted[0], 99_999])
    assert list(report.vectors) == wanted
    assert report.num_encoded == 2
    assert vector_matrix(store, 6)[0].tolist() == wanted
    again = deepen(store, WordEncoder(), 6, ids=wanted)
    assert (again.num_wanted, again.vectors) == (0, {})


class LanguageEncoder(WordEncoder):
    def encode(self, texts, *, kind="code", language=None, progress=None):
        return super().encode([f"{one} {kind} {text}" for one, text in zip(language, texts, strict=True)])


def test_each_chunk_is_encoded_as_code_of_its_language(store):
    deepen(store, LanguageEncoder(), 6)
    ids, rows, matrix = vector_matrix(store, 6)
    for chunk, row in zip(store.chunks(ids.tolist()), rows, strict=True):
        text = f"{chunk.language} code {embedding_text(chunk, chunk.path)}"
        np.testing.assert_allclose(matrix[row], WordEncoder(exit=6).encode([text])[0], atol=1e-3)


def test_exits_do_not_disturb_each_other(store):
    deepen(store, WordEncoder(), 6)
    deepen(store, WordEncoder(), 2)
    assert store.status().vectors == dict.fromkeys((0, 2, 6), len(store.chunk_ids()))


def test_moved_file_and_second_clone_are_never_embedded_again(store, tree, tmp_path):
    deepen(store, WordEncoder(), 6)
    (tree / "lib").mkdir()
    (tree / "src").rename(tree / "lib" / "src")
    encoder = WordEncoder()
    refresh(store, tree, encoder)
    report = deepen(store, encoder, 6)
    assert report.num_reused == report.num_wanted > 0
    shutil.copytree(tree, tmp_path / "clone")
    with Store.open(index_folder(tmp_path / "clone")) as clone:
        refresh(clone, tmp_path / "clone", encoder)
        deepen(clone, encoder, 6)
        assert content(clone, (0, 6)) == content(store, (0, 6))
    assert encoder.num_encoded(6) == 0


def test_file_of_another_name_is_embedded_again_for_the_encoder_reads_its_name(store, tree):
    deepen(store, WordEncoder(), 6)
    (tree / "src" / "dates.py").rename(tree / "src" / "moved.py")
    refresh(store, tree, WordEncoder())
    report = deepen(store, WordEncoder(), 6)
    assert report.num_encoded == report.num_wanted > 0


def test_equal_chunks_are_embedded_once(tmp_path):
    tree = write_tree(tmp_path / "tree", {f"v{n}/pkg/copy.py": "def same():\n    return 1\n" for n in range(5)})
    encoder = WordEncoder()
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, encoder)
        deepen(store, encoder, 6)
        assert len(vector_matrix(store, 6)[0]) == 5
    assert encoder.num_encoded(6) == 1


def test_equal_text_in_two_languages_has_two_keys():
    assert embedding_key("c", "int x;") != embedding_key("cpp", "int x;")


class SlowEncoder(WordEncoder):
    def encode(self, texts, **options):
        time.sleep(0.005 * len(texts))
        return super().encode(texts, **options)


def test_budget_is_kept_and_what_was_done_is_kept_too(tmp_path):
    tree = many_files(tmp_path)
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        report = deepen(store, SlowEncoder(), 6, budget_s=0.4)
        assert 0 < report.num_encoded < 200
        assert report.num_left == 200 - report.num_encoded
        assert report.seconds < 0.9
        assert len(vector_matrix(store, 6)[0]) == report.num_encoded
        assert deepen(store, WordEncoder(), 6).num_encoded == report.num_left


def test_no_budget_encodes_nothing(store):
    assert deepen(store, WordEncoder(), 6, budget_s=0).num_encoded == 0


class InterruptedEncoder(WordEncoder):
    def encode(self, texts, **options):
        if self.num_encoded(6) >= 32:
            raise KeyboardInterrupt
        return super().encode(texts, **options)


def test_interrupt_keeps_every_window_that_was_done(tmp_path, monkeypatch):
    monkeypatch.setattr(deepening, "LARGEST_WINDOW", 16)
    tree = many_files(tmp_path, 60)
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        with pytest.raises(KeyboardInterrupt):
            deepen(store, InterruptedEncoder(), 6)
        assert len(vector_matrix(store, 6)[0]) == 32
        assert deepen(store, WordEncoder(), 6).num_encoded == 28


def test_interrupt_of_a_refresh_keeps_what_was_done_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(indexer, "BATCH_CHUNKS", 10)
    tree = many_files(tmp_path, 60)

    def interrupt(progress):
        if progress.done >= 30:
            raise KeyboardInterrupt

    with Store.open(index_folder(tree)) as store:
        with pytest.raises(KeyboardInterrupt):
            refresh(store, tree, WordEncoder(), progress=interrupt)
        status = store.status()
        assert not status.complete
        assert status.num_files == 30
        assert status.num_pending_files == 30
        assert len(store.lexical("function")[0]) == 30
        refresh(store, tree, WordEncoder())
        assert store.status().complete
        assert content(store) == fresh_content(tree, tmp_path)


def test_interrupt_inside_a_transaction_leaves_no_half_of_it(store, tree, tmp_path, monkeypatch):
    before = content(store)
    write_tree(tree, {"new1.py": "def one():\n    return 1\n", "new2.py": "def two():\n    return 2\n"})

    def interrupt(path):
        if path == "new2.py":
            raise KeyboardInterrupt
        return path

    with monkeypatch.context() as patch:
        patch.setattr(write, "path_words", interrupt)
        with pytest.raises(KeyboardInterrupt):
            refresh(store, tree, WordEncoder())
    assert content(store) == before
    refresh(store, tree, WordEncoder())
    assert content(store) == fresh_content(tree, tmp_path)
