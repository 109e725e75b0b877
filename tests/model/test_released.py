"""Released ModularStarEncoders, StarCoder 2 and Llama, as far as their names are known, from synthesised checkpoints."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from mose.errors import ConfigError, ModelError, MoseError
from mose.model.batch import text_batch
from mose.model.checkpoint import load_model
from mose.model.convert.convert import convert, read_key_map
from mose.model.convert.probe import probe
from mose.model.convert.recipe import ConvertRecipe
from mose.model.encoder import MoseModel
from mose.model.pretraining.heads import PretrainingHeads, read_heads
from mose.model.transformers_config import MoseConfig
from mose.tokenizer import CodeTokenizer

from .conftest import TEXTS, randomized

LISTED = (1, 2, 3, 5)
THEIRS = {
    "attention.query": "self_attn.q_proj", "attention.key": "self_attn.k_proj", "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj", "attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm",
    "embeddings.tokens": "embed_tokens", "final_norm": "norm",
}  # fmt: skip
STARCODER = THEIRS | {"mlp.up": "mlp.c_fc", "mlp.down": "mlp.c_proj"}
LLAMA = THEIRS | {"mlp.up": "mlp.up_proj", "mlp.down": "mlp.down_proj", "mlp.gate": "mlp.gate_proj"}
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
TOKENS = ["<|endoftext|>", *BYTES, "<cls>", "<mask>", "<sep>"]
VOCAB = len(TOKENS) + 1
"""One row of the token vectors is spare, as in the released model."""
NO_PROBE: list[tuple[str, str]] = []


def encoder(num_layers: int = 5, **changes: Any) -> MoseModel:
    exits = tuple(exit_layer for exit_layer in LISTED if exit_layer <= num_layers)
    changes = {"exits": exits, "num_layers": num_layers, "vocab_size": VOCAB, "head": "mlp", **changes}
    return randomized(MoseConfig.preset("tiny", **changes))


def write_tokenizer(folder: Path, **changes: Any) -> None:
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(TOKENS[:-3])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>", *TOKENS[-3:]])
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"cls_token": "<cls>", "sep_token": {"content": "<sep>"}, "mask_token": "<mask>", "bos_token": "<|endoftext|>",
             "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}  # fmt: skip
    (folder / "special_tokens_map.json").write_text(json.dumps({**named, **changes}))


def foreign_names(model: MoseModel, names: dict[str, str], prefix: str) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, tensor in model.state_dict().items():
        if not name.startswith(("heads.", "table.")):
            for mine, other in names.items():
                name = name.replace(f"{mine}.", f"{other}.") if f".{mine}." in f".{name}" else name
            tensors[f"{prefix}{name}"] = tensor.clone()
    return tensors


def write_released(
    folder: Path,
    model: MoseModel,
    *,
    prefix: str = "starEncoder2.",
    heads: str = "starEncoder2.projection_heads.{number}.{layer}.{kind}",
    extra: dict[str, torch.Tensor] | None = None,
    config: dict[str, Any] | None = None,
) -> Path:
    """As the authors' code would save a model with our weights."""
    folder.mkdir()
    settings = model.settings
    tensors = foreign_names(model, STARCODER, prefix)
    for number, exit_layer in enumerate(settings.exits):
        for name, tensor in model.heads[str(exit_layer)].state_dict().items() if heads and model.heads else ():
            layer, kind = name.split(".")
            tensors[heads.format(number=number, layer=layer, kind=kind)] = tensor.clone()
    save_file({**tensors, **(extra or {})}, folder / "model.safetensors")
    values = {
        "model_type": "ModularStarEncoder", "vocab_size": VOCAB, "hidden_size": settings.hidden_size,
        "num_hidden_layers": 5, "num_attention_heads": settings.num_heads, "num_key_value_heads": settings.num_kv_heads,
        "max_position_embeddings": settings.max_positions, "norm_epsilon": settings.norm_eps,
        "rope_theta": settings.rope_theta, "hidden_act": "gelu_pytorch_tanh", "sliding_window": None,
        "matryoshka_layers": list(LISTED), "conditional_size": 4, "initializer_range": 0.018042,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps({**values, **(config or {})}))
    write_tokenizer(folder)
    return folder


@torch.no_grad()
def embeddings(model: MoseModel, tokenizer: CodeTokenizer, exits: tuple[int, ...]) -> dict[int, torch.Tensor]:
    return model.embed(text_batch(tokenizer, TEXTS, kind="code", language="python"), exits=exits)


