"""A yes-or-no classifier at every exit of a ladder, for pairs of codes.

Shapes: B pairs, T tokens, D width, R pairs that have not left yet.
Each exit above 0 has one linear layer over features of its hidden states; projection heads are not used. At
inference a pair can leave at the first exit that reaches the confidence; blocks above run for the others alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from mose.errors import ModelError
from mose.json_reading import parse_json
from mose.model.checkpoint import load_model, save_tensors, write_model
from mose.model.clones.pair_batch import PairInputs
from mose.model.encoder import MoseModel
from mose.model.folder import copy_companions
from mose.model.heads import pool
from mose.storage import new_folder

WEIGHTS_FILE = "classifier.safetensors"
SETTINGS_FILE = "classifier.json"
Features = Literal["pooled", "sides"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Temperature and threshold of one exit, chosen on validation pairs."""

    temperature: float = 1.0
    """The margin is divided by it."""
    threshold: float = 0.5
    """Smallest probability that is called a clone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSettings:
    """The keys of ``classifier.json``."""

    template: str
    """Template that joins two codes; see ``mose.model.clones.pair_batch``."""
    max_tokens: int
    """Longest sequence."""
    features: Features = "pooled"
    """What the linear layers read; see ``pair_features``."""
    calibration: dict[int, Calibration]
    """Exit -> its calibration."""
    confidence: float | None = None
    """Confidence at which a pair may leave early, chosen on validation pairs; None if not chosen."""


class PairClassifier(nn.Module):
    """A ladder of exits with a linear classifier at each of them above 0.

    Args:
        model: The ladder.
        features: What the linear layers read; see ``pair_features``.
    """

    def __init__(self, model: MoseModel, features: Features = "pooled") -> None:
        super().__init__()
        self.model = model
        self.features = features
        width = model.settings.hidden_size * (1 if features == "pooled" else 3)
        self.exits = tuple(exit_layer for exit_layer in model.settings.exits if exit_layer > 0)
        if not self.exits:
            raise ModelError(
                "the model has no exit above 0, so nothing can read a pair", remedy="Start from a deeper model."
            )
        self.classifiers = nn.ModuleDict({str(exit_layer): nn.Linear(width, 2) for exit_layer in self.exits})
        for layer in self.classifiers.values():
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)  # starts at probability 0.5, whatever the seed
            nn.init.zeros_(layer.bias)

    def forward(self, batch: PairInputs, *, exits: Sequence[int] | None = None) -> dict[int, Tensor]:
        """Logits [B,2] in float32 by exit, shallowest first; blocks above the deepest exit asked for are not run.

        Args:
            batch: Pairs, each one sequence.
            exits: Exits wanted; all above 0 if None.

        Raises:
            ModelError: The model has no such exit.
        """
        hidden_by_exit = self.model(batch.token_ids_BT, batch.keep_BT, exits=self.exits if exits is None else exits)
        return {
            exit_layer: self._logits(exit_layer, hidden_BTD, batch) for exit_layer, hidden_BTD in hidden_by_exit.items()
        }

    @torch.no_grad()
    def leave_early(
        self, batch: PairInputs, *, confidence: float, calibration: dict[int, Calibration]
    ) -> tuple[Tensor, Tensor]:
        """Each pair's probability of being a clone, at the first exit that reaches the confidence.

        Args:
            batch: Pairs, each one sequence.
            confidence: A pair leaves once max(p, 1 - p) reaches this; the deepest exit takes all others.
            calibration: Exit -> its calibration.

        Returns:
            probability_B in float32, and exit_B in int64.
        """
        device = batch.token_ids_BT.device
        probability_B = torch.zeros(len(batch.token_ids_BT), device=device)
        exit_B = torch.zeros(len(batch.token_ids_BT), dtype=torch.int64, device=device)
        going_R = torch.arange(len(exit_B), device=device)
        stage = self.model.begin(batch.token_ids_BT, batch.keep_BT)
        for exit_layer in self.exits:
            stage = self.model.climb(stage, exit_layer)
            logits = self._logits(exit_layer, self.model.leave(stage), batch)
            probability_R = probabilities(logits, calibration[exit_layer].temperature)
            probability_B[going_R], exit_B[going_R] = probability_R, exit_layer
            stays_R = torch.maximum(probability_R, 1 - probability_R) < confidence
            if exit_layer == self.exits[-1] or not bool(stays_R.any()):
                break
            rows_R = stays_R.nonzero()[:, 0]
            going_R, stage, batch = going_R[rows_R], stage.rows(rows_R), batch.rows(rows_R)
        return probability_B, exit_B

    def _logits(self, exit_layer: int, hidden_BTD: Tensor, batch: PairInputs) -> Tensor:
        with torch.autocast(hidden_BTD.device.type, enabled=False):  # a rounded logit is a rounded threshold
            features_BX = pair_features(hidden_BTD.float(), batch, self.features, self.model.settings.pooling)
            logits_B2: Tensor = self.classifiers[str(exit_layer)](features_BX)
        return logits_B2


def pair_features(
    hidden_BTD: Tensor, batch: PairInputs, features: Features, pooling: Literal["cls", "mean", "mask_sum"]
) -> Tensor:
    """Features of each pair for a linear classifier.

    Args:
        hidden_BTD: Hidden states of whole pairs: every token has seen both codes.
        batch: The pairs.
        features: pooled: the pooled state [B,D]. sides: that, then product and distance, element by element, of
            the codes' mean states [B,3D] (InferSent: Conneau et al., 2017, section 3.1).
        pooling: Pooling over the whole pair.
    """
    pooled_BD = pool(hidden_BTD, batch.keep_BT, pooling)
    if features == "pooled":
        return pooled_BD
    # Length sqrt(D) gives values of about the size of a layer's.
    scale = hidden_BTD.shape[-1] ** 0.5
    first_BD, second_BD = (
        functional.normalize(pool(hidden_BTD, keep_BT, "mean"), dim=-1) * scale
        for keep_BT in (batch.first_BT, batch.second_BT)
    )
    return torch.cat([pooled_BD, first_BD * second_BD, (first_BD - second_BD).abs()], dim=-1)


def probabilities(logits_B2: Tensor, temperature: float) -> Tensor:
    """Probability of label 1 [B]: the sigmoid of the margin over the temperature (Guo et al., 2017)."""
    return torch.sigmoid((logits_B2[:, 1] - logits_B2[:, 0]) / temperature)


def save_classifier(classifier: PairClassifier, settings: PairSettings, out: Path, *, companions: Path) -> None:
    """Write a model folder with ladder and classifier, atomically.

    Raises:
        OutputError: ``out`` is not a folder that mose wrote.
    """
    with new_folder(out) as folder:
        write_model(classifier.model, folder)
        save_tensors(classifier.classifiers.state_dict(), folder / WEIGHTS_FILE)
        (folder / SETTINGS_FILE).write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf8")
        copy_companions(companions, folder)


def read_classifier(folder: Path) -> tuple[PairClassifier, PairSettings]:
    """The classifier of a folder in evaluation mode, and its settings.

    Raises:
        ModelError: No such folder, no classifier in it, or a damaged one.
    """
    file = folder / SETTINGS_FILE
    if not file.is_file():
        remedy = "mose finetune clones makes one."
        raise ModelError(f"{folder} has no clone classifier: {SETTINGS_FILE} is missing", remedy=remedy)
    model = load_model(folder)
    try:
        values = parse_json(file.read_text(encoding="utf8"))
        by_exit = {int(exit_layer): Calibration(**found) for exit_layer, found in values.pop("calibration").items()}
        settings = PairSettings(**values, calibration=by_exit)
        classifier = PairClassifier(model, settings.features)
        classifier.classifiers.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"the classifier in {folder} is damaged ({error})", remedy="Train it again.") from error
    if set(by_exit) != set(classifier.exits):
        raise ModelError(f"{file}: exits", got=sorted(by_exit), allowed=str(list(classifier.exits)))
    classifier.train(False)
    return classifier, settings
