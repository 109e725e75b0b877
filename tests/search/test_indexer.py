from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from index_doubles import SOURCES, WordEncoder, content, settle, write_file, write_tree

from mose.errors import CodeIndexError
from mose.files import WalkLimits
from mose.search import cutting, deepening, indexer, vectors
from mose.search.chunks import ChunkerConfig
from mose.search.indexer import deepen, refresh
from mose.search.location import SHARED_NAME, index_folder
from mose.search.lock import writer_lock
from mose.search.store import Store


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MOSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "tree", SOURCES)


@pytest.fixture
def store(tree):
    with Store.open(index_folder(tree)) as opened:
        refresh(opened, tree, WordEncoder())
        yield opened


def fresh_content(tree, tmp_path, exits=(0,)):
    """The content of an index of the tree made in one go, elsewhere."""
    folder = tmp_path / f"fresh{time.monotonic_ns()}"
    with Store.open(folder) as store:
        refresh(store, tree, WordEncoder())
        for exit_layer in exits:
            if exit_layer:
                deepen(store, WordEncoder(), exit_layer)
        return content(store, exits)


# ---- refresh


def test_unchanged_tree_is_neither_read_nor_written(store, tree, monkeypatch):
    generation, encoder = store.generation, WordEncoder()
    monkeypatch.setattr(cutting, "read_source", None)
    monkeypatch.setattr(indexer, "writer_lock", None)
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


def test_new_time_stamp_alone_cuts_nothing_again(store, tree):
    generation = store.generation
    settle(tree / "src" / "dates.py", age_s=50)
    report = refresh(store, tree, WordEncoder())
    assert (report.num_changed, report.num_new_chunks) == (1, 0)
    assert store.generation == generation
    assert refresh(store, tree, WordEncoder()).num_changed == 0


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
        assert refresh(store, tree, WordEncoder()).num_changed == 1
        later = time.time_ns() + 10**10
        monkeypatch.setattr(cutting.time, "time_ns", lambda: later)
        refresh(store, tree, WordEncoder())
        assert refresh(store, tree, WordEncoder()).num_changed == 0


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
    assert refresh(store, tree, WordEncoder()).skipped["binary"] == 1
    monkeypatch.setattr(cutting, "read_source", None)
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


def test_words_alone_can_be_indexed_and_vectors_follow_later(tree, tmp_path):
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, None)
        assert store.complete
        assert store.exits() == {}
        refresh(store, tree, WordEncoder())
        assert content(store) == fresh_content(tree, tmp_path)


def test_small_batches_give_the_same_index_as_large_ones(tree, tmp_path, monkeypatch):
    expected = fresh_content(tree, tmp_path)
    monkeypatch.setattr(indexer, "BATCH_CHUNKS", 1)
    assert fresh_content(tree, tmp_path) == expected


def test_progress_tells_of_every_file(tree):
    told = []
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder(), progress=told.append)
    assert (told[-1].stage, told[-1].done, told[-1].total) == ("cut", 3, 3)


# ---- workers


def test_workers_cut_as_this_process_does_and_in_order(tmp_path):
    files = {
        f"d{n % 7}/f{n}.py": f"def function_{n}(value):\n    return value + {n}\n" * 30 for n in range(150)
    }
    tree = write_tree(tmp_path / "many", files)
    with Store.open(tmp_path / "one") as one, Store.open(tmp_path / "two") as two:
        refresh(one, tree, WordEncoder(), num_workers=0)
        refresh(two, tree, WordEncoder(), num_workers=2)
        assert one.chunk_table().paths == two.chunk_table().paths
        assert content(one) == content(two)


def test_file_that_kills_its_worker_is_left_out_and_counted(tmp_path, monkeypatch):
    patch = tmp_path / "patch"
    write_file(
        patch / "sitecustomize.py",
        "import os, mose.files\n"
        "read = mose.files.read_source\n"
        "def read_source(root, file, limits):\n"
        "    if file.path == 'killer.py':\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return read(root, file, limits)\n"
        "mose.files.read_source = read_source\n",
    )
    source_folder = str(os.path.dirname(os.path.dirname(cutting.__file__.replace("search", ""))))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(patch), source_folder, *sys.path]))
    tree = write_tree(tmp_path / "tree", SOURCES | {"killer.py": "x = 1\n", "zebra.py": "y = 1\n"})
    monkeypatch.setattr(cutting, "GROUP_FILES", 2)
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder(), num_workers=1)
        assert store.status().skipped == {cutting.CRASHED: 1}
        assert sorted(store.chunk_table().paths) == sorted([*SOURCES, "zebra.py"])
        assert store.complete


