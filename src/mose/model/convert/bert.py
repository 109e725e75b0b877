"""Convert encoders of the BERT family to our checkpoint folders."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from tokenizers import BertWordPieceTokenizer, Tokenizer
from torch import Tensor

from mose.errors import ConfigError, ModelError
from mose.model.checkpoint import write_model
from mose.model.convert.distill_table import fill_table
from mose.model.convert.recipe import ConvertRecipe, ConvertReport
from mose.model.convert.source import copy_notices, read_settings, require_safetensors, special_tokens
from mose.model.encoder import MoseModel
from mose.model.folder import WEIGHTS_FILE, check_tensors, read_header
from mose.model.settings import ModelSettings
from mose.model.shapes import tensor_shapes
from mose.model.transformers_config import MoseConfig
from mose.progress import ProgressCallback, no_progress
from mose.storage import new_folder
from mose.tokenizer import CodeTokenizer

_WHOLE = "Copy the whole folder of the model."
FAMILIES = ("bert", "roberta", "xlm-roberta")
"""``model_type`` of the configs that are read."""
_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
_BLOCK_NAMES = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "mlp.up",
    "output.dense": "mlp.down",
    "output.LayerNorm": "mlp_norm",
}
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)")
_UNUSED = re.compile(r"(pooler\.|cls\.|lm_head\.|embeddings\.position_ids).*")
_TEMPLATE = "{cls}{text}{sep}"
_SPECIAL_TOKENS = ("cls_token", "sep_token", "pad_token", "mask_token")


def convert_bert(
    source: str | Path,
    out: str | Path,
    recipe: ConvertRecipe,
    *,
    code_sample: Iterable[str] | None = None,
    progress: ProgressCallback = no_progress,
) -> ConvertReport:
    """Convert an encoder of the BERT family (BERT, RoBERTa) to a ladder of exits.

    Args:
        source: Folder with ``config.json``, ``model.safetensors``, and ``tokenizer.json`` or ``vocab.txt``.
        out: Model folder to write; an existing one is replaced.
        recipe: Exits, and how texts are read.
        code_sample: Source texts whose words are counted for exit 0; Python's standard library if None.
        progress: Called during the computation of the token table.

    Raises:
        ModelError: The folder is incomplete, damaged, or another kind of model.
        ConfigError: The exits contradict the model.

    Example:
        >>> convert_bert("all-MiniLM-L6-v2", "ladder", ConvertRecipe(exits=(0, 2, 3, 4, 6)))      # doctest: +SKIP
    """
    source = Path(source)
    foreign = _bert_config(source)
    settings = _settings(source, foreign, recipe)
    tensors, unused = _tensors(source, foreign, settings)
    model = MoseModel(MoseConfig.from_settings(settings))
    model.train(False)
    model.load_state_dict(tensors, strict=False)
    with new_folder(out) as folder:
        _write_tokenizer(source, folder / "tokenizer.json")
        copy_notices(source, folder)
        if model.table is not None:
            tokenizer = CodeTokenizer.build(folder / "tokenizer.json", settings.tokenizer_settings())
            fill_table(model, tokenizer, recipe.table, code_sample=code_sample, progress=progress)
        write_model(model, folder, card=_card(source, settings))
    return ConvertReport(settings=settings, unused_tensors=unused)


def _settings(source: Path, foreign: dict[str, Any], recipe: ConvertRecipe) -> ModelSettings:
    exits = recipe.exits or ()
    if not 1 <= max(exits, default=0) <= foreign["num_hidden_layers"]:
        allowed = f"up to {foreign['num_hidden_layers']}, one of them above 0"
        raise ConfigError(f"exits of {source}", got=list(exits), allowed=allowed)
    if recipe.pooling is None:
        _require_mean_pooling(source)
    return ModelSettings.from_json(
        {
            **_shapes(foreign),
            **_tokens(source),
            "num_layers": max(exits),
            "exits": sorted(set(exits)),
            "query_template": _TEMPLATE,
            "code_template": _TEMPLATE,
            "pooling": "mean",
            "max_tokens": recipe.max_tokens or _max_tokens(source, foreign),
            "split_identifiers": recipe.split_identifiers,
            "table_width": recipe.table.width if 0 in exits else None,
            "table_share": recipe.table_share,
            **recipe.changes,
        },
        where=f"the conversion of {source}",
    )


def _bert_config(source: Path) -> dict[str, Any]:
    foreign = read_settings(source / "config.json")
    for key, known in (("model_type", FAMILIES), ("hidden_act", tuple(_ACTIVATIONS))):
        if foreign.get(key) not in known:
            raise ModelError(f"{source}: {key}", got=foreign.get(key), allowed=", ".join(known))
    if foreign.get("position_embedding_type", "absolute") != "absolute" or foreign.get("is_decoder", False):
        raise ModelError(f"{source} is a decoder or has relative positions", remedy="Take a plain encoder.")
    return foreign


def _shapes(foreign: dict[str, Any]) -> dict[str, Any]:
    return {
        "block": "bert",
        "vocab_size": foreign["vocab_size"],
        "hidden_size": foreign["hidden_size"],
        "intermediate_size": foreign["intermediate_size"],
        "num_heads": foreign["num_attention_heads"],
        "num_kv_heads": foreign["num_attention_heads"],
        "max_positions": foreign["max_position_embeddings"] - _first_position(foreign),
        "norm_eps": foreign["layer_norm_eps"],
        "activation": _ACTIVATIONS[foreign["hidden_act"]],
        "attention_dropout": foreign["attention_probs_dropout_prob"],
        "residual_dropout": foreign["hidden_dropout_prob"],
        "embedding_dropout": foreign["hidden_dropout_prob"],
        "init_std": foreign["initializer_range"],
        "final_norm": "none",
        "padding_side": "right",
    }


def _first_position(foreign: dict[str, Any]) -> int:
    """First row of the position table that is read: RoBERTa counts positions from its pad id + 1."""
    return 0 if foreign["model_type"] == "bert" else int(foreign["pad_token_id"]) + 1


def _tensors(
    source: Path, foreign: dict[str, Any], settings: ModelSettings
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Tensors by our names, and the names of unused foreign tensors."""
    weights = source / WEIGHTS_FILE
    require_safetensors(source)
    read_header(weights)
    tensors: dict[str, Tensor] = {}
    unused: list[str] = []
    for full_name, tensor in load_file(weights).items():
        name = full_name.removeprefix("bert.").removeprefix("roberta.")
        layer = _LAYER.fullmatch(name)
        if layer and layer[2] in _BLOCK_NAMES and int(layer[1]) < settings.num_layers:
            tensors[f"layers.{layer[1]}.{_BLOCK_NAMES[layer[2]]}.{layer[3]}"] = tensor
        elif layer or _UNUSED.fullmatch(name):
            unused.append(full_name)
        elif name.startswith("embeddings."):
            tensors[name] = tensor
        else:
            raise ModelError(f"{weights} has an unknown tensor {name}", allowed="those of BERT and RoBERTa encoders")
    try:
        token_type = tensors.pop("embeddings.token_type_embeddings.weight")[0]
        positions = tensors.pop("embeddings.position_embeddings.weight")[_first_position(foreign) :]
        tensors["embeddings.tokens.weight"] = tensors.pop("embeddings.word_embeddings.weight")
        for kind in ("weight", "bias"):
            tensors[f"embeddings.norm.{kind}"] = tensors.pop(f"embeddings.LayerNorm.{kind}")
    except KeyError as error:
        raise ModelError(f"{weights} has no tensor {error.args[0]}", remedy=_WHOLE) from error
    # Every token is of type 0, whose vector is added to the positions.
    tensors["embeddings.positions.weight"] = positions + token_type
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    table = {name: shape for name, shape in tensor_shapes(settings).items() if name.startswith("table.")}
    check_tensors(found | table, settings, where=str(weights))
    return tensors, tuple(unused)


