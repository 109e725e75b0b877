"""Model folders in sentence-transformers give the vectors of ``mose.Encoder``."""

import shutil

import numpy as np
import pytest

library = pytest.importorskip("sentence_transformers", minversion="6")
pytest.importorskip("onnx")

from runtime.conftest import TEXTS, write_checkpoint  # noqa: E402
from tiny_models import TINY_BERT  # noqa: E402

from mose.errors import ConfigError, ModelError  # noqa: E402
from mose.export.export import export  # noqa: E402
from mose.integrations.sentence_transformers import load  # noqa: E402
from mose.model.presets import preset  # noqa: E402
from mose.runtime.encoder import Encoder  # noqa: E402

VARIANTS = {
    "paper": {},
    "bert": {**TINY_BERT, "head": "linear", "head_width": 24, "table_share": 0.3, "split_identifiers": True},
}


@pytest.fixture(scope="module", params=VARIANTS)
def folders(request, tmp_path_factory):
    """A model folder and its runtime form."""
    work = tmp_path_factory.mktemp("models")
    settings = preset("tiny", exits=(0, 1, 2, 4), table_width=16, **VARIANTS[request.param])
    export(write_checkpoint(work / "tiny", settings), work / "runtime")
    return work / "tiny", work / "runtime"


def open_by_name(folder, **options):
    """As a user opens any model: the folder says by itself which class reads it."""
    return library.SentenceTransformer(str(folder), trust_remote_code=True, device="cpu", **options)


@pytest.mark.parametrize("exit_layer", [0, 1, 2, 4])
def test_vectors_of_code_and_queries_are_those_of_the_encoder_at_every_exit(folders, exit_layer):
    model, encoder = open_by_name(folders[0]), Encoder.load(folders[1], exit=exit_layer)
    expected = encoder.encode(TEXTS, language="python")
    np.testing.assert_allclose(model.encode(TEXTS, exit=exit_layer, language="python"), expected, atol=1e-4)
    queries = model.encode_query(TEXTS, exit=exit_layer)
    np.testing.assert_allclose(queries, encoder.encode(TEXTS, kind="query"), atol=1e-4)


def test_cut_vectors_are_those_of_the_encoder_at_that_width(folders):
    expected = Encoder.load(folders[1], exit=2, width=12).encode(TEXTS)
    found = open_by_name(folders[0], truncate_dim=12).encode(TEXTS, exit=2)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    late = open_by_name(folders[0]).encode(TEXTS, exit=2, truncate_dim=12, normalize_embeddings=True)
    np.testing.assert_allclose(late, expected, atol=1e-4)


def test_without_the_flag_load_gives_the_same_and_reads_no_block_above_its_exit(folders):
    model = load(folders[0], exit=1, device="cpu")
    np.testing.assert_allclose(model.encode(TEXTS), Encoder.load(folders[1], exit=1).encode(TEXTS), atol=1e-4)
    assert len(model[0].model.layers) == 1
    with pytest.raises(ModelError, match="cut after exit 1"):
        model.encode(TEXTS, exit=2)
    by_name = open_by_name(folders[0], model_kwargs={"exit": 1})
    np.testing.assert_array_equal(by_name.encode(TEXTS), model.encode(TEXTS))
    assert model.get_embedding_dimension() == model.encode(TEXTS).shape[1]


def test_a_saved_model_gives_the_same_vectors_and_still_exports(folders, tmp_path):
    first = open_by_name(folders[0])
    first.save_pretrained(str(tmp_path / "saved"))
    again = open_by_name(tmp_path / "saved")
    np.testing.assert_array_equal(again.encode(TEXTS, exit=2), first.encode(TEXTS, exit=2))
    export(tmp_path / "saved", tmp_path / "runtime")
    found = Encoder.load(tmp_path / "runtime", exit=2).encode(TEXTS)
    np.testing.assert_allclose(found, first.encode(TEXTS, exit=2), atol=1e-4)


def test_it_can_be_trained_through_sentence_transformers(folders):
    model = open_by_name(folders[0])
    features = model.preprocess(["parse a date", "read"])
    loss = model(features)["sentence_embedding"].sum()
    loss.backward()
    assert model[0].model.layers[0].attention.query.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [({"model_kwargs": {"depth": 3}}, "depth"), ({"backend": "onnx"}, "backend")],
)
def test_options_that_it_has_not_are_refused(folders, options, message):
    with pytest.raises(ConfigError, match=message):
        open_by_name(folders[0], **options)


def test_a_folder_without_tokenizer_is_named(folders, tmp_path):
    copy = shutil.copytree(folders[0], tmp_path / "copy")
    (copy / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing"):
        open_by_name(copy)