def test_workers_are_gone_when_their_work_is_broken_off(tmp_path):
    tree = write_tree(tmp_path / "many", {f"f{n}.py": f"x{n} = 1\n" * 200 for n in range(200)})
    files = [task for task in _tasks(tree)]
    cut = cutting.cut_files(tree, files, WalkLimits(), ChunkerConfig(), num_workers=2)
    assert next(cut).path == "f0.py"
    before = _children()
    assert len(before) >= 2
    cut.close()
    assert len(_children()) == len(before) - 2


def _tasks(tree):
    from mose.files import SourceFile, walk

    return [cutting.CutTask(file=file) for file in walk(tree) if isinstance(file, SourceFile)]


def _children():
    return [
        pid
        for pid in os.listdir("/proc")
        if pid.isdigit() and f"PPid:\t{os.getpid()}\n" in _read(f"/proc/{pid}/status")
    ]


def _read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


# ---- deepen


def test_deepen_gives_every_chunk_the_encoders_vector(store):
    report = deepen(store, WordEncoder(), 6)
    assert report.num_encoded == report.num_wanted == len(store.chunk_ids())
    ids, rows, matrix = store.vector_matrix(6)
    assert sorted(ids.tolist()) == store.chunk_ids().tolist()
    for chunk, row in zip(store.chunks(ids.tolist()), rows, strict=True):
        expected = WordEncoder(exit=6).encode([deepening.encoder_text(chunk)])[0]
        np.testing.assert_allclose(matrix[row], expected, atol=1e-3)
    assert deepen(store, WordEncoder(), 6).num_wanted == 0


def test_deepen_of_given_ids_gives_their_vectors_and_no_others(store):
    wanted = store.chunk_ids()[[2, 0]].tolist()
    report = deepen(store, WordEncoder(), 6, ids=[*wanted, wanted[0], 99_999])
    assert list(report.vectors) == wanted
    assert report.num_encoded == 2
    assert store.vector_matrix(6)[0].tolist() == wanted
    again = deepen(store, WordEncoder(), 6, ids=wanted)
    assert (again.num_wanted, again.vectors) == (0, {})


def test_exits_do_not_disturb_each_other(store):
    deepen(store, WordEncoder(), 6)
    deepen(store, WordEncoder(), 2)
    assert store.status().vectors == dict.fromkeys((0, 2, 6), len(store.chunk_ids()))


def test_moved_file_and_second_clone_are_never_embedded_again(store, tree, tmp_path):
    deepen(store, WordEncoder(), 6)
    (tree / "src" / "dates.py").rename(tree / "moved.py")
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


def test_equal_chunks_are_embedded_once(tmp_path):
    tree = write_tree(tmp_path / "tree", {f"copy{n}.py": "def same():\n    return 1\n" for n in range(5)})
    encoder = WordEncoder()
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, encoder)
        deepen(store, encoder, 6)
        assert len(store.vector_matrix(6)[0]) == 5
    assert encoder.num_encoded(6) == 1


def test_equal_text_in_two_languages_has_two_keys():
    assert cutting.embedding_key("c", "int x;") != cutting.embedding_key("cpp", "int x;")


class SlowEncoder(WordEncoder):
    def encode(self, texts, **options):
        time.sleep(0.005 * len(texts))
        return super().encode(texts, **options)


def many_files(tmp_path, count=200):
    return write_tree(
        tmp_path / "many", {f"f{n}.py": f"def function_{n}():\n    return {n}\n" for n in range(count)}
    )


def test_budget_is_kept_and_what_was_done_is_kept_too(tmp_path):
    tree = many_files(tmp_path)
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        report = deepen(store, SlowEncoder(), 6, budget_s=0.4)
        assert 0 < report.num_encoded < 200
        assert report.num_left == 200 - report.num_encoded
        assert report.seconds < 0.9
        assert len(store.vector_matrix(6)[0]) == report.num_encoded
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
        assert len(store.vector_matrix(6)[0]) == 32
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
        assert len(store.lexical("function", 100)[0]) == 30
        refresh(store, tree, WordEncoder())
        assert store.status().complete
        assert content(store) == fresh_content(tree, tmp_path)


# ---- mismatches


def test_other_model_is_refused_with_what_to_run(store, tree):
    other = WordEncoder(identity="words-2")
    for act in (lambda: refresh(store, tree, other), lambda: deepen(store, other, 6)):
        with pytest.raises(CodeIndexError, match="another model") as caught:
            act()
        assert f"mose index {tree.resolve()} --rebuild" in str(caught.value)


def test_other_chunker_is_refused_with_what_to_run(store, tree):
    with pytest.raises(CodeIndexError, match="another chunker") as caught:
        refresh(store, tree, WordEncoder(), chunker=ChunkerConfig(min_chars=10))
    assert f"mose index {tree.resolve()} --rebuild" in str(caught.value)


def test_other_way_of_splitting_words_is_another_chunker(store, tree, monkeypatch):
    monkeypatch.setattr(indexer, "fingerprint", lambda: "changed")
    with pytest.raises(CodeIndexError, match="another chunker"):
        refresh(store, tree, WordEncoder())


