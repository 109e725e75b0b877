"""Retrieval quality of every exit on validation files: mean reciprocal rank, all exits from one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mose.config import DataConfig, ValidationConfig, ValidationTask
from mose.data.pairs import key_of, read_objects, read_rows, text_of
from mose.data.rename import hide_defined_name
from mose.errors import DataError
from mose.framing import add_frame
from mose.metrics.ranking import reciprocal_rank, relevant_ranks
from mose.model.batch import TextBatch
from mose.tokenizer import CodeTokenizer
from mose.train.loop import TrainingError
from mose.train.retrieval.inputs import Side, in_text_order, mini_batches

_BUDGET = 4_096
"""Padded tokens of a mini-batch: one that fits a core's cache is several times faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationSet:
    """Queries, candidates, and which candidates answer which query."""

    name: str
    query: Side
    code: Side
    relevant: tuple[frozenset[int], ...]
    """Numbers of the candidates that answer each query."""


def load_tasks(
    config: ValidationConfig, data: DataConfig, *, seed: int = 0, skip_missing: bool = False
) -> list[ValidationSet]:
    """Read and check the tasks of a config.

    Raises:
        DataError: A file is missing or faulty, or a task has no queries.
    """
    tasks = []
    for task in config.tasks:
        if skip_missing and not (Path(data.folder) / task.file).exists():
            continue
        tasks.append(_load(task, config, Path(data.folder), seed))
    return tasks


def _load(task: ValidationTask, config: ValidationConfig, folder: Path, seed: int) -> ValidationSet:
    rng = np.random.default_rng([seed, 3])
    if task.codebase:
        queries, languages, codes, relevant = _against_codebase(task, folder)
    elif task.task == "code-code":
        queries, languages, codes, relevant = _across_languages(task, folder)
    else:
        queries, languages, codes, relevant = _pairs(task, folder)
    if not queries:
        raise DataError(f"validation task {task.name} has no queries", got=task.file, remedy="Name another file.")
    if task.max_queries and len(queries) > task.max_queries:
        chosen = sorted(rng.permutation(len(queries))[: task.max_queries].tolist())
        queries, relevant = [queries[row] for row in chosen], [relevant[row] for row in chosen]
        kept = sorted(set().union(*relevant))
        moved = {old: new for new, old in enumerate(kept)}
        codes = [codes[old] for old in kept]
        relevant = [frozenset(moved[old] for old in row) for row in relevant]
    texts = [hide_defined_name(text, rng) if task.hide_name else text for text, _ in codes]
    is_code = task.task == "code-code"
    return ValidationSet(
        name=task.name,
        query=Side(
            texts=queries,
            kind="code" if is_code else "query",
            languages=[task.languages[0]] * len(queries) if is_code else languages[: len(queries)],
            max_tokens=config.code_tokens if is_code else config.text_tokens,
        ),
        code=Side(
            texts=texts,
            kind="code",
            languages=[language for _, language in codes],
            max_tokens=config.code_tokens,
        ),
        relevant=tuple(relevant),
    )


_Loaded = tuple[list[str], list[str], list[tuple[str, str]], list[frozenset[int]]]


def _pairs(task: ValidationTask, folder: Path) -> _Loaded:
    rows = read_rows(folder / task.file, languages=task.languages)
    shown = [(add_frame(row.path, row.code) if task.frame else row.code, row.language) for row in rows]
    codes = list(dict.fromkeys(shown))
    number = {code: position for position, code in enumerate(codes)}
    answers: dict[str, set[int]] = {}
    for row, code in zip(rows, shown, strict=True):
        answers.setdefault(row.text, set()).add(number[code])
    return list(answers), ["text"] * len(answers), codes, [frozenset(found) for found in answers.values()]


