"""Untrusted model folders: any content gives a ModelError, quickly and in little memory."""

import json
import os
import shutil
import struct
import time
from contextlib import suppress
from dataclasses import asdict

import numpy as np
import pytest
from rounds import ROUNDS

from mose.errors import ConfigError, ModelError
from mose.model.folder import read_header
from mose.model.settings import ModelSettings
from mose.runtime.encoder import Encoder
from mose.runtime.manifest import hash_file
from mose.runtime.tensors import TensorFile

LONGEST_SECONDS = 5.0
MOST_BYTES = 500_000_000  # beside what the process held before


@pytest.fixture
def copied(runtime_folder, tmp_path):
    return shutil.copytree(runtime_folder("bert"), tmp_path / "model")


def use(folder):
    """Everything of a model once."""
    encoder = Encoder.load(folder, threads=1)
    for exit_layer in encoder.exits:
        assert encoder.at(exit=exit_layer).encode(["parse an ISO date"], kind="query").shape[0] == 1


def refit(folder):
    """Sizes and hashes in the manifest as the files have them now, as an attacker would write them."""
    path = folder / "mose.json"
    values = json.loads(path.read_text())
    for name, entry in values["files"].items():
        entry.update(asdict(hash_file(folder / name)))
    path.write_text(json.dumps(values))


def outside(graph):
    """The first tensor whose values are in the weights file."""
    return next(tensor for tensor in graph.graph.initializer if tensor.external_data)


DEEP = "[" * 200_000
CHANGES = {
    "exits": [[], [0, 0], [-1], [1e999], ["1"], [True], list(range(100_000)), "exits", None, {"1": 2}, [99]],
    "widths": [{}, {"0": -1}, {"0": 1 << 60}, {"x": 1}, [], None, {"0": 0.5}],
    "hidden_size": [-1, 1 << 60, "x", None, 1.5, [1]],
    "num_layers": [-1, 1 << 60, "x", None],
    "table_share": [-1, 1, 2.0, "x", None],
    "pooling": [None, 1, []],
    "dtype": ["float64", None, 7],
    "float_matrices": [None, 3, [3]],
    "files": [None, [], {}, {"mose.json": 3}, {"../../../etc/passwd": {"size": 1, "sha256": ""}}],
    "tokenizer": [None],
    "max_tokens": [-1, 0, "x", None, 1.5],
    "query_template": [None, 3, "{text}{text}", "{x}"],
    "cls_token": [None, 3, "nobody"],
    "name": [None, 3],
    "settings": [None, 3, "x"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in CHANGES.items() for value in values])
def test_absurd_manifest_is_refused(key, value, copied):
    path = copied / "mose.json"
    values = json.loads(path.read_text())
    known = key in values
    values[key] = value
    path.write_text(json.dumps(values))
    if known:
        with pytest.raises((ModelError, ConfigError)):
            use(copied)


@pytest.mark.parametrize(
    "text", [DEEP, '{"a":' * 50_000, "NaN", '{"format": NaN}', "1" * 10_000, '"\\ud800', "\0", "{}" * 3]
)
@pytest.mark.parametrize("name", ["mose.json", "tokenizer.json"])
def test_deep_and_odd_json_is_refused(name, text, copied):
    (copied / name).write_text(text)
    if name != "mose.json":
        refit(copied)
    with pytest.raises(ModelError):
        use(copied)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "..", "", "C:x", "a\\b", "nul\0"])
def test_file_outside_the_folder_is_refused(name, copied):
    path = copied / "mose.json"
    values = json.loads(path.read_text())
    values["files"][name] = {"size": 1, "sha256": "0"}
    path.write_text(json.dumps(values))
    with pytest.raises(ModelError, match="is damaged"):
        use(copied)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and named pipes")
def test_link_out_of_the_folder_and_pipe_are_refused(copied, tmp_path):
    weights = copied / "weights.bin"
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="is a link out of its folder"):
        use(copied)
    weights.unlink()
    os.mkfifo(weights)
    with pytest.raises(ModelError, match="is not a regular file"):
        use(copied)
    (copied / "mose.json").unlink()
    os.mkfifo(copied / "mose.json")
    with pytest.raises(ModelError):
        use(copied)


def test_weights_of_a_graph_lie_in_the_weights_file_alone(copied, tmp_path):
    import onnx

    (tmp_path / "secret.bin").write_bytes(bytes(1_000_000))
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "weights.bin/../../secret.bin", "exit_1.onnx", ""):
        graph = onnx.load(str(copied / "exit_1.onnx"), load_external_data=False)
        for entry in outside(graph).external_data:
            if entry.key == "location":
                entry.value = location
        (copied / "exit_1.onnx").write_bytes(graph.SerializeToString())
        refit(copied)
        with pytest.raises(ModelError, match="takes weights from another file"):
            Encoder.load(copied, exit=1, threads=1).encode(["x"], kind="query")


