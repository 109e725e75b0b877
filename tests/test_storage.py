"""Folders that are replaced are ours, and a kill leaves the old one or the new one under its name."""

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mose import storage
from mose.errors import OutputError

FILES = {"config.json": "{}", "sub/weights.bin": "1234", "mose.json": "{}"}


def write(out, text="one"):
    with storage.new_folder(out) as folder:
        (folder / "sub").mkdir()
        for name in FILES:
            (folder / name).write_text(f"{name} {text}")


def snapshot(root):
    return {str(path): path.read_bytes() for path in sorted(Path(root).rglob("*")) if path.is_file()}


@pytest.fixture(params=["exchange", "two renames"])
def renaming(request, monkeypatch):
    if request.param == "two renames":
        monkeypatch.setattr(storage, "_exchange", lambda first, second: False)
    elif sys.platform != "linux":
        pytest.skip("only Linux exchanges folders")
    return request.param


def test_own_folder_is_replaced_and_nothing_is_left_beside_it(tmp_path, renaming):
    out = tmp_path / "out"
    for text in ("one", "two", "three"):
        write(out, text)
        assert (out / "sub" / "weights.bin").read_text() == f"sub/weights.bin {text}"
        assert list(tmp_path.iterdir()) == [out]


def add_git(out):
    (out / ".git").mkdir()
    (out / ".git" / "HEAD").write_text("ref: refs/heads/main")


CHANGES = {
    "a file more": lambda out: (out / "notes.txt").write_text("mine"),
    "a file less": lambda out: (out / "mose.json").unlink(),
    "a file edited": lambda out: (out / "config.json").write_text("edited by hand"),
    "a repository": add_git,
    "an empty folder": lambda out: (out / "empty").mkdir(),
    "a link": lambda out: (out / "link").symlink_to("config.json"),
    "a file that became a link": lambda out: ((out / "mose.json").unlink(), (out / "mose.json").symlink_to("x")),
    "no inventory": lambda out: (out / storage.INVENTORY_NAME).unlink(),
    "another inventory": lambda out: (out / storage.INVENTORY_NAME).write_text("[" * 100_000),
}


@pytest.mark.parametrize("change", CHANGES)
def test_folder_that_was_changed_is_not_replaced(change, tmp_path):
    out = tmp_path / "out"
    write(out)
    CHANGES[change](out)
    before = snapshot(tmp_path)
    with pytest.raises(OutputError, match="not a folder that mose wrote"):
        write(out, "two")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("verb", ["cut", "convert", "export"])
def test_project_with_a_config_is_never_deleted(verb, tmp_path, mose):
    project = tmp_path / "project"
    for name in ("config.json", "mose.json", "tokenizer.json", "model.safetensors", "src/main.py", ".git/HEAD"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text('{"model_type": "mose"}')
    before = snapshot(tmp_path)
    small = Path(__file__).parents[1] / "checkpoints" / "small"
    options = {"cut": ["--exit", "3"], "convert": ["--exits", "0,2"], "export": []}[verb]
    source = small if verb != "convert" else tmp_path / "none"
    code, _, err = mose(verb, source, project, *options)
    assert code == 2
    assert "Traceback" not in err
    assert snapshot(tmp_path) == before


def test_change_while_the_new_folder_is_made_is_seen(tmp_path):
    out = tmp_path / "out"
    write(out)
    with pytest.raises(OutputError), storage.new_folder(out) as folder:
        (folder / "config.json").write_text("new")
        (out / "notes.txt").write_text("mine")
    assert (out / "notes.txt").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [out]


def test_folder_behind_a_link_is_replaced_where_it_lies(tmp_path):
    write(tmp_path / "real" / "out")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "out")
    write(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "out" / "config.json").read_text() == "config.json two"


def test_failure_leaves_the_old_folder_alone(tmp_path, renaming):
    out = tmp_path / "out"
    write(out)
    before = snapshot(tmp_path)
    with pytest.raises(OSError, match="full"), storage.new_folder(out) as folder:
        (folder / "config.json").write_text("half")
        raise OSError("full")
    assert snapshot(tmp_path) == before


def test_run_goes_into_its_own_folder_alone(tmp_path):
    storage.require_writable_folder(tmp_path, marks=("log.jsonl",))
    (tmp_path / "config.toml").write_text("[project]")
    with pytest.raises(OutputError, match=r"one that holds log\.jsonl"):
        storage.require_writable_folder(tmp_path, marks=("log.jsonl",))
    (tmp_path / "log.jsonl").touch()
    storage.require_writable_folder(tmp_path, marks=("log.jsonl",))


