"""What the pair objective of pre-training is worth, and a loss at every exit: ICC, NSP, neither; the last exit alone.

    python benchmarks/pretrain_objectives.py configs/pretrain-objectives.toml --data DATA --seeds 0 1 2 \
      --set data.folder=PACKAGES

For every seed, with equal steps and start model: "icc", "nsp" and "none" train every exit, "last" trains ICC at the last
exit alone. The corpus is read once and laid out in --work, repositories held out beside the others, the same for every
run. Measured at every exit, on what was held out: loss of masked tokens (of the pairs of ICC), whether the objective's
own question is answered right, and zero-shot retrieval by the pooled state: the second half of a function from its
first, among those of all repositories held out, and code from text. "start" is the model before. What a run measured is
kept in --work, so that the command continues an interrupted run.

Intervals of reciprocal ranks resample seeds and queries; losses have their range over the seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from results import write_result
from self_distillation import Ranks, kept, opened

from mose.config import (
    DataConfig,
    PretrainConfig,
    SourceConfig,
    ValidationConfig,
    ValidationTask,
    parse_overrides,
    read_toml,
)
from mose.data.corpus.folders import Corpus, read_corpus
from mose.data.repository_pairs import RepositoryPairs
from mose.languages.tables import LANGUAGE_OF_EXTENSION
from mose.model.batch import TextBatch
from mose.model.checkpoint import load_model
from mose.model.pretraining.heads import read_heads
from mose.model.settings import ModelSettings
from mose.syntax.definitions import definitions
from mose.tokenizer import CodeTokenizer
from mose.train.device import choose_device
from mose.train.distributed import World
from mose.train.pretrain import run as pretraining
from mose.train.pretrain import validate
from mose.train.pretrain.inputs import PairMaker
from mose.train.pretrain.learner import PretrainLearner
from mose.train.retrieval.inputs import Side
from mose.train.retrieval.validate import ValidationSet, load_tasks, task_ranks

VARIANTS = ("icc", "nsp", "none", "last")
PAIRS = (("icc", "none"), ("icc", "nsp"), ("icc", "last"))
"""Variants whose difference is reported, the first minus the second."""
TASKS = (
    ValidationTask(name="csn-java", file="csn/valid.jsonl.xz", languages=("java",), max_queries=150),
    ValidationTask(name="csn-ruby", file="csn/valid.jsonl.xz", languages=("ruby",), max_queries=150),
    ValidationTask(
        name="cosqa", file="cosqa/queries-dev.jsonl.xz", codebase="cosqa/codebase.jsonl.xz", max_queries=150
    ),
)
HALVES = "halves"
_LINES = range(8, 41)
"""Lines of a function that is cut in halves."""
_FUNCTIONS = 40
"""Functions of each repository held out."""
_TOKENS = 64
"""Tokens of a half, of a text and of a code."""
_HELD_PAIRS = 256


def lay_out(corpus: Corpus, folder: Path) -> None:
    """Write the texts of a corpus as folders of repositories."""
    extension = {language: ending for ending, language in reversed(LANGUAGE_OF_EXTENSION.items())}
    for repository in corpus.repositories:
        (folder / repository.name).mkdir(parents=True)
        for number, (text, language) in enumerate(zip(repository.texts, repository.languages, strict=True)):
            path = folder / repository.name / f"{number}.{extension[language]}"
            path.write_text(text, encoding="utf8", errors="surrogatepass", newline="")


def staged(config: PretrainConfig, work: Path) -> PretrainConfig:
    """The config of runs on the corpus in ``work``; laid out by the first call."""
    if not (work / "staged").exists():
        trained, held_out = read_corpus(config.data, seed=0).split(config.data.valid_share, seed=0)
        for name, corpus in (("train", trained), ("held-out", held_out)):
            lay_out(corpus, work / name)
            print(f"{name}: {corpus.counts()}", file=sys.stderr, flush=True)
        (work / "staged").touch()
    data = dataclasses.replace(config.data, folder=str(work), sources=("train",), exclude=(), valid_share=0.01)
    return dataclasses.replace(config, data=data)


def halves(corpus: Corpus) -> ValidationSet:
    """First halves of functions as queries, second halves as candidates."""
    rng = np.random.default_rng(0)
    chosen: dict[str, tuple[str, str]] = {}
    for repository in corpus.repositories:
        found: dict[str, tuple[str, str]] = {}
        for text, language in zip(repository.texts, repository.languages, strict=True):
            lines = text.split("\n")
            for one in definitions(text, language) or []:
                body = lines[one.line - 1 : one.last_line]
                if one.kind in ("function", "method") and len(body) in _LINES:
                    first, second = ("\n".join(part) for part in (body[: len(body) // 2], body[len(body) // 2 :]))
                    found.setdefault(dedent(second), (dedent(first), language))
        names = sorted(set(found) - set(chosen))
        chosen |= {names[row]: found[names[row]] for row in sorted(rng.permutation(len(names))[:_FUNCTIONS])}
    seconds = list(chosen)
    firsts, languages = zip(*chosen.values(), strict=True)
    return ValidationSet(
        name=HALVES,
        query=Side(texts=firsts, kind="code", languages=languages, max_tokens=_TOKENS),
        code=Side(texts=seconds, kind="code", languages=languages, max_tokens=_TOKENS),
        relevant=tuple(frozenset({row}) for row in range(len(seconds))),
    )


def settings_of(config: PretrainConfig, variant: str, seed: int, folder: Path) -> PretrainConfig:
    exits = [exit_layer for exit_layer in ModelSettings.read(config.start.folder).exits if exit_layer > 0]
    pairs = "icc" if variant == "last" else variant
    weights = (*[0.0] * (len(exits) - 1), 1.0) if variant == "last" else config.loss.exit_weights
    return dataclasses.replace(
        config,
        objective=dataclasses.replace(config.objective, pairs=pairs),
        loss=dataclasses.replace(config.loss, exit_weights=weights),
        run=dataclasses.replace(config.run, folder=str(folder), seed=seed),
    )


@torch.no_grad()
def retrieval(folder: Path, tasks: list[ValidationSet], device: torch.device) -> Ranks:
    """Reciprocal ranks by "task/exit_02"."""
    model = load_model(folder, dtype=torch.float32).eval().to(device)
    exits = [exit_layer for exit_layer in model.settings.exits if exit_layer > 0]

    def encode(batch: TextBatch) -> dict[int, torch.Tensor]:
        return model.embed(batch.to(device), exits=exits)

    return task_ranks(tasks, CodeTokenizer.load(folder), encode, words=False)


def objectives(folder: Path, config: PretrainConfig, held_out: Corpus) -> Ranks:
    """Losses and accuracies by "token_loss/exit_02", one number each."""
    model = load_model(folder, dtype=torch.float32)
    heads = read_heads(folder, model.settings, seed=0)
    maker = PairMaker(CodeTokenizer.load(folder), model.settings, config.objective, config.batch, seed=0)
    device = choose_device(config.run.device)
    for part in (model, heads):
        torch.nn.Module.to(part, device)
    learner = PretrainLearner(model, heads, maker, config, world=World(), device=device)
    found: Ranks = {}
    for kind, measured in (("icc", "token"), (config.objective.pairs, "pair")):
        pairs = RepositoryPairs(
            held_out, kind=kind, size=_HELD_PAIRS, same_share=config.objective.same_share,
            snippet_chars=config.data.snippet_chars, seed=0,
        )  # fmt: skip
        for exit_layer, values in validate.measure(learner, maker, next(pairs)).items():
            found |= {
                f"{name}/exit_{exit_layer:02d}": np.array([value])
                for name, value in values.items()
                if name.startswith(measured)
            }
    return found


def crossed_interval(values_SQ: NDArray[np.float64], *, rounds: int = 5000) -> tuple[float, float, float]:
    """Mean and 95 % interval where every seed answered every query: seeds and queries are both resampled."""
    rng = np.random.default_rng(0)
    drawn = [rng.multinomial(count, [1 / count] * count, size=rounds) / count for count in values_SQ.shape]
    means = ((drawn[0] @ values_SQ) * drawn[1]).sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values_SQ.mean()), float(low), float(high)


def of_seeds(values: list[Ranks], tasks: tuple[str, ...], exit_layer: int) -> NDArray[np.float64]:
    """The numbers of some tasks at one exit, one row for each seed; empty where they were not measured."""
    keys = [f"{task}/exit_{exit_layer:02d}" for task in tasks]
    return np.array([[number for key in keys for number in seed.get(key, ())] for seed in values])


def over_seeds(values_S1: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean and range."""
    return float(values_S1.mean()), float(values_S1.min()), float(values_S1.max())


