"""``mose eval`` as one function: a request in, a result out."""

from __future__ import annotations

import dataclasses
import difflib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from mose import git
from mose.errors import ConfigError, MissingExtraError, ModelError
from mose.evaluate import cost, differences
from mose.evaluate.result import Cost, Result, Score, Skipped, System
from mose.evaluate.scores import run_matrix, run_system, shortened, task_info
from mose.evaluate.systems import Peer, check_peers, load_peer
from mose.evaluate.systems.ladder import CheckpointLadder, RuntimeLadder
from mose.evaluate.systems.protocol import Embedder, Scorer
from mose.evaluate.tasks.values import RetrievalTask
from mose.progress import ProgressCallback
from mose.runtime.encoder import Encoder
from mose.runtime.manifest import MANIFEST_NAME
from mose.search.store.location import home

QUICK_LIMIT = 100
"""Queries of a task in a quick look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to evaluate, on what, beside what."""

    model: str
    """A shipped model, a runtime folder or a checkpoint folder."""
    data: Path
    tasks: tuple[str, ...] = ()
    """Names; all if empty."""
    exits: tuple[int, ...] | None = None
    widths: tuple[int, ...] = (256, 128, 64)
    """Widths besides the full one."""
    peers: tuple[str, ...] = ()
    limit: int | None = None
    """Queries of a task; a shortened task is comparable to nothing else."""
    all_tasks: bool = False
    """Slow peers, too, on all tasks."""
    cache: Path | None = None
    static_folder: Path | None = None
    threads: int | None = None


def evaluate(request: Request, *, progress: ProgressCallback, say: Callable[[str], None]) -> Result:
    """Runs one evaluation; embeddings that an earlier run made are used again.

    Args:
        request: What to do.
        progress: Called with the progress so far.
        say: Called with a line for people: what is skipped and why.

    Raises:
        ConfigError: An unknown task, exit or peer; the nearest name is given.
        DataError: The data folder, or a file in it, is missing or damaged.
        ModelError: The model is missing, damaged or of another kind.
    """
    start = time.perf_counter()
    check_peers(request.peers)
    folder = request.cache or home() / "eval"
    model = load_model(request.model, threads=request.threads)
    exits = _exits(model, request.exits)
    tasks = _tasks(request)
    folder.mkdir(parents=True, exist_ok=True)

    systems: list[System] = []
    scores: list[Score] = []
    costs: list[Cost] = []
    skipped: list[Skipped] = []
    entrants = [Peer(system=model)]
    for name in request.peers:
        try:
            entrants.append(
                load_peer(
                    name,
                    folder=folder,
                    static_folder=request.static_folder,
                    threads=request.threads,
                    all_tasks=request.all_tasks,
                )
            )
        except (MissingExtraError, ModelError) as error:
            skipped.append(Skipped(system=name, reason=str(error)))
            say(f"Peer {name} is left out: {error}")
    for entrant in entrants:
        system = entrant.system
        own = [task for task in tasks if entrant.tasks is None or task.name in entrant.tasks]
        if len(own) < len(tasks):
            skipped.append(Skipped(system=system.card.name, reason=entrant.note))
            say(f"Peer {system.card.name}: {entrant.note}.")
        is_model = system is model
        systems.append(_system(system, is_model=is_model))
        scores.extend(
            run_system(
                system,
                own,
                folder,
                progress,
                exits=exits if is_model else None,
                widths=request.widths if is_model else (),
            )
        )
    matrix = list(run_matrix(model, tasks, folder, progress, exits=exits)) if len(exits) > 1 else []
    costs = [row for entrant in entrants for row in _costs(entrant.system, tasks, exits, request, model)]
    result = Result(
        identity=code_identity(),
        date=time.strftime("%Y-%m-%d"),
        seconds=round(time.perf_counter() - start, 1),
        environment=cost.environment(request.threads),
        options={
            "limit": request.limit,
            "exits": list(exits),
            "widths": list(request.widths),
            "peers": list(request.peers),
            "all_tasks": request.all_tasks,
        },
        tasks=tuple(task_info(task) for task in tasks),
        systems=tuple(systems),
        scores=tuple(scores),
        matrix=tuple(matrix),
        costs=tuple(costs),
        skipped=tuple(skipped),
    )
    return dataclasses.replace(result, differences=tuple(differences.of_result(result)))


def load_model(name_or_folder: str, *, threads: int | None = None) -> RuntimeLadder | CheckpointLadder:
    """The model under test, in the form that it comes in.

    Raises:
        ModelError: Neither a shipped model, nor a runtime folder, nor a checkpoint folder.
        MissingExtraError: A checkpoint folder, and torch is not installed.
    """
    folder = Path(name_or_folder).expanduser()
    if (folder / "config.json").is_file() and not (folder / MANIFEST_NAME).is_file():
        if find_spec("torch") is None or find_spec("transformers") is None:
            raise MissingExtraError(
                f"{folder} is a checkpoint, which needs torch and transformers",
                remedy="Install 'mose[train]', or export the model with `mose export`.",
            )
        return CheckpointLadder(folder)
    return RuntimeLadder(Encoder.load(name_or_folder, threads=threads))


def code_identity() -> str:
    """Short commit of this code, with "+" if it was changed since; the version where there is no repository."""
    here = Path(__file__)
    repository = git.find_repository(here.parent)
    if repository is not None and git.is_tracked(repository, here):
        return repository.commit[:12] + ("+" if git.is_changed(repository, here.parent) else "")
    return metadata.version("mose")


def _exits(model: Embedder, asked: tuple[int, ...] | None) -> tuple[int, ...]:
    known = tuple(model.widths)
    for exit_layer in asked or ():
        if exit_layer not in known:
            near = min(known, key=lambda own: abs(own - exit_layer))
            allowed = ", ".join(map(str, known))
            what = f"exit of model {model.card.name!r}"
            raise ConfigError(what, got=exit_layer, allowed=allowed, remedy=f"The nearest is {near}.")
    return tuple(sorted(asked)) if asked else known


def _tasks(request: Request) -> list[RetrievalTask]:
    from mose.evaluate.tasks import load_tasks, task_names

    known = list(task_names(request.data))
    for name in request.tasks:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"Did you mean {near[0]}?" if near else None
            raise ConfigError(f"task in {request.data}", got=name, allowed=", ".join(known), remedy=remedy)
    tasks = list(load_tasks(request.data, request.tasks))
    return [shortened(task, request.limit) for task in tasks] if request.limit else tasks


def _system(system: Embedder | Scorer, *, is_model: bool) -> System:
    if isinstance(system, Embedder):
        identity, widths = system.identity, dict(system.widths)
    else:
        identity, widths = "", {}
    return System(card=system.card, identity=identity, is_model=is_model, widths=widths)


def _costs(
    system: Embedder | Scorer, tasks: Sequence[RetrievalTask], exits: Sequence[int], request: Request, model: Embedder
) -> list[Cost]:
    quick = {"num_queries": 10, "num_codes": 24, "rounds": 1} if request.limit else {}
    own = exits if system is model else None
    return cost.measure(system, tasks, exits=own, threads=request.threads, **quick)
