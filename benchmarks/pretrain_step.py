"""Time of one pre-training step: packed against padded rows, all exits against the last alone, on real code.

    python benchmarks/pretrain_step.py configs/pretrain-tiny.toml --rounds 5 --set data.folder=REPOSITORIES

Real tokens a second (padding does not count), wall and processor time, medians over rounds in which the kinds take
turns; padding of one batch, sorted by length as the padded rows are, and in the order of the batch. The last line on
standard output is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch
from results import write_result

from mose.config import PretrainConfig, parse_overrides, read_toml
from mose.data.corpus.folders import read_corpus
from mose.data.repository_pairs import RepositoryPairs
from mose.model.pretraining.heads import read_heads
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


def build(
    config: PretrainConfig, device: torch.device, tokenizer: CodeTokenizer
) -> tuple[PairMaker, PretrainLearner, Optimizers]:
    model = start_model(config.start)
    maker = PairMaker(tokenizer, model.settings, config.objective, config.batch, seed=config.run.seed)
    heads = read_heads(Path(config.start.folder), model.settings, seed=config.run.seed)
    for part in (model, heads):
        torch.nn.Module.to(part, device)
    learner = PretrainLearner(model, heads, maker, config, world=World(), device=device)
    layers = model.settings.num_layers
    return maker, learner, build_optimizer(learner.named_trained(), config.optimizer, num_layers=layers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    config = read_toml(given.config, PretrainConfig, overrides=parse_overrides(given.set))
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    device = choose_device(config.run.device)
    folder, seed = Path(config.start.folder), config.run.seed
    tokenizer = CodeTokenizer.load(folder)
    objective = config.objective
    corpus = read_corpus(config.data, seed=seed)
    pairs = RepositoryPairs(
        corpus, kind=objective.pairs, size=config.batch.pairs, same_share=objective.same_share,
        snippet_chars=config.data.snippet_chars, seed=seed,
    )  # fmt: skip
    batches = [next(pairs) for _ in range(given.rounds + 1)]
    exits = [exit_layer for exit_layer in start_model(config.start).settings.exits if exit_layer > 0]
    last = dataclasses.replace(config.loss, exit_weights=(0.0,) * (len(exits) - 1) + (1.0,))
    padded = dataclasses.replace(config, batch=dataclasses.replace(config.batch, pack=False))
    kinds = {"packed": config, "padded": padded, "packed_last_exit": dataclasses.replace(config, loss=last)}
    built = {name: build(changed, device, tokenizer) for name, changed in kinds.items()}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in kinds}
    for number, batch in enumerate(batches):
        for name, (_, learner, optimizer) in built.items():
            start, start_processor = perf_counter(), process_time()
            optimizer.zero_grad()
            terms = learner.backward(batch)
            optimizer.step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                seconds = perf_counter() - start
                found[name].append(
                    (
                        terms["tokens"] / seconds,
                        terms["tokens"] / (process_time() - start_processor),
                        terms["flops"] / seconds,
                    )
                )
    rows = range(config.batch.pairs)
    maker = built["padded"][0]
    one_by_one = [part for row in rows for part in maker.mini_batches(maker.prepare(batches[0], [row]))]
    lengths = [sum(part.lengths) for part in one_by_one]
    budget = max(1, config.batch.mini_batch_tokens // max(lengths))
    groups = [lengths[first : first + budget] for first in range(0, len(lengths), budget)]
    result = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "exits": exits,
        "mean_tokens": sum(lengths) / len(lengths),
        "padding_packed": padding(built["packed"][0].mini_batches(built["packed"][0].prepare(batches[0], rows))),
        "padding_sorted": padding(maker.mini_batches(maker.prepare(batches[0], rows))),
        "padding_unsorted": 1 - sum(lengths) / sum(len(group) * max(group) for group in groups),
    }
    for name, speeds in found.items():
        for kind, values in zip(("wall", "processor", "flops"), zip(*speeds, strict=True), strict=True):
            unit = "flops_per_second" if kind == "flops" else f"tokens_per_second_{kind}"
            result[f"{name}_{unit}"] = median(values)
        if config.run.peak_tflops:
            result[f"{name}_mfu"] = result[f"{name}_flops_per_second"] / config.run.peak_tflops / 1e12
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in result.items()}
    write_result("pretrain-step", {"rounds": given.rounds, **rounded})


if __name__ == "__main__":
    main()
