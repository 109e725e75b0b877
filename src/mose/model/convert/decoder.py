"""Convert checkpoints of StarCoder 2's and Llama's kinds, the released ModularStarEncoders among them.

Tensors are copied from file to file under other names, so that memory does not grow with the model. The number of
layers is counted in the tensors: the config of the released cut models says 36 in any case.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from mose.errors import ConfigError, ModelError
from mose.model.convert.names import Names, sort_names
from mose.model.convert.pretraining import write_pretraining_heads
from mose.model.convert.recipe import ConvertRecipe, ConvertReport
from mose.model.convert.source import copy_notices, read_settings, special_tokens, stored_tensors
from mose.model.folder import (
    WEIGHTS_FILE,
    StoredTensor,
    check_tensors,
    copy_tensors,
    write_config,
)
from mose.model.instructions import CODE_PROMPT, QUERY_PROMPT
from mose.model.settings import ModelSettings
from mose.model.shapes import Shape
from mose.tokenizer import CodeTokenizer

KINDS = ("ModularStarEncoder", "starcoder2", "llama")
"""``model_type`` of the configs that are read."""
_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "silu": "silu",
                "swish": "silu"}  # fmt: skip
_GUESSES = ("pooling", "norm_rule", "head_activation", "final_norm", "causal")
"""Settings that the publications on ModularStarEncoder leave open."""


def convert_decoder(source: Path, folder: Path, recipe: ConvertRecipe) -> ConvertReport:
    """Write config, weights, tokenizer, card and licences of a converted model into an existing, empty folder.

    Raises:
        ModelError: The source is incomplete, damaged, of another kind, has unknown tensors, or its tokenizer does not
            fit its weights.
        ConfigError: The exits or changes contradict the model.
    """
    foreign = read_settings(source / "config.json")
    stored = stored_tensors(source)
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    names = sort_names(shapes, recipe.key_map, where=str(source))
    if names.unknown and not recipe.ignore_unknown:
        raise ModelError(
            f"{source} has tensors with unknown names", got=", ".join(names.unknown[:5]),
            allowed="names of StarCoder 2, Llama, projection heads and pre-training heads",
            remedy="Say what they are with --key-map FILE, or leave them out with --ignore-unknown.",
        )  # fmt: skip
    listed = _listed_exits(foreign)
    exits, headed = _exits(source, listed, names, recipe)
    settings = _settings(source, foreign, names, shapes, recipe, exits, headed)
    tensors = _chosen(stored, names, settings, headed)
    check_tensors({name: tensor.shape for name, tensor in tensors.items()}, settings, where=str(source))
    _write_tokenizer(source, folder / "tokenizer.json", settings)
    write_config(folder, settings)
    copy_tensors(tensors, folder / WEIGHTS_FILE)
    used = {id(tensor) for tensor in tensors.values()}
    in_heads = write_pretraining_heads(folder, stored, names, settings, listed)
    copy_notices(source, folder)
    is_released = foreign["model_type"] == "ModularStarEncoder"
    guesses = [name for name in _GUESSES if is_released and name not in recipe.changes]
    return ConvertReport(
        settings=settings,
        unused_tensors=tuple(name for name in stored if id(stored[name]) not in used and name not in in_heads),
        guessed=tuple(name for name in guesses if name != "head_activation" or settings.head == "mlp"),
        notes=("The source has no projection heads: its pooled states are the embeddings.",)
        if is_released and not headed
        else (),
    )


def _listed_exits(foreign: Mapping[str, Any]) -> list[int]:
    """Exits that the source's config lists; the released cut models list those that they lack, too."""
    listed = foreign.get("matryoshka_layers")
    return sorted({layer for layer in listed if type(layer) is int}) if isinstance(listed, list) else []


