"""Interpolate the weights of a trained ladder and of the one it started from.

    python recipes/interpolate.py OUT --start START --trained TRAINED [TRAINED ...] --blocks 0.9 --top 0.6

WiSE-FT (Wortsman et al., 2022, section 3) by depth: trained * share + start * (1 - share), where several trained
ladders of one start are averaged first, the start's heads are narrowed to the width of the trained ones, and the
blocks above the last exit but one, and the deepest exit's head, have a share of their own. The other heads and the
token table stay trained. A start without heads counts as one whose deepest head is the identity. Shares are chosen
on validation splits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from mose.model.checkpoint import load_model, save_model
from mose.model.reshape import narrow_heads


def share_of(name: str, *, blocks: float, top: float, exits: tuple[int, ...]) -> float:
    """Share of the trained tensor in the result."""
    kind, _, rest = name.partition(".")
    number = rest.partition(".")[0]
    if kind == "table" or (kind == "heads" and int(number) != exits[-1]):
        return 1.0
    return top if kind == "heads" or (kind == "layers" and int(number) >= exits[-2]) else blocks


def start_tensor(name: str, trained: Tensor, start: dict[str, Tensor]) -> Tensor:
    if name in start:
        return start[name]
    return torch.eye(len(trained)) if name.endswith("weight") else torch.zeros_like(trained)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trained", type=Path, nargs="+", required=True)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--blocks", type=float, default=0.9, help="share of the trained weights (default: 0.9)")
    parser.add_argument("--top", type=float, default=0.6, help="the same above the last exit but one (default: 0.6)")
    given = parser.parse_args()
    model = load_model(given.trained[0], dtype=torch.float32)
    others = [load_model(folder, dtype=torch.float32).state_dict() for folder in given.trained[1:]]
    started = load_model(given.start, dtype=torch.float32)
    if started.settings.own_width > model.settings.own_width:
        narrow_heads(started, model.settings.own_width)
    start = started.state_dict()
    tensors = model.state_dict()
    for name, first in tensors.items():
        tensors[name] = trained = torch.stack([first, *(other[name] for other in others)]).mean(dim=0)
        share = share_of(name, blocks=given.blocks, top=given.top, exits=model.settings.exits)
        if share < 1:
            tensors[name] = share * trained + (1 - share) * start_tensor(name, trained, start)
    model.load_state_dict(tensors)
    save_model(model, given.out, companions=given.trained[0])
    print(f"Wrote {given.out}.")


if __name__ == "__main__":
    main()
