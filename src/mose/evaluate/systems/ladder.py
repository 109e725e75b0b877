"""Our models as systems: a runtime folder, or a checkpoint folder, which needs torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mose.evaluate.systems.overlaps import UNKNOWN, overlaps_of
from mose.evaluate.systems.protocol import Card
from mose.model import info as model_info
from mose.model.folder import WEIGHTS_FILE
from mose.model.settings import ModelSettings
from mose.runtime.encoder import Encoder
from mose.runtime.manifest import hash_file
from mose.runtime.table import join, unit_rows
from mose.tokenizer import CodeTokenizer, Kind

if TYPE_CHECKING:
    from mose.model.encoder import MoseModel

_TORCH_BATCH = 32


class _Ladder:
    """What both forms share: card, templates and costs, all from the settings."""

    def __init__(self, card: Card, identity: str, settings: ModelSettings, widths: Mapping[int, int]) -> None:
        self.card = card
        self.identity = identity
        self.widths = dict(sorted(widths.items()))
        self._settings = settings

    def template(self, kind: Kind, language: str) -> str:
        """The model's own template, with the language where it names one."""
        template = self._settings.query_template if kind == "query" else self._settings.code_template
        return template.replace("{language}", language)

    def parameters(self, exit_layer: int) -> int | None:
        """Weights that an exit reads."""
        return self._cost(exit_layer, length=1).parameters

    def flops(self, exit_layer: int, *, length: int) -> int | None:
        """FLOPs for one text of ``length`` tokens, the head's included."""
        cost = self._cost(exit_layer, length=length)
        return cost.flops_per_token * length + cost.head_flops

    def own_columns(self, exit_layer: int) -> NDArray[np.intp] | None:
        """Columns of an embedding that are the exit's own, without exit 0's; None if all are."""
        settings = self._settings
        if exit_layer == 0 or not settings.table_share:
            return None
        own = np.ones((1, settings.own_width), dtype=np.float32)
        table = np.zeros((1, settings.width_of(0)), dtype=np.float32)
        return np.flatnonzero(join(own, table, settings.table_share)[0])

    def _cost(self, exit_layer: int, *, length: int) -> model_info.ExitInfo:
        exits = model_info.info(self._settings, length=min(length, self._settings.max_positions)).exits
        return next(row for row in exits if row.exit_layer == exit_layer)


class RuntimeLadder(_Ladder):
    """A shipped model or a runtime folder, run as users run it.

    Args:
        encoder: The loaded model.
        card: Its card; made from the manifest if None.
    """

    def __init__(self, encoder: Encoder, *, card: Card | None = None) -> None:
        manifest = encoder.manifest
        settings = ModelSettings.from_json(manifest.settings, where=f"the manifest of {manifest.name}")
        made = Card(
            name=manifest.name,
            source=manifest.source or "a runtime folder",
            prompt=_prompt(settings),
            runtime=f"ONNX Runtime, {manifest.dtype} weights",
            licence=manifest.licence,
            max_tokens=settings.max_tokens,
            contamination=overlaps_of(manifest.source),
        )
        super().__init__(card or made, encoder.identity, settings, manifest.widths)
        self._encoder = encoder

    def embed(
        self, texts: Sequence[str], *, kind: Kind, languages: Sequence[str], exits: Sequence[int]
    ) -> dict[int, NDArray[np.float32]]:
        """Exit -> unit vectors; several exits come from one pass."""
        if len(exits) == 1:
            encoder = self._encoder.at(exit=exits[0])
            return {exits[0]: encoder.encode(texts, kind=kind, language=list(languages))}
        found = self._encoder.encode_exits(texts, kind=kind, language=list(languages))
        return {exit_layer: found[exit_layer] for exit_layer in exits}


class CheckpointLadder(_Ladder):
    """A float checkpoint folder, run on torch.

    Args:
        folder: What ``mose finetune`` or ``mose convert`` wrote.

    Raises:
        ModelError: The folder is missing, damaged or of another kind.
    """

    def __init__(self, folder: Path) -> None:
        from mose.model.checkpoint import load_model

        self._model: MoseModel = load_model(folder)
        self._tokenizer = CodeTokenizer.load(folder)
        settings = self._model.settings
        hashes = [hash_file(folder / name).sha256 for name in ("config.json", "tokenizer.json", WEIGHTS_FILE)]
        card = Card(
            name=folder.resolve().name,
            source="a checkpoint folder",
            prompt=_prompt(settings),
            runtime=f"torch, {str(self._model.dtype).removeprefix('torch.')} weights",
            max_tokens=settings.max_tokens,
            contamination=UNKNOWN,
        )
        identity = hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:16]
        super().__init__(card, identity, settings, {layer: settings.width_of(layer) for layer in settings.exits})

    def embed(
        self, texts: Sequence[str], *, kind: Kind, languages: Sequence[str], exits: Sequence[int]
    ) -> dict[int, NDArray[np.float32]]:
        """Exit -> unit vectors; several exits come from one pass."""
        import torch

        from mose.model.batch import text_batch

        vectors = {layer: np.zeros((len(texts), self.widths[layer]), dtype=np.float32) for layer in exits}
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(order), _TORCH_BATCH):
            rows = order[start : start + _TORCH_BATCH]
            batch = text_batch(
                self._tokenizer,
                [texts[row] for row in rows],
                kind=kind,
                language=[languages[row] for row in rows],
                words=self._settings.reads_words(exits),
            )
            with torch.inference_mode():
                found: dict[int, Any] = self._model.embed(batch, exits=exits)
            for layer in exits:
                vectors[layer][rows] = unit_rows(found[layer].numpy())
        return vectors


def _prompt(settings: ModelSettings) -> str:
    if settings.query_template == settings.code_template:
        return settings.query_template
    return f"query {settings.query_template}, code {settings.code_template}"
