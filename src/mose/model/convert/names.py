"""Which tensor of a foreign checkpoint is which of ours, told by the ends of the names and by shapes.

Names of the released encoders are known in part only. What stands before ``layers.3.self_attn.q_proj.weight`` may be
anything, a wrapper's ``module.`` included, as long as it is the same for all blocks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mose.errors import ModelError
from mose.model.shapes import EXIT_WIDTH, Shape

_PARTS = {
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.o_proj": "attention.output",
    "mlp.c_fc": "mlp.up",
    "mlp.c_proj": "mlp.down",
    "mlp.gate_proj": "mlp.gate",
    "mlp.up_proj": "mlp.up",
    "mlp.down_proj": "mlp.down",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "mlp_norm",
}
_OUTER = {"embed_tokens": "embeddings.tokens", "norm": "final_norm"}
_BLOCK = re.compile(rf"(?:(.*)\.)?layers\.(\d+)\.({'|'.join(map(re.escape, _PARTS))})\.(weight|bias)")
_OUTSIDE = re.compile(r"(?:(.*)\.)?(embed_tokens|norm)\.(weight|bias)")
_HEAD = re.compile(r"(?:.*\.)?projection_heads?\.((?:\w+\.)*?)(\d+)\.(weight|bias)")
_PRETRAINING = re.compile(r"(?:.*\.)?(predictions|seq_relationship|conditional_embeddings?|pooler|lm_head)(?:\.|$).*")
_BUFFERS = re.compile(r"(?:.*\.)?(rotary_emb\.inv_freq|position_ids)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Foreign tensor names, sorted by what they are."""

    backbone: Mapping[str, str]
    """Our name -> foreign name, for token vectors, blocks and final norm."""
    num_layers: int
    """Counted in the tensors."""
    heads: tuple[tuple[tuple[str, str], ...], ...] = ()
    """For each projection head, its linear layers in order: names of weight and bias."""
    pretraining: Mapping[str, str] = field(default_factory=dict)
    """Name inside our pre-training heads -> foreign name."""
    unused: tuple[str, ...] = ()
    """Known tensors that the encoder does not need: poolers, decoders of another shape."""
    unknown: tuple[str, ...] = ()


def sort_names(shapes: Mapping[str, Shape], key_map: Mapping[str, str], *, where: str) -> Names:
    """Sort the tensors of a checkpoint.

    Args:
        shapes: Foreign name -> shape.
        key_map: Foreign name -> our name, which overrules the patterns; "" leaves a tensor out.
        where: The checkpoint, for errors.

    Raises:
        ModelError: No blocks, blocks with different names in front, a layer missing, or a key that is not there.
    """
    for name in key_map:
        if name not in shapes:
            raise ModelError(f"the key map names a tensor that {where} does not have", got=name,
                             allowed="names of its tensors")  # fmt: skip
    backbone = {ours: name for name, ours in key_map.items() if ours}
    left = [name for name in shapes if name not in key_map]
    prefix, num_layers = _sort_blocks(left, backbone, where)
    for name in left:
        outside = _OUTSIDE.fullmatch(name)
        if outside and _plain(outside[1]) == prefix:
            backbone[f"{_OUTER[outside[2]]}.{outside[3]}"] = name
    used = set(backbone.values())
    left = [name for name in left if name not in used]
    if "embeddings.tokens.weight" not in backbone:
        raise ModelError(f"{where} has no token vectors", allowed="...embed_tokens.weight, named like its blocks",
                         remedy='Name them: --key-map FILE with "name" = "embeddings.tokens.weight".')  # fmt: skip
    width = shapes[backbone["embeddings.tokens.weight"]][-1]
    heads = _sort_heads(left, shapes, width)
    used = {name for head in heads for layer in head for name in layer}
    left = [name for name in left if name not in used]
    pretraining, unused = _sort_pretraining(left, shapes, width)
    unused += [name for name in left if _BUFFERS.fullmatch(name)]
    known = {*pretraining.values(), *unused}
    return Names(
        backbone=backbone,
        num_layers=num_layers,
        heads=heads,
        pretraining=pretraining,
        unused=tuple(name for name in shapes if name in unused or key_map.get(name) == ""),
        unknown=tuple(name for name in left if name not in known),
    )