def assert_same(ours: MoseModel, out: Path, exits: tuple[int, ...] | None = None) -> None:
    found = load_model(out)
    exits = exits or found.settings.exits
    tokenizer = CodeTokenizer.load(out)
    expected = embeddings(ours, tokenizer, exits)
    for exit_layer, vectors in embeddings(found, tokenizer, exits).items():
        torch.testing.assert_close(vectors, expected[exit_layer], atol=1e-6, rtol=0)


VARIANTS: dict[str, Callable[[Path], tuple[MoseModel, Path, tuple[int, ...]]]] = {}


def variant(make: Callable[[Path], tuple[MoseModel, Path, tuple[int, ...]]]) -> Callable[..., Any]:
    VARIANTS[make.__name__] = make
    return make


@variant
def five_heads(folder: Path) -> tuple[MoseModel, Path, tuple[int, ...]]:
    return (model := encoder()), write_released(folder, model), LISTED


@variant
def wrapped_by_another_name(folder: Path) -> tuple[MoseModel, Path, tuple[int, ...]]:
    model = encoder()
    heads = "starEncoder2.module.projection_heads.{number}.{layer}.{kind}"
    write_released(folder, model, prefix="base.encoder.", heads=heads)
    tensors = load_file(folder / "model.safetensors")
    wrapped = {name.replace("encoder.layers.", "encoder.module.layers."): tensor for name, tensor in tensors.items()}
    save_file(wrapped, folder / "model.safetensors")
    return model, folder, LISTED


@variant
def no_prefix_at_all(folder: Path) -> tuple[MoseModel, Path, tuple[int, ...]]:
    model = encoder()
    return model, write_released(folder, model, prefix="", heads="projection_heads.{number}.{layer}.{kind}"), LISTED


@variant
def cut_with_one_head(folder: Path) -> tuple[MoseModel, Path, tuple[int, ...]]:
    model = encoder(3, exits=(3,), final_norm="none")
    return model, write_released(folder, model, heads="projection_heads.0.{layer}.{kind}"), (3,)


@variant
def cut_with_its_head_under_its_number(folder: Path) -> tuple[MoseModel, Path, tuple[int, ...]]:
    model = encoder(3, exits=(3,), final_norm="none")
    return model, write_released(folder, model, heads="projection_heads.2.{layer}.{kind}"), (3,)


@variant
def cut_with_a_head_without_number(folder: Path) -> tuple[MoseModel, Path, tuple[int, ...]]:
    model = encoder(3, exits=(3,), final_norm="none")
    return model, write_released(folder, model, heads="module.projection_head.{layer}.{kind}"), (3,)


@variant
def cut_with_all_heads(folder: Path) -> tuple[MoseModel, Path, tuple[int, ...]]:
    whole = encoder()
    state = whole.state_dict()
    model = encoder(3, final_norm="none")
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    extra = {
        f"starEncoder2.projection_heads.3.{name}": tensor.clone()
        for name, tensor in whole.heads["5"].state_dict().items()
    }
    return model, write_released(folder, model, extra=extra), (1, 2, 3)


@variant
def no_heads(folder: Path) -> tuple[MoseModel, Path, tuple[int, ...]]:
    model = encoder(head="none", code_template="{sep}{text}{cls}")
    return model, write_released(folder, model), LISTED


