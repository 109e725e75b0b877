"""Clone detection: one TOML file in, a ladder with a classifier at every exit out.

    mose finetune clones --config configs/clones.toml --set data.folder=DATA

The run's folder holds ``config.toml`` (resolved), ``log.jsonl``, ``checkpoints/``, ``best/`` (highest mean F1
over exits on the validation pairs) and, at the end, ``model/``; the last two are calibrated and ready for
``load_classifier``. Started again in the same folder, it continues from the newest checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mose.config import ClassifierConfig, ClonesConfig
from mose.data.clones import CloneBatches, ClonePairs, read_clone_pairs
from mose.errors import ConfigError
from mose.metrics.adaptive import Point, fit_temperature, lowest_confidence, probability, sweep
from mose.metrics.decisions import best_f1_threshold, f1
from mose.model.clones.classifier import Calibration, PairClassifier, PairSettings, save_classifier
from mose.model.clones.detector import CloneDetector, load_classifier, pair_margins
from mose.model.clones.pair_batch import native_template, split_template
from mose.model.settings import ModelSettings
from mose.tokenizer import CodeTokenizer
from mose.train.clones.learner import CloneLearner
from mose.train.distributed import World, share_first, wait_for_all
from mose.train.log import round_values
from mose.train.loop import RunState, check_before_training
from mose.train.run_folder import RunFolder
from mose.train.start import Say, Training, start_model

__all__ = ["CloneDetector", "calibrate", "curve", "load_classifier", "run"]

Margins = Mapping[int, NDArray[np.float64]]
"""Exit -> margin of every pair, shallowest first."""


def _run(config: ClonesConfig, device: torch.device, world: World, say: Say | None) -> Path:
    seed = config.run.seed
    train, valid = (read_clone_pairs(files, config.data) for files in (config.data.train, config.data.valid))
    if config.validation.max_pairs:
        valid = valid.at_most(config.validation.max_pairs, np.random.default_rng([seed, 3]))
    batches = CloneBatches(train, config.data, size=config.batch.pairs, seed=seed)
    folder = RunFolder(config, world, say)
    checkpoint = folder.checkpoint
    model = start_model(config.start) if checkpoint is None else checkpoint.model
    pairs = pair_settings(config.classifier, model.settings)
    tokenizer = CodeTokenizer.load(config.start.folder)
    classifier = PairClassifier(model, pairs.features)
    torch.nn.Module.to(classifier, device)
    learner = CloneLearner(classifier, tokenizer, pairs, config, world=world, device=device)
    judge = _Judge(learner, tokenizer, valid, pairs, config)
    folder.begin()
    if checkpoint is None:
        counts = {"train": _counts(train), "valid": _counts(valid)}
        folder.log.write_start(model, counts, world=world, device=device, precision=config.run.precision)
        share_first(classifier.parameters(), world)
        preview = CloneBatches(train, config.data, size=config.batch.pairs, seed=seed + 1)
        check_before_training(learner, preview, None, folder.log, world)

    def write(out: Path, _: RunState) -> None:
        if world.is_first:
            save_classifier(classifier, judge.settings(), out, companions=Path(config.start.folder))

    before = 0 if checkpoint is None else checkpoint.run.step
    trained = folder.train(learner, batches, validate=judge.validate, write=write)
    if trained.step == before:
        judge.validate()  # nothing was left to train
    write(folder.path / "model", trained)
    folder.log.write(event="adaptive", **judge.summary())
    wait_for_all(world)
    return folder.path / "model"


run = Training(ClonesConfig, _run)


def pair_settings(read: ClassifierConfig, model: ModelSettings) -> PairSettings:
    """Template and length of a run, not yet calibrated.

    Raises:
        ConfigError: The template is malformed, or pairs would be longer than the model's positions.
    """
    template = read.template or native_template(model.block)
    split_template(template)
    if read.max_tokens > model.max_positions:
        allowed = f"at most the model's {model.max_positions} positions"
        raise ConfigError("classifier.max_tokens", got=read.max_tokens, allowed=allowed)
    return PairSettings(template=template, max_tokens=read.max_tokens, features=read.features, calibration={})


def calibrate(margins: Margins, labels_N: NDArray[np.bool_]) -> dict[int, Calibration]:
    """Temperature and best F1 threshold of every exit; to be fitted on validation pairs only."""
    found = {}
    for exit_layer, margins_N in margins.items():
        temperature = fit_temperature(margins_N, labels_N)
        threshold = best_f1_threshold(probability(margins_N, temperature), labels_N)
        found[exit_layer] = Calibration(temperature=temperature, threshold=threshold)
    return found


def curve(
    margins: Margins, labels_N: NDArray[np.bool_], calibration: Mapping[int, Calibration]
) -> tuple[tuple[Point, ...], dict[int, float]]:
    """F1 against layers run when pairs exit early, and the F1 of each exit alone; calibrated on validation pairs."""
    exits = sorted(margins)
    probability_EN = np.stack(
        [probability(margins[exit_layer], calibration[exit_layer].temperature) for exit_layer in exits]
    )
    thresholds = [calibration[exit_layer].threshold for exit_layer in exits]
    alone = {
        exit_layer: f1(found_N >= threshold, labels_N)
        for exit_layer, found_N, threshold in zip(exits, probability_EN, thresholds, strict=True)
    }
    return sweep(probability_EN, labels_N, exits=exits, thresholds=thresholds), alone


class _Judge:
    """Measures every exit on the validation pairs and keeps the newest calibration."""

    def __init__(
        self,
        learner: CloneLearner,
        tokenizer: CodeTokenizer,
        valid: ClonePairs,
        pairs: PairSettings,
        config: ClonesConfig,
    ) -> None:
        self._learner, self._tokenizer, self._pairs = learner, tokenizer, pairs
        self._texts, self._labels_N = valid.texts(), valid.labels_P == 1
        self._keep = config.validation.keep
        self._calibration: dict[int, Calibration] = {}
        self._points: tuple[Point, ...] = ()
        self._alone: dict[int, float] = {}

    def validate(self) -> dict[str, float]:
        self._learner.classifier.train(False)
        margins = pair_margins(self._learner.logits, self._tokenizer, *self._texts, self._pairs)
        self._calibration = calibrate(margins, self._labels_N)
        self._points, self._alone = curve(margins, self._labels_N, self._calibration)
        values = {f"clones/exit_{exit_layer:02d}": value for exit_layer, value in self._alone.items()}
        return {**values, "mean/all": sum(self._alone.values()) / len(self._alone)}

    def settings(self) -> PairSettings:
        return replace(self._pairs, calibration=self._calibration, confidence=self._chosen().confidence)

    def summary(self) -> dict[str, float]:
        chosen = self._chosen()
        deepest = self._alone[max(self._alone)]
        values = {"confidence": chosen.confidence, "f1": chosen.f1, "full_f1": deepest, "share": chosen.share}
        return round_values(values)

    def _chosen(self) -> Point:
        deepest = self._alone[max(self._alone)]
        lowest = lowest_confidence(self._points, full_f1=deepest, keep=self._keep)
        return next(point for point in self._points if point.confidence == lowest)


def _counts(pairs: ClonePairs) -> dict[str, object]:
    return {"pairs": len(pairs), "clones": int(pairs.labels_P.sum()), "codes": len(pairs.codes)}
