"""What other data, or another start, is worth to a recipe: equal steps, several seeds, intervals over seeds and repositories.

    python benchmarks/compare_recipes.py configs/ablation.toml questions.toml --steps 40 --seeds 0 1 2 --set data.folder=DATA \
        --data DATA --sources SOURCES --trees TREES --work runs/recipes

The first recipe is what the others are compared with. One that adds a source of pairs is four lines:
``extends = "configs/ablation.toml"`` and a ``[[data.sources]]``; one that begins elsewhere has a ``[start]``.

Measured at every exit that is trained, vectors alone:

- the validation tasks of the first recipe, mean reciprocal rank;
- with ``--data``, both development splits of repository search (as in repo_search.py), NDCG@10 over ``--pool`` chunks of
  each repository, chosen by a seed: chunks that answer a query, at most half, and others. So a value is not that of a
  search; the difference between recipes is what counts;
- with ``--fused 3``, the same splits searched whole as users do, at that exit: the model is exported, and exit 0, words and
  signals find the short list;
- with ``--commits FILE`` (``mose pairs history``), the message of a commit to the functions that it changed.

Runs, values and what is cut of the repositories are kept in --work, so that the command goes on where it stopped, also on
another machine that has no repositories; seeds come in turn, all recipes at each.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from results import write_result
from self_distillation import Ranks, encoder_of, kept, opened
from splits import tasks as repository_tasks

from mose.config import FinetuneConfig, ValidationTask, parse_overrides, read_toml
from mose.evaluate.repository.benchmark import Location, RepoTask, ndcg_at_10
from mose.export.export import ExportRecipe, export
from mose.model.checkpoint import load_model
from mose.search.chunking.chunk import embedding_text
from mose.search.index import CodeIndex
from mose.search.options import SearchOptions
from mose.tokenizer import CodeTokenizer
from mose.train.retrieval.inputs import Side
from mose.train.retrieval.run import run
from mose.train.retrieval.validate import encode_side, load_tasks, task_ranks

QUERY_TOKENS = 40
ROUNDS = 10_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Chunks of one repository, as the encoder reads them, and where they are."""

    split: str
    task: RepoTask
    texts: tuple[str, ...]
    languages: tuple[str, ...]
    places: tuple[Location, ...]


def pools(data: Path, sources: Path, trees: Path | None, *, size: int) -> Iterator[Pool]:
    """Every repository's answers, and other chunks of it up to ``size``."""
    for split, root, task in repository_tasks(data, sources, trees):
        with CodeIndex.open(root, exit=0) as index:
            store = index.store
            stored = store.chunks(store.chunk_table().ids.tolist())
        places = [Location(path=c.path, start_line=c.first_line, end_line=c.last_line) for c in stored]
        targets = [target for query in task.queries for target in query.targets]
        answers = [n for n, place in enumerate(places) if any(place.meets(target) for target in targets)]
        others = sorted({*range(len(stored))} - {*answers})
        rng = np.random.default_rng(0)
        # Half of the pool at least does not answer, also where whole files are the answers.
        chosen = rng.permutation(answers)[: size // 2].tolist()
        chosen = sorted({*chosen, *rng.permutation(others)[: size - len(chosen)].tolist()})
        yield Pool(
            split="python" if split == "python" else "other languages",
            task=task,
            texts=tuple(embedding_text(stored[n], stored[n].path) for n in chosen),
            languages=tuple(stored[n].language for n in chosen),
            places=tuple(places[n] for n in chosen),
        )


def kept_pools(given: argparse.Namespace) -> list[Pool]:
    """The pools of --data, cut by the first call; none without it."""
    file = given.work / f"pools-{given.pool}.pickle"
    if given.data and not file.exists():
        os.environ.setdefault("MOSE_HOME", str((given.work / "home").resolve()))
        given.work.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(list(pools(given.data, given.sources, given.trees, size=given.pool))))
    found: list[Pool] = pickle.loads(file.read_bytes()) if given.data else []
    return found


def measure(folder: Path, config: FinetuneConfig, tasks: list[Any], repositories: list[Pool]) -> Ranks:
    """Values of every query by "task/exit_02"; a repository's name begins with that of its split."""
    tokenizer, model = CodeTokenizer.load(folder), load_model(folder)
    encode = encoder_of(model, tokenizer, config)
    words = model.settings.reads_words(model.settings.exits)
    found = task_ranks(tasks, tokenizer, encode, words=words)
    for pool in repositories:
        queries = [query.text for query in pool.task.queries]
        asked = Side(texts=queries, kind="query", languages=["text"] * len(queries), max_tokens=QUERY_TOKENS)
        code = Side(texts=pool.texts, kind="code", languages=pool.languages, max_tokens=config.validation.code_tokens)
        vectors, chunks = (encode_side(side, tokenizer, encode, words=words) for side in (asked, code))
        for exit_layer in vectors:
            best_QC = (
                (vectors[exit_layer] @ chunks[exit_layer].T).numpy().argsort(axis=1, kind="stable")[:, ::-1][:, :10]
            )
            found[f"{pool.split}: {pool.task.package}/exit_{exit_layer:02d}"] = np.array([
                ndcg_at_10([pool.places[n] for n in best_C], query.targets)
                for best_C, query in zip(best_QC, pool.task.queries, strict=True)
            ])  # fmt: skip
    return found