def rows_of(found: dict[str, list[Ranks]], start: Ranks) -> dict[str, dict[str, Any]]:
    """Every kind of number at every exit: mean and interval of each variant, and of the differences."""
    exits = sorted({int(key[-2:]) for key in start})
    kinds: dict[str, tuple[str, ...]] = {name: (name,) for name in ("token_loss", "pair_accuracy", HALVES)}
    kinds["text to code"] = tuple(task.name for task in TASKS)
    rows: dict[str, dict[str, Any]] = {}
    for kind, names in kinds.items():
        interval = crossed_interval if kind in (HALVES, "text to code") else over_seeds
        for exit_layer in exits:
            values = {variant: of_seeds(seeds, names, exit_layer) for variant, seeds in found.items()}
            row: dict[str, Any] = {variant: interval(value) for variant, value in values.items() if value.size}
            before = of_seeds([start], names, exit_layer)
            row |= {"start": float(before.mean())} if before.size else {}
            for one, other in PAIRS if kind != "pair_accuracy" else ():
                if values[one].size and values[other].size:
                    row[f"{one} - {other}"] = interval(values[one] - values[other])
            rows[f"{kind}, exit {exit_layer}"] = row
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--data", required=True, help="folder of csn/ and cosqa/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("runs/pretrain-objectives"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    config = read_toml(given.config, PretrainConfig, overrides=parse_overrides(given.set))
    torch.set_num_threads(config.run.threads or torch.get_num_threads())
    work = opened(given.work, config)
    config = staged(config, work)
    held_out = read_corpus(dataclasses.replace(config.data, sources=("held-out",), max_files=0), seed=0)
    validation = ValidationConfig(tasks=TASKS, text_tokens=_TOKENS, code_tokens=_TOKENS)
    data = DataConfig(folder=given.data, sources=(SourceConfig(name="unread", file="unread"),))
    tasks = [halves(held_out), *load_tasks(validation, data)]
    device = choose_device(config.run.device)
    start = kept(work / "start.npz", lambda: retrieval(Path(config.start.folder), tasks, device))
    found: dict[str, list[Ranks]] = {variant: [] for variant in VARIANTS}
    for seed in given.seeds:
        for variant in VARIANTS:
            changed = settings_of(config, variant, seed, work / f"{variant}_{seed}")

            def measured(changed: PretrainConfig = changed) -> Ranks:
                folder = pretraining.run(changed)
                ranks = objectives(folder, changed, held_out) | retrieval(folder, tasks, device)
                for part in ("model", "best", "checkpoints"):  # a gigabyte; the log stays
                    shutil.rmtree(folder.with_name(part))
                return ranks

            found[variant].append(kept(work / f"{variant}_{seed}.npz", measured))
    rows = rows_of(found, start)
    for name, row in rows.items():
        print(name, {key: np.round(value, 3).tolist() for key, value in row.items()})
    sizes = {task.name: len(task.relevant) for task in tasks}
    repositories = [repository.name for repository in held_out.repositories]
    write_result(
        "pretrain-objectives",
        {"steps": config.run.steps, "seeds": given.seeds, "pairs": config.batch.pairs, "queries": sizes,
         "held_out": repositories, "rows": rows},
    )  # fmt: skip


if __name__ == "__main__":
    main()
