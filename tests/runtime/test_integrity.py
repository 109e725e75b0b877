"""Files of a model that differ from its manifest are refused."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time

import pytest

from mose import CodeIndex
from mose.errors import ModelError
from mose.runtime import integrity
from mose.runtime.encoder import Encoder
from mose.runtime.model import model_folder


@pytest.fixture
def model(tmp_path, home):
    """A copy of the shipped model whose files are not recent."""
    home.mkdir(exist_ok=True)
    return shutil.copytree(model_folder("small"), tmp_path / "model")


def _flip(path, place=-1000):
    """Change one byte, but not size and time of change."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("name", "exit_layer"),
    [("weights.bin", 2), ("exit_2.onnx", 2), ("exit_0.safetensors", 0), ("tokenizer.json", 0), ("tokenizer.json", 2)],
)
def test_damaged_file_of_the_right_size_is_refused(model, monkeypatch, name, exit_layer):
    monkeypatch.setattr(integrity, "_SETTLED_NS", 0)
    assert len(Encoder.load(model, exit=exit_layer).encode(["parse a date"])) == 1
    time.sleep(0.02)
    _flip(model / name)
    with pytest.raises(ModelError, match="SHA-256") as caught:
        Encoder.load(model, exit=exit_layer).encode(["parse a date"])
    assert str(model / name) in str(caught.value)


def test_damaged_model_adds_no_shared_vectors(model, sample_tree, home):
    _flip(model / "weights.bin")
    with CodeIndex.open(sample_tree, model=model) as index, pytest.raises(ModelError, match="SHA-256"):
        index.deepen()
    assert num_shared(home) == 0
    with CodeIndex.open(sample_tree, model="small") as index:
        index.deepen()
    assert num_shared(home) > 0


def num_shared(home):
    with sqlite3.connect(home / "vectors.db") as shared:
        return shared.execute("SELECT count(*) FROM vectors").fetchone()[0]


def test_file_is_read_once_as_long_as_it_is_not_touched(model, monkeypatch):
    monkeypatch.setattr(integrity, "_SETTLED_NS", 0)
    Encoder.load(model, exit=2).encode(["parse a date"])
    monkeypatch.setattr(integrity, "hash_file", None)
    Encoder.load(model, exit=2).encode(["parse a date"])


@pytest.mark.parametrize("record", [b"", b"[1, 2]", b"{", b'{"a": 3}', b"\xff" * 100, b"[" * 100_000])
def test_record_that_cannot_be_read_is_made_again(model, home, record):
    (home / integrity.RECORD_NAME).write_bytes(record)
    assert len(Encoder.load(model, exit=0).encode(["parse a date"])) == 1


def test_without_a_folder_for_the_record_the_files_are_read_every_time(model, monkeypatch):
    monkeypatch.setenv("MOSE_HOME", "/proc/nothing")
    assert len(Encoder.load(model, exit=0).encode(["parse a date"])) == 1