@variant
def two_files(folder: Path) -> tuple[MoseModel, Path, tuple[int, ...]]:
    model = encoder()
    write_released(folder, model)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    half = len(tensors) // 2
    files = {
        "first.safetensors": dict([*tensors.items()][:half]),
        "second.safetensors": dict([*tensors.items()][half:]),
    }
    for name, part in files.items():
        save_file(part, folder / name)
    index = {"weight_map": {tensor: file for file, part in files.items() for tensor in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return model, folder, LISTED


@variant
def half_precision(folder: Path) -> tuple[MoseModel, Path, tuple[int, ...]]:
    model = encoder().to(torch.bfloat16)
    return model, write_released(folder, model), LISTED


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_gives_the_same_embeddings(name: str, tmp_path: Path) -> None:
    model, source, exits = VARIANTS[name](tmp_path / "source")
    report = convert(source, tmp_path / "out", ConvertRecipe(), pairs=NO_PROBE)
    assert report.settings.exits == exits
    assert_same(model, tmp_path / "out")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {model.dtype}


def test_only_the_exits_asked_for_are_kept(tmp_path: Path) -> None:
    model = encoder()
    source = write_released(tmp_path / "source", model)
    report = convert(source, tmp_path / "out", ConvertRecipe(exits=(3, 1)), pairs=NO_PROBE)
    assert (report.settings.exits, report.settings.num_layers, report.settings.final_norm) == ((1, 3), 3, "none")
    assert_same(model, tmp_path / "out", (1, 3))
    assert "starEncoder2.layers.4.mlp.c_fc.weight" in report.unused_tensors
    assert "starEncoder2.projection_heads.3.0.weight" in report.unused_tensors


@pytest.mark.parametrize("rows", [len(LISTED), 5, 6])
@pytest.mark.parametrize("tied", [False, True])
def test_pretraining_heads_come_along(rows: int, tied: bool, tmp_path: Path) -> None:
    model = encoder(head="none")
    heads = PretrainingHeads(model.settings)
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.normal_()
    state = {name: tensor.clone() for name, tensor in heads.state_dict().items()}
    table = torch.randn(rows, 4)
    chosen = {len(LISTED): [0, 1, 2, 3], 5: [0, 1, 2, 4], 6: [1, 2, 3, 5]}[rows]
    state["exit_embedding.weight"] = table[chosen]
    theirs = {
        "cls.predictions.transform.dense.weight": state["transform.weight"],
        "cls.predictions.transform.dense.bias": state["transform.bias"],
        "cls.predictions.transform.LayerNorm.weight": state["norm.weight"],
        "cls.predictions.transform.LayerNorm.bias": state["norm.bias"],
        "cls.predictions.decoder.weight": state["decoder.weight"],
        "cls.predictions.bias": state["decoder.bias"],
        "cls.seq_relationship.weight": state["pair.weight"],
        "cls.seq_relationship.bias": state["pair.bias"],
        "cls.conditional_embeddings.weight": table,
        "pooler.dense.weight": torch.zeros(32, 32),
        "pooler.dense.bias": torch.zeros(32),
    }
    if tied:
        del theirs["cls.predictions.decoder.weight"]
        state["decoder.weight"] = model.state_dict()["embeddings.tokens.weight"]
    source = write_released(tmp_path / "source", model, extra=theirs)
    report = convert(source, tmp_path / "out", ConvertRecipe(), pairs=NO_PROBE)
    assert set(report.unused_tensors) == {"pooler.dense.weight", "pooler.dense.bias"}
    found = read_heads(tmp_path / "out", report.settings, seed=9).state_dict()
    assert {name: bool(torch.equal(found[name], state[name])) for name in state} == dict.fromkeys(state, True)


def test_pretraining_heads_of_another_shape_are_named_and_left_out(tmp_path: Path) -> None:
    wide = {
        "cls.predictions.transform.dense.weight": torch.zeros(36, 36),
        "cls.predictions.decoder.weight": torch.zeros(VOCAB, 36),
    }
    source = write_released(tmp_path / "source", encoder(head="none"), extra=wide)
    report = convert(source, tmp_path / "out", ConvertRecipe(), pairs=NO_PROBE)
    assert set(report.unused_tensors) == set(wide)
    assert not (tmp_path / "out" / "pretraining_heads.safetensors").exists()


def test_unknown_tensors_are_refused_mapped_or_left_out(tmp_path: Path) -> None:
    model = encoder()
    source = write_released(tmp_path / "source", model)
    tensors = load_file(source / "model.safetensors")
    tensors["temperature"] = torch.ones(1)
    tensors["odd.name"] = tensors.pop("starEncoder2.norm.bias")
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(ModelError, match=r"unknown names: got 'odd\.name, temperature'"):
        convert(source, tmp_path / "out", ConvertRecipe(), pairs=NO_PROBE)
    with pytest.raises(ModelError, match=r"no tensor final_norm\.bias"):
        convert(source, tmp_path / "out", ConvertRecipe(ignore_unknown=True), pairs=NO_PROBE)
    (tmp_path / "map.toml").write_text('"odd.name" = "final_norm.bias"\n"temperature" = ""\n')
    report = convert(
        source, tmp_path / "out", ConvertRecipe(key_map=read_key_map(tmp_path / "map.toml")), pairs=NO_PROBE
    )
    assert report.unused_tensors == ("temperature",)
    assert_same(model, tmp_path / "out")


def drop(source: Path, *names: str) -> None:
    tensors = load_file(source / "model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name not in names}, source / "model.safetensors")


def change_config(source: Path, **changes: Any) -> None:
    values = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**values, **changes}))


