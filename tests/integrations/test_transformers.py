"""Model folders in transformers: config, model, tokenizer, and what is written for the hub."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from runtime.conftest import TEXTS, write_checkpoint  # noqa: E402
from transformers import AutoConfig, AutoModel, AutoTokenizer  # noqa: E402

import mose.integrations.transformers  # noqa: E402, F401 (it registers the classes)
from mose.errors import ModelError  # noqa: E402
from mose.integrations.card import hub_card  # noqa: E402
from mose.model.batch import text_batch  # noqa: E402
from mose.model.checkpoint import load_model  # noqa: E402
from mose.model.presets import preset  # noqa: E402
from mose.model.settings import ModelSettings  # noqa: E402
from mose.model.shapes import tensor_shapes  # noqa: E402
from mose.tokenizer import CodeTokenizer  # noqa: E402

TEMPLATES = [
    {},
    {
        "code_template": "{cls}passage: {text}{sep}",
        "query_template": "{cls}query: {text}{sep}",
        "padding_side": "right",
    },
    {"split_identifiers": True},
    {"code_template": "{text}", "query_template": "{sep}{text}"},
]


@pytest.fixture
def folder(tmp_path):
    changes = {"exits": (0, 1, 2, 4), "table_width": 16, "table_share": 0.3}
    return write_checkpoint(tmp_path / "tiny", preset("tiny", **changes))


def test_the_config_is_the_models_under_the_names_that_other_libraries_use(folder):
    config = AutoConfig.from_pretrained(folder)
    assert config.settings == ModelSettings.read(folder)
    assert (config.num_hidden_layers, config.num_attention_heads, config.max_position_embeddings) == (4, 4, 128)


@pytest.mark.parametrize("changes", TEMPLATES, ids=["paper", "lead", "split", "bare"])
@pytest.mark.parametrize("kind", ["code", "query"])
def test_token_ids_are_those_of_our_tokenizer(changes, kind, tmp_path):
    folder = write_checkpoint(tmp_path / "tiny", preset("tiny", **changes))
    texts = [*(text for text in TEXTS if text), "parseURL read_date <cls> [UNK] <sep>", "date " * 400]
    own = CodeTokenizer.load(folder)
    expected = text_batch(own, texts, kind=kind, language="python")
    found = AutoTokenizer.from_pretrained(folder, kind=kind, language="python")(
        texts, padding=True, truncation=True, return_tensors="pt"
    )
    assert set(found) == {"input_ids", "attention_mask"}
    assert torch.equal(found["attention_mask"].bool(), expected.keep_BT)
    assert torch.equal(found["input_ids"], expected.token_ids_BT)


def test_hidden_states_and_embedding_are_those_of_our_model_at_every_exit(folder):
    ours, theirs = load_model(folder), AutoModel.from_pretrained(folder)
    inputs = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        expected = ours(inputs["input_ids"], inputs["attention_mask"])
        for exit_layer, hidden in expected.items():
            output = theirs(**inputs, exit=exit_layer)
            torch.testing.assert_close(output.last_hidden_state, hidden, atol=1e-5, rtol=0)
            pooled = ours.project(exit_layer, hidden, inputs["attention_mask"])
            torch.testing.assert_close(output.pooler_output, pooled, atol=1e-5, rtol=0)
        states = theirs(**inputs, output_hidden_states=True).hidden_states
        assert len(states) == 5
        for exit_layer, hidden in expected.items():
            torch.testing.assert_close(states[exit_layer], hidden, atol=1e-5, rtol=0)
        last, pooled = theirs(inputs["input_ids"], inputs["attention_mask"], return_dict=False)
    torch.testing.assert_close(last, expected[4], atol=1e-5, rtol=0)


def test_exits_that_it_has_not_or_that_read_words_are_refused(folder):
    model = AutoModel.from_pretrained(folder)
    ids = torch.tensor([[5, 6]])
    with pytest.raises(ModelError, match="has no exit 3"):
        model(ids, exit=3)
    with pytest.raises(ModelError, match="exit 0 reads words"):
        model(ids, exit=0)


def test_a_saved_model_is_a_whole_model_folder_with_a_card(folder, tmp_path):
    (folder / "README.md").write_text("# Ours\n\nTrained on nothing.\n")
    AutoModel.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: mose\n")
    assert "Trained on nothing." in card
    assert "trust_remote_code=True" in card
    with (
        safe_open(folder / "model.safetensors", "pt") as before,
        safe_open(tmp_path / "saved" / "model.safetensors", "pt") as after,
    ):
        assert all(
            torch.equal(before.get_tensor(name), after.get_tensor(name))
            for name in tensor_shapes(ModelSettings.read(folder))
        )
    batch = text_batch(CodeTokenizer.load(tmp_path / "saved"), TEXTS, kind="code", words=True)
    with torch.no_grad():
        first, second = load_model(folder).embed(batch), load_model(tmp_path / "saved").embed(batch)
    assert all(torch.equal(first[exit_layer], second[exit_layer]) for exit_layer in (0, 1, 2, 4))
    assert (tmp_path / "saved" / "LICENSE").read_text() == "free as air"


def test_a_card_keeps_its_own_metadata_and_is_written_once():
    own = "---\nlicense: mit\n---\n# Ours\n"
    card = hub_card(preset("tiny"), own)
    assert card.startswith(own)
    assert hub_card(preset("tiny"), card) == card


def test_a_pushed_repository_holds_what_is_saved(folder, monkeypatch):
    import huggingface_hub

    seen = {}

    class Repository:
        repo_id = "me/tiny"

    def upload(self, *, repo_id, folder_path, **options):
        from pathlib import Path

        seen.update(repo=repo_id, files={path.name for path in Path(folder_path).iterdir()}, **options)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda self, name, **options: Repository)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    AutoModel.from_pretrained(folder).push_to_hub("tiny", commit_message="first")
    needed = {"config.json", "model.safetensors", "tokenizer.json", "modules.json", "README.md", "LICENSE"}
    assert (seen["repo"], seen["commit_message"]) == ("me/tiny", "first")
    assert needed <= seen["files"]


def test_a_tokenizer_that_is_saved_is_the_same_again(folder, tmp_path):
    first = AutoTokenizer.from_pretrained(folder)
    first.save_pretrained(tmp_path / "saved")
    AutoModel.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert again(TEXTS)["input_ids"] == first(TEXTS)["input_ids"]
    assert CodeTokenizer.load(tmp_path / "saved").encode(TEXTS, kind="code") == CodeTokenizer.load(folder).encode(
        TEXTS, kind="code"
    )


def test_mose_alone_loads_neither_transformers_nor_torch():
    check = "import sys, mose; assert not {'torch', 'transformers', 'mose.integrations'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_embedding_of_the_shipped_checkpoint_has_unit_length():
    folder = Path(__file__).parents[2] / "checkpoints" / "small"
    model = AutoModel.from_pretrained(folder)
    inputs = AutoTokenizer.from_pretrained(folder)(["def parse_date(text): ..."], return_tensors="pt")
    with torch.no_grad():
        vectors = model(**inputs, exit=3).pooler_output.float().numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
