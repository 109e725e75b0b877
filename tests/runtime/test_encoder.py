"""The facade: order, width, exits, threads, imports and errors."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mose.errors import ConfigError, ModelError
from mose.export.export import ExportRecipe, export
from mose.runtime import batching
from mose.runtime.encoder import Encoder
from mose.runtime.session import Session

from .conftest import TEXTS

BLOCKS = pytest.mark.parametrize("block", ["bert", "starcoder2"])
DTYPES = pytest.mark.parametrize("dtype", ["float32", "int8"])


@BLOCKS
@DTYPES
def test_other_texts_order_and_threads_change_no_vector(block, dtype, runtime_folder, monkeypatch):
    folder = runtime_folder(block, dtype=dtype)
    monkeypatch.setattr(batching, "TOKEN_BUDGET", 16)
    monkeypatch.setattr(batching, "WINDOW_TEXTS", 3)
    together = Encoder.load(folder, threads=3).encode(TEXTS, language="go")
    alone = np.concatenate([Encoder.load(folder, threads=1).encode([text], language="go") for text in TEXTS])
    reverse = Encoder.load(folder).encode(TEXTS[::-1], language="go")[::-1]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(reverse, alone)


@DTYPES
@pytest.mark.parametrize("table_share", [0.0, 0.3])
def test_all_exits_from_one_pass_equal_single_exits(dtype, table_share, runtime_folder):
    encoder = Encoder.load(runtime_folder(dtype=dtype, table_share=table_share))
    vectors = encoder.encode_exits(TEXTS)
    assert tuple(vectors) == encoder.exits == (0, 1, 2, 4)
    for exit_layer, rows in vectors.items():
        np.testing.assert_allclose(rows, encoder.at(exit=exit_layer).encode(TEXTS), atol=1e-6)


def test_vectors_have_unit_length_at_every_exit_and_width(runtime_folder):
    encoder = Encoder.load(runtime_folder())
    for exit_layer in encoder.exits:
        for width in (1, 7, 16):
            vectors = encoder.at(exit=exit_layer, width=width).encode(["parse a date", "x"])
            assert vectors.shape == (2, width)
            assert vectors.dtype == np.float32
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_width_keeps_the_leading_dimensions(runtime_folder):
    encoder = Encoder.load(runtime_folder())
    full, narrow = encoder.encode(TEXTS), encoder.at(width=5).encode(TEXTS)
    expected = full[:, :5] / np.linalg.norm(full[:, :5], axis=1, keepdims=True)
    np.testing.assert_allclose(narrow, expected, atol=1e-6)
    every = Encoder.load(runtime_folder(), width=5).encode_exits(TEXTS)
    np.testing.assert_allclose(every[4], expected, atol=1e-6)
    assert {vectors.shape[1] for vectors in every.values()} == {5}


def test_exit_0_has_its_share_in_the_cosine_at_every_other_exit(runtime_folder):
    alone, sharing = (Encoder.load(runtime_folder(table_share=share)) for share in (0.0, 0.3))
    own, both = alone.encode_exits(TEXTS), sharing.encode_exits(TEXTS)
    np.testing.assert_array_equal(own[0], both[0])
    with_words = np.linalg.norm(own[0], axis=1) > 0
    for exit_layer in (1, 2, 4):
        expected = 0.7 * own[exit_layer] @ own[exit_layer].T + 0.3 * own[0] @ own[0].T
        cosines = both[exit_layer] @ both[exit_layer].T
        np.testing.assert_allclose(cosines[with_words][:, with_words], expected[with_words][:, with_words], atol=1e-5)
        assert sharing.at(exit=exit_layer).width == alone.at(exit=exit_layer).width + 16


def test_share_of_exit_0_is_there_without_exit_0_itself(checkpoint, runtime_folder, tmp_path):
    export(checkpoint(table_share=0.3), tmp_path / "deep", ExportRecipe(exits=(4,)))
    deep, whole = Encoder.load(tmp_path / "deep"), Encoder.load(runtime_folder(table_share=0.3))
    assert deep.exits == (4,)
    np.testing.assert_array_equal(deep.encode(TEXTS), whole.encode(TEXTS))


def test_sibling_shares_what_is_loaded_and_keeps_what_was_asked(runtime_folder):
    encoder = Encoder.load(runtime_folder(), width=9)
    sibling = encoder.at(exit=1)
    assert (sibling.exit, sibling.width) == (1, 9)
    assert sibling._model is encoder._model
    assert Encoder.load(runtime_folder()).at(exit=0).width == 16


def test_language_of_each_text_reaches_its_template(runtime_folder, monkeypatch):
    monkeypatch.setattr(batching, "WINDOW_TEXTS", 2)
    encoder = Encoder.load(runtime_folder("starcoder2"))
    mixed = encoder.encode(["x", "x", "x", "x"], language=["go", "rust", "rust", "go"])
    np.testing.assert_array_equal(mixed[:2], mixed[:1:-1])
    assert np.abs(mixed[0] - mixed[1]).max() > 1e-3
    np.testing.assert_array_equal(mixed[2:3], encoder.encode(["x"], language="rust"))
    with pytest.raises(ConfigError, match="languages"):
        encoder.encode(["x", "y"], language=["go"])


def test_query_and_code_use_their_templates(runtime_folder):
    encoder = Encoder.load(runtime_folder("starcoder2"))
    assert np.abs(encoder.encode(["x"], kind="query") - encoder.encode(["x"], kind="code")).max() > 1e-3


@pytest.mark.parametrize("exit_layer", [0, 4])
def test_empty_list_is_encoded(exit_layer, runtime_folder):
    encoder = Encoder.load(runtime_folder(), exit=exit_layer)
    assert encoder.encode([]).shape == (0, encoder.width)


@pytest.mark.parametrize("exit_layer", [0, 4])
def test_progress_counts_up_to_all_texts(exit_layer, runtime_folder, monkeypatch):
    monkeypatch.setattr(batching, "WINDOW_TEXTS", 3)
    seen = []
    Encoder.load(runtime_folder(), exit=exit_layer).encode(TEXTS, progress=seen.append)
    done = [progress.done for progress in seen]
    assert done == sorted(done)
    assert seen[-1].done == seen[-1].total == len(TEXTS)
    assert len(seen) >= 3


@pytest.mark.parametrize("exit_layer", [0, 4])
def test_invalid_unicode_is_read_with_replacements(exit_layer, runtime_folder):
    encoder = Encoder.load(runtime_folder(), exit=exit_layer)
    np.testing.assert_array_equal(encoder.encode(["parse \udcff x"]), encoder.encode(["parse ? x"]))


def run_python(code: str, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_encoding_loads_neither_torch_nor_onnx_nor_transformers(runtime_folder):
    loaded = run_python(
        "import sys; from mose.runtime.encoder import Encoder; Encoder.load(sys.argv[1]).encode(['x', 'y'])\n"
        "print(*sys.modules)",
        str(runtime_folder()),
    ).split()
    assert "onnxruntime" in loaded
    assert not {"torch", "transformers", "onnx", "safetensors"} & set(loaded)


def test_exit_0_does_not_load_onnxruntime(runtime_folder):
    loaded = run_python(
        "import sys; from mose.runtime.encoder import Encoder; Encoder.load(sys.argv[1], exit=0).encode(['x'])\n"
        "print(*sys.modules)",
        str(runtime_folder()),
    ).split()
    assert not {"onnxruntime", "torch", "transformers", "onnx"} & set(loaded)


@pytest.mark.skipif(not hasattr(os, "kill"), reason="needs signals")
def test_interrupt_stops_between_batches(runtime_folder):
    code = (
        "import sys; from mose.runtime.encoder import Encoder\n"
        "print('ready', flush=True)\n"
        "Encoder.load(sys.argv[1]).encode(['word ' * 100] * 300_000)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(runtime_folder())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors


def test_unknown_name_lists_the_shipped_models():
    with pytest.raises(ModelError, match=r"'smal'.*small"):
        Encoder.load("smal")


def test_checkpoint_is_distinguished_from_a_runtime_model(checkpoint):
    with pytest.raises(ModelError, match="mose export"):
        Encoder.load(checkpoint())


def test_folder_without_manifest(tmp_path):
    with pytest.raises(ModelError, match=r"no mose\.json"):
        Encoder.load(tmp_path)


def test_exit_that_the_model_has_not(runtime_folder):
    with pytest.raises(ModelError, match="got 3, allowed: 0, 1, 2, 4"):
        Encoder.load(runtime_folder(), exit=3)


@pytest.mark.parametrize("width", [0, -1, 33])
def test_width_out_of_range(width, runtime_folder):
    with pytest.raises(ModelError, match="allowed: 1 to 32"):
        Encoder.load(runtime_folder(), width=width)


def test_width_beyond_that_of_a_narrower_exit(runtime_folder):
    with pytest.raises(ModelError, match="allowed: 1 to 16"):
        Encoder.load(runtime_folder(), width=32).at(exit=0)


def test_encode_words_needs_exit_0(runtime_folder):
    with pytest.raises(ModelError, match="exit=0"):
        Encoder.load(runtime_folder()).encode_words([["parse"]])


def test_threads_out_of_range(runtime_folder):
    with pytest.raises(ConfigError, match="threads"):
        Encoder.load(runtime_folder(), threads=0)


@pytest.fixture
def copied(runtime_folder, tmp_path):
    return shutil.copytree(runtime_folder(), tmp_path / "copied")


@pytest.mark.parametrize(
    "name", ["weights.bin", "exit_2.onnx", "exit_0.safetensors", "tokenizer.json", "all_exits.onnx"]
)
def test_missing_file_is_named(name, copied):
    (copied / name).unlink()
    with pytest.raises(ModelError, match=rf"{name} is missing"):
        Encoder.load(copied)


def test_truncated_file_is_named(copied):
    with (copied / "weights.bin").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(ModelError, match=r"size of .*weights\.bin: got 1000"):
        Encoder.load(copied)


def test_changed_byte_is_found_by_verify(copied):
    Encoder.load(copied).verify()
    with (copied / "weights.bin").open("r+b") as file:
        file.seek(500)
        byte = file.read(1)[0]
        file.seek(500)
        file.write(bytes([byte ^ 1]))
    encoder = Encoder.load(copied)
    with pytest.raises(ModelError, match=r"weights\.bin does not match its SHA-256"):
        encoder.verify()


def test_damaged_graph_is_named(copied):
    size = (copied / "exit_4.onnx").stat().st_size
    (copied / "exit_4.onnx").write_bytes(b"\xff" * size)
    with pytest.raises(ModelError, match=r"exit_4\.onnx does not match"):
        Encoder.load(copied).encode(["x"])
    with pytest.raises(ModelError, match=r"cannot open .*exit_4\.onnx"):
        Session(copied / "exit_4.onnx")


def change_manifest(folder, **changes):
    values = json.loads((folder / "mose.json").read_text())
    (folder / "mose.json").write_text(json.dumps({**values, **changes}))


def test_unknown_format_is_refused(copied):
    change_manifest(copied, format=99)
    with pytest.raises(ModelError, match="got 99, allowed: 3"):
        Encoder.load(copied)


@pytest.mark.parametrize("changes", [{"exits": None}, {"files": [1]}, {"widths": {"a": 1}}])
def test_damaged_manifest_is_named(changes, copied):
    change_manifest(copied, **changes)
    with pytest.raises(ModelError, match=r"mose\.json is damaged"):
        Encoder.load(copied)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_manifest_that_is_not_a_json_object(text, copied):
    (copied / "mose.json").write_text(text)
    with pytest.raises(ModelError, match=r"mose\.json is damaged"):
        Encoder.load(copied)


def test_identity_follows_what_decides_the_vectors(runtime_folder, copied):
    identity = Encoder.load(copied).identity
    assert identity == Encoder.load(runtime_folder()).identity
    assert identity != Encoder.load(runtime_folder(dtype="int8")).identity
    change_manifest(copied, name="other", source="elsewhere")
    assert Encoder.load(copied).identity == identity
    change_manifest(copied, table_share=0.3)
    sharing = Encoder.load(copied).identity
    assert sharing != identity
    change_manifest(copied, max_tokens=64)
    assert Encoder.load(copied).identity not in (identity, sharing)