def truncate(source: Path, name: str, size: int) -> None:
    content = (source / name).read_bytes()
    (source / name).write_bytes(content[:size])


FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (lambda source: (source / "config.json").unlink(), "has no config.json"),
    (lambda source: truncate(source, "config.json", 20), "config.json is damaged"),
    (lambda source: change_config(source, model_type="gpt2"), "model_type: got 'gpt2', allowed: .*ModularStarEncoder"),
    (lambda source: change_config(source, num_attention_heads=12), r"query matrix of .* with 12 heads"),
    (lambda source: change_config(source, num_attention_heads=None), "num_attention_heads"),
    (lambda source: change_config(source, hidden_act="relu"), "hidden_act.*got 'relu'"),
    (lambda source: change_config(source, rope_scaling={"type": "linear"}), "rotary positions.*'linear'"),
    (lambda source: change_config(source, matryoshka_layers=[1, 5]), "number of projection heads.*got 4"),
    (lambda source: (source / "model.safetensors").unlink(), "model.safetensors is missing"),
    (lambda source: (source / "model.safetensors").rename(source / "pytorch_model.bin"), "pickled weights"),
    (lambda source: truncate(source, "model.safetensors", 5000), "damaged or not safetensors"),
    (lambda source: truncate(source, "model.safetensors", -100), "damaged or not safetensors"),
    (lambda source: drop(source, "starEncoder2.layers.1.mlp.c_fc.weight"), r"has no tensor layers\.1\.mlp\.up\.weight"),
    (lambda source: drop(source, "starEncoder2.embed_tokens.weight"), "has no token vectors"),
    (lambda source: (source / "tokenizer.json").unlink(), "has no tokenizer.json"),
    (lambda source: truncate(source, "tokenizer.json", 300), "tokenizer.json is damaged"),
    (lambda source: (source / "special_tokens_map.json").unlink(), "does not say its cls_token, sep_token, mask_token"),
    (lambda source: write_tokenizer(source, cls_token="[CLS]"), r"cls_token is not in tokenizer.json: got '\[CLS\]'"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_faults_of_a_source_are_named_and_nothing_is_written(
    damage: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    source = write_released(tmp_path / "source", encoder())
    damage(source)
    with pytest.raises(MoseError, match=message):
        convert(source, tmp_path / "out", ConvertRecipe(), pairs=NO_PROBE)
    assert not (tmp_path / "out").exists()


def test_layers_that_are_missing_in_the_middle_are_named(tmp_path: Path) -> None:
    source = write_released(tmp_path / "source", encoder())
    drop(source, *(name for name in load_file(source / "model.safetensors") if ".layers.2." in name))
    with pytest.raises(ModelError, match="has no layer 2"):
        convert(source, tmp_path / "out", ConvertRecipe(), pairs=NO_PROBE)


def test_two_models_in_one_file_are_refused(tmp_path: Path) -> None:
    model = encoder()
    source = write_released(tmp_path / "source", model, extra=foreign_names(model, STARCODER, "teacher."))
    with pytest.raises(ModelError, match="several models: got 'starEncoder2, teacher'"):
        convert(source, tmp_path / "out", ConvertRecipe(), pairs=NO_PROBE)


def test_a_tokenizer_with_more_tokens_than_the_weights_have_rows_is_refused(tmp_path: Path) -> None:
    source = write_released(tmp_path / "source", encoder(vocab_size=VOCAB - 2))
    with pytest.raises(ModelError, match=f"number of tokens in .*got {VOCAB - 1}, allowed: up to {VOCAB - 2}"):
        convert(source, tmp_path / "out", ConvertRecipe(), pairs=NO_PROBE)


@pytest.mark.parametrize("exits", [(4,), (6,), (0,), ()])
def test_exits_without_a_head_are_refused(exits: tuple[int, ...], tmp_path: Path) -> None:
    source = write_released(tmp_path / "source", encoder())
    with pytest.raises(ConfigError, match=r"exits of .*allowed: 1, 2, 3, 5"):
        convert(source, tmp_path / "out", ConvertRecipe(exits=exits), pairs=NO_PROBE)


@pytest.mark.parametrize("text", ["", "a.b = 3", "x = 3", "= 1"])
def test_key_maps_of_another_form_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(text)
    if text:
        with pytest.raises(ConfigError, match="both in quotes"):
            read_key_map(tmp_path / "map.toml")
    else:
        assert read_key_map(tmp_path / "map.toml") == {}
    source = write_released(tmp_path / "source", encoder())
    with pytest.raises(ModelError, match="does not have: got 'nowhere'"):
        convert(source, tmp_path / "out", ConvertRecipe(key_map={"nowhere": ""}), pairs=NO_PROBE)


def test_a_repository_that_cannot_be_fetched_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSE_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    with pytest.raises(ModelError, match="could not be fetched"):
        convert("nobody/nothing", tmp_path / "out", ConvertRecipe(exits=(1,)))
    with pytest.raises(ModelError, match="No such folder"):
        convert(tmp_path / "a" / "b" / "c", tmp_path / "out", ConvertRecipe(exits=(1,)))


WORDS = [(f"{a}{b} {b}{c} {c}{a}",) * 2 for a in "abcd" for b in "efgh" for c in "ijkl"]


def probed(tmp_path: Path, model: MoseModel, **changes: Any) -> tuple[dict[str, Any], Path]:
    source = write_released(tmp_path / "source", model)
    convert(source, tmp_path / "out", ConvertRecipe(changes=changes), pairs=WORDS)
    return json.loads((tmp_path / "out" / "conversion.json").read_text()), tmp_path / "out"


def without_blocks(**changes: Any) -> MoseModel:
    """A model whose blocks change nothing: a token's state is its vector."""
    model = encoder(**changes)
    with torch.no_grad():
        for block in model.layers:
            block.attention.output.weight.zero_(), block.attention.output.bias.zero_()
            block.mlp.down.weight.zero_(), block.mlp.down.bias.zero_()
    return model


def test_the_probe_finds_the_pooling_and_records_it(tmp_path: Path) -> None:
    report, out = probed(tmp_path, without_blocks())
    # The last token is the same in every text: nothing but the mean tells them apart.
    assert report["probed"]["pooling"] == "mean"
    assert load_model(out).settings.pooling == "mean"
    assert report["probe"]["num_pairs"] == 64
    assert "pooling = mean" in (out / "README.md").read_text()


def test_the_probe_finds_the_activation_of_the_heads(tmp_path: Path) -> None:
    model = without_blocks()
    with torch.no_grad():
        for head in model.heads.values():
            head[0].bias.fill_(-50.0)  # a GELU is zero there, a leaky ReLU a hundredth
            head[2].weight.mul_(100)
    report, out = probed(tmp_path, model, head_activation="gelu", pooling="mean")
    assert "head_activation" not in report["probed"]
    found = probe(out, ("head_activation",), WORDS)
    assert found.chosen == {"head_activation": "leaky_relu"}
    assert load_model(out).settings.head_activation == "leaky_relu"


def test_guesses_stay_where_nothing_is_better(tmp_path: Path) -> None:
    report, _ = probed(tmp_path, encoder(), pooling="mean")
    assert report["probed"] == {
        "norm_rule": "unit",
        "head_activation": "leaky_relu",
        "final_norm": "last",
        "causal": False,
    }


def test_what_the_probe_measured_is_what_the_model_does(tmp_path: Path) -> None:
    model = encoder()
    with torch.no_grad():
        model.final_norm.weight.mul_(torch.rand(32) < 0.2)  # little is left where the norm acts
    report, out = probed(tmp_path, model, pooling="mean", final_norm="last")
    loaded, tokenizer = load_model(out), CodeTokenizer.load(out)
    sides = {}
    for kind in ("query", "code"):
        with torch.no_grad():
            sides[kind] = loaded.embed(text_batch(tokenizer, [text for text, _ in WORDS], kind=kind))
    measured = {}
    for exit_layer in LISTED:
        scores = sides["query"][exit_layer] @ sides["code"][exit_layer].T
        ranks = 1 + (scores > scores.diagonal()[:, None]).sum(dim=1)
        measured[str(exit_layer)] = (1 / ranks).mean().item()
    assert report["probe"]["mrr"] == pytest.approx(measured, abs=1e-3)
    assert max(measured.values()) > min(measured.values()) + 0.05


def write_decoder(folder: Path, model: MoseModel, names: dict[str, str], **config: Any) -> Path:
    folder.mkdir()
    settings = model.settings
    tensors = foreign_names(model, names, "model.")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, folder / "model.safetensors")
    values = {
        "vocab_size": VOCAB, "hidden_size": settings.hidden_size, "num_hidden_layers": settings.num_layers,
        "num_attention_heads": settings.num_heads, "num_key_value_heads": settings.num_kv_heads,
        "max_position_embeddings": settings.max_positions, "rope_theta": 50_000.0, **config,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(values))
    write_tokenizer(folder)
    return folder


DECODERS: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, Any]]] = {
    "starcoder2": ({}, STARCODER, {"norm_epsilon": 1e-5, "hidden_act": "gelu_pytorch_tanh", "sliding_window": 64}),
    "llama": (
        {"block": "llama", "use_bias": False, "activation": "silu", "norm_eps": 1e-6},
        LLAMA,
        {"rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_scaling": None},
    ),
}


