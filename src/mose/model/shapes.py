"""Names and shapes of a model's tensors."""

from __future__ import annotations

from mose.model.settings import ModelSettings

Shape = tuple[int, ...]
EXIT_WIDTH = 4
"""Width of an exit's embedding in the heads of pre-training (``conditional_size`` in the released code)."""


def tensor_shapes(settings: ModelSettings) -> dict[str, Shape]:
    """Name -> shape of every tensor in a model folder's ``model.safetensors``, in the order they are used.

    Example:
        >>> from mose.model.presets import preset
        >>> tensor_shapes(preset("tiny"))["layers.0.attention.key.weight"]
        (16, 32)
    """
    shapes: dict[str, Shape] = {}
    if 0 in settings.exits:
        shapes["table.vectors"] = (settings.vocab_size, settings.width_of(0))
        shapes["table.token_weights"] = (settings.vocab_size,)
    if settings.num_layers == 0:
        return shapes
    shapes["embeddings.tokens.weight"] = (settings.vocab_size, settings.hidden_size)
    if not settings.pre_norm:
        shapes["embeddings.positions.weight"] = (settings.max_positions, settings.hidden_size)
        shapes |= _norm("embeddings.norm", settings)
    for layer in range(settings.num_layers):
        shapes |= {f"layers.{layer}.{name}": shape for name, shape in block_shapes(settings).items()}
    if settings.pre_norm:
        shapes |= _norm("final_norm", settings)
    for exit_layer in settings.exits:
        if exit_layer > 0:
            shapes |= {f"heads.{exit_layer}.{name}": shape for name, shape in head_shapes(settings).items()}
    return shapes


def block_shapes(settings: ModelSettings) -> dict[str, Shape]:
    """Name -> shape inside one block."""
    width, inner, biased = settings.hidden_size, settings.intermediate_size, settings.use_bias
    query, key = settings.num_heads * settings.head_size, settings.num_kv_heads * settings.head_size
    shapes = _norm("attention_norm", settings)
    for name, rows, columns in (
        ("attention.query", query, width),
        ("attention.key", key, width),
        ("attention.value", key, width),
        ("attention.output", width, query),
        *([("mlp.gate", inner, width)] if settings.block == "llama" else []),
        ("mlp.up", inner, width),
        ("mlp.down", width, inner),
    ):
        shapes[f"{name}.weight"] = (rows, columns)
        if biased:
            shapes[f"{name}.bias"] = (rows,)
    return shapes | _norm("mlp_norm", settings)


def head_shapes(settings: ModelSettings) -> dict[str, Shape]:
    """Name -> shape inside one projection head; empty without heads."""
    width, out = settings.hidden_size, settings.head_width or settings.hidden_size
    if settings.head == "none":
        return {}
    if settings.head == "linear":
        return {"0.weight": (out, width), "0.bias": (out,)}
    return {"0.weight": (width, width), "0.bias": (width,), "2.weight": (out, width), "2.bias": (out,)}


def pretraining_head_shapes(settings: ModelSettings) -> dict[str, Shape]:
    """Name -> shape of the heads that all exits share in pre-training."""
    width, vocabulary = settings.hidden_size, settings.vocab_size
    return {
        "exit_embedding.weight": (sum(exit_layer > 0 for exit_layer in settings.exits), EXIT_WIDTH),
        "transform.weight": (width, width + EXIT_WIDTH),
        "transform.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "decoder.weight": (vocabulary, width),
        "decoder.bias": (vocabulary,),
        "pair.weight": (2, width + EXIT_WIDTH),
        "pair.bias": (2,),
    }


def _norm(name: str, settings: ModelSettings) -> dict[str, Shape]:
    kinds = ("weight",) if settings.block == "llama" else ("weight", "bias")
    return {f"{name}.{kind}": (settings.hidden_size,) for kind in kinds}
