from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mose.config import ClonesConfig, ExitsLossConfig, LossConfig, from_values
from mose.errors import ConfigError
from mose.model.checkpoint import load_model
from mose.model.clones.classifier import PairClassifier, PairSettings
from mose.model.presets import preset
from mose.tokenizer import CodeTokenizer
from mose.train.clones.learner import CloneLearner
from mose.train.distributed import World
from mose.train.exit_weights import exit_weights
from mose.train.retrieval.learner import RetrievalLearner

from .conftest import Make


def test_weights_are_depth_over_layers_unless_configured() -> None:
    paper = preset("1b")
    assert exit_weights(paper, paper.exits, None) == {4: 4 / 36, 9: 0.25, 18: 0.5, 27: 0.75, 36: 1.0}
    assert exit_weights(paper, (9, 36), (3.0, 4.0)) == {9: 3.0, 36: 4.0}
    with pytest.raises(ConfigError, match=r"2 numbers, for exits \(9, 36\)"):
        exit_weights(paper, (9, 36), (1.0,))


def test_exit_0_has_its_own_weight_where_its_depth_gives_none() -> None:
    settings = preset("tiny", exits=(0, 2, 4), table_width=8)
    assert exit_weights(settings, settings.exits, None, table_weight=0.2)[0] == 0.2
    said = preset("tiny", exits=(0, 2, 4), table_width=8, exit_weights=(0.7, 1.0, 1.0))
    assert exit_weights(said, said.exits, None, table_weight=0.2)[0] == 0.7
    alone = settings.cut_after(0)
    assert exit_weights(alone, alone.exits, None, table_weight=0.2) == {0: 0.2}


def test_every_training_reads_the_weights_of_the_model(make: Make, ladder: Path) -> None:
    """The rule has one owner: what a model's config says reaches every learner."""
    model = load_model(ladder, dtype=torch.float32)
    model.config.exit_weights = [0.1, 0.2, 0.3, 0.4]
    model.settings = model.config.settings
    tokenizer, cpu = CodeTokenizer.load(ladder), torch.device("cpu")
    retrieval = RetrievalLearner(model, tokenizer, make(), world=World(), device=cpu)
    assert retrieval.weights == {0: 0.1, 1: 0.2, 2: 0.3, 4: 0.4}
    pairs = PairSettings(template="{first}{second}", max_tokens=8, features="pooled", calibration={})
    files = {"pairs": "pairs.jsonl", "codes": ["codes.jsonl"]}
    clones = from_values(
        {"start": {"folder": ""}, "data": {"train": files, "valid": files}, "batch": {"pairs": 8},
         "run": {"folder": "", "steps": 1}},
        ClonesConfig,
    )  # fmt: skip
    learner = CloneLearner(PairClassifier(model), tokenizer, pairs, clones, world=World(), device=cpu)
    assert learner.weights == {1: 0.2, 2: 0.3, 4: 0.4}


@pytest.mark.parametrize("config", [LossConfig, ExitsLossConfig])
@pytest.mark.parametrize("weights", [(-1.0, 1.0), (0.0, 0.0), (), (float("nan"), 1.0)])
def test_weights_that_train_an_exit_to_be_worse_are_refused(config: type, weights: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"loss\.exit_weights"):
        config(exit_weights=weights)
    with pytest.raises(ConfigError, match="exit_weights"):
        preset("tiny", exits=(0, 4), table_width=8, exit_weights=(1.0, -1.0))
