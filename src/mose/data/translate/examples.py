"""Examples for prompts: known questions about code that is like a row's, or known translations of such code.

In: pair files as ``mose pairs ask`` and ``translate`` accept them, with the functions that translations were made from.
Out: for each request the turns of the examples whose code is most similar to its own.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose.data.pairs import key_of
from mose.data.translate.prompts import FILE, FUNCTION, TRANSLATE, Messages, Prompt, shown_code, translation_order
from mose.errors import DataError

Row = dict[str, Any]
Encode = Callable[[Sequence[str]], NDArray[Any]]
"""Unit vectors of codes."""
_SLICE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Code that somebody asked about or translated, and what was written."""

    kind: tuple[str, ...]
    """What it is an example of: the task; of a translation, both languages too."""
    code: str
    group: str
    turn: str
    answer: str


class Examples:
    """Known examples, found by the vectors of their codes.

    Args:
        rows: Accepted pairs, and the functions that translations were made from.
        encode: Gives the vectors.
        count: Examples of a request.

    Raises:
        DataError: There is no example.
    """

    def __init__(self, rows: Iterable[Row], encode: Encode, *, count: int) -> None:
        self._encode, self._count = encode, count
        self._of_kind: dict[tuple[str, ...], list[Example]] = defaultdict(list)
        for example in _known(list(rows)):
            self._of_kind[example.kind].append(example)
        if not self._of_kind:
            raise DataError(
                "no examples: no code with all of its questions, and no translation with its function",
                remedy="Name accepted pairs of mose pairs ask, or of translate with the pairs they were made from.",
            )
        texts = [[each.turn, each.answer] for known in self._of_kind.values() for each in known]
        self.name = f"{count}-{blake2b(json.dumps(texts).encode('utf8', 'replace'), digest_size=4).hexdigest()}"
        """Their number and a hash of all that are known, for the ids of requests."""

    def choose(self, chosen: Sequence[tuple[Prompt, str, Row]]) -> list[list[Example]]:
        """Examples of each request, the most similar last; none of its own code or definition."""
        found: list[list[Example]] = [[] for _ in chosen]
        numbers: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for number, (prompt, _, row) in enumerate(chosen):
            languages = (str(row["language"]), str(row["target"])) if prompt is TRANSLATE else ()
            numbers[prompt.task, *languages].append(number)
        for kind, some in numbers.items():
            known = self._of_kind.get(kind, [])
            if not known:
                continue
            vectors_KD = self._encode([example.code for example in known])
            for first in range(0, len(some), _SLICE):
                part = some[first : first + _SLICE]
                cosines_NK = self._encode([chosen[number][2]["code"] for number in part]) @ vectors_KD.T
                for number, cosines_K in zip(part, cosines_NK, strict=True):
                    found[number] = self._nearest(known, cosines_K, chosen[number][2])
        return found

    def _nearest(self, known: Sequence[Example], cosines_K: NDArray[Any], row: Row) -> list[Example]:
        nearest: list[Example] = []
        for place in np.argsort(-cosines_K, kind="stable").tolist():
            example = known[place]
            if len(nearest) == self._count:
                break
            if key_of(example.code) != key_of(row["code"]) and example.group != str(row.get("group")):
                nearest.append(example)
        return nearest[::-1]


def turns(examples: Iterable[Example]) -> Messages:
    """The examples as turns of a conversation."""
    return tuple(turn for each in examples for turn in (("user", each.turn), ("assistant", each.answer)))


def _known(rows: Sequence[Row]) -> Iterable[Example]:
    functions: dict[tuple[str, str], Row] = {}
    asked: dict[tuple[str, int], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        task, _, label = str(row.get("kind") or "").partition("-")
        if label and task in (FUNCTION.task, FILE.task):
            asked[task, key_of(row["code"])].setdefault(label, row)
        elif row.get("kind") == "doc":
            functions.setdefault((str(row.get("group")), str(row.get("language"))), row)
    for (task, _), lines in asked.items():
        labels = (FUNCTION if task == FUNCTION.task else FILE).labels
        if set(labels) <= lines.keys():
            yield _question(task, [lines[label] for label in labels], labels)
    for row in rows:
        source = functions.get((str(row.get("group")), str(row.get("from"))))
        if row.get("kind") == "translation" and source is not None:
            yield _translation(source, row)


def _question(task: str, lines: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> Example:
    row = lines[0]
    answer = "\n".join(f"{label}: {line['query']}" for label, line in zip(labels, lines, strict=True))
    turn = shown_code(str(row.get("path") or ""), row["language"], row["code"])
    return Example(kind=(task,), code=row["code"], group=str(row.get("group")), turn=turn, answer=answer)


def _translation(source: Mapping[str, Any], row: Mapping[str, Any]) -> Example:
    languages = str(source["language"]), str(row["language"])
    return Example(
        kind=(TRANSLATE.task, *languages), code=source["code"], group=str(row.get("group")),
        turn=translation_order(*languages, source["code"]), answer=f"```{row['language']}\n{row['code']}\n```",
    )  # fmt: skip
