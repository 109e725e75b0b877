"""From pair files to requests in OpenAI's batch format.

In: mined pairs. Out: ``requests.jsonl.xz``, one request a line, and ``rows.jsonl.xz``, the rows that they are about,
with the same ids. Every kind and language is spread evenly over the file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from mose.data.curate.stage import STAGE, read_pairs
from mose.data.mine.build import MANIFEST_NAME
from mose.data.mine.harvest import draw
from mose.data.pairs import key_of, read_objects, write_objects
from mose.data.translate.examples import Examples, turns
from mose.data.translate.prompts import (
    FILE,
    FUNCTION,
    SPOKEN_NAMES,
    TARGETS,
    TRANSLATE,
    Messages,
    Prompt,
    shown_code,
    translation_order,
)
from mose.errors import DataError, OutputError

REQUESTS = "requests.jsonl.xz"
ROWS = "rows.jsonl.xz"
ANSWERS = "answers.jsonl"
ACCEPTED = "accepted.jsonl.xz"
REJECTED = "rejected.jsonl.xz"

_OF_OTHERS = (REQUESTS, ANSWERS, ACCEPTED, REJECTED, STAGE, MANIFEST_NAME, "parts")
"""Without rows beside them, these are not of a run that can go on: the last three are of other stages."""

_QUESTION_CHARS = (150, 1_200)
_OUTLINE_CHARS = 1_100
_TRANSLATION_CHARS = (120, 800)
_MIN_LINES = 4
_NOT_BY_ITSELF = ("self.", "this.", "super", "@", "#ifdef", "#if ", "$this")

_NEAR = {"c": ("c", "cpp"), "cpp": ("c", "cpp"), "typescript": ("javascript",)}
"""Languages in which the same text is often a translation too; a language without an entry has only itself."""

Row = dict[str, Any]


def write_requests(
    files: Sequence[Path],
    out: Path,
    choose: Callable[[Iterable[Row]], list[tuple[Prompt, str, Row]]],
    *,
    without: frozenset[str] = frozenset(),
    most: int | None = None,
    model: str = "",
    examples: Examples | None = None,
) -> dict[str, int]:
    """Write the requests about the rows of pair files.

    Args:
        files: Mined pairs.
        out: Folder to write. Requests that it holds already must be among those of this run.
        choose: ``questions`` or ``translations``.
        without: Values of the field ``source`` whose rows are left out.
        most: Write at most this many requests.
        model: Written into each request, as batch runners want it; left out if empty.
        examples: Those most like a row are shown before it.

    Returns:
        Number of requests by task and language.

    Raises:
        DataError: A file is missing or faulty, or no row is left.
        OutputError: ``out`` holds other requests, or answers to them.
    """
    rows = (
        {"query": "", "source": "", "path": "", "group": f"{key_of(row['code']):x}"} | row
        for _, row in read_pairs(files)
        if row.get("source") not in without
    )
    chosen = choose(rows)[:most]
    if not chosen:
        raise DataError("no row can be asked about", remedy="Give files written by mose pairs mine.")
    requests, about = [], []
    counts: Counter[str] = Counter()
    known: set[str] = set()
    shown = examples.choose(chosen) if examples else [[] for _ in chosen]
    for (prompt, turn, row), before in zip(chosen, shown, strict=True):
        # Not the examples themselves: another processor may find others, and the answers would count for nothing.
        words = turn + (f"\nexamples {examples.name}" if examples else "")
        id_ = f"{prompt.name}-{blake2b(words.encode('utf8', 'replace'), digest_size=8).hexdigest()}"
        if id_ in known:
            continue
        known.add(id_)
        requests.append(as_request(id_, prompt, turn, model, before=turns(before)))
        told = {"examples": [example.answer for example in before]} if before else {}
        about.append({"id": id_, "task": prompt.task, "prompt": prompt.name, **row, **told})
        counts[f"{prompt.task} {row['language']}"] += 1
    _require_continued(out, known)
    out.mkdir(parents=True, exist_ok=True)
    write_objects(out / ROWS, about)
    write_objects(out / REQUESTS, requests)
    return dict(sorted(counts.items()))


def _require_continued(out: Path, ids: Collection[str]) -> None:
    """Raise `OutputError` unless all requests of a folder are among ``ids``: answers to others would be lost."""
    held = [value for _, value in read_objects(out / ROWS)] if (out / ROWS).exists() else []
    left = [str(value.get("task")) for value in held if value.get("id") not in ids]
    loose = [name for name in _OF_OTHERS if not held and (out / name).exists()]
    if left:
        command = "translate" if TRANSLATE.task in left else "ask"
        raise OutputError(
            f"{out} holds {len(left):,} requests of mose pairs {command} that this run does not make",
            allowed="the same pairs and options, or more of them",
            remedy="Name another --out folder, or run the command that made this one: it goes on where it stopped.",
        )
    if loose:
        raise OutputError(f"{out} holds {loose[0]} of another run", remedy="Name another --out folder.")


def as_request(id_: str, prompt: Prompt, turn: str, model: str = "", before: Messages = ()) -> dict[str, Any]:
    """One line of OpenAI's batch format; without a model the server fills it in.

    Args:
        id_: Identifies its answer.
        prompt: Begins the conversation.
        turn: Ends it.
        model: Name of the model.
        before: Further examples.
    """
    messages = [{"role": role, "content": content} for role, content in (*prompt.head, *before, ("user", turn))]
    body = {"messages": messages, "max_tokens": prompt.max_tokens, "temperature": prompt.temperature}
    if model:
        body["model"] = model
    return {"custom_id": id_, "method": "POST", "url": "/v1/chat/completions", "body": body}


def questions(rows: Iterable[Row]) -> list[tuple[Prompt, str, Row]]:
    """Requests for questions about functions and files; every fifth is about a file."""
    functions: dict[int, Row] = {}
    files: dict[str, Row] = {}
    for row in rows:
        code = row["code"]
        if row.get("language") not in SPOKEN_NAMES:
            continue
        if row.get("kind") == "file":
            files.setdefault(row["group"], row)
        elif row.get("kind") in ("doc", "name") and _is_between(code, _QUESTION_CHARS):
            key = key_of(str(row.get("group") or code))
            if key not in functions or row["kind"] == "doc":
                functions[key] = row
    asked = []
    for row in functions.values():
        # Half of the functions are shown with their documentation, which helps the model but which it may repeat.
        about = row["query"] if row["kind"] == "doc" and draw(row["group"], "about") < 0.5 else ""
        asked.append((FUNCTION, shown_code(row["path"], row["language"], row["code"], about), row | {"about": about}))
    outlines = []
    for row in files.values():
        outline = row["code"][:_OUTLINE_CHARS].rsplit("\n", 1)[0]
        turn = shown_code(row["path"], row["language"], outline, row["query"])
        outlines.append((FILE, turn, row | {"about": row["query"]}))
    return merge_by_share([alternate_languages(asked), alternate_languages(outlines)], [4, 1])


def translations(rows: Iterable[Row]) -> list[tuple[Prompt, str, Row]]:
    """Requests for translations of self-contained, documented functions; targets in equal numbers."""
    asked = []
    for row in rows:
        code, language = row["code"], str(row.get("language"))
        symbol = str(row.get("group", "")).rpartition(":")[2]
        if row.get("kind") != "doc" or language not in SPOKEN_NAMES or not _is_between(code, _TRANSLATION_CHARS):
            continue
        if "." in symbol or any(sign in code for sign in _NOT_BY_ITSELF):
            continue
        others = [target for target in TARGETS if target not in _NEAR.get(language, (language,))]
        target = others[int(draw(row["group"], "target") * len(others))]
        asked.append((TRANSLATE, translation_order(language, target, code), row | {"target": target}))
    return alternate_languages(asked)


def _is_between(code: str, limits: tuple[int, int]) -> bool:
    return limits[0] <= len(code) <= limits[1] and code.count("\n") + 1 >= _MIN_LINES


def alternate_languages(asked: list[tuple[Prompt, str, Row]]) -> list[tuple[Prompt, str, Row]]:
    """Requests of each language in turn, until all are used; in random order within a language."""
    by_language: dict[str, list[tuple[Prompt, str, Row]]] = defaultdict(list)
    for item in sorted(asked, key=lambda item: draw(item[1])):
        by_language[item[2]["language"]].append(item)
    keys = [
        (position, language, item) for language, items in by_language.items() for position, item in enumerate(items)
    ]
    return [item for _, _, item in sorted(keys, key=lambda key: key[:2])]


def merge_by_share(lists: list[list[tuple[Prompt, str, Row]]], shares: list[int]) -> list[tuple[Prompt, str, Row]]:
    """Merge lists so that each is spread evenly, by its share."""
    keys = [
        ((position + 0.5) / share, number, item)
        for number, (items, share) in enumerate(zip(lists, shares, strict=True))
        for position, item in enumerate(items)
    ]
    return [item for _, _, item in sorted(keys, key=lambda key: key[:2])]
