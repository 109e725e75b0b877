"""Time of one pre-training step: packed against padded rows, all exits against the last alone, on real code.

    python benchmarks/pretrain_step.py configs/pretrain-tiny.toml --rounds 5 --set data.folder=REPOSITORIES

Real tokens a second (padding does not count), wall and processor time, medians over rounds in which the kinds take
turns; padding of one batch, sorted by length as the padded rows are, and in the order of the batch. The last line on
standard output is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch
from results import write_result

from mose.config import PretrainConfig, parse_overrides, read_toml
from mose.data.corpus.folders import read_corpus
from mose.data.repository_pairs import RepositoryPairs
from mose.model.encoder import MoseModel
from mose.model.pretraining.heads import PretrainingHeads, read_heads
from mose.tokenizer import CodeTokenizer
from mose.train.device import choose_device
from mose.train.distributed import World
from mose.train.optim import Optimizers, build_optimizer
from mose.train.pretrain.inputs import MaskedPairs, PairMaker
from mose.train.pretrain.learner import PretrainLearner
from mose.train.start import start_model


def padding(parts: list[MaskedPairs]) -> float:
    rectangles = sum(part.keep_BT.numel() for part in parts)
    return 1 - sum(sum(part.lengths) for part in parts) / rectangles


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way to make a step, on weights that all kinds share."""

    maker: PairMaker
    learner: PretrainLearner
    optimizer: Optimizers


def build(config: PretrainConfig, model: MoseModel, heads: PretrainingHeads, device: torch.device) -> Kind:
    tokenizer = CodeTokenizer.load(config.start.folder)
    maker = PairMaker(tokenizer, model.settings, config.objective, config.batch, seed=config.run.seed)
    learner = PretrainLearner(model, heads, maker, config, world=World(), device=device)
    layers = model.settings.num_layers
    optimizer = build_optimizer(learner.named_trained(), config.optimizer, num_layers=layers)
    return Kind(maker=maker, learner=learner, optimizer=optimizer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1, help="rounds before those that count (default: 1)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    config = read_toml(given.config, PretrainConfig, overrides=parse_overrides(given.set))
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    device = choose_device(config.run.device)
    seed, objective = config.run.seed, config.objective
    corpus = read_corpus(config.data, seed=seed)
    pairs = RepositoryPairs(
        corpus, kind=objective.pairs, size=config.batch.pairs, same_share=objective.same_share,
        snippet_chars=config.data.snippet_chars, seed=seed,
    )  # fmt: skip
    batches = [next(pairs) for _ in range(given.rounds + given.warm_up)]
    model = start_model(config.start)
    heads = read_heads(Path(config.start.folder), model.settings, seed=seed)
    for part in (model, heads):
        torch.nn.Module.to(part, device)
    exits = [exit_layer for exit_layer in model.settings.exits if exit_layer > 0]
    last = dataclasses.replace(config.loss, exit_weights=(0.0,) * (len(exits) - 1) + (1.0,))
    padded = dataclasses.replace(config, batch=dataclasses.replace(config.batch, pack=False))
    kinds = {"packed": config, "padded": padded, "packed_last_exit": dataclasses.replace(config, loss=last)}
    built = {name: build(changed, model, heads, device) for name, changed in kinds.items()}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in kinds}
    for number, batch in enumerate(batches):
        for name, kind in built.items():
            start, start_processor = perf_counter(), process_time()
            kind.optimizer.zero_grad()
            terms = kind.learner.backward(batch)
            kind.optimizer.step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number >= given.warm_up:
                seconds = perf_counter() - start
                found[name].append(
                    (
                        terms["tokens"] / seconds,
                        terms["tokens"] / (process_time() - start_processor),
                        terms["flops"] / seconds,
                    )
                )
    rows = range(config.batch.pairs)
    maker = built["padded"].maker
    one_by_one = [part for row in rows for part in maker.mini_batches(maker.prepare(batches[0], [row]))]
    lengths = [sum(part.lengths) for part in one_by_one]
    budget = max(1, config.batch.mini_batch_tokens // max(lengths))
    groups = [lengths[first : first + budget] for first in range(0, len(lengths), budget)]
    result = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "memory_gb": torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else 0.0,
        "compiled": config.run.compile,
        "exits": exits,
        "mean_tokens": sum(lengths) / len(lengths),
        "padding_packed": padding(built["packed"].maker.mini_batches(built["packed"].maker.prepare(batches[0], rows))),
        "padding_sorted": padding(maker.mini_batches(maker.prepare(batches[0], rows))),
        "padding_unsorted": 1 - sum(lengths) / sum(len(group) * max(group) for group in groups),
    }
    for name, speeds in found.items():
        for clock, values in zip(("wall", "processor", "flops"), zip(*speeds, strict=True), strict=True):
            unit = "flops_per_second" if clock == "flops" else f"tokens_per_second_{clock}"
            result[f"{name}_{unit}"] = median(values)
        if config.run.peak_tflops:
            result[f"{name}_mfu"] = result[f"{name}_flops_per_second"] / config.run.peak_tflops / 1e12
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in result.items()}
    write_result("pretrain-step", {"rounds": given.rounds, **rounded})


if __name__ == "__main__":
    main()
