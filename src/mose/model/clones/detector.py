"""Clone detection with a trained classifier: from two codes to a probability and the exit that gave it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mose.errors import ConfigError
from mose.model.batch import length_groups
from mose.model.clones.classifier import PairClassifier, PairSettings, probabilities, read_classifier
from mose.model.clones.pair_batch import PairInputs, encode_pairs, pad_pairs
from mose.tokenizer import CodeTokenizer

_BUDGET = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Predictions for N pairs, in their order."""

    probability_N: NDArray[np.float64]  # noqa: N815
    """Probability of being a clone."""
    clone_N: NDArray[np.bool_]  # noqa: N815
    """True if the probability reaches the threshold of its exit."""
    exit_N: NDArray[np.int64]  # noqa: N815
    """Exit that gave the probability; as many blocks were run for the pair."""


class CloneDetector:
    """A trained classifier with its tokenizer and calibration.

    Args:
        classifier: In evaluation mode.
        tokenizer: The ladder's.
        settings: Template, length, calibration.

    Example:
        >>> detector = load_classifier("runs/clones/model")                  # doctest: +SKIP
        >>> detector.predict(["a + b"], ["b + a"], confidence=0.95).exit_N    # doctest: +SKIP
        array([3])
    """

    def __init__(self, classifier: PairClassifier, tokenizer: CodeTokenizer, settings: PairSettings) -> None:
        self.classifier = classifier
        self.tokenizer = tokenizer
        self.settings = settings

    @property
    def exits(self) -> tuple[int, ...]:
        """Exits that can answer, shallowest first."""
        return self.classifier.exits

    def predict(
        self,
        firsts: Sequence[str],
        seconds: Sequence[str],
        *,
        exit: int | None = None,
        confidence: float | None = None,
    ) -> Predictions:
        """Predict for each pair whether it is a clone.

        Args:
            firsts: First codes.
            seconds: Second codes, as many.
            exit: The exit to use; the deepest if None.
            confidence: Instead of ``exit``: leave at the first exit where max(p, 1 - p) reaches this; blocks above then
                run for the other pairs alone. ``settings.confidence`` was chosen on validation pairs.

        Raises:
            ConfigError: Both exit and confidence are given.
            ModelError: There is no such exit.
        """
        if exit is not None and confidence is not None:
            raise ConfigError("exit and confidence", got=(exit, confidence), allowed="one of them")
        probability_N = np.zeros(len(firsts))
        exit_N = np.zeros(len(firsts), dtype=np.int64)
        for rows, batch in pair_batches(self.tokenizer, firsts, seconds, self.settings):
            found_B, exit_B = self._answer(batch, exit, confidence)
            probability_N[rows], exit_N[rows] = found_B.double().cpu().numpy(), exit_B.cpu().numpy()
        threshold_of = {
            exit_layer: calibration.threshold for exit_layer, calibration in self.settings.calibration.items()
        }
        thresholds_N = np.array([threshold_of[int(exit_layer)] for exit_layer in exit_N])
        return Predictions(probability_N=probability_N, clone_N=probability_N >= thresholds_N, exit_N=exit_N)

    @torch.no_grad()
    def _answer(self, batch: PairInputs, exit_layer: int | None, confidence: float | None) -> tuple[Tensor, Tensor]:
        batch = batch.to(self.classifier.model.device)
        calibration = self.settings.calibration
        if confidence is not None:
            return self.classifier.leave_early(batch, confidence=confidence, calibration=calibration)
        exit_layer = self.exits[-1] if exit_layer is None else exit_layer
        found_B = probabilities(
            self.classifier(batch, exits=(exit_layer,))[exit_layer], calibration[exit_layer].temperature
        )
        return found_B, torch.full((len(found_B),), exit_layer)


def load_classifier(folder: str | Path) -> CloneDetector:
    """The clone detector of a folder that ``mose finetune clones`` wrote.

    Raises:
        ModelError: No such folder, no classifier in it, or a damaged one.
    """
    classifier, settings = read_classifier(Path(folder))
    return CloneDetector(classifier, CodeTokenizer.load(folder), settings)


def pair_batches(
    tokenizer: CodeTokenizer, firsts: Sequence[str], seconds: Sequence[str], settings: PairSettings
) -> Iterator[tuple[list[int], PairInputs]]:
    """Pairs in batches of similar length, each with the numbers of its pairs."""
    ids = encode_pairs(tokenizer, firsts, seconds, template=settings.template, max_tokens=settings.max_tokens)
    for rows in length_groups([len(pair) for pair in ids], budget=max(_BUDGET, settings.max_tokens)):
        yield rows, pad_pairs(tokenizer, [ids[row] for row in rows])


@torch.no_grad()
def pair_margins(
    run: Callable[[PairInputs], dict[int, Tensor]],
    tokenizer: CodeTokenizer,
    firsts: Sequence[str],
    seconds: Sequence[str],
    settings: PairSettings,
) -> dict[int, NDArray[np.float64]]:
    """Exit -> margin (logit of label 1 minus that of 0) of every pair, all exits from one pass.

    Args:
        run: The classifier, or a function that runs it elsewhere or in another precision.
        tokenizer: The ladder's.
        firsts: First codes.
        seconds: Second codes, as many.
        settings: Template and length.
    """
    found: dict[int, NDArray[np.float64]] = {}
    for rows, batch in pair_batches(tokenizer, firsts, seconds, settings):
        for exit_layer, logits_B2 in run(batch).items():
            margins_N = found.setdefault(exit_layer, np.zeros(len(firsts)))
            margins_N[rows] = (logits_B2[:, 1] - logits_B2[:, 0]).double().cpu().numpy()
    return found
