"""Time of one training step with all exits against the last exit alone: same batch, side by side.

    python benchmarks/step_time.py configs/ablation.toml --rounds 5 --set data.folder=DATA

Processor time of this process and wall time, the median over rounds; the two kinds alternate.
The last line on standard output is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
from statistics import median
from time import perf_counter, process_time

import torch
from results import write_result

from mose.config import FinetuneConfig, parse_overrides, read_toml
from mose.data.batches import PairBatches
from mose.data.sources import open_sources
from mose.tokenizer import CodeTokenizer
from mose.train.device import choose_device
from mose.train.distributed import World
from mose.train.optim import build_optimizer
from mose.train.retrieval.learner import RetrievalLearner
from mose.train.retrieval.start import start_ladder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    config = read_toml(given.config, FinetuneConfig, overrides=parse_overrides(given.set))
    device = choose_device(config.run.device)
    tokenizer = CodeTokenizer.load(config.start.folder)
    exits = start_ladder(config).settings.exits
    alone = dataclasses.replace(
        config.loss,
        exit_weights=(0.0,) * (len(exits) - 1) + (1.0,),
        distill_rows=0.0,
        distill_vectors=0.0,
        aligned=0.0,
    )
    learners = {}
    for name, loss in (("all", config.loss), ("last", alone)):
        model = start_ladder(config).to(device)
        changed = dataclasses.replace(config, loss=loss)
        learner = RetrievalLearner(model, tokenizer, changed, world=World(), device=device)
        layers = model.settings.num_layers
        optimizer = build_optimizer(learner.named_trained(), config.optimizer, num_layers=layers)
        learners[name] = (learner, optimizer)
    sources = open_sources(config.data, batch_pairs=config.batch.pairs, mixed=config.batch.mixed)
    batch = next(PairBatches(sources, pairs=config.batch.pairs, seed=0, mixed=config.batch.mixed))
    seconds: dict[str, list[tuple[float, float]]] = {"all": [], "last": []}
    for number in range(given.rounds + 1):
        for name, (learner, optimizer) in learners.items():
            start, start_processor = perf_counter(), process_time()
            optimizer.zero_grad()
            learner.backward(batch)
            optimizer.step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                seconds[name].append((perf_counter() - start, process_time() - start_processor))
    result = {
        f"{name}_{kind}_seconds": median(row[position] for row in rows)
        for name, rows in seconds.items()
        for position, kind in enumerate(("wall", "processor"))
    }
    result["ratio_wall"] = result["all_wall_seconds"] / result["last_wall_seconds"]
    result["ratio_processor"] = result["all_processor_seconds"] / result["last_processor_seconds"]
    print(f"all exits {result['ratio_processor']:.2f} x the last exit alone (processor time), exits {exits}")
    rounded = {name: round(value, 3) for name, value in result.items()}
    write_result("step-time", {"exits": list(exits), "pairs": config.batch.pairs, "rounds": given.rounds, **rounded})


if __name__ == "__main__":
    main()
