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
from typing import Any, Literal

from mose.data.pairs import key_of
from mose.errors import DataError
from mose.evaluate.tasks.reading import TextsBuilder, build_task, need, objects, text_in, texts_in
from mose.evaluate.tasks.values import Loaders, RetrievalTask

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
    cluster: str
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
    corpus, queries = TextsBuilder("code"), TextsBuilder("query")
    for where, value in objects(need(folder, "codebase.jsonl")):
        identity, code, language = texts_in(value, where, "id", "code", "language")
        corpus.add(identity, code, language, where)
    relevant = []
    for where, value in objects(need(folder, file)):
        identity, query, positive = texts_in(value, where, "id", "query", "positive")
        queries.add(identity, query, "text", where)
        relevant.append(frozenset([corpus.row(positive, where)]))
    return build_task(name, folder, _COSQA_PROTOCOL, queries, corpus, relevant)


def _text_to_code(folder: Path, name: str, *, file: str, language: str, protocol: str) -> RetrievalTask:
    rows = [row for row in _rows(need(folder, file), with_text=True) if row.language == language]
    corpus, answers = _candidates(rows)
    asked = _queries([(row, row.text, "text") for row in rows], answers, kind="query")
    return build_task(name, folder, protocol, asked.texts, corpus, asked.relevant, clusters=asked.clusters)


def _code_to_code(folder: Path, name: str, *, file: str, source: str, target: str, protocol: str) -> RetrievalTask:
    rows = list(_rows(need(folder, file), with_text=False))
    corpus, answers = _candidates([row for row in rows if row.language == target])
    sources = [(row, row.code, row.language) for row in rows if row.language == source and row.group in answers]
    asked = _queries(sources, answers, kind="code")
    return build_task(
        name, folder, protocol, asked.texts, corpus, asked.relevant, clusters=asked.clusters, family="code-code"
    )


def _same_language(folder: Path, name: str, *, file: str, language: str) -> RetrievalTask:
    rows = [row for row in _rows(need(folder, file), with_text=False) if row.language == language]
    corpus, answers = _candidates(rows)
    sources = [(row, row.code, row.language) for row in rows if len(answers[row.group]) > 1]
    asked = _queries(sources, answers, kind="code")
    number = {key_of(code): row for row, code in enumerate(corpus.build().texts)}
    own = tuple(frozenset([number[key_of(code)]]) for code in asked.texts.build().texts)
    return build_task(
        name,
        folder,
        _SAME_PROTOCOL,
        asked.texts,
        corpus,
        [found - itself for found, itself in zip(asked.relevant, own, strict=True)],
        clusters=asked.clusters,
        excluded=own,
        family="code-code",
        metric="map@r",
    )


def _rows(path: Path, *, with_text: bool) -> Iterable[_Row]:
    seen: set[str] = set()
    for where, value in objects(path):
        identity, code, language = texts_in(value, where, "id", "code", "language")
        if identity in seen:
            raise DataError(f"{where}: duplicate id", got=identity, remedy="Remove one of the rows.")
        seen.add(identity)
        grouped = not with_text or value.get("group") is not None
        group = text_in(value, "group", where) if grouped else f"row {identity}"
        yield _Row(
            identity=identity,
            text=text_in(value, "query", where) if with_text else "",
            code=code,
            language=language,
            group=group,
            cluster=group if grouped else _repository(value) or group,
            where=where,
        )


def _repository(value: dict[str, Any]) -> str:
    """Owner and name of the repository that a row's ``url`` points into; empty if it has none.

    Example:
        >>> _repository({"url": "https://github.com/octo/cat/blob/0a1b/a.go#L4-L9"})
        'octo/cat'
    """
    return "/".join(str(value.get("url") or "").split("/")[3:5])


def _candidates(rows: Iterable[_Row]) -> tuple[TextsBuilder, dict[str, set[int]]]:
    """The corpus, equal codes once, and the rows that answer each group."""
    corpus = TextsBuilder("code")
    numbers: dict[int, int] = {}
    answers: defaultdict[str, set[int]] = defaultdict(set)
    for row in rows:
        key = key_of(row.code)
        if key not in numbers:
            numbers[key] = corpus.add(row.identity, row.code, row.language, row.where)
        answers[row.group].add(numbers[key])
    return corpus, dict(answers)


@dataclass(frozen=True, slots=True)
class _Queries:
    texts: TextsBuilder
    relevant: list[frozenset[int]]
    clusters: list[str]


def _queries(
    rows: Iterable[tuple[_Row, str, str]], answers: dict[str, set[int]], *, kind: Literal["query", "code"]
) -> _Queries:
    """The queries, equal texts once, what is relevant to each, and its cluster.

    Args:
        rows: Each with the text of its query, and the language of that text.
        answers: Group -> rows of the corpus.
        kind: Of the queries.
    """
    queries = TextsBuilder(kind)
    relevant: dict[int, set[int]] = {}
    clusters = []
    for row, text, language in rows:
        key = key_of(text)
        if key not in relevant:
            queries.add(row.identity, text, language, row.where)
            clusters.append(row.cluster)
        relevant[key] = relevant.get(key, set()) | answers[row.group]
    return _Queries(queries, [frozenset(found) for found in relevant.values()], clusters)
