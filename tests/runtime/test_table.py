"""Exit 0 against the plain sum that defines it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save_file

from mose.errors import ModelError
from mose.runtime import table as table_module
from mose.runtime.encoder import Encoder
from mose.runtime.table import TokenTable
from mose.runtime.tensors import TensorFile
from mose.tokenizer import CodeTokenizer
from mose.words import split_words

from .conftest import TEXTS


def plain(folder, texts):
    tensors = TensorFile(folder / "model.safetensors")
    vectors, weights = tensors.floats("table.vectors"), tensors.floats("table.token_weights")
    tokenizer = CodeTokenizer.load(folder)
    rows = []
    for text in texts:
        total = np.zeros(vectors.shape[1])
        words = split_words(text)
        for word in set(words):
            root = words.count(word) ** 0.5
            total += sum(root * weights[token] * vectors[token] for token in tokenizer.word_ids([word])[0])
        rows.append(total / (np.linalg.norm(total) or 1))
    return np.array(rows)


def test_float32_table_equals_the_plain_sum(checkpoint, runtime_folder):
    texts = [*TEXTS, "open a a a a proxy"]
    expected = plain(checkpoint(), texts)
    assert not expected[3].any()
    np.testing.assert_allclose(Encoder.load(runtime_folder(), exit=0).encode(texts), expected, atol=1e-5)


def test_words_and_text_give_the_same_vector(runtime_folder):
    encoder = Encoder.load(runtime_folder(), exit=0)
    words = [split_words(text) for text in TEXTS]
    np.testing.assert_allclose(encoder.encode_words(words), encoder.encode(TEXTS), atol=1e-6)


def test_clearing_the_word_cache_changes_no_vector(runtime_folder, monkeypatch):
    folder = runtime_folder()
    expected = Encoder.load(folder, exit=0).encode(TEXTS)
    monkeypatch.setattr(table_module, "_CACHE_BYTES", 0)
    monkeypatch.setattr(table_module, "_FIRST_ROWS", 4)
    encoder = Encoder.load(folder, exit=0)
    by_twos = np.concatenate([encoder.encode([text, text])[:1] for text in TEXTS])
    np.testing.assert_allclose(by_twos, expected, atol=1e-6)


def test_texts_that_come_alone_have_their_vectors_and_leave_nothing_in_memory(runtime_folder):
    encoder = Encoder.load(runtime_folder(), exit=0)
    texts = [*TEXTS, "open a a a a proxy"]
    one_by_one = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_array_equal(one_by_one, encoder.encode(texts))
    encoder.encode(["a text whose imports are done"])
    tracemalloc.start()
    for number in range(5_000):
        encoder.encode([f"{number}"])
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert left < 2_000_000  # 5 MB of vectors are not among it


def test_memory_does_not_grow_with_the_words_or_tokens_of_a_tree(tmp_path):
    class Tokenizer:
        vocab_size = 3

        def word_ids(self, words):
            return [[0, 1, 2] * (int(word) % 7) for word in words]

    width = 512
    vectors = np.arange(3 * width, dtype=np.float32).reshape(3, width)
    save_file({"vectors": vectors, "factors": np.ones(3, np.float32)}, tmp_path / "t.safetensors")
    table = TokenTable(tmp_path / "t.safetensors", Tokenizer())
    texts = [[str(number) for number in range(start, start + 250)] for start in range(0, 100_000, 250)]
    tracemalloc.start()
    found = table.encode_words(texts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250e6  # 200 MB of words at once, 1,800 MB of tokens
    sums = [vectors.sum(axis=0) * sum(int(word) % 7 for word in text) for text in texts]
    np.testing.assert_allclose(found, [total / np.linalg.norm(total) for total in sums], atol=1e-5)


def test_word_without_tokens_adds_zero(tmp_path):
    class Tokenizer:
        vocab_size = 3

        def word_ids(self, words):
            return [{"a": [0], "none": [], "pair": [1, 2]}[word] for word in words]

    vectors = np.array([[1, 0], [0, 1], [0, 2]], np.float32)
    save_file({"vectors": vectors, "factors": np.ones(3, np.float32)}, tmp_path / "t.safetensors")
    table = TokenTable(tmp_path / "t.safetensors", Tokenizer())
    unit = np.array([4**0.5, 3.0]) / 13**0.5  # "a" four times: its root, two
    np.testing.assert_allclose(table.encode_words([["a", "pair", "a", "a", "a"]])[0], unit, atol=1e-6)
    found = table.encode_words([["none"], ["a", "none"], ["pair", "none"]])
    assert found.tolist() == [[0, 0], [1, 0], [0, 1]]


def test_table_of_another_vocabulary_is_refused(checkpoint, tmp_path):
    tokenizer = CodeTokenizer.load(checkpoint())
    save_file({"vectors": np.ones((3, 2), np.int8), "factors": np.ones(3, np.float32)}, tmp_path / "t.safetensors")
    with pytest.raises(ModelError, match="got 3"):
        TokenTable(tmp_path / "t.safetensors", tokenizer)


def test_table_without_factors_is_refused(checkpoint, tmp_path):
    save_file({"vectors": np.ones((3, 2), np.int8)}, tmp_path / "t.safetensors")
    with pytest.raises(ModelError, match="no factors"):
        TokenTable(tmp_path / "t.safetensors", CodeTokenizer.load(checkpoint()))


def test_bfloat16_is_widened(tmp_path):
    header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    (tmp_path / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\x80\x3f\x20\xc0")
    assert TensorFile(tmp_path / "b.safetensors").floats("w").tolist() == [1.0, -2.5]


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_tensor_file_is_refused(checkpoint, tmp_path, keep):
    whole = (checkpoint() / "model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:keep])
    with pytest.raises(ModelError, match=r"cut\.safetensors"):
        TensorFile(tmp_path / "cut.safetensors")
