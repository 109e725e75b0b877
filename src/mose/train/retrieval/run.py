"""Retrieval fine-tuning: one TOML file in, a trained ladder of exits out.

    mose finetune retrieval --config configs/small.toml --set run.folder=runs/a
    torchrun --nproc-per-node 2 -m mose finetune retrieval --config configs/small.toml

The run's folder holds ``config.toml`` (resolved), ``log.jsonl``, ``checkpoints/``, ``best/`` (highest mean
over exits) and, at the end, ``model/``. Started again in the same folder, it continues from the newest
checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from mose.config import FinetuneConfig
from mose.data.batches import PairBatches
from mose.data.prefetch import prefetching
from mose.data.sources import Source, open_sources
from mose.model.batch import TextBatch
from mose.model.checkpoint import save_model
from mose.tokenizer import CodeTokenizer
from mose.train.device import autocast
from mose.train.distributed import World, merge, share_first, wait_for_all
from mose.train.log import round_values
from mose.train.loop import RunState, Validate, check_before_training, mean_by_exit
from mose.train.retrieval.card import model_card
from mose.train.retrieval.fit_heads import fit_heads, fitting_texts
from mose.train.retrieval.learner import RetrievalLearner
from mose.train.retrieval.rotate_heads import rotate_heads
from mose.train.retrieval.start import code_vectors, start_ladder
from mose.train.retrieval.validate import ValidationSet, evaluate_tasks, load_tasks
from mose.train.run_folder import RunFolder
from mose.train.start import Say, Training


def _run(config: FinetuneConfig, device: torch.device, world: World, say: Say | None) -> Path:
    seed, mixed = config.run.seed, config.batch.mixed
    sources = open_sources(config.data, batch_pairs=config.batch.pairs, mixed=mixed, seed=seed)
    tasks = load_tasks(config.validation, config.data, seed=seed, skip_missing=config.data.skip_missing)
    folder = RunFolder(config, world, say)
    stream = _stream(config, sources)
    model = start_ladder(config) if folder.checkpoint is None else folder.checkpoint.model
    tokenizer = CodeTokenizer.load(config.start.folder)
    torch.nn.Module.to(model, device)
    reference = start_ladder(config) if config.loss.mask_answers else None
    if reference is not None:
        torch.nn.Module.to(reference, device)
    learner = RetrievalLearner(model, tokenizer, config, world=world, device=device, reference=reference)
    validate = _validator(tasks, learner, tokenizer, world)

    def texts(count: int) -> Iterator[TextBatch]:
        return fitting_texts(sources, tokenizer, config.batch, count=count, seed=seed + 2)

    folder.begin()
    if folder.checkpoint is None:
        found = {source.name: {"units": len(source), "dropped": dict(source.dropped)} for source in sources}
        folder.log.write_start(model, found, world=world, device=device, precision=config.run.precision)
        if config.heads.fit and world.is_first:
            with autocast(config.run.precision, device):
                cosines = fit_heads(model, texts(config.heads.fit))
            named = {f"exit_{exit_layer:02d}": cosine for exit_layer, cosine in cosines.items()}
            folder.log.write(event="heads fitted", cosine=round_values(named))
        share_first(model.parameters(), world)
        preview = PairBatches(sources, pairs=config.batch.pairs, seed=seed + 1, mixed=mixed)
        check_before_training(learner, preview, validate if config.validation.every else None, folder.log, world)

    def write(out: Path, state: RunState) -> None:
        if world.is_first:
            save_model(model, out, companions=config.start.folder, card=model_card(config, state))

    with prefetching(stream, learner.prepare, workers=config.batch.workers) as batches:
        trained = folder.train(learner, batches, validate=validate, write=write)
    if config.heads.rotate and world.is_first:
        shares = rotate_heads(model, texts(config.heads.rotate))
        folder.log.write(event="heads rotated", share=round_values({str(width): shares[width] for width in shares}))
    write(folder.path / "model", trained)
    wait_for_all(world)
    return folder.path / "model"


run = Training(FinetuneConfig, _run)


def _stream(config: FinetuneConfig, sources: Sequence[Source]) -> PairBatches:
    batch = config.batch
    vectors = code_vectors(config.start.folder, sources) if batch.neighbours > 1 else {}
    return PairBatches(
        sources,
        pairs=batch.pairs,
        seed=config.run.seed,
        mixed=batch.mixed,
        vectors=vectors,
        neighbours=batch.neighbours,
    )


def _validator(
    tasks: Sequence[ValidationSet], learner: RetrievalLearner, tokenizer: CodeTokenizer, world: World
) -> Validate:
    def validate() -> Mapping[str, float]:
        if not tasks:
            return {}
        # Each process takes every n-th task.
        mine = tasks[world.rank :: world.size]
        learner.model.train(False)
        settings = learner.model.settings
        words = settings.reads_words(settings.exits)
        values = evaluate_tasks(mine, tokenizer, learner.encode, words=words)
        values = merge(values, world)
        means = mean_by_exit(values)
        return {**values, "mean/all": sum(means.values()) / len(means)}

    return validate