def _exits(
    source: Path, listed: list[int], names: Names, recipe: ConvertRecipe
) -> tuple[tuple[int, ...], dict[int, int]]:
    """Exits of the ladder above 0, and for each the number of its head in the source."""
    heads: dict[int, int] = {}
    if len(names.heads) == 1:
        heads = {names.num_layers: 0}
    elif names.heads and len(listed) != len(names.heads):
        raise ModelError(f"number of projection heads in {source}", got=len(names.heads),
                         allowed=f"1, or one for each of the exits {listed} in its config.json")  # fmt: skip
    elif names.heads:
        heads = {layer: number for number, layer in enumerate(listed)}
    possible = [layer for layer in heads or range(1, names.num_layers + 1) if layer <= names.num_layers]
    wanted = set(listed) & set(possible) if recipe.exits is None else set(recipe.exits) - {0}
    if len(names.heads) == 1 and recipe.exits is None:
        wanted = {names.num_layers}
    if not wanted or not wanted <= set(possible):
        allowed = ", ".join(map(str, possible)) if heads else f"1 to {names.num_layers}"
        raise ConfigError(f"exits of {source}", got=sorted(wanted) or None, allowed=allowed,
                          remedy="Name them: --exits K,...")  # fmt: skip
    exits = tuple(sorted(wanted))
    return exits, {layer: heads[layer] for layer in exits if layer in heads}


def _settings(
    source: Path,
    foreign: Mapping[str, Any],
    names: Names,
    shapes: Mapping[str, Shape],
    recipe: ConvertRecipe,
    exits: tuple[int, ...],
    headed: Mapping[int, int],
) -> ModelSettings:
    def shape(ours: str) -> Shape:
        if ours not in names.backbone:
            raise ModelError(f"{source} has no tensor for {ours}", allowed="one with a known name",
                             remedy="Is a file of it missing? Or name it with --key-map FILE.")  # fmt: skip
        return shapes[names.backbone[ours]]

    vocab_size, width = shape("embeddings.tokens.weight")
    heads = _number(source, foreign, "num_attention_heads")
    if width % heads or shape("layers.0.attention.query.weight") != (width, width):
        query = shape("layers.0.attention.query.weight")
        raise ModelError(f"query matrix of {source}", got=query, allowed=f"({width}, {width}) with {heads} heads",
                         remedy="Does config.json belong to these weights?")  # fmt: skip
    gated = "layers.0.mlp.gate.weight" in names.backbone
    is_released = foreign.get("model_type") == "ModularStarEncoder"
    # Of a cut model it is not known whether it norms its last block; as an exit of the whole one, it would not.
    is_cut = exits[-1] < max(names.num_layers, *_listed_exits(foreign), _number(source, foreign, "num_hidden_layers"))
    max_positions = _positions(source, foreign)
    values = {
        "block": "llama" if gated else "starcoder2",
        "causal": not is_released,
        "vocab_size": vocab_size,
        "hidden_size": width,
        "intermediate_size": shape("layers.0.mlp.up.weight")[0],
        "num_layers": exits[-1],
        "num_heads": heads,
        "num_kv_heads": shape("layers.0.attention.key.weight")[0] // (width // heads),
        "max_positions": max_positions,
        "max_tokens": min(recipe.max_tokens or max_positions, max_positions),
        "norm_eps": next(
            (foreign[key] for key in ("rms_norm_eps", "norm_epsilon", "layer_norm_eps") if key in foreign), 1e-5
        ),
        "rope_theta": _rope_theta(source, foreign),
        "activation": _activation(source, foreign),
        "use_bias": "layers.0.attention.query.bias" in names.backbone,
        "attention_dropout": foreign.get("attention_dropout", 0.0),
        "residual_dropout": foreign.get("residual_dropout", 0.0),
        "embedding_dropout": foreign.get("embedding_dropout", 0.0),
        "init_std": foreign.get("initializer_range", 0.02),
        "exits": exits,
        "final_norm": "none" if is_cut else "last",
        "head": ("none", "linear", "mlp")[len(names.heads[0])] if headed else "none",
        **_texts(source, is_released=is_released, retrieval=bool(headed)),
    }
    return ModelSettings.from_json(values | dict(recipe.changes), where=f"the conversion of {source}")


def _number(source: Path, foreign: Mapping[str, Any], key: str) -> int:
    value = foreign.get(key)
    if type(value) is not int or value < 1:
        raise ModelError(f"{key} in {source / 'config.json'}", got=value, allowed="a number from 1 up")
    return value


