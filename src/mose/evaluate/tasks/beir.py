"""BEIR folders, the format of CoIR too: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/test.tsv``.

Rows are {_id, text, title?, language?}; qrels are query-id, corpus-id, score, with a header line.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Literal

from mose.errors import DataError
from mose.evaluate.tasks.reading import MEND, TextsBuilder, build_task, columns, find, need, objects, text_in
from mose.evaluate.tasks.values import Loaders, RetrievalTask

Kind = Literal["query", "code"]

_PROTOCOL = (
    "Queries, candidates and relevance as published in the folder; nothing is stripped. Relevant: every row with a "
    "score above 0, all alike. Queries without one are left out, and so is a candidate that has the query's own id."
)
_SIDES: dict[str, tuple[Kind, Kind]] = {
    "codesearchnet-ccr": ("code", "code"),
    "codesearchnet": ("code", "query"),
    "codetrans": ("code", "code"),
}
"""What queries and candidates are, by how the folder's name begins, where they are not text and code."""


def matches(folder: Path) -> bool:
    """There is a corpus or a file of queries."""
    return find(folder, "corpus.jsonl") is not None or find(folder, "queries.jsonl") is not None


def tasks(folder: Path) -> Loaders:
    """Name -> loader of the one task of a folder."""
    slug = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")
    return {f"beir-{slug}": partial(_load, folder, f"beir-{slug}", sides_of(slug))}


def sides_of(slug: str) -> tuple[Kind, Kind]:
    """What queries and candidates of a CoIR set are.

    Example:
        >>> sides_of("codesearchnet-ccr-go"), sides_of("codesearchnet-go"), sides_of("cosqa")
        (('code', 'code'), ('code', 'query'), ('query', 'code'))
    """
    return next((sides for start, sides in _SIDES.items() if slug.startswith(start)), ("query", "code"))


def _load(folder: Path, name: str, kinds: tuple[Kind, Kind]) -> RetrievalTask:
    corpus = _side(need(folder, "corpus.jsonl"), kinds[1])
    asked = _side(need(folder, "queries.jsonl"), kinds[0])
    path = need(folder, "qrels/test.tsv")
    relevant: dict[int, set[int]] = {}
    for where, (query, answer, score) in columns(path, ("query-id", "corpus-id", "score")):
        try:
            positive = float(score) > 0
        except ValueError as error:
            raise DataError(f"{where}, score", got=score, allowed="a number") from error
        query_row, answer_row = asked.row(query, where), corpus.row(answer, where)
        if positive:
            relevant.setdefault(query_row, set()).add(answer_row)
    if not relevant:
        raise DataError(f"{path} has no score above 0", remedy=MEND)
    texts = asked.build()
    queries = TextsBuilder(kinds[0])
    excluded = []
    for row, answers in relevant.items():
        identity = texts.ids[row]
        queries.add(identity, texts.texts[row], texts.languages[row], str(path))
        own = {corpus.row(identity, str(path))} if identity in corpus else set()
        excluded.append(frozenset(own - answers))
    return build_task(
        name,
        folder,
        _PROTOCOL,
        queries,
        corpus,
        list(relevant.values()),
        excluded=tuple(excluded) if any(excluded) else (),
        family="code-code" if kinds == ("code", "code") else "text-code",
        metric="ndcg@10",
    )


def _side(path: Path, kind: Kind) -> TextsBuilder:
    side = TextsBuilder(kind)
    for where, value in objects(path):
        text = text_in(value, "text", where)
        title = value.get("title")
        language = value.get("language")
        side.add(
            text_in(value, "_id", where),
            f"{title} {text}" if isinstance(title, str) and title.strip() else text,
            language.lower() if kind == "code" and isinstance(language, str) and language else "text",
            where,
        )
    return side
