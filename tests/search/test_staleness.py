"""What is read again, and what is kept while it cannot be read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from index_doubles import (
    SOURCES,
    WordEncoder,
    content,
    fresh_content,
    many_files,
    settle,
    wait_until_settled,
    write_file,
    write_tree,
)

from mose.errors import SourceError
from mose.files import SourceFile, walk
from mose.search import refresh as indexer
from mose.search.refresh import refresh
from mose.search.store.location import index_folder
from mose.search.store.store import Store
from mose.syntax.grammars import grammar_of

NOBODY = 65_534
needs_rights = pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")


@contextmanager
def plain_user() -> Iterator[None]:
    """As a user whom rights hold back, which they do not do with root."""
    is_root = os.geteuid() == 0
    for module in (
        "mmap",
        "mose.search.chunking.chunks",
        "tree_sitter",
        "tree_sitter_python",
        "tree_sitter_javascript",
    ):
        import_module(module)  # while the files of Python can be read
    for language in ("python", "javascript"):
        grammar_of(language)
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def open_tree(monkeypatch):
    """A tree and a home that a plain user may enter and write."""
    folder = Path(tempfile.mkdtemp())
    tree = write_tree(folder / "tree", SOURCES)
    (folder / "home").mkdir()
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    wait_until_settled()
    monkeypatch.setenv("MOSE_HOME", str(folder / "home"))
    yield tree
    shutil.rmtree(folder)


def paths(store: Store) -> list[str]:
    return store.chunk_table().paths


def all_text(store: Store) -> str:
    return "".join(chunk.text for chunk in store.chunks(store.chunk_ids().tolist()))


def is_up_to_date(store: Store, tree: Path, monkeypatch) -> bool:
    with monkeypatch.context() as patch:
        patch.setattr(indexer, "cut_files", None)
        refresh(store, tree, WordEncoder())
    return True


# ---- equal stamps, other content


@pytest.mark.parametrize("way", ["in place", "by another file"])
def test_other_content_of_equal_size_and_time_is_read(store, tree, way):
    path = tree / "src" / "proxy.js"
    before = path.stat()
    changed = path.read_text().replace("openProxy", "shutProxy")
    target = path if way == "in place" else path.with_name("new.js")
    target.write_text(changed)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(target, path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    refresh(store, tree, WordEncoder())
    assert "shutProxy" in all_text(store)
    assert "openProxy" not in all_text(store)


@pytest.mark.parametrize("column", ["size_bytes", "modified_ns", "changed_ns", "inode"])
def test_every_stamp_alone_makes_a_file_be_read(store, tree, column):
    store.connection.execute(f"UPDATE files SET {column} = {column} + 1, hash = x'00' WHERE path = 'README.md'")
    assert refresh(store, tree, WordEncoder()).num_changed == 1


def test_copy_with_other_stamps_and_equal_content_is_read_and_not_embedded(store, tree, monkeypatch):
    generation, encoder = store.generation, WordEncoder()
    for path in [path for path in tree.rglob("*") if path.is_file()]:
        shutil.copyfile(path, path.with_name("copy"))
        os.replace(path.with_name("copy"), path)
    wait_until_settled()
    report = refresh(store, tree, encoder)
    assert (report.num_changed, report.num_new_chunks, encoder.calls) == (0, 0, [])
    assert store.generation == generation
    assert is_up_to_date(store, tree, monkeypatch)


def test_doubtful_file_is_read_again_though_its_stamps_are_the_same(store, tree):
    path = tree / "src" / "proxy.js"
    path.write_text(path.read_text().replace("openProxy", "shutProxy"))
    status = path.stat()
    store.connection.execute(  # a file system that gives two changes the same stamps
        "UPDATE files SET modified_ns = ?, changed_ns = ?, doubtful = 1 WHERE path = 'src/proxy.js'",
        (status.st_mtime_ns, status.st_ctime_ns),
    )
    refresh(store, tree, WordEncoder())
    assert "shutProxy" in all_text(store)


def test_time_stamp_in_the_future_is_no_reason_to_read_again(tree, monkeypatch):
    settle(tree / "README.md", age_s=-3e9)
    wait_until_settled()
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        assert is_up_to_date(store, tree, monkeypatch)


def test_change_right_after_reading_is_noticed_next_time(tmp_path):
    tree = tmp_path / "tree"
    with Store.open(index_folder(write_tree(tree, {"a.py": "value = 0\n"}))) as store:
        for value in range(1, 6):
            write_file(tree / "a.py", f"value = {value}\n")
            refresh(store, tree, WordEncoder())
            assert f"value = {value}" in all_text(store)


# ---- what cannot be read


@needs_rights
def test_file_that_was_unreadable_once_is_read_when_it_can_be(open_tree, monkeypatch):
    secret = open_tree / "src" / "dates.py"
    secret.chmod(0)
    wait_until_settled()
    with plain_user(), Store.open(index_folder(open_tree)) as store:
        assert refresh(store, open_tree, WordEncoder(), num_workers=0).skipped == {"unreadable": 1}
        assert is_up_to_date(store, open_tree, monkeypatch)
        secret.chmod(0o644)
        assert refresh(store, open_tree, WordEncoder(), num_workers=0).skipped == {}
        assert "src/dates.py" in paths(store)


@needs_rights
def test_unreadable_file_is_tried_again_though_its_stamps_are_the_same(open_tree):
    secret = open_tree / "src" / "dates.py"
    secret.chmod(0)
    with plain_user(), Store.open(index_folder(open_tree)) as store:
        refresh(store, open_tree, WordEncoder(), num_workers=0)
        secret.chmod(0o644)
        status = secret.stat()
        store.connection.execute(  # a file system that does not stamp a change of rights
            "UPDATE files SET changed_ns = ?, doubtful = 0 WHERE path = 'src/dates.py'", (status.st_ctime_ns,)
        )
        refresh(store, open_tree, WordEncoder(), num_workers=0)
        assert "src/dates.py" in paths(store)


@needs_rights
def test_known_file_that_becomes_unreadable_keeps_its_chunks_and_is_reported(open_tree, monkeypatch):
    secret = open_tree / "src" / "dates.py"
    with plain_user(), Store.open(index_folder(open_tree)) as store:
        refresh(store, open_tree, WordEncoder(), num_workers=0)
        before = content(store)
        secret.chmod(0)
        wait_until_settled()
        assert refresh(store, open_tree, WordEncoder(), num_workers=0).skipped == {"unreadable": 1}
        assert content(store)["chunks"] == before["chunks"]
        assert is_up_to_date(store, open_tree, monkeypatch)
        secret.chmod(0o644)
        encoder = WordEncoder()
        assert refresh(store, open_tree, encoder, num_workers=0).skipped == {}
        assert content(store) == before
        assert encoder.calls == []


@needs_rights
def test_known_files_of_a_folder_that_cannot_be_listed_stay(open_tree, monkeypatch):
    with plain_user(), Store.open(index_folder(open_tree)) as store:
        refresh(store, open_tree, WordEncoder(), num_workers=0)
        before = content(store)
        (open_tree / "src").chmod(0)
        assert refresh(store, open_tree, WordEncoder(), num_workers=0).skipped == {"unreadable": 1}
        assert content(store)["chunks"] == before["chunks"]
        (open_tree / "src").chmod(0o755)
        (open_tree / "src" / "proxy.js").unlink()
        refresh(store, open_tree, WordEncoder(), num_workers=0)
        assert "src/dates.py" in paths(store)
        assert "src/proxy.js" not in paths(store)


# ---- trees that go away


def test_tree_that_is_moved_during_the_walk_is_an_error(tree):
    write_tree(tree, {f"d{n}/f.py": "x = 1\n" for n in range(5)})
    found = walk(tree)
    assert isinstance(next(found), SourceFile)
    tree.rename(tree.with_name("elsewhere"))
    with pytest.raises(SourceError, match="moved or removed"):
        list(found)


@pytest.mark.parametrize("comes_back", [False, True])
def test_tree_that_is_away_for_a_while_loses_nothing(tmp_path, monkeypatch, comes_back):
    tree = many_files(tmp_path)
    expected = fresh_content(tree, tmp_path)
    monkeypatch.setattr(indexer, "BATCH_CHUNKS", 1)
    away = tree.with_name("away")

    def move(progress):
        if progress.stage == "cut" and progress.done == 20:
            tree.rename(away)
        if comes_back and progress.stage == "cut" and progress.done > 20 and away.exists():
            away.rename(tree)

    with Store.open(index_folder(tree)) as store:
        if comes_back:
            refresh(store, tree, WordEncoder(), progress=move)
        else:
            with pytest.raises(SourceError, match="moved or removed"):
                refresh(store, tree, WordEncoder(), progress=move)
            assert not store.complete
            away.rename(tree)
        refresh(store, tree, WordEncoder())
        assert content(store) == expected


def test_vanished_tree_keeps_its_index(store, tree):
    before = content(store)
    tree.rename(tree.with_name("elsewhere"))
    with pytest.raises(SourceError):
        refresh(store, tree, WordEncoder())
    assert content(store) == before


def test_empty_folder_in_the_place_of_the_tree_keeps_its_index(store, tree):
    before = content(store)
    tree.rename(tree.with_name("elsewhere"))
    tree.mkdir()
    with pytest.raises(SourceError, match="not mounted"):
        refresh(store, tree, WordEncoder())
    assert content(store) == before


def test_tree_that_was_emptied_has_an_empty_index(store, tree):
    for path in tree.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    refresh(store, tree, WordEncoder())
    assert paths(store) == []


# ---- labels


def test_label_by_content_is_stored_and_not_taken_for_a_change(tree, tmp_path, monkeypatch):
    write_tree(tree, {"Player.m": "#import <A/A.h>\n@implementation Player\n@end\n", "f.m": "function y = f(x)\n"})
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        found = dict(store.rows("SELECT path, language FROM files"))
        assert (found["Player.m"], found["f.m"]) == ("objective-c", "matlab")
        assert is_up_to_date(store, tree, monkeypatch)
        write_file(tree / "f.m", "#import <B/B.h>\n@implementation B\n@end\n")
        refresh(store, tree, WordEncoder())
        assert dict(store.rows("SELECT path, language FROM files"))["f.m"] == "objective-c"
        assert content(store) == fresh_content(tree, tmp_path)
