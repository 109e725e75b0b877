"""CodeSearchNet as published: a folder for each language, or the folder of one.

``LANGUAGE/final/jsonl/test/*.jsonl.gz`` (the corpus of Husain et al., 2019), or ``LANGUAGE/test.jsonl`` with an
optional ``codebase.jsonl`` (the cleaned form of CodeXGLUE and GraphCodeBERT, whose rows are matched by ``url``).
Rows have docstring_tokens and code_tokens; where these are missing, docstring and code.
Two tasks a language, which must not be compared: all candidates, and pools of ``POOL`` as in the first paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mose.data.pairs import read_lines
from mose.evaluate.tasks.reading import TextsBuilder, build_task, find, first_object, objects, text_in
from mose.evaluate.tasks.values import Loaders, RetrievalTask

LANGUAGES = ("go", "java", "javascript", "php", "python", "ruby")
POOL = 1000

_STRIPPED = (
    "Query: the docstring's tokens (without tokens: its first paragraph). Code: its tokens, which hold neither "
    "docstring nor comments (without tokens: the code less its docstring). Relevant: the function itself."
)
_FULL = "Candidates: {}. " + _STRIPPED
_POOLS = (
    "Candidates: the {} functions of the query's own pool, test rows in file order; an incomplete last pool is left "
    "out. " + _STRIPPED
)


def matches(folder: Path) -> bool:
    """There is a language's folder with test rows, or the folder is one."""
    return bool(_folders(folder))


def tasks(folder: Path, *, pool: int = POOL) -> Loaders:
    """Name -> loader: ``codesearchnet-LANGUAGE`` and, with enough rows, ``codesearchnet-LANGUAGE-1000``."""
    found: Loaders = {}
    for language, found_in in _folders(folder).items():
        name = f"codesearchnet-{language}"
        found[name] = partial(_full, found_in, name, language)
        if sum(1 for path in _files(found_in) for _ in read_lines(path)) >= pool:
            found[f"{name}-{pool}"] = partial(_pools, found_in, f"{name}-{pool}", language, pool)
    return found


def _folders(folder: Path) -> dict[str, Path]:
    below = {name: folder / name for name in LANGUAGES if _has_rows(folder / name)}
    if below or not _has_rows(folder):
        return below
    named = first_object(_files(folder)[0]).get("language") or folder.name.lower()
    return {str(named): folder} if named in LANGUAGES else {}


def _has_rows(folder: Path) -> bool:
    files = _files(folder)
    row = first_object(files[0]) if files else {}
    documented = "docstring_tokens" in row or "docstring" in row
    return documented and ("code_tokens" in row or "code" in row) and "function_tokens" not in row


def _files(folder: Path) -> list[Path]:
    plain = find(folder, "test.jsonl")
    return [plain] if plain else sorted((folder / "final" / "jsonl" / "test").glob("*.jsonl*"))


def _rows(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in _files(folder):
        yield from objects(path)


def _full(folder: Path, name: str, language: str) -> RetrievalTask:
    # Without a code base, ids are row numbers: functions that share a line share their URL.
    corpus, queries = TextsBuilder("code"), TextsBuilder("query")
    base = find(folder, "codebase.jsonl")
    if base:
        for where, value in objects(base):
            corpus.add(text_in(value, "url", where), _code(value, where), language, where)
    relevant = []
    for number, (where, value) in enumerate(_rows(folder)):
        identity = text_in(value, "url", where) if base else str(number)
        queries.add(identity, _query(value, where), "text", where)
        if not base:
            corpus.add(identity, _code(value, where), language, where)
        relevant.append(frozenset([corpus.row(identity, where)]))
    pool = "the code base of validation and test" if base else "all functions of the test split"
    return build_task(name, folder, _FULL.format(pool), queries, corpus, relevant)


def _pools(folder: Path, name: str, language: str, size: int) -> RetrievalTask:
    corpus, queries = TextsBuilder("code"), TextsBuilder("query")
    rows = list(_rows(folder))
    rows = rows[: len(rows) // size * size]
    for number, (where, value) in enumerate(rows):
        queries.add(str(number), _query(value, where), "text", where)
        corpus.add(str(number), _code(value, where), language, where)
    everything = frozenset(range(len(rows)))
    others = [everything.difference(range(start, start + size)) for start in range(0, len(rows), size)]
    # The queries of a pool share one set: a set for each query would fill the memory.
    excluded = tuple(others[number // size] for number in range(len(rows))) if others[0] else ()
    relevant = [{number} for number in range(len(rows))]
    return build_task(name, folder, _POOLS.format(size), queries, corpus, relevant, excluded=excluded)


def _query(value: dict[str, Any], where: str) -> str:
    if "docstring_tokens" in value:
        return text_in(value, "docstring_tokens", where)
    return text_in(value, "docstring", where).strip().split("\n\n")[0]


def _code(value: dict[str, Any], where: str) -> str:
    if "code_tokens" in value:
        return text_in(value, "code_tokens", where)
    code, docstring = text_in(value, "code", where), value.get("docstring")
    return code.replace(docstring, "") if isinstance(docstring, str) and docstring.strip() else code
