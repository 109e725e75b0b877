"""The encoder and the engine inside mteb: one small task from local data, end to end, and what they do without mteb."""

import numpy as np
import pytest

from mose.errors import ConfigError
from mose.integrations.mteb import MoseMteb, MoseSearch
from mose.runtime.encoder import Encoder

DOCUMENTS = {
    "d1": "def parse_iso_date(text):\n    year, month, day = text.split('-')\n    return int(year), int(month), int(day)\n",
    "d2": "def open_proxy(url):\n    return connect(url, through=proxy_server())\n",
    "d3": "def sort_users(users):\n    return sorted(users, key=lambda user: user.name)\n",
    "d4": "def hash_password(password, salt):\n    return sha256(salt + password).hexdigest()\n",
}
QUERIES = {"q1": "read a date in ISO form", "q2": "connect through a proxy", "q4": "hash a password with salt"}


class Metadata:
    eval_langs = ("python-Code",)


def batches(texts, size=2):
    """What mteb's data loader yields."""
    return [{"text": texts[start : start + size]} for start in range(0, len(texts), size)]


CALL = {"task_metadata": Metadata, "hf_split": "test", "hf_subset": "default"}


def test_encode_gives_the_vectors_of_the_exit_and_width():
    model = MoseMteb("small", exit=2, width=64)
    texts = list(DOCUMENTS.values())
    own = Encoder.load("small", exit=2, width=64).encode(texts)
    np.testing.assert_array_equal(model.encode(batches(texts), **CALL), own)
    assert own.shape == (4, 64)


def test_prompts_go_before_the_texts_of_their_side_alone():
    model = MoseMteb("small", exit=2, prompts={"query": "find: "})
    plain = MoseMteb("small", exit=2)
    queries = model.encode(batches(["a date"]), prompt_type="query", **CALL)
    np.testing.assert_array_equal(queries, plain.encode(batches(["find: a date"]), prompt_type="query", **CALL))
    documents = model.encode(batches(["a date"]), prompt_type="document", **CALL)
    np.testing.assert_array_equal(documents, plain.encode(batches(["a date"]), prompt_type="document", **CALL))


def test_an_unknown_prompt_is_refused():
    with pytest.raises(ConfigError, match="passage"):
        MoseMteb("small", prompts={"passage": "x"})


def test_search_ranks_the_right_document_first_and_knows_only_this_corpus():
    engine = MoseSearch("small", deepen=False)
    engine.index([{"id": "old", "text": "def gone(): pass"}], **CALL)
    engine.index([{"id": name, "text": text} for name, text in DOCUMENTS.items()], **CALL)
    found = engine.search([{"id": name, "text": text} for name, text in QUERIES.items()], top_k=4, **CALL)
    engine.close()
    assert {name: max(scores, key=scores.get) for name, scores in found.items()} == {"q1": "d1", "q2": "d2", "q4": "d4"}
    assert all(set(scores) <= set(DOCUMENTS) for scores in found.values())


def test_search_among_given_candidates_returns_those_alone():
    engine = MoseSearch("small", deepen=False)
    engine.index([{"id": name, "text": text} for name, text in DOCUMENTS.items()], **CALL)
    found = engine.search([{"id": "q1", "text": QUERIES["q1"]}], top_k=4, top_ranked={"q1": ["d2", "d3"]}, **CALL)
    engine.close()
    assert set(found["q1"]) <= {"d2", "d3"}


def test_search_before_index_is_an_error():
    with pytest.raises(ConfigError, match="index"):
        MoseSearch("small").search([], top_k=1, **CALL)


@pytest.fixture
def task():
    mteb = pytest.importorskip("mteb", reason="mteb (an extra of its own, about 450 MB) is not installed")
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
    from mteb.abstasks.task_metadata import TaskMetadata

    class LocalCode(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="LocalCode", type="Retrieval", main_score="ndcg_at_10", description="Queries to functions.",
            reference="https://example.org", dataset={"path": "local", "revision": "1"}, category="t2t",
            eval_splits=["test"], eval_langs=["python-Code"], date=("2024-01-01", "2024-01-01"), dialect=[],
            domains=["Programming"], task_subtypes=["Code retrieval"], license="apache-2.0",
            annotations_creators="derived", modalities=["text"], sample_creation="created", bibtex_citation="",
        )  # fmt: skip

        def load_data(self, num_proc=None, **_):
            split = RetrievalSplitData(
                corpus=Dataset.from_list([{"id": name, "text": text, "title": ""} for name, text in DOCUMENTS.items()]),
                queries=Dataset.from_list([{"id": name, "text": text} for name, text in QUERIES.items()]),
                relevant_docs={name: {name.replace("q", "d"): 1} for name in QUERIES},
                top_ranked=None,
            )
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return mteb, LocalCode()


@pytest.mark.parametrize("make", [lambda: MoseMteb("small"), lambda: MoseSearch("small")], ids=["encoder", "engine"])
def test_mteb_runs_a_local_task_end_to_end(task, make):
    mteb, local = task
    result = mteb.evaluate(make(), local, cache=None, show_progress_bar=False, co2_tracker=False)
    assert result.task_results[0].get_score() == pytest.approx(1.0)
    assert "mose" in result.model_name


def test_mteb_knows_both_by_their_protocols(task):
    from mteb.models import EncoderProtocol, SearchProtocol

    assert isinstance(MoseMteb("small"), EncoderProtocol)
    assert isinstance(MoseSearch("small"), SearchProtocol)