def _tokens(source: Path) -> dict[str, str]:
    """Special tokens by the keys of our config."""
    defaults = {key: f"[{key.removesuffix('_token').upper()}]" for key in _SPECIAL_TOKENS}
    named = special_tokens(source)
    return defaults | {key: named[key] for key in _SPECIAL_TOKENS if key in named}


def _require_mean_pooling(source: Path) -> None:
    file = source / "1_Pooling" / "config.json"
    if file.is_file() and read_settings(file).get("pooling_mode_cls_token"):
        # Our "cls" reads the last real token; BERT's is the first.
        raise ModelError(f"{source} pools on its first token", allowed="pooling over the mean",
                         remedy='Pass pooling="mean"; it can be trained to that.')  # fmt: skip


def _max_tokens(source: Path, foreign: dict[str, Any]) -> int:
    positions = int(foreign["max_position_embeddings"]) - _first_position(foreign)
    file = source / "sentence_bert_config.json"
    stated = read_settings(file).get("max_seq_length") if file.is_file() else None
    return min(int(stated or positions), positions)


def _write_tokenizer(source: Path, target: Path) -> None:
    """Write tokenizer.json without the padding and truncation that the source may have."""
    if (source / "tokenizer.json").is_file():
        tokenizer: Any = Tokenizer.from_file(str(source / "tokenizer.json"))
    elif (source / "vocab.txt").is_file():
        file = source / "tokenizer_config.json"
        options = read_settings(file) if file.is_file() else {}
        tokenizer = BertWordPieceTokenizer(
            str(source / "vocab.txt"),
            lowercase=options.get("do_lower_case", True),
            strip_accents=options.get("strip_accents"),
            handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        )
    else:
        raise ModelError(f"{source} has neither tokenizer.json nor vocab.txt", remedy=_WHOLE)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(target))


def _card(source: Path, settings: ModelSettings) -> str:
    exits = ", ".join(map(str, settings.exits))
    return (
        f"# Ladder of exits made from {source.name}\n\n"
        "Converted by `mose convert`, not trained: the weights are the source's, and so is the licence; the\n"
        "source's own card, where it has one, is NOTICE-source.md.\n\n"
        f"Exits: {exits}. Embeddings below the deepest exit are what the source's hidden states give.\n"
    )
