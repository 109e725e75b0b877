"""The embedding cache: it returns what was stored, embeds no text twice, and loses one batch when killed."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from mose.errors import DataError
from mose.evaluate.cache import EmbeddingCache, key_of

WIDTHS = {0: 2, 3: 4}


def vectors_of(*numbers):
    return {
        exit_layer: np.array([[n + exit_layer] * width for n in numbers], np.float32)
        for exit_layer, width in WIDTHS.items()
    }


def keys_of(*texts):
    return [key_of(text, "{text}") for text in texts]


def test_vectors_come_back_exactly_in_the_order_asked_for(tmp_path):
    with EmbeddingCache(tmp_path, "model", WIDTHS) as cache:
        cache.add(keys_of("a", "b", "c"), vectors_of(0.1, 0.2, 0.3))
    with EmbeddingCache(tmp_path, "model", WIDTHS) as cache:
        found = cache.get(keys_of("c", "a", "c"))
    np.testing.assert_array_equal(found[0], vectors_of(0.3, 0.1, 0.3)[0])
    np.testing.assert_array_equal(found[3], vectors_of(0.3, 0.1, 0.3)[3])


def test_missing_names_each_new_key_once(tmp_path):
    with EmbeddingCache(tmp_path, "model", WIDTHS) as cache:
        cache.add(keys_of("b"), vectors_of(1))
        assert cache.missing(keys_of("a", "b", "c", "a")) == [0, 2]


def test_more_keys_than_one_statement_takes(tmp_path):
    texts = [str(number) for number in range(1203)]
    with EmbeddingCache(tmp_path, "model", WIDTHS) as cache:
        cache.add(keys_of(*texts), vectors_of(*range(1203)))
        assert cache.missing(keys_of(*texts)) == []
        assert cache.get(keys_of(*texts))[0][:, 0].tolist() == list(range(1203))


def test_text_and_template_both_make_the_key():
    assert len({key_of("bc", "a"), key_of("c", "ab"), key_of("bc", "b"), key_of("abc", "")}) == 4


def test_another_model_or_shape_has_a_file_of_its_own(tmp_path):
    for identity, widths in (("one", WIDTHS), ("two", WIDTHS), ("one", {0: 2})):
        with EmbeddingCache(tmp_path, identity, widths) as cache:
            assert cache.missing(keys_of("a")) == [0]
            cache.add(keys_of("a"), {layer: vectors_of(1)[layer] for layer in widths})
    assert len(list(tmp_path.glob("*.db"))) == 3


def test_a_key_that_is_not_there_is_an_error(tmp_path):
    with EmbeddingCache(tmp_path, "model", WIDTHS) as cache, pytest.raises(KeyError):
        cache.get(keys_of("never"))


def test_a_damaged_file_is_named(tmp_path):
    with EmbeddingCache(tmp_path, "model", WIDTHS) as cache:
        path = cache.path
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(DataError, match=path.name):
        EmbeddingCache(tmp_path, "model", WIDTHS)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="--cache"):
        EmbeddingCache(tmp_path / "file" / "cache", "model", WIDTHS)


def test_a_killed_run_keeps_every_finished_batch(tmp_path):
    code = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        import numpy as np
        from mose.evaluate.cache import EmbeddingCache, key_of
        cache = EmbeddingCache(Path(sys.argv[1]), "model", {0: 2})
        for number in range(10_000):
            cache.add([key_of(str(number), "")], {0: np.full((1, 2), number, np.float32)})
            print(number, flush=True)
        """
    )
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    for line in run.stdout:
        if int(line) >= 20:
            os.kill(run.pid, signal.SIGKILL)
            break
    rest = run.stdout.read().split()
    run.wait()
    told = max([20, *map(int, rest)])
    keys = [key_of(str(number), "") for number in range(told + 1)]
    with EmbeddingCache(tmp_path, "model", {0: 2}) as cache:
        assert cache.missing(keys) == []
        assert cache.get(keys)[0][:, 0].tolist() == list(range(told + 1))
        cache.add([key_of("after", "")], {0: np.zeros((1, 2), np.float32)})
