"""Pre-training: one TOML file and a corpus of repositories in, a pre-trained ladder of exits out.

    mose new tiny runs/start --tokenizer FOLDER
    mose pretrain configs/pretrain-tiny.toml --set data.folder=FOLDER

The run's folder holds ``config.toml`` (resolved), ``log.jsonl``, ``checkpoints/``, ``best/`` (lowest loss on held-out
repositories) and, at the end, ``model/``. Started again in the same folder, it continues from the newest checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch

from mose.config import CorpusConfig, PretrainConfig
from mose.data.corpus.folders import Corpus, read_corpus
from mose.data.corpus.stored import StoredCorpus, is_stored, open_corpus, require_tokenizer
from mose.data.prefetch import prefetching
from mose.data.repository_pairs import RepositoryPairs
from mose.errors import ConfigError
from mose.model.pretraining.heads import read_heads, save_pretrained
from mose.tokenizer import CodeTokenizer
from mose.train.distributed import World, wait_for_all
from mose.train.log import Log, round_values
from mose.train.loop import RunState, Validate, check_before_training
from mose.train.pretrain.inputs import PairMaker
from mose.train.pretrain.learner import PretrainLearner
from mose.train.pretrain.parallel import gather_state
from mose.train.pretrain.validate import measure
from mose.train.run_folder import RunFolder
from mose.train.start import Say, Training, start_model


def _run(config: PretrainConfig, device: torch.device, world: World, say: Say | None) -> Path:
    seed = config.run.seed
    folder = RunFolder(config, world, say)
    start = Path(config.start.folder)
    model = start_model(config.start)
    tokenizer = CodeTokenizer.load(start)
    make = partial(PairMaker, tokenizer, model.settings, config.objective, config.batch)
    decoder = None
    if config.start.decoder == "embeddings" and model.embeddings is not None:
        decoder = model.embeddings.tokens.weight
    heads = read_heads(start, model.settings, seed=seed, decoder=decoder)
    trained, held_out = _read_corpus(config, world).split(config.data.valid_share, seed=seed)
    batches = _pairs(config, trained, seed=seed)
    for part in (model, heads):
        torch.nn.Module.to(part, device)
    learner = PretrainLearner(model, heads, make(seed=seed), config, world=world, device=device)
    validate = _validator(learner, config, held_out, make(seed=seed + 2), folder.log)
    folder.begin()
    if folder.is_new:
        counts = {"train": {**trained.counts(), "snippets": batches.num_snippets}, "held out": held_out.counts()}
        folder.log.write_start(model, counts, world=world, device=device, precision=config.run.precision)
        preview = _pairs(config, trained, seed=seed + 1)
        check_before_training(learner, preview, validate if config.validation.every else None, folder.log, world)

    def write(out: Path, state: RunState) -> None:
        encoder, own = gather_state(model), gather_state(heads)
        if world.is_first:
            save_pretrained(model.settings, encoder, own, out, companions=start, card=_card(config, state, trained))

    with prefetching(batches, learner.prepare, workers=config.batch.workers) as ahead:
        state = folder.train(learner, ahead, validate=validate, write=write)
    write(folder.path / "model", state)
    wait_for_all(world)
    return folder.path / "model"


run = Training(PretrainConfig, _run)


AnyCorpus = Corpus | StoredCorpus


def _read_corpus(config: PretrainConfig, world: World) -> AnyCorpus:
    """The corpus of ``data.folder`` if that is one, else its sources, read into memory."""
    data = config.data
    if not is_stored(data.folder):
        return read_corpus(data, seed=config.run.seed)
    plain = CorpusConfig()
    for name in ("sources", "exclude", "skip_benchmarks", "languages", "max_files"):
        if getattr(data, name) != getattr(plain, name):
            raise ConfigError(f"data.{name}, and data.folder is a corpus", got=getattr(data, name),
                              allowed=f"{getattr(plain, name)!r}", remedy="Pass it to mose corpus build.")  # fmt: skip
    corpus = open_corpus(data.folder, rank=world.rank, size=world.size)
    require_tokenizer(corpus, Path(config.start.folder))
    return corpus


def _pairs(config: PretrainConfig, corpus: AnyCorpus, *, seed: int, size: int | None = None) -> RepositoryPairs:
    objective = config.objective
    return RepositoryPairs(
        corpus,
        kind=objective.pairs,
        size=size or config.batch.pairs,
        same_share=objective.same_share,
        snippet_chars=config.data.snippet_chars,
        seed=seed,
    )


def _validator(
    learner: PretrainLearner,
    config: PretrainConfig,
    held_out: AnyCorpus,
    maker: PairMaker,
    log: Log,
) -> Validate:
    batch = next(_pairs(config, held_out, seed=config.run.seed + 2, size=config.validation.pairs))

    def validate() -> Mapping[str, float]:
        """Minus the loss of each exit. Every process measures all pairs, so that all agree."""
        found = measure(learner, maker, batch)
        by_exit = {f"exit_{exit_layer:02d}": values for exit_layer, values in found.items()}
        log.write(event="held out", **{name: round_values(values) for name, values in by_exit.items()})
        weight = config.objective.pair_weight
        minus_loss = {
            name: -values["token_loss"] - weight * values.get("pair_loss", 0.0) for name, values in by_exit.items()
        }
        mean = sum(minus_loss.values()) / len(minus_loss)
        return {**{f"minus_loss/{name}": value for name, value in minus_loss.items()}, "mean/all": mean}

    return validate


def _card(config: PretrainConfig, state: RunState, corpus: AnyCorpus) -> str:
    objective = {"icc": "masked tokens and in-context classification", "nsp": "masked tokens and next snippets",
                 "none": "masked tokens"}[config.objective.pairs]  # fmt: skip
    lines = [
        "# Ladder of exits, pre-trained",
        "",
        f"By `mose pretrain`: {state.step:,} steps of {config.batch.pairs:,} pairs, {objective} at every exit, seed"
        f" {config.run.seed}, on {corpus.num_repositories:,} repositories. All settings: `config.toml` beside this"
        " folder.",
        "",
        "Its embeddings are not trained for search: `mose finetune retrieval` is next.",
    ]
    values = {name: -value for name, value in sorted(state.latest.items()) if name.startswith("exit_")}
    if values:
        lines += ["", "| exit | loss on held-out repositories |", "|---|---|"]
        lines += [f"| {int(name.removeprefix('exit_'))} | {value:.3f} |" for name, value in values.items()]
    return "\n".join(lines) + "\n"
