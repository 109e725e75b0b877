from __future__ import annotations

from pathlib import Path

import torch

from mose.model.batch import TextBatch
from mose.model.checkpoint import load_model
from mose.train.retrieval.rotate_heads import rotate_heads


def batch(seed: int) -> TextBatch:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 150, (40, 6), generator=generator)
    return TextBatch(token_ids_BT=ids, keep_BT=torch.ones(40, 6, dtype=torch.bool))


def test_rotation_keeps_every_similarity_and_sorts_the_dimensions(ladder: Path) -> None:
    model = load_model(ladder, dtype=torch.float32)
    probe, exits = batch(1), (1, 2, 4)
    before = model.embed(probe, exits=exits)
    shares = rotate_heads(model, [batch(0), batch(2)])
    after = model.embed(probe, exits=exits)
    for one in exits:
        for other in exits:
            assert torch.allclose(before[one] @ before[other].T, after[one] @ after[other].T, atol=1e-5)
    assert list(shares) == [16, 8, 4] and 1 > shares[16] > shares[8] > shares[4] > 0
    moment = after[4].square().mean(dim=0)
    assert float(moment[:8].sum()) > float(before[4].square().mean(dim=0).topk(8).values.sum())
