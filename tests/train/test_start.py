"""What every kind of training asks before it begins."""

from __future__ import annotations

import pytest

from mose.config import ClonesConfig, FinetuneConfig, PretrainConfig, from_values
from mose.errors import ConfigError
from mose.train.distributed import World
from mose.train.start import require_divisible

CLONE_FILES = {"pairs": "pairs.jsonl", "codes": ["codes.jsonl"]}
DATA = {
    FinetuneConfig: {"sources": [{"name": "a", "file": "a.jsonl"}]},
    ClonesConfig: {"train": CLONE_FILES, "valid": CLONE_FILES},
    PretrainConfig: {"sources": ["a"]},
}


@pytest.mark.parametrize("kind", DATA, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("pairs", "minutes", "fault"), [(4, 0.0, ""), (5, 0.0, "batch.pairs"), (4, 1.0, "run.minutes")]
)
def test_processes_share_each_batch_and_have_no_clock_of_their_own(kind, pairs, minutes, fault):
    values = {
        "start": {"folder": "model"},
        "data": DATA[kind],
        "batch": {"pairs": pairs},
        "run": {"folder": "run", "steps": 1, "minutes": minutes},
    }
    config = from_values(values, kind, file="a.toml")
    require_divisible(config, World(rank=0, size=1))
    if not fault:
        require_divisible(config, World(rank=0, size=2))
        return
    with pytest.raises(ConfigError, match=fault):
        require_divisible(config, World(rank=0, size=2))