def _positions(source: Path, foreign: Mapping[str, Any]) -> int:
    """Longest sequence; within a sliding window attention is full attention."""
    positions = _number(source, foreign, "max_position_embeddings")
    window = foreign.get("sliding_window")
    return min(positions, window) if type(window) is int and window > 0 else positions


def _rope_theta(source: Path, foreign: Mapping[str, Any]) -> float:
    rope = foreign.get("rope_parameters") or foreign.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise ModelError(f"rotary positions of {source}", got=kind, allowed="default")
    return float(rope.get("rope_theta", foreign.get("rope_theta", 10_000.0)))


def _activation(source: Path, foreign: Mapping[str, Any]) -> str:
    named = foreign.get("hidden_act", foreign.get("hidden_activation"))
    if named not in _ACTIVATIONS:
        raise ModelError(f"hidden_act in {source / 'config.json'}", got=named, allowed=", ".join(_ACTIVATIONS))
    return _ACTIVATIONS[named]


def _texts(source: Path, *, is_released: bool, retrieval: bool) -> dict[str, Any]:
    """Special tokens, templates, padding and pooling."""
    tokens = special_tokens(source)
    if not is_released:
        end = tokens.get("eos_token") or tokens.get("bos_token")
        if end is None:
            raise ModelError(f"{source} names no eos_token", allowed="one in tokenizer_config.json")
        ours = {"cls_token": end, "sep_token": end, "pad_token": tokens.get("pad_token", end)}
        return {**ours, "padding_side": "right", "pooling": "cls", "query_template": "{text}{cls}",
                "code_template": "{text}{cls}"}  # fmt: skip
    missing = [key for key in ("cls_token", "sep_token", "mask_token") if key not in tokens]
    if missing:
        raise ModelError(f"{source} does not say its {', '.join(missing)}",
                         allowed="all three in special_tokens_map.json or tokenizer_config.json",
                         remedy="Is its tokenizer complete?")  # fmt: skip
    ours = {key: tokens[key] for key in ("cls_token", "sep_token", "mask_token")}
    code, query = (f"{{sep}}{prompt}{{sep}}{{text}}{{cls}}" for prompt in (CODE_PROMPT, QUERY_PROMPT))
    plain = "{sep}{text}{cls}"
    return {
        **ours,
        "pad_token": tokens.get("pad_token", "<|endoftext|>"),
        "padding_side": "left",
        "pooling": "cls",
        "code_template": code if retrieval else plain,
        "query_template": query if retrieval else plain,
    }


def _chosen(
    stored: Mapping[str, StoredTensor], names: Names, settings: ModelSettings, headed: Mapping[int, int]
) -> dict[str, StoredTensor]:
    """Our name -> stored tensor, for the blocks and heads up to the deepest exit."""
    tensors = {
        ours: stored[name]
        for ours, name in names.backbone.items()
        if not ours.startswith("layers.") or int(ours.split(".")[1]) < settings.num_layers
    }
    for exit_layer, number in headed.items():
        for position, pair in enumerate(names.heads[number]):
            for kind, name in zip(("weight", "bias"), pair, strict=True):
                tensors[f"heads.{exit_layer}.{2 * position}.{kind}"] = stored[name]
    return tensors


def _write_tokenizer(source: Path, target: Path, settings: ModelSettings) -> None:
    """Write tokenizer.json without padding and truncation.

    Raises:
        ModelError: It is missing or damaged, has not the special tokens, or has more tokens than the weights.
    """
    if not (source / "tokenizer.json").is_file():
        raise ModelError(f"{source} has no tokenizer.json", remedy="Copy the whole folder of the model.")
    own = CodeTokenizer.build(source / "tokenizer.json", settings.tokenizer_settings())
    needed = max(own.vocab_size, *(token_id + 1 for token_id in own.special_ids()))
    if needed > settings.vocab_size:
        raise ModelError(f"number of tokens in {source / 'tokenizer.json'}", got=needed,
                         allowed=f"up to {settings.vocab_size}, the rows of the token vectors",
                         remedy="Is this the tokenizer of these weights?")  # fmt: skip
    tokenizer: Any = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(target))
