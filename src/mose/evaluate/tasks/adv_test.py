"""AdvTest of CodeXGLUE: docstring to Python function, names of functions and variables replaced.

``test.jsonl``: {idx, docstring_tokens, function_tokens, ...}; ``function_tokens`` are the renamed code.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mose.evaluate.tasks.reading import TextsBuilder, build_task, find, first_object, need, objects, text_in
from mose.evaluate.tasks.values import Loaders, RetrievalTask

_PROTOCOL = (
    "Query: the docstring's tokens. Candidates: all functions of the test split as tokens, without docstring, names of "
    "functions and variables replaced. Relevant: the function itself."
)


def matches(folder: Path) -> bool:
    """The rows of ``test.jsonl`` have renamed tokens."""
    return "function_tokens" in first_object(find(folder, "test.jsonl"))


def tasks(folder: Path) -> Loaders:
    """Name -> loader of the one task."""
    return {"advtest": partial(_load, folder)}


def _load(folder: Path) -> RetrievalTask:
    corpus, queries = TextsBuilder("code"), TextsBuilder("query")
    path = need(folder, "test.jsonl")
    for where, value in objects(path):
        identity = text_in(value, "idx", where)
        queries.add(identity, text_in(value, "docstring_tokens", where), "text", where)
        corpus.add(identity, text_in(value, "function_tokens", where), "python", where)
    return build_task("advtest", folder, _PROTOCOL, queries, corpus, [{row} for row in range(len(queries))])