@pytest.mark.parametrize("kind", ["operator", "shape", "offset", "dimension"])
def test_odd_graphs_are_refused(kind, copied):
    import onnx

    graph = onnx.load(str(copied / "exit_1.onnx"), load_external_data=False)
    first = outside(graph)
    if kind == "operator":
        graph.graph.node[0].op_type, graph.graph.node[0].domain = "RunProgram", "evil.example"
        graph.opset_import.add(domain="evil.example", version=1)
    elif kind == "shape":
        first.dims[:] = [1 << 40, 1 << 20]
    elif kind == "dimension":
        first.dims[:] = [-5]
    else:
        for entry in first.external_data:
            if entry.key == "offset":
                entry.value = "99999999999999"
    (copied / "exit_1.onnx").write_bytes(graph.SerializeToString())
    refit(copied)
    with pytest.raises(ModelError):
        Encoder.load(copied, exit=1, threads=1).encode(["x"], kind="query")


def header(**entry):
    values = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | entry
    return {"a": values}


HEADERS = [
    header(shape=[1 << 40, 1 << 40]),
    header(shape=[-1, -4]),
    header(shape=[2.0, 2]),
    header(shape=[True, 4]),
    header(shape=[1] * 100_000),
    header(shape=[4]) | {"b": 3},
    header(data_offsets=[16, 0]),
    header(data_offsets=[-16, 0]),
    header(data_offsets=[0, 1 << 62]),
    header(data_offsets=[8, 24]),
    header(data_offsets=[0]),
    header(data_offsets=None),
    header(dtype="F33"),
    header(dtype=None),
    [],
    "x",
]


@pytest.mark.parametrize("read", [read_header, TensorFile])
@pytest.mark.parametrize(
    "values", [json.dumps(one).encode() for one in HEADERS] + [DEEP.encode(), b"NaN", b"\xff", b'{"a":' * 9999]
)
def test_absurd_tensor_headers_are_refused(read, values, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(values)) + values + bytes(16))
    with pytest.raises(ModelError):
        read(path)
    for length in (1 << 63, 1 << 40, 100_000_000, 1, 0):
        path.write_bytes(struct.pack("<Q", length) + values + bytes(16))
        with pytest.raises(ModelError):
            read(path)


def test_header_of_a_hundred_megabytes_is_not_read(tmp_path):
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 99_000_000) + b"[" * 1000)
        file.truncate(100_000_000)
    with pytest.raises(ModelError, match="a header of"):
        read_header(path)


@pytest.mark.parametrize(
    ("key", "values"),
    {
        "num_layers": [-1, 1 << 40, "x", 1.5, True, None],
        "vocab_size": [-1, 0, 1 << 60, "x", None],
        "hidden_size": [-1, 0, 1 << 60, "x"],
        "num_heads": [0, -4, 1 << 60, "x"],
        "exits": [[], "x", [1 << 60], ["a"], None, 3, [1.5]],
        "exit_weights": ["x", 3, [1]],
        "norm_eps": ["x", -1, None],
        "max_tokens": ["x", -1, 1 << 70],
        "table_width": ["x", -1, 1 << 60],
        "query_template": [None, 7],
        "pooling": [[], {}, None],
    }.items(),
)
def test_absurd_settings_are_refused(key, values, checkpoint, tmp_path):
    right = json.loads((checkpoint() / "config.json").read_text())
    for value in values:
        (tmp_path / "config.json").write_text(json.dumps({**right, key: value}))
        with pytest.raises((ModelError, ConfigError)):
            ModelSettings.read(tmp_path)


def damaged(content, random):
    """Some bytes flipped, a piece cut out, doubled or replaced by words that parsers care for."""
    data = bytearray(content)
    for _ in range(int(random.integers(1, 6))):
        at = int(random.integers(0, max(len(data), 1)))
        kind = int(random.integers(0, 5))
        piece = data[at : at + int(random.integers(1, 40))]
        words = [b"-1", b"1e999", b"null", b"NaN", b"[[[", b'"', b"99999999999999999999", b"\xff\xff", b"../", b"{}"]
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << int(random.integers(0, 8))
        elif kind == 1:
            del data[at : at + len(piece)]
        elif kind == 2:
            data[at:at] = piece * int(random.integers(1, 20))
        elif kind == 3:
            data[at : at + len(piece)] = words[int(random.integers(0, len(words)))]
        else:
            data[at:at] = random.bytes(int(random.integers(1, 9)))
    return bytes(data)


@pytest.mark.parametrize(
    "name", ["mose.json", "tokenizer.json", "exit_0.safetensors", "exit_1.onnx", "all_exits.onnx", "weights.bin"]
)
def test_damaged_at_random_is_a_model_or_a_model_error(name, copied, peak_memory):
    held_before = peak_memory()
    random = np.random.default_rng(11)
    right = (copied / name).read_bytes()
    for number in range(60 * ROUNDS):
        size = len(right) if random.random() < 0.5 else min(len(right), 400)  # heads decide most
        (copied / name).write_bytes(damaged(right[:size], random) + right[size:])
        if name != "mose.json":
            refit(copied)
        started = time.perf_counter()
        with suppress(ModelError, ConfigError):
            use(copied)
        assert time.perf_counter() - started < LONGEST_SECONDS, number
    assert peak_memory() - held_before < MOST_BYTES


def test_numbers_that_are_not_finite_are_refused(copied):
    from safetensors.numpy import load_file, save_file

    arrays = load_file(copied / "exit_0.safetensors")
    arrays["factors"][3] = np.nan
    save_file(arrays, copied / "exit_0.safetensors")
    refit(copied)
    with pytest.raises(ModelError, match="not finite"):
        use(copied)