@pytest.mark.parametrize("kind", DECODERS)
def test_decoders_become_ladders_that_stay_causal_until_told_otherwise(kind: str, tmp_path: Path) -> None:
    changes, names, config = DECODERS[kind]
    model = encoder(head="none", causal=True, rope_theta=50_000.0, **changes)
    source = write_decoder(tmp_path / "source", model, names, model_type=kind, **config)
    with pytest.raises(ConfigError, match="--exits"):
        convert(source, tmp_path / "out", ConvertRecipe())
    report = convert(source, tmp_path / "out", ConvertRecipe(exits=(2, 5)))
    assert (report.settings.causal, report.settings.exits, report.guessed) == (True, (2, 5), ())
    assert report.unused_tensors == ("lm_head.weight",)
    assert report.settings.max_positions == (64 if kind == "starcoder2" else 128)
    ids = torch.randint(0, VOCAB, (2, 9))
    with torch.no_grad():
        expected, found = model(ids, ids >= 0, exits=(2, 5)), load_model(tmp_path / "out")(ids, ids >= 0)
    for exit_layer in (2, 5):
        assert torch.equal(found[exit_layer], expected[exit_layer])
    lifted = convert(
        source, tmp_path / "both", ConvertRecipe(exits=(2, 5), changes={"causal": False, "pooling": "mean"})
    )
    assert (lifted.settings.causal, lifted.settings.pooling) == (False, "mean")


