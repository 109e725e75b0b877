"""The pre-training heads of a released checkpoint as ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from mose.model.checkpoint import save_tensors
from mose.model.convert.names import Names
from mose.model.folder import StoredTensor
from mose.model.pretraining.heads import HEADS_FILE
from mose.model.settings import ModelSettings
from mose.model.shapes import pretraining_head_shapes


def write_pretraining_heads(
    folder: Path,
    stored: Mapping[str, StoredTensor],
    names: Names,
    settings: ModelSettings,
    listed_exits: Sequence[int],
) -> tuple[str, ...]:
    """Write the heads beside the weights if the source has all of them in our shapes; names of the tensors used.

    A decoder that is missing was tied to the token vectors. The exits' embeddings have a row for each exit that the
    source lists, for each layer, or for each depth from 0; only the rows of our exits are kept.
    """
    wanted = dict(names.pretraining)
    if not wanted:
        return ()
    wanted.setdefault("decoder.weight", names.backbone["embeddings.tokens.weight"])
    shapes = pretraining_head_shapes(settings)
    rows = _rows(stored[wanted["exit_embedding.weight"]].shape[0], settings, names.num_layers, listed_exits) if (
        "exit_embedding.weight" in wanted
    ) else None  # fmt: skip
    fits = all(name == "exit_embedding.weight" or stored[wanted[name]].shape == shapes[name] for name in wanted)
    if rows is None or not fits or set(wanted) != set(shapes):
        return ()
    tensors = {ours: _read(stored[name], name) for ours, name in wanted.items()}
    tensors["exit_embedding.weight"] = tensors["exit_embedding.weight"][rows]
    save_tensors(tensors, folder / HEADS_FILE)
    return tuple(names.pretraining.values())


def _rows(num_rows: int, settings: ModelSettings, num_layers: int, listed: Sequence[int]) -> list[int] | None:
    exits = [exit_layer for exit_layer in settings.exits if exit_layer > 0]
    if num_rows == len(listed) and set(exits) <= set(listed):
        return [list(listed).index(exit_layer) for exit_layer in exits]
    if num_rows in (num_layers, num_layers + 1):
        return [exit_layer - 1 + (num_rows - num_layers) for exit_layer in exits]
    return None


def _read(tensor: StoredTensor, name: str) -> Tensor:
    with safe_open(str(tensor.file), framework="pt") as file:
        return file.get_tensor(name).clone()  # type: ignore[no-any-return]
