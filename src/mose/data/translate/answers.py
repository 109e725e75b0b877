"""Turn a model's answers into pairs: each is checked, and those that fail are stored with the reason.

In: ``rows.jsonl.xz`` and answers in OpenAI's batch format. Out: ``accepted.jsonl.xz``, pairs ready for training,
``rejected.jsonl.xz``, and counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mose.data.pairs import read_objects, write_objects
from mose.data.translate.asking import ACCEPTED, ANSWERS, REJECTED, ROWS
from mose.data.translate.checks import MIN_COMMON, fenced, plain_words, question_fault, translation_fault
from mose.data.translate.ledger import is_failed, open_ledger, write_answer
from mose.data.translate.prompts import PROMPTS, TARGETS, Prompt
from mose.errors import DataError

FAILED = "refused by the server"

_TEXTS = ("id", "task", "kind", "query", "code", "language")
_LABEL = re.compile(r"^\W*(\w+)\W*?:\s*(.*)$")


def keep_answers(out: Path, files: Sequence[Path]) -> None:
    """Add batch results to the ledger of a folder, which keeps those of earlier runs.

    Args:
        out: Folder with ``rows.jsonl.xz``.
        files: Answers; of several for a request the first counts, or the first that is not a failed one.

    Raises:
        DataError: The folder has no rows, or an answer is not in OpenAI's batch format.
        EndpointError: Another run is writing the ledger, or it is damaged.
    """
    if not (out / ROWS).exists():
        raise DataError(f"{out} holds no requests", remedy="Write them first, without --answers.")
    with open_ledger(out / ANSWERS) as (ledger, known):
        for path in files:
            if path.resolve() == (out / ANSWERS).resolve():
                continue
            for number, value in read_objects(path):
                id_, failed = str(value.get("custom_id")), is_failed(value)
                _content(value, path, number)
                if id_ not in known or (known[id_] and not failed):
                    known[id_] = failed
                    write_answer(ledger, value)


def read_answers(out: Path, files: Sequence[Path], *, least_common: int = MIN_COMMON) -> dict[str, Any]:
    """Check all answers to the requests of a folder, and write the accepted and the rejected ones.

    Args:
        out: Folder with ``rows.jsonl.xz``.
        files: Answers; of several for a request the first counts, or the first that is not a failed one.
        least_common: A word is plain if at least this many descriptions use it.

    Returns:
        Counts: requests, answers, accepted by task and language, rejected by task and reason.

    Raises:
        DataError: The folder has no rows, or an answer is not in OpenAI's batch format.
    """
    rows = _read_asked(out / ROWS)
    answers: dict[str, tuple[str, str, str]] = {}
    num_foreign = 0
    for path in files:
        for number, value in read_objects(path):
            id_ = str(value.get("custom_id"))
            if id_ not in rows:
                num_foreign += 1
            elif id_ not in answers or answers[id_][1] == FAILED:
                answers[id_] = _content(value, path, number)
    plain = plain_words(_texts_by_package(rows, answers), least_common=least_common)
    accepted: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for id_, row in rows.items():  # not in the order of the answers, which is that of a server
        if id_ not in answers:
            continue
        answer, finish, model = answers[id_]
        checked = (
            _check_translation(row, answer, finish)
            if row["task"] == "translate"
            else _check_questions(row, answer, finish, plain)
        )
        for pair, reason in checked:
            pair["writer"] = model
            (rejected if reason else accepted).append(pair | ({"reason": reason} if reason else {}))
    write_objects(out / REJECTED, rejected)
    write_objects(out / ACCEPTED, accepted)
    return {
        "requests": len(rows),
        "answers": len(answers),
        "foreign": num_foreign,
        "accepted": dict(Counter(f"{pair['kind']} {pair['language']}" for pair in accepted).most_common()),
        "rejected": dict(Counter(f"{pair['kind']}: {pair['reason']}" for pair in rejected).most_common()),
    }


def _read_asked(file: Path) -> dict[str, dict[str, Any]]:
    """Id -> row of every request."""
    if not file.is_file():
        raise DataError(
            f"{file.parent} has no requests", remedy="Name the folder that they were written to with --out."
        )
    rows = {}
    for number, row in read_objects(file):
        is_whole = all(isinstance(row.get(name), str) for name in _TEXTS) and {"group", "source"} <= row.keys()
        if (
            not is_whole
            or row["task"] not in PROMPTS
            or (row["task"] == "translate" and row.get("target") not in TARGETS)
        ):
            raise DataError(
                f"{file}, line {number} is not a row that was asked about", remedy="Write the requests again."
            )
        rows[row["id"]] = row
    return rows


def _texts_by_package(
    rows: dict[str, dict[str, Any]], answers: dict[str, tuple[str, str, str]]
) -> Iterator[tuple[str, str]]:
    """Package and a text about it: documentation of rows, and questions of answers."""
    for id_, row in rows.items():
        if row["kind"] != "name":
            yield row["source"], row["query"]
        if id_ in answers and row["task"] != "translate":
            for question in labelled_lines(answers[id_][0], PROMPTS[row["task"]].labels).values():
                yield row["source"], question


def _content(value: dict[str, Any], path: Path, number: int) -> tuple[str, str, str]:
    """Text, finish reason and model; the text is empty if the server failed, or its model said nothing."""
    if is_failed(value):
        return "", FAILED, ""
    try:
        body = value["response"]["body"]
        choice = body["choices"][0]
        return str(choice["message"]["content"] or ""), str(choice.get("finish_reason")), str(body.get("model", ""))
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(
            f"{path}, line {number} is not an answer in OpenAI's batch format", remedy="Correct or remove the line."
        ) from error


def labelled_lines(answer: str, labels: Sequence[str]) -> dict[str, str]:
    r"""Text after each label; of several lines with a label, the first.

    Example:
        >>> labelled_lines("search: sort a list\n**where**: where is it sorted?\nother: no", ("search", "where"))
        {'search': 'sort a list', 'where': 'where is it sorted?'}
    """
    found: dict[str, str] = {}
    for line in answer.splitlines():
        match = _LABEL.match(line.strip())
        if match and match[1].lower() in labels:
            found.setdefault(match[1].lower(), match[2].strip().strip("*\"'").strip())
    return found


def _shown(row: dict[str, Any]) -> list[str]:
    """Answers of the examples that the model saw beside those of the prompt."""
    found = row.get("examples")
    return found if isinstance(found, list) else []


def _examples(prompt: Prompt, row: dict[str, Any]) -> frozenset[str]:
    answers = [content for role, content in prompt.head if role == "assistant"] + _shown(row)
    return frozenset(text for answer in answers for text in labelled_lines(answer, prompt.labels).values())


def _pair(row: dict[str, Any], kind: str, query: str, code: str, language: str) -> dict[str, Any]:
    kept: dict[str, Any] = {
        name: row[name] for name in ("group", "source", "version", "path", "license", "prompt", "id") if name in row
    }
    if _shown(row):
        kept["examples"] = len(_shown(row))
    return {"query": query, "code": code, "language": language, "kind": kind, **kept}


def _check_questions(
    row: dict[str, Any], answer: str, finish: str, common: frozenset[str]
) -> list[tuple[dict[str, Any], str]]:
    prompt = PROMPTS[row["task"]]
    lines = labelled_lines(answer, prompt.labels)
    name = str(row["group"]).rpartition(":")[2].rpartition(".")[2]
    result = []
    said: set[str] = set()
    for label in prompt.labels:
        question = lines.get(label, "")
        reason = FAILED if finish == FAILED else "no line of this kind"
        if question:
            reason = question_fault(
                question,
                label=label,
                code=row["code"],
                name=name,
                common=common,
                about=row["query"] if row["kind"] != "name" else "",
                examples=_examples(prompt, row),
            )
        folded = " ".join(re.findall(r"[a-z]+", question.lower()))
        if not reason and folded in said:
            reason = "says the same twice"
        said.add(folded)
        result.append((_pair(row, f"{row['task']}-{label}", question, row["code"], row["language"]), reason))
    return result


def _check_translation(row: dict[str, Any], answer: str, finish: str) -> list[tuple[dict[str, Any], str]]:
    code = fenced(answer)
    reason = {"length": "cut off", FAILED: FAILED}.get(finish, "")
    examples = [fenced(example) for example in _shown(row)]
    reason = reason or translation_fault(code, code=row["code"], target=row["target"], examples=examples)
    pair = _pair(row, "translation", row["query"], code if not reason else answer, row["target"])
    return [(pair | {"from": row["language"]}, reason)]
