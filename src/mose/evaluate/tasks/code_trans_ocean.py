"""CodeTransOcean: programs and their translations.

``multilingual_test.json``, ``niche_test.json``, ``dl_test.json``: JSON lines, {id, name?, SOURCE: code, TARGET: code},
where the two languages (in DLTrans: frameworks) are the keys, source first.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mose.errors import DataError
from mose.evaluate.tasks.reading import TextsBuilder, build_task, first_object, objects, text_in
from mose.evaluate.tasks.values import Loaders, RetrievalTask

_ENDING = "_test.json"
_OTHER_KEYS = ("id", "name")
_LANGUAGES = {"c++": "cpp", "c#": "csharp"}
_PYTHON = ("pytorch", "tensorflow", "paddle", "mxnet")
_PROTOCOL = (
    "Query: a program in {0}. Candidates: all programs in {1} that a program in {0} is paired with; nothing is "
    "stripped. Relevant: every translation of the program."
)


def matches(folder: Path) -> bool:
    """A test file's rows hold two codes by language."""
    return any(len(_languages_of(first_object(path))) == 2 for path in folder.glob(f"*{_ENDING}"))


def tasks(folder: Path) -> Loaders:
    """Name -> loader for each file and pair of languages: ``codetransocean-niche-ada-c``."""
    found: Loaders = {}
    for path in sorted(folder.glob(f"*{_ENDING}")):
        stem = path.name.removesuffix(_ENDING)
        for source, target in sorted({pair for _, _, pair in _rows(path)}):
            name = f"codetransocean-{stem}-{_language(source)}-{_language(target)}".replace(" ", "-")
            found[name] = partial(_load, path, name, source, target)
    return found


def _languages_of(value: dict[str, Any]) -> tuple[str, ...]:
    return tuple(key for key in value if key not in _OTHER_KEYS) if "id" in value else ()


def _language(key: str) -> str:
    lower = key.lower()
    return _LANGUAGES.get(lower, lower)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any], tuple[str, str]]]:
    for where, value in objects(path):
        languages = _languages_of(value)
        if len(languages) != 2:
            raise DataError(where, got=sorted(value), allowed="id, name, and two languages")
        yield where, value, (languages[0], languages[1])


def _load(path: Path, name: str, source: str, target: str) -> RetrievalTask:
    corpus, queries = TextsBuilder("code"), TextsBuilder("code")
    rows: dict[str, int] = {}
    asked: dict[str, set[int]] = {}
    for number, (where, value, languages) in enumerate(_rows(path)):
        if languages != (source, target):
            continue
        identity = f"{text_in(value, 'id', where)}/{number}"
        query, answer = text_in(value, source, where), text_in(value, target, where)
        if answer not in rows:
            rows[answer] = corpus.add(identity, answer, _code_language(target), where)
        if query not in asked:
            queries.add(identity, query, _code_language(source), where)
        asked.setdefault(query, set()).add(rows[answer])
    protocol = _PROTOCOL.format(source, target)
    return build_task(name, path.parent, protocol, queries, corpus, list(asked.values()), family="code-code")


def _code_language(key: str) -> str:
    return "python" if _language(key) in _PYTHON else _language(key)
