"""CoSQA as published (CoCLR, ``data/search``): web queries to Python functions.

``code_idx_map.txt`` is one JSON object, code -> number; ``cosqa-retrieval-test-500.json`` and its ``dev`` twin are
arrays of {idx, doc, retrieval_idx, ...}.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mose.errors import DataError
from mose.evaluate.tasks.reading import TextsBuilder, build_task, document, need, text_in
from mose.evaluate.tasks.values import Loaders, RetrievalTask

CODES = "code_idx_map.txt"
QUERIES = {"cosqa-published": "cosqa-retrieval-test-500.json", "valid-cosqa-published": "cosqa-retrieval-dev-500.json"}

_PROTOCOL = (
    "Query: a web query. Candidates: the full code base of the folder, docstrings left in. Relevant: the one "
    "annotated function."
)


def matches(folder: Path) -> bool:
    """The code base or a file of queries is there."""
    return any((folder / name).is_file() for name in (CODES, *QUERIES.values()))


def tasks(folder: Path) -> Loaders:
    """Name -> loader of the test task, and of the development task where its file is there."""
    names = [name for name, file in QUERIES.items() if not name.startswith("valid-") or (folder / file).is_file()]
    return {name: partial(_load, folder, name) for name in names}


def _load(folder: Path, name: str) -> RetrievalTask:
    corpus, queries = TextsBuilder("code"), TextsBuilder("query")
    path = need(folder, CODES)
    codes = document(path)
    if not isinstance(codes, dict):
        raise DataError(f"{path}, line 1", got=type(codes).__name__, allowed="a JSON object: code -> number")
    for number, (code, index) in enumerate(codes.items(), start=1):
        where = f"{path}, entry {number}"
        value = {"code": code, "number": index}
        corpus.add(text_in(value, "number", where), text_in(value, "code", where), "python", where)
    path = need(folder, QUERIES[name])
    entries = document(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}, line 1", got=type(entries).__name__, allowed="a JSON array of objects")
    relevant = []
    for number, entry in enumerate(entries, start=1):
        where = f"{path}, entry {number}"
        queries.add(text_in(entry, "idx", where), text_in(entry, "doc", where), "text", where)
        relevant.append({corpus.row(text_in(entry, "retrieval_idx", where), where)})
    return build_task(name, folder, _PROTOCOL, queries, corpus, relevant)