def _across_languages(task: ValidationTask, folder: Path) -> _Loaded:
    if len(task.languages) != 2:
        raise DataError(
            f"languages of validation task {task.name}",
            got=task.languages,
            allowed="two: of queries, of candidates",
        )
    rows = read_rows(folder / task.file, with_text=False, with_group=True)
    codes = [row for row in rows if row.language == task.languages[1]]
    groups: dict[str, set[int]] = {}
    for number, row in enumerate(codes):
        groups.setdefault(row.group, set()).add(number)
    queries = [row for row in rows if row.language == task.languages[0] and row.group in groups]
    return (
        [row.code for row in queries],
        [row.language for row in queries],
        [(row.code, row.language) for row in codes],
        [frozenset(groups[row.group]) for row in queries],
    )


def _against_codebase(task: ValidationTask, folder: Path) -> _Loaded:
    path = folder / task.codebase
    codes: list[tuple[str, str]] = []
    number: dict[str, int] = {}
    for line, value in read_objects(path):
        number[text_of(value, "id", path, line)] = len(codes)
        codes.append((text_of(value, "code", path, line), text_of(value, "language", path, line)))
    same: dict[int, set[int]] = {}
    for position, (code, _) in enumerate(codes):
        same.setdefault(key_of(code), set()).add(position)
    queries: list[str] = []
    relevant: list[frozenset[int]] = []
    path = folder / task.file
    for line, value in read_objects(path):
        positive = text_of(value, "positive", path, line)
        if positive not in number:
            raise DataError(
                f"{path}, line {line}: positive is not in {task.codebase}", got=positive, remedy="Correct the line."
            )
        queries.append(text_of(value, "query", path, line))
        relevant.append(frozenset(same[key_of(codes[number[positive]][0])]))
    return queries, ["text"] * len(queries), codes, relevant


Encode = Callable[[TextBatch], dict[int, Tensor]]


@torch.no_grad()
def encode_side(side: Side, tokenizer: CodeTokenizer, encode: Encode, *, words: bool) -> dict[int, Tensor]:
    """Exit -> vectors of all texts, in order, on the CPU."""
    batches, order = mini_batches(side, tokenizer, budget=max(_BUDGET, side.max_tokens), words=words)
    encoded = [encode(batch) for batch in batches]
    back = in_text_order(order)
    return {
        exit_layer: torch.cat([rows[exit_layer].float().cpu() for rows in encoded])[back] for exit_layer in encoded[0]
    }


def task_ranks(
    tasks: Sequence[ValidationSet], tokenizer: CodeTokenizer, encode: Encode, *, words: bool
) -> dict[str, NDArray[np.float64]]:
    """Reciprocal rank of every query by "task/exit_02".

    Raises:
        TrainingError: A vector is not finite.
    """
    found: dict[str, NDArray[np.float64]] = {}
    for task in tasks:
        queries = encode_side(task.query, tokenizer, encode, words=words)
        codes = encode_side(task.code, tokenizer, encode, words=words)
        for exit_layer in queries:
            scores = (queries[exit_layer] @ codes[exit_layer].T).numpy()
            found[f"{task.name}/exit_{exit_layer:02d}"] = reciprocal_ranks(scores, task.relevant)
    return found


def evaluate_tasks(
    tasks: Sequence[ValidationSet], tokenizer: CodeTokenizer, encode: Encode, *, words: bool
) -> dict[str, float]:
    """Mean reciprocal rank by "task/exit_02".

    Raises:
        TrainingError: A vector is not finite.
    """
    ranks = task_ranks(tasks, tokenizer, encode, words=words)
    return {name: float(values.mean()) for name, values in ranks.items()}


def reciprocal_ranks(scores_QC: NDArray[Any], relevant: Sequence[frozenset[int]]) -> NDArray[np.float64]:
    """1 / rank of the best relevant candidate of each query, ties broken as in ``mose.metrics.ranking``.

    Raises:
        TrainingError: A score is not finite.
    """
    if not np.isfinite(scores_QC).all():
        raise TrainingError("a vector of the validation is not finite", remedy="Lower optimizer.rate and start again.")
    ids = [str(number) for number in range(scores_QC.shape[1])]
    return reciprocal_rank(relevant_ranks(scores_QC, ids, relevant))