def _plain(prefix: str | None) -> str:
    """What stands before a name, without the ``module`` of a wrapper."""
    return ".".join(part for part in (prefix or "").split(".") if part not in ("module", ""))


def _sort_blocks(names: list[str], backbone: dict[str, str], where: str) -> tuple[str, int]:
    """Add the tensors of all blocks; what stands in front of their names, and how many blocks there are."""
    prefixes: set[str] = set()
    layers = {int(found[1]) for ours in backbone if (found := re.match(r"layers\.(\d+)\.", ours))}
    for name in names:
        if found := _BLOCK.fullmatch(name):
            prefixes.add(_plain(found[1]))
            layers.add(int(found[2]))
            backbone[f"layers.{int(found[2])}.{_PARTS[found[3]]}.{found[4]}"] = name
    if not layers:
        raise ModelError(f"{where} has no blocks with known names",
                         allowed="...layers.0.self_attn.q_proj.weight and so on",
                         remedy="Give the names of its tensors in a file: --key-map FILE.")  # fmt: skip
    if len(prefixes) > 1:
        raise ModelError(f"{where} has several models", got=", ".join(sorted(prefixes)), allowed="one",
                         remedy='Leave the others out: --key-map FILE with "name" = "".')  # fmt: skip
    missing = sorted(set(range(max(layers) + 1)) - layers)
    if missing:
        raise ModelError(f"{where} has no layer {missing[0]}", allowed=f"all layers from 0 to {max(layers)}",
                         remedy="Is a file of it missing? Copy it again.")  # fmt: skip
    return next(iter(prefixes), ""), max(layers) + 1


def _sort_heads(names: list[str], shapes: Mapping[str, Shape], width: int) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Projection heads of square layers with a bias, by their numbers; a head's layers by theirs."""
    groups: dict[str, dict[int, dict[str, str]]] = {}
    for name in names:
        if found := _HEAD.fullmatch(name):
            groups.setdefault(found[1], {}).setdefault(int(found[2]), {})[found[3]] = name
    heads = []
    for _, layers in sorted(groups.items(), key=lambda group: [_number(part) for part in group[0].split(".")]):
        pairs = [(layer["weight"], layer["bias"]) for _, layer in sorted(layers.items()) if len(layer) == 2]
        square = all(shapes[weight] == (width, width) and shapes[bias] == (width,) for weight, bias in pairs)
        if square and len(pairs) == len(layers) and len(pairs) in (1, 2):
            heads.append(tuple(pairs))
    return tuple(heads)


def _number(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdecimal() else (-1, text)


def _sort_pretraining(names: list[str], shapes: Mapping[str, Shape], width: int) -> tuple[dict[str, str], list[str]]:
    """Tensors of the heads for masked tokens and pairs, by name and shape, and those of them that we do not use."""
    found: dict[str, str] = {}
    unused: list[str] = []
    for name in names:
        if not _PRETRAINING.fullmatch(name):
            continue
        ours = _pretraining_name(name, shapes[name], width)
        if ours is None or ours in found:
            unused.append(name)
        else:
            found[ours] = name
    return found, unused


def _pretraining_name(name: str, shape: Shape, width: int) -> str | None:
    kind = name.rpartition(".")[2]
    if "conditional_embedding" in name:
        return "exit_embedding.weight" if len(shape) == 2 and shape[1] == EXIT_WIDTH else None
    if "seq_relationship" in name:
        return f"pair.{kind}" if shape in ((2, width + EXIT_WIDTH), (2,)) else None
    if "transform" in name and shape == (width, width + EXIT_WIDTH):
        return "transform.weight"
    if "transform" in name and shape == (width,):
        return f"norm.{kind}" if "norm" in name.lower() else "transform.bias"
    if "predictions" in name and len(shape) == 2 and shape[1] == width and shape[0] > width:
        return "decoder.weight"
    if "predictions" in name and len(shape) == 1 and shape[0] > width:
        return "decoder.bias"
    return None
