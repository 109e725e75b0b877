"""From a source tree to a report: golden set, copy, index, scores. Does not change the tree or its index."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mose.errors import ConfigError
from mose.evaluate.repository.baseline import Baseline, check_shared
from mose.evaluate.repository.copying import copy_tree
from mose.evaluate.repository.golden import DEFAULT_QUERIES, blanked_lines, build
from mose.evaluate.repository.history import tree_state
from mose.evaluate.repository.measure import DEFAULT_BUDGET_TOKENS, System, chosen_exits, measure, systems_of
from mose.evaluate.repository.tree_report import TreeReport
from mose.evaluate.repository.values import GoldenSet
from mose.files import SourceFile, walk
from mose.progress import ProgressCallback, no_progress
from mose.runtime.encoder import DEFAULT_MODEL, Encoder
from mose.search.index import CodeIndex
from mose.search.lifecycle import forget
from mose.search.store.location import source_root


def golden_set(
    path: Path | str,
    *,
    num_queries: int = DEFAULT_QUERIES,
    seed: int = 0,
    wanted: Collection[tuple[str, str]] | None = None,
    progress: ProgressCallback = no_progress,
) -> tuple[list[SourceFile], GoldenSet]:
    """Files of a tree, and the queries that they and their history give; see `mose.evaluate.repository.golden.build`.

    Raises:
        SourceError: ``path`` is not a folder.
        DataError: The tree gives no query.
    """
    root = source_root(path)
    files = [found for found in walk(root) if isinstance(found, SourceFile)]
    return files, build(root, files, num_queries=num_queries, seed=seed, wanted=wanted, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeRequest:
    """What to measure, and how."""

    path: Path | str
    """The tree."""
    model: str | Path = DEFAULT_MODEL
    """A shipped model by name, or a runtime folder."""
    exits: Sequence[int] = ()
    """Exits to measure; those of the baseline, or the shallowest and the deepest, if empty."""
    all_exits: bool = False
    """Every exit of the model instead."""
    num_queries: int = DEFAULT_QUERIES
    """At most this many queries of each kind."""
    seed: int = 0
    """Chooses among more of them."""
    budget_tokens: int | None = None
    """Size of the answer for "recall in tokens"; that of the baseline, or 4,000, if None."""


def evaluate_tree(
    request: TreeRequest, *, baseline: Baseline | None = None, progress: ProgressCallback = no_progress
) -> TreeReport:
    """Measure search on a tree.

    The copy that is searched and its index are in a temporary folder; only vectors are kept, in the cache that all
    trees share, so that an interrupted run costs little.

    Args:
        request: What to measure.
        baseline: Use its queries, as far as the tree still has them, instead of a sample.
        progress: Called with the progress so far.

    Raises:
        SourceError: The path is not a folder, or cannot be copied.
        DataError: The tree gives no query, or the baseline is of another tree.
        ConfigError: A setting is outside its range, or contradicts the baseline.
        ModelError: The model is missing or damaged.
    """
    root = source_root(request.path)
    budget_tokens = _budget(request.budget_tokens, baseline)
    systems = _systems(request, baseline)
    wanted = None if baseline is None else frozenset(baseline.keys)
    files, golden = golden_set(
        root, num_queries=request.num_queries, seed=request.seed, wanted=wanted, progress=progress
    )
    if baseline is not None:
        check_shared(len(golden.queries), baseline)
    with tempfile.TemporaryDirectory(prefix="mose-eval-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / (root.name or "tree")
        copy.mkdir()
        copy_tree(root, files, blanked_lines(golden.queries), copy, progress)
        try:
            with CodeIndex.open(copy, model=request.model, inside=True, progress=progress) as index:
                values = measure(index, golden.queries, systems, budget_tokens=budget_tokens, progress=progress)
                status = index.status()
                identity = index.encoder.identity
        finally:
            forget(copy)  # otherwise the user's folder would list an index that is gone
    return TreeReport(
        root=root,
        state=tree_state(root),
        model=identity,
        golden=golden,
        num_files=status.num_files,
        num_chunks=status.num_chunks,
        seed=request.seed,
        num_queries=request.num_queries,
        budget_tokens=budget_tokens,
        systems=systems,
        values=values,
    )


def _systems(request: TreeRequest, baseline: Baseline | None) -> tuple[System, ...]:
    ladder = Encoder.load(request.model).exits
    exits = request.exits
    if baseline is not None and not exits:
        exits = [exit_layer for exit_layer in baseline.exits if exit_layer in ladder]
    return systems_of(chosen_exits(ladder, exits, all_exits=request.all_exits))


def _budget(asked: int | None, baseline: Baseline | None) -> int:
    if asked is not None and asked < 1:
        raise ConfigError("--budget-tokens", got=asked, allowed="1 or more")
    if baseline is None:
        return DEFAULT_BUDGET_TOKENS if asked is None else asked
    if asked not in (None, baseline.budget_tokens):
        raise ConfigError("--budget-tokens", got=asked, allowed=f"{baseline.budget_tokens}, as the baseline has it")
    return baseline.budget_tokens