def test_a_decoder_with_exit_0_exports_and_searches(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    import mose
    from mose.export.export import ExportRecipe, export
    from mose.model.convert.distill_table import TableRecipe

    changes, names, config = DECODERS["llama"]
    model = encoder(head="none", causal=True, **changes)
    source = write_decoder(tmp_path / "source", model, names, model_type="llama", **config)
    recipe = ConvertRecipe(exits=(0, 2, 5), table=TableRecipe(width=8), table_share=0.3)
    convert(source, tmp_path / "out", recipe)
    for dtype in ("float32", "int8"):
        export(tmp_path / "out", tmp_path / dtype, ExportRecipe(dtype=dtype, calibration=TEXTS))
        vectors = mose.Encoder.load(tmp_path / dtype, exit=5).encode(TEXTS)
        with torch.no_grad():
            batch = text_batch(CodeTokenizer.load(tmp_path / "out"), TEXTS, kind="code", words=True)
            expected = load_model(tmp_path / "out").embed(batch, exits=(5,))[5]
        assert (torch.from_numpy(vectors) * expected).sum(dim=1).min() > (0.9999 if dtype == "float32" else 0.9)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.py").write_text("def open_proxy(url):\n    return connect(url)\n")
    with mose.CodeIndex.open(tmp_path / "tree", model=tmp_path / "int8", inside=True) as index:
        assert [hit.path for hit in index.search("open a proxy")] == ["a.py"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the memory of this process")
def test_a_conversion_does_not_hold_the_weights(tmp_path: Path) -> None:
    def held() -> int:
        (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
        return int(line.split()[1]) * 1024

    def convert_watched(source: Path) -> int:
        """The largest growth of this process's own memory meanwhile."""
        peak, before, done = 0, held(), threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.002):
                peak = max(peak, held() - before)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            convert(source, tmp_path / f"{source.name}-out", ConvertRecipe(), pairs=NO_PROBE)
        finally:
            done.set()
            thread.join()
        return peak

    convert_watched(write_released(tmp_path / "first", encoder()))  # what is imported at the first time is no weight
    source = write_released(tmp_path / "large", encoder(intermediate_size=60_000))
    assert convert_watched(source) < (source / "model.safetensors").stat().st_size / 2 > 20_000_000