def fused(folder: Path, given: argparse.Namespace) -> Ranks:
    """Values of every query of both splits, as a whole search at one exit ranks."""
    runtime = folder.with_name("runtime")
    export(folder, runtime, ExportRecipe(exits=(0, given.fused)))
    found: Ranks = {}
    for split, root, task in repository_tasks(given.data, given.sources, given.trees):
        with CodeIndex.open(root, model=runtime, exit=given.fused, rebuild=True) as index:
            values = []
            for query in task.queries:
                hits = index.search(query.text, SearchOptions(budget_s=math.inf))
                places = [Location(path=hit.path, start_line=hit.start_line, end_line=hit.end_line) for hit in hits]
                values.append(ndcg_at_10(places, query.targets))
        name = "python" if split == "python" else "other languages"
        found[f"fused, {name}: {task.package}/exit_{given.fused:02d}"] = np.array(values)
    return found


def interval(difference: list[NDArray[np.float64]]) -> tuple[float, float, float]:
    """Mean of task means and 95 % interval; [S,Q] of each task: seeds, tasks, and queries within them are resampled."""
    rng = np.random.default_rng(0)
    num_seeds, count = len(difference[0]), len(difference)
    means = np.empty(ROUNDS)
    for number in range(ROUNDS):
        seeds = rng.integers(num_seeds, size=num_seeds)
        drawn = rng.integers(count, size=count) if count > 1 else [0]
        means[number] = np.mean([_resampled(difference[task][seeds].mean(axis=0), rng) for task in drawn])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(np.mean([task.mean() for task in difference])), float(low), float(high)


def _resampled(values_Q: NDArray[np.float64], rng: np.random.Generator) -> float:
    return float(values_Q[rng.integers(len(values_Q), size=len(values_Q))].mean())


def groups(names: list[str]) -> dict[str, list[str]]:
    """Row of the table -> names of its tasks, without the exit."""
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(name.rsplit("/", 1)[0] for name in names):
        split, colon, _ = name.partition(": ")
        alone = name if name == "commits" else "validation tasks"
        found.setdefault(f"repository search, {split}" if colon else alone, []).append(name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", type=Path)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sources", type=Path)
    parser.add_argument("--trees", type=Path)
    parser.add_argument("--pool", type=int, default=300)
    parser.add_argument("--fused", type=int, default=0, metavar="EXIT", help="search the trees of --data whole, too")
    parser.add_argument("--commits", type=Path)
    parser.add_argument("--work", default="runs/recipes", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    overrides = {"run.steps": given.steps, **parse_overrides(given.set)}
    first = read_toml(given.recipes[0], FinetuneConfig, overrides=overrides)
    tasks = first.validation.tasks
    if given.commits:
        tasks = (*tasks, ValidationTask(name="commits", file=str(given.commits.resolve()), frame=True, max_queries=300))
    loaded = load_tasks(dataclasses.replace(first.validation, tasks=tasks), first.data)
    repositories = kept_pools(given)
    found: dict[str, list[Ranks]] = {recipe.stem: [] for recipe in given.recipes}
    for seed in given.seeds:
        for recipe in given.recipes:
            config = read_toml(recipe, FinetuneConfig, overrides=overrides)
            work = opened(given.work / recipe.stem, config)
            own = dataclasses.replace(
                config,
                run=dataclasses.replace(config.run, folder=str(work / f"run_{seed}"), seed=seed),
                validation=dataclasses.replace(config.validation, every=0, tasks=()),
            )
            values = kept(work / f"seed_{seed}.npz", lambda own=own: measure(run(own), first, loaded, repositories))
            if given.fused:
                model, file = work / f"run_{seed}" / "model", work / f"fused_{given.fused}_{seed}.npz"
                values |= kept(file, lambda model=model: fused(model, given))
            found[recipe.stem].append(values)
        report(found, given, len(found[given.recipes[0].stem]))


def report(found: dict[str, list[Ranks]], given: argparse.Namespace, num_seeds: int) -> None:
    """Print and store the table of the seeds that every recipe has."""
    plain, *others = found
    names = sorted(found[plain][0])
    exits = sorted({int(name.rsplit("_", 1)[1]) for name in names} - {0})
    rows: list[dict[str, Any]] = []
    for title, members in groups(names).items():
        for exit_layer in [exit_layer for exit_layer in exits if f"{members[0]}/exit_{exit_layer:02d}" in names]:
            values = {
                recipe: [np.stack([ranks[f"{name}/exit_{exit_layer:02d}"] for ranks in seeds]) for name in members]
                for recipe, seeds in found.items()
            }
            row: dict[str, Any] = {
                "measured": title,
                "exit": exit_layer,
                "queries": sum(v.shape[1] for v in values[plain]),
            }
            row[plain] = float(np.mean([value.mean() for value in values[plain]]))
            for recipe in others:
                row[recipe] = interval([own - other for own, other in zip(values[recipe], values[plain], strict=True)])
            rows.append(row)
            cells = "  ".join(
                f"{recipe} {row[recipe][0]:+.3f} [{row[recipe][1]:+.3f}, {row[recipe][2]:+.3f}]" for recipe in others
            )
            print(f"{title:40} exit {exit_layer}  {plain} {row[plain]:.3f}  {cells}", flush=True)
    per_query = {
        recipe: {name: np.mean([ranks[name] for ranks in seeds], axis=0).round(4).tolist() for name in names}
        for recipe, seeds in found.items()
    }
    print(json.dumps({"seeds": num_seeds}), file=sys.stderr, flush=True)
    write_result("recipes", {
        "steps": given.steps, "seeds": given.seeds[:num_seeds], "pool": given.pool, "rows": rows, "per_query": per_query,
    })  # fmt: skip


if __name__ == "__main__":
    main()