def test_file_is_new_whole_and_not_written_through_a_link(tmp_path):
    precious, path = tmp_path / "precious", tmp_path / "file"
    precious.write_text("mine")
    path.symlink_to(precious)
    with storage.new_file(path) as file:
        file.write(b"new")
    assert (precious.read_text(), path.read_text(), path.is_symlink()) == ("mine", "new", False)
    with pytest.raises(OSError, match="full"), storage.new_file(path) as file:
        file.write(b"half")
        raise OSError("full")
    assert path.read_text() == "new"
    assert sorted(tmp_path.iterdir()) == [path, precious]


WRITER = """
import itertools, os, signal, sys
from mose import storage

out, way = sys.argv[1:]
if way == "two renames":
    storage._exchange = lambda first, second: False
for line in sys.stdin:
    number = int(line)
    child = os.fork()
    if child:
        print(os.waitpid(child, 0)[1], flush=True)
        continue
    left = itertools.count(number, -1)
    def before_operation(event, arguments):
        if event.startswith(("open", "os.", "shutil.", "ctypes.", "fcntl.")) and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(before_operation)
    with storage.new_folder(out) as folder:
        for name in range(5):
            (folder / str(name)).write_text(str(number))
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each write is a process that is killed")
@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_killed_before_any_operation_leaves_one_whole_folder_under_the_name(way, tmp_path):
    """Write again and again, killed before the first operation on files, before the second, until a write is done."""
    out = tmp_path / "out"
    command = [sys.executable, "-c", WRITER, str(out), way]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    num_bare = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True) as writer:
        for number in itertools.count(-1):
            writer.stdin.write(f"{number}\n")
            writer.stdin.flush()
            status = int(writer.stdout.readline())
            assert status in (0, signal.SIGKILL), number
            num_bare += not out.exists()
            storage.recover(out)
            assert storage.is_own_folder(out)
            assert len({path.read_text() for path in out.iterdir() if path.name.isdigit()}) == 1
            assert len(json.loads((out / storage.INVENTORY_NAME).read_text())["files"]) == 5
            if number >= 0 and status == 0:
                break
    assert number > 20
    if sys.platform == "linux":
        assert num_bare == (way == "two renames")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills")
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_leaves_goes_with_the_next_and_a_living_one_keeps_its_own(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(storage, "_YOUNG_SECONDS", 0.0)
    code = f"import sys, time; from pathlib import Path; from mose import storage\nwith storage.new_{kind}(Path(sys.argv[1])):\n"
    command = [sys.executable, "-c", code + "    print('writes', flush=True); time.sleep(60)", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writes\n"
    writers[0].kill()
    writers[0].wait()
    assert len(list(tmp_path.iterdir())) == 2
    with getattr(storage, f"new_{kind}")(tmp_path / "out"):
        assert len(list(tmp_path.iterdir())) == 2  # the living one's and this one's
    for writer in writers:
        writer.kill()
        writer.communicate()


COUNTER = """
import sys
from pathlib import Path
from mose import storage

looks = []
sys.addaudithook(lambda event, _: looks.append(event) if event in ("os.listdir", "os.scandir", "glob.glob") else None)
for number in range(30):
    with storage.new_file(Path(sys.argv[1]) / f"shard-{number}"):
        pass
print(len(looks))
"""


def test_who_writes_many_files_into_a_folder_reads_the_folder_once(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", COUNTER, str(tmp_path)]
    assert int(subprocess.run(command, capture_output=True, env=environment, check=True).stdout) <= 1
    assert len(list(tmp_path.iterdir())) == 30


def test_a_file_that_is_not_to_be_replaced_stays_unless_it_is_the_same(tmp_path):
    for _ in range(2):
        with storage.new_file(tmp_path / "file", replace=False) as file:
            file.write(b"one")
    with (
        pytest.raises(OutputError, match="holds something else"),
        storage.new_file(tmp_path / "file", replace=False) as file,
    ):
        file.write(b"two")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"one"]


@pytest.mark.parametrize("name", [".", "/", "folder", "file/below", "missing/out", "x" * 300])
def test_a_file_that_cannot_be_written_is_named_as_it_was_asked_for(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    out = Path(name)
    with pytest.raises(OSError) as caught, storage.new_file(out) as file:
        file.write(b"text")
    assert str(caught.value.filename) == str(out)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
