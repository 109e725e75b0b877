"""The open data sets: files of ``{id, query, code, language, group}``, a task for each language or pair of languages.

Names end in the language, or in those of query and candidates; tasks on validation splits begin with ``valid-``.
Texts that are equal up to white space are one row, on either side; what is relevant to one is relevant to all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from mose.data.pairs import key_of
from mose.errors import DataError
from mose.evaluate.tasks.reading import Side, build_task, need, objects, text_in
from mose.evaluate.tasks.values import RetrievalTask

Loaders = dict[str, Callable[[], RetrievalTask]]

_CSN = ("go", "java", "javascript", "ruby")
_MBXP = ("cpp", "csharp", "java", "javascript", "kotlin", "php", "python", "ruby", "typescript")
_ROSETTA = ("c", "cpp", "go", "java", "javascript", "php", "python", "ruby")
_MBXP_PAIRS = tuple(pair for other in ("java", "cpp", "javascript") for pair in (("python", other), (other, "python")))
_ROSETTA_PAIRS = (("python", "java"), ("java", "python"), ("c", "go"), ("go", "c"))

_ANSWERS = "Relevant: {}. Equal texts are one row."
_CSN_PROTOCOL = (
    "Query: first paragraph of the docstring. Candidates: all functions of the split in the language; docstrings are "
    "stripped from code. " + _ANSWERS.format("the function that the paragraph was written for")
)
_TEXT_PROTOCOL = (
    "Query: the problem's statement. Candidates: all solutions of the split in the language; nothing is stripped{}. "
    + _ANSWERS.format("all solutions of the problem")
)
_CODE_PROTOCOL = (
    "Query: each solution in the first language. Candidates: all solutions of the split in the second; nothing is "
    "stripped{}. " + _ANSWERS.format("all solutions of the same problem; a query without one is left out")
)
_HIDDEN = ", but the name of the entry point is replaced"
_SAME_PROTOCOL = (
    "Query: each solution. Candidates: all other solutions of the split in the same language; nothing is stripped. "
    + _ANSWERS.format("the other solutions of the problem; a query without one is left out")
)
_COSQA_PROTOCOL = (
    "Query: a web query. Candidates: the full code base of 6,267 functions, docstrings left in, as published. "
    "Relevant: the one annotated function."
)
_CONALA_PROTOCOL = (
    "Query: the rewritten intent. Candidates: all snippets of the split; nothing is stripped. "
    + _ANSWERS.format("the snippets of the same Stack Overflow question")
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    identity: str
    text: str
    code: str
    language: str
    group: str
    where: str


def loaders(data: Path, split: Literal["test", "valid"]) -> Loaders:
    """Name -> loader of every open task whose folder is in ``data``."""
    found: Loaders = {}
    for stem, dataset, load in _table(split):
        if (data / dataset).is_dir():
            name = stem if split == "test" else f"valid-{stem}"
            found[name] = partial(load, data / dataset, name)
    return found


_Load = Callable[[Path, str], RetrievalTask]


def _table(split: str) -> Iterable[tuple[str, str, _Load]]:
    """Name, folder and loader of each task of a split."""
    yield "cosqa", "cosqa", partial(_cosqa, file=f"queries-{'dev' if split == 'valid' else 'test'}.jsonl")
    for language in _CSN:
        yield f"csn-{language}", "csn", _text(split, language, _CSN_PROTOCOL)
    if split == "test":
        yield "conala", "conala", _text(split, "python", _CONALA_PROTOCOL)
    variants = [("mbxp", split, "")] + ([("mbxp-anon", "test-anon", _HIDDEN)] if split == "test" else [])
    for name, file, hidden in variants:
        for language in _MBXP:
            yield f"{name}-{language}", "mbxp", _text(file, language, _TEXT_PROTOCOL.format(hidden))
    for name, file, hidden in variants:
        for pair in _MBXP_PAIRS:
            yield f"{name}-code-{'-'.join(pair)}", "mbxp", _code(file, *pair, _CODE_PROTOCOL.format(hidden))
    for language in _ROSETTA:
        yield f"rosetta-{language}", "rosetta", _text(split, language, _TEXT_PROTOCOL.format(""))
    for pair in _ROSETTA_PAIRS:
        yield f"rosetta-code-{'-'.join(pair)}", "rosetta", _code(split, *pair, _CODE_PROTOCOL.format(""))
    yield "rosetta-same-python", "rosetta", partial(_same_language, file=f"{split}.jsonl", language="python")
    yield "xlcost-m-code-python-java", "xlcost-m", _code(split, "python", "java", _CODE_PROTOCOL.format(""))
    for pair in (("java", "csharp"), ("csharp", "java")):
        yield "-".join(pair), "java-csharp", _code(split, *pair, _CODE_PROTOCOL.format(""))


def _text(file: str, language: str, protocol: str) -> _Load:
    return partial(_text_to_code, file=f"{file}.jsonl", language=language, protocol=protocol)


def _code(file: str, source: str, target: str, protocol: str) -> _Load:
    return partial(_code_to_code, file=f"{file}.jsonl", source=source, target=target, protocol=protocol)


def _cosqa(folder: Path, name: str, *, file: str) -> RetrievalTask:
    corpus, queries = Side("code"), Side("query")
    path = need(folder, "codebase.jsonl")
    for where, value in objects(path):
        identity, code, language = (text_in(value, key, where) for key in ("id", "code", "language"))
        corpus.add(identity, code, language, where)
    path = need(folder, file)
    relevant = []
    for where, value in objects(path):
        identity, query, positive = (text_in(value, key, where) for key in ("id", "query", "positive"))
        queries.add(identity, query, "text", where)
        relevant.append(frozenset([corpus.row(positive, where)]))
    return build_task(name, folder, _COSQA_PROTOCOL, queries, corpus, relevant)


def _text_to_code(folder: Path, name: str, *, file: str, language: str, protocol: str) -> RetrievalTask:
    path = need(folder, file)
    rows = [row for row in _rows(path, with_text=True) if row.language == language]
    corpus, answers = _candidates(rows)
    queries, relevant = _queries(rows, answers, lambda row: (row.text, "text"), Side("query"))
    return build_task(name, folder, protocol, queries, corpus, relevant)


def _code_to_code(folder: Path, name: str, *, file: str, source: str, target: str, protocol: str) -> RetrievalTask:
    path = need(folder, file)
    rows = list(_rows(path, with_text=False))
    corpus, answers = _candidates([row for row in rows if row.language == target])
    asked = [row for row in rows if row.language == source and row.group in answers]
    queries, relevant = _queries(asked, answers, lambda row: (row.code, row.language), Side("code"))
    return build_task(name, folder, protocol, queries, corpus, relevant, family="code-code")


def _same_language(folder: Path, name: str, *, file: str, language: str) -> RetrievalTask:
    path = need(folder, file)
    rows = [row for row in _rows(path, with_text=False) if row.language == language]
    corpus, answers = _candidates(rows)
    asked = [row for row in rows if len(answers[row.group]) > 1]
    queries, relevant = _queries(asked, answers, lambda row: (row.code, row.language), Side("code"))
    place = {key_of(code): number for number, code in enumerate(corpus.done().texts)}
    own = tuple(frozenset([place[key_of(code)]]) for code in queries.done().texts)
    others = [found - itself for found, itself in zip(relevant, own, strict=True)]
    return build_task(
        name, folder, _SAME_PROTOCOL, queries, corpus, others, excluded=own, family="code-code", metric="map@r"
    )


def _rows(path: Path, *, with_text: bool) -> Iterable[_Row]:
    seen: set[str] = set()
    for where, value in objects(path):
        identity, code, language = (text_in(value, key, where) for key in ("id", "code", "language"))
        if identity in seen:
            raise DataError(f"{where}: an id stands twice", got=identity, remedy="Drop one of the rows.")
        seen.add(identity)
        grouped = not with_text or value.get("group") is not None
        yield _Row(
            identity=identity,
            text=text_in(value, "query", where) if with_text else "",
            code=code,
            language=language,
            group=text_in(value, "group", where) if grouped else f"row {identity}",
            where=where,
        )


def _candidates(rows: Iterable[_Row]) -> tuple[Side, dict[str, set[int]]]:
    """The corpus, equal codes once, and the rows that answer each group."""
    corpus = Side("code")
    places: dict[int, int] = {}
    answers: defaultdict[str, set[int]] = defaultdict(set)
    for row in rows:
        key = key_of(row.code)
        if key not in places:
            places[key] = corpus.add(row.identity, row.code, row.language, row.where)
        answers[row.group].add(places[key])
    return corpus, dict(answers)


def _queries(
    rows: Iterable[_Row],
    answers: dict[str, set[int]],
    text_of: Callable[[_Row], tuple[str, str]],
    queries: Side,
) -> tuple[Side, list[frozenset[int]]]:
    """The queries, equal texts once, and what is relevant to each."""
    relevant: dict[int, set[int]] = {}
    for row in rows:
        text, language = text_of(row)
        key = key_of(text)
        if key not in relevant:
            queries.add(row.identity, text, language, row.where)
        relevant[key] = relevant.get(key, set()) | answers[row.group]
    return queries, [frozenset(found) for found in relevant.values()]