def test_vectors_of_a_model_that_cannot_be_told_apart_by_the_file_name_are_refused(store, tree):
    name = store.vector_state(0)[0]
    vectors.VectorFile(store.folder, name, model="words-2", exit_layer=0, width=8).write(
        0, np.ones((9, 8), np.float32)
    )
    with pytest.raises(CodeIndexError, match="--rebuild"):
        store.vector_matrix(0)


# ---- several processes


def test_second_writer_can_go_on_without_writing(store, tree):
    write_file(tree / "new.py", "x = 1\n")
    with writer_lock(store.folder, wait=True):
        report = refresh(store, tree, WordEncoder(), wait=False)
        deepened = deepen(store, WordEncoder(), 6, ids=store.chunk_ids(), wait=False)
    assert report.busy
    assert "new.py" not in store.chunk_table().paths
    assert not deepened.stored
    assert len(deepened.vectors) == len(store.chunk_ids())
    assert store.exits() == {0: 8}
    assert deepen(store, WordEncoder(), 6).num_reused == len(store.chunk_ids())


def test_two_processes_index_one_tree_at_once(tmp_path):
    tree = many_files(tmp_path, 120)
    program = (
        "import sys; from pathlib import Path; from index_doubles import WordEncoder\n"
        "from mose.search.indexer import refresh, deepen; from mose.search.location import index_folder\n"
        "from mose.search.store import Store\n"
        "with Store.open(index_folder(Path(sys.argv[1]))) as store:\n"
        "    for _ in range(3):\n"
        "        refresh(store, Path(sys.argv[1]), WordEncoder())\n"
        "        deepen(store, WordEncoder(), 6)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", program, str(tree)]
    running = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(3)]
    assert [(process.communicate()[1], process.returncode) for process in running] == [(b"", 0)] * 3
    with Store.open(index_folder(tree)) as store:
        assert len(store.vector_matrix(6)[2]) == 120, "a vector was stored twice"
        assert content(store, (0, 6)) == fresh_content(tree, tmp_path, (0, 6))


# ---- full disk


def test_full_database_is_a_clear_error_and_the_index_stays_usable(store, tree, tmp_path):
    before = content(store)
    pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
    write_tree(tree, {f"more{n}.py": f"def more_{n}():\n    return {n}\n" * 40 for n in range(50)})
    store.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(CodeIndexError, match="disk is full") as caught:
        refresh(store, tree, WordEncoder())
    assert str(store.path) in str(caught.value)
    assert "MOSE_HOME" in str(caught.value)
    assert content(store)["words"] == before["words"]
    assert not store.status().complete
    store.connection.execute("PRAGMA max_page_count = 1000000")
    refresh(store, tree, WordEncoder())
    assert content(store) == fresh_content(tree, tmp_path)


def test_full_disk_under_the_vectors_leaves_words_to_search_and_is_made_up_for(
    store, tree, tmp_path, monkeypatch
):
    write_file(tree / "new.py", "def brand_new_thing():\n    return 1\n")
    with monkeypatch.context() as patch:
        patch.setattr(vectors.os, "write", _no_space)
        with pytest.raises(CodeIndexError, match="No space left"):
            refresh(store, tree, WordEncoder())
    assert len(store.lexical("brand", 5)[0]) == 1
    assert not store.complete
    refresh(store, tree, WordEncoder())
    assert content(store) == fresh_content(tree, tmp_path)


def _no_space(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("limit_bytes", [60_000, 150_000])
def test_disk_that_takes_no_more_is_a_clear_error_in_a_whole_process(tmp_path, limit_bytes):
    tree = many_files(tmp_path, 300)
    program = (
        "import resource, sys; from pathlib import Path; from index_doubles import WordEncoder\n"
        "from mose.errors import CodeIndexError; from mose.search.indexer import refresh\n"
        "from mose.search.location import index_folder; from mose.search.store import Store\n"
        "limit = int(sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "try:\n"
        "    with Store.open(index_folder(Path(sys.argv[1]))) as store:\n"
        "        refresh(store, Path(sys.argv[1]), WordEncoder())\n"
        "except CodeIndexError as error:\n"
        "    print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", program, str(tree), str(limit_bytes)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    assert str(index_folder(tree)) in ended.stdout
    assert "MOSE_HOME" in ended.stdout
    with Store.open(index_folder(tree)) as store:
        refresh(store, tree, WordEncoder())
        assert content(store) == fresh_content(tree, tmp_path)


def test_shared_vectors_that_are_damaged_say_what_to_delete(store, home):
    (home / SHARED_NAME).write_bytes(b"rubbish " * 1000)
    with pytest.raises(CodeIndexError, match=f"Delete .*{SHARED_NAME}"):
        deepen(store, WordEncoder(), 6)


# ---- whatever happens to a tree, a refreshed index equals a fresh one

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
