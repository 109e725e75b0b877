"""The model that a retrieval run starts from, and its exit-0 vectors, which show which codes are similar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mose.config import FinetuneConfig
from mose.data.sources import Source
from mose.errors import ConfigError
from mose.model.batch import words_batch
from mose.model.checkpoint import load_model
from mose.model.encoder import MoseModel
from mose.model.reshape import add_heads, narrow_heads
from mose.model.settings import ModelSettings
from mose.tokenizer import CodeTokenizer
from mose.train.start import start_model

_TEXTS_AT_ONCE = 512


def start_ladder(config: FinetuneConfig) -> MoseModel:
    """The start model with the heads that the config asks for, the same at each call.

    Raises:
        ModelError: The folder is not a model folder, or is damaged.
        ConfigError: Its exits or heads do not fit.
    """
    model, heads = start_model(config.start), config.heads
    if heads.add != "keep" and model.settings.head == "none":
        add_heads(model, heads.add, "identity" if heads.add == "linear" else "random", seed=config.run.seed)
    if heads.width is not None:
        narrow_heads(model, heads.width)
    if heads.table_share is not None:
        model.config.table_share = heads.table_share
        model.settings = model.config.settings
    return model


@torch.no_grad()
def code_vectors(folder: str, sources: Sequence[Source]) -> dict[str, NDArray[np.float32]]:
    """Exit-0 vectors of the first code of every unit, by source.

    Raises:
        ConfigError: The start model has no exit 0.
    """
    if 0 not in ModelSettings.read(folder).exits:
        raise ConfigError(
            "batch.neighbours needs exit 0 in start.folder",
            got=folder,
            allowed="a model with exit 0",
            remedy="Convert the start model with exit 0, or draw rows at random (batch.neighbours = 1).",
        )
    model = load_model(folder, last_exit=0, dtype=torch.float32)
    tokenizer = CodeTokenizer.load(folder)
    vectors = {}
    for source in sources:
        parts = []
        for first in range(0, len(source), _TEXTS_AT_ONCE):
            units = range(first, min(first + _TEXTS_AT_ONCE, len(source)))
            codes = [source.first_row(unit).code for unit in units]
            parts.append(model.embed_words(words_batch(tokenizer, codes)).numpy())
        vectors[source.name] = np.concatenate(parts)
    return vectors
