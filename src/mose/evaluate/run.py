"""``mose eval`` as one function: a request in, a result out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from mose import git
from mose.errors import ConfigError, MissingExtraError, ModelError
from mose.evaluate import cost, differences
from mose.evaluate.result import Cost, Result, Skipped, System
from mose.evaluate.scores import run_matrix, run_own_parts, run_system, shortened, task_infos
from mose.evaluate.systems import Peer, check_peers, load_peer
from mose.evaluate.systems.ladder import CheckpointLadder, RuntimeLadder
from mose.evaluate.systems.protocol import Embedder, Scorer
from mose.evaluate.tasks import RetrievalTask, Split, load_tasks
from mose.progress import ProgressCallback
from mose.runtime.encoder import Encoder
from mose.runtime.manifest import MANIFEST_NAME
from mose.storage import home

QUICK_LIMIT = 100
"""Queries of a task in a quick run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to evaluate: a model, on which tasks, against which peers."""

    model: str
    """A shipped model, a runtime folder or a checkpoint folder."""
    data: Path
    tasks: tuple[str, ...] = ()
    """Names; all of the split if empty."""
    split: Split = "test"
    """``valid`` to tune on the result."""
    exits: tuple[int, ...] | None = None
    widths: tuple[int, ...] = (256, 128, 64)
    """Widths besides the full one."""
    peers: tuple[str, ...] = ()
    limit: int | None = None
    """Queries of a task; a shortened task is comparable to nothing else."""
    all_tasks: bool = False
    """Run slow peers on all tasks, too."""
    cache: Path | None = None
    static_folder: Path | None = None
    threads: int | None = None


def evaluate(request: Request, *, progress: ProgressCallback, say: Callable[[str], None]) -> Result:
    """Run one evaluation; embeddings of earlier runs are reused.

    Args:
        request: What to evaluate.
        progress: Called with the progress so far.
        say: Called with a message about each peer that is left out, and why.

    Raises:
        ConfigError: An unknown task, exit or peer; the nearest name is given.
        DataError: The data folder, or a file in it, is missing or damaged.
        ModelError: The model is missing, damaged or of another kind.
    """
    start = time.perf_counter()
    check_peers(request.peers)
    model = load_model(request.model, threads=request.threads)
    exits = _exits(model, request.exits)
    tasks = load_tasks(request.data, request.tasks, request.split)
    if request.limit:
        tasks = [shortened(task, request.limit) for task in tasks]
    cache = request.cache or home() / "eval"
    cache.mkdir(parents=True, exist_ok=True)
    peers, skipped = _load_peers(request, cache, tasks)
    for left_out in skipped:
        say(f"Peer {left_out.system}: {left_out.reason}")
    scores = list(run_system(model, tasks, cache, progress, exits=exits, widths=request.widths))
    for peer in peers:
        own = [task for task in tasks if peer.tasks is None or task.name in peer.tasks]
        scores.extend(run_system(peer.system, own, cache, progress))
    matrix = tuple(run_matrix(model, tasks, cache, progress, exits=exits)) if len(exits) > 1 else ()
    own_parts = tuple(run_own_parts(model, tasks, cache, progress, exits=exits))
    costs = _costs(model, tasks, request, exits=exits)
    for peer in peers:
        costs.extend(_costs(peer.system, tasks, request))
    result = Result(
        identity=code_identity(),
        date=time.strftime("%Y-%m-%d"),
        seconds=round(time.perf_counter() - start, 1),
        environment=cost.environment(request.threads),
        options={
            "split": request.split,
            "limit": request.limit,
            "exits": list(exits),
            "widths": list(request.widths),
            "peers": list(request.peers),
            "all_tasks": request.all_tasks,
        },
        tasks=task_infos(tasks),
        systems=(_system(model, is_model=True), *(_system(peer.system) for peer in peers)),
        scores=tuple(scores),
        matrix=matrix,
        own_parts=own_parts,
        costs=tuple(costs),
        skipped=tuple(skipped),
    )
    return dataclasses.replace(result, differences=tuple(differences.of_result(result)))


def _load_peers(request: Request, cache: Path, tasks: Sequence[RetrievalTask]) -> tuple[list[Peer], list[Skipped]]:
    """The peers that can run, and those that cannot, or not on all tasks."""
    peers, skipped = [], []
    for name in request.peers:
        try:
            peer = load_peer(
                name,
                folder=cache,
                static_folder=request.static_folder,
                threads=request.threads,
                all_tasks=request.all_tasks,
            )
        except (MissingExtraError, ModelError) as error:
            skipped.append(Skipped(system=name, reason=str(error)))
            continue
        peers.append(peer)
        if peer.tasks is not None and not {task.name for task in tasks}.issubset(peer.tasks):
            skipped.append(Skipped(system=peer.system.card.name, reason=peer.note))
    return peers, skipped


def load_model(name_or_folder: str, *, threads: int | None = None) -> RuntimeLadder | CheckpointLadder:
    """Load the model under test.

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
    """Short commit of this code, with "+" if it has changed since; the version outside a repository."""
    here = Path(__file__)
    repository = git.find_repository(here.parent)
    if repository is not None and git.is_tracked(repository, here):
        return git.short_name(repository, here.parent)
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


def _system(system: Embedder | Scorer, *, is_model: bool = False) -> System:
    if isinstance(system, Embedder):
        return System(card=system.card, identity=system.identity, is_model=is_model, widths=dict(system.widths))
    return System(card=system.card, identity="", is_model=is_model, widths={})


def _costs(
    system: Embedder | Scorer, tasks: Sequence[RetrievalTask], request: Request, *, exits: Sequence[int] | None = None
) -> list[Cost]:
    quick = {"num_queries": 10, "num_codes": 24, "rounds": 1} if request.limit else {}
    return cost.measure(system, tasks, exits=exits, threads=request.threads, **quick)
