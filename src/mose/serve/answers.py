"""Answers for agents: compact text and structured content that say the same, each within a number of tokens.

In the text, exactly the lines that begin with a space are code of the tree, so that code cannot pass for another line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mose.escaping import escape
from mose.search.hits import Hit
from mose.search.snippet import Lines, snippet
from mose.serve.asking import Depth
from mose.serve.token_cost import BYTES_A_TOKEN, Cost, beginning, cost

EXCERPT_TOKENS = 90
"""Reserved for each following hit when a whole definition is added to a page, up to half of the room."""
_EXCERPT_LINES = 5
_LINE_TOKENS = 40
_ROOM_FOR_END = 40


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a tool."""

    text: str
    structured: dict[str, object]
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A hit to be added to a page."""

    hit: Hit
    tree: str
    """The short name of its tree, "" if there is one tree."""
    whole: Callable[[], Lines | None]
    """Reads the whole definition that the hit is part of."""


@dataclass(slots=True)
class _Page:
    """Text and structured content of an answer in the making."""

    lines: list[str]
    structured: dict[str, object]
    most: int
    hits: list[dict[str, object]] = field(default_factory=list)
    text_cost: Cost = field(default_factory=Cost)
    json_cost: Cost = field(default_factory=Cost)

    def left(self) -> int:
        return self.most - max(self.text_cost.tokens, self.json_cost.tokens)

    def add(self, text: str, value: dict[str, object], keep_free: int) -> bool:
        """Add a hit to the page if it fits."""
        if len(text) > self.most * BYTES_A_TOKEN:
            return False  # however few tokens it has
        text_cost = self.text_cost + cost(text + "\n")
        json_cost = self.json_cost + cost(_to_json(value) + ", ")
        if max(text_cost.tokens, json_cost.tokens) + keep_free > self.most:
            return False
        self.lines.append(text)
        self.hits.append(value)
        self.text_cost, self.json_cost = text_cost, json_cost
        return True


def hits_answer(
    items: Sequence[Item],
    *,
    roots: dict[str, str],
    depths: Iterable[Depth],
    notes: Iterable[str],
    query: str,
    max_tokens: int,
    has_more: bool,
    cursor: Callable[[int], str],
) -> Answer:
    """A page of hits, best first: whole definitions if there is room, else excerpts.

    Args:
        items: The hits, from the beginning of the page.
        roots: Short name of each tree -> its folder.
        depths: How much of each tree has been read at the exit.
        notes: Remarks about the answer.
        query: The query; excerpts show the lines that match it.
        max_tokens: Limit on text and on structured content.
        has_more: Whether there are hits after ``items``.
        cursor: Returns the name of the page after that many of the items.
    """
    page = _begin(roots, depths, notes, max_tokens)
    num_done = num_left_out = 0
    for position, item in enumerate(items):
        keep_free = min(EXCERPT_TOKENS * (len(items) - position - 1), page.left() // 2)
        is_on_page = any(
            page.add(text, value, keep_free=0 if value.get("code_is") == "excerpt" else keep_free)
            for text, value in _forms(item, query)
        )
        if not is_on_page and page.hits:
            break
        if not is_on_page:  # its path alone is longer than the page
            num_left_out += 1
        num_done += 1
    goes_on = has_more or num_done < len(items)
    page.structured["truncated"] = goes_on or any(value.get("code_is") == "excerpt" for value in page.hits)
    if goes_on:
        page.structured["cursor"] = cursor(num_done)
        page.lines.append(f"more: cursor={page.structured['cursor']}")
    if not page.hits:
        page.lines.append("left out: longer than max_tokens" if num_left_out else "nothing found")
    return _finish(page)


def lines_answer(found: Lines, *, root: str, offset: int, max_tokens: int, cursor: Callable[[int], str]) -> Answer:
    """Lines of a file, from a number of characters on; what does not fit is on the next page."""
    rest = found.text[offset:]
    first = found.first_line + found.text.count("\n", 0, offset)
    page = _begin({"": root}, (), (), max_tokens)
    room = (
        page.left()
        - cost(_head(found.path, found.last_line, found.last_line, found.kind, found.symbol)).tokens
        - _ROOM_FOR_END
    )
    taken = rest
    while True:
        taken = beginning(taken, max(room, 1))
        last = max(first, first + taken.count("\n") - taken.endswith("\n"))
        text, value = _form(found.path, first, last, found, taken, "")
        if page.add(text, value, keep_free=0) or len(taken) <= 1:
            break
        room -= max(room // 8, 1)
    done = offset + len(taken)
    page.structured["truncated"] = done < len(found.text)
    if done < len(found.text):
        page.structured["cursor"] = cursor(done)
        page.lines.append(f"more: cursor={page.structured['cursor']}")
    return _finish(page)


def error_answer(error: str, max_tokens: int) -> Answer:
    """An error as an answer, no longer than any other."""
    text = beginning("\n".join(escape(line) for line in error.split("\n")), max(max_tokens - _ROOM_FOR_END, 1))
    return Answer(text, {"error": text}, is_error=True)


def _begin(roots: dict[str, str], depths: Iterable[Depth], notes: Iterable[str], most: int) -> _Page:
    """A page that begins with the trees and how much of them was read; long notes and roots are cut."""
    read = "; ".join(dict.fromkeys(_depth(depth) for depth in depths))
    shown = {name: beginning(escape(root), most // (3 * len(roots))) for name, root in roots.items()}
    lines = [f"tree {name}: {root}" if name else f"root: {root}" for name, root in shown.items()]
    structured: dict[str, object] = {"root": shown[""]} if "" in shown else {"roots": shown}
    if read:
        lines.append(f"read: {read}")
        structured["read"] = read
    kept = beginning(" ".join(escape(note) for note in notes), most // 5)
    if kept:
        lines.append(f"note: {kept}")
        structured["note"] = kept
    page = _Page(lines, structured, most)
    page.text_cost = cost("\n".join(lines) + "\n") + Cost(_ROOM_FOR_END, _ROOM_FOR_END * 2)
    page.json_cost = cost(_to_json({**structured, "hits": []})) + Cost(_ROOM_FOR_END, _ROOM_FOR_END * 2)
    return page


def _finish(page: _Page) -> Answer:
    structured = {**page.structured, "hits": page.hits}
    return Answer("\n".join(page.lines), structured)


def _depth(depth: Depth) -> str:
    if depth.exit is None:
        return "words alone were compared"
    return f"{depth.num_read:,} of {depth.num_chunks:,} chunks at exit {depth.exit}"


def _forms(item: Item, query: str) -> Iterator[tuple[str, dict[str, object]]]:
    """The forms of a hit on a page, the longest first."""
    hit = item.hit
    whole = item.whole()
    if whole is not None and (whole.first_line, whole.last_line) != (hit.start_line, hit.end_line):
        yield _form(hit.path, whole.first_line, whole.last_line, hit, whole.text, item.tree)
    yield _form(hit.path, hit.start_line, hit.end_line, hit, hit.text, item.tree)
    lines = [beginning(line, _LINE_TOKENS) for _, line in snippet(hit, query, num_lines=_EXCERPT_LINES)]
    text, value = _form(hit.path, hit.start_line, hit.end_line, hit, "\n".join(lines), item.tree, is_excerpt=True)
    yield text, value


def _form(
    path: str, first: int, last: int, source: Hit | Lines, code: str, tree: str, *, is_excerpt: bool = False
) -> tuple[str, dict[str, object]]:
    """A piece of code as text and as structured content."""
    code = "\n".join(escape(line.removesuffix("\r")) for line in code.rstrip("\n").split("\n"))
    head = _head(path, first, last, source.kind, source.symbol)
    value: dict[str, object] = {
        "path": escape(path),
        "start_line": first,
        "end_line": last,
        "symbol": escape(source.symbol),
        "kind": source.kind,
    }
    if isinstance(source, Hit):
        value["score"] = round(source.score, 2)
        head += f" {source.score:.2f}"
    if tree:
        value["tree"] = tree
        head = f"[{tree}] {head}"
    if is_excerpt:
        value["code_is"] = "excerpt"
        head += " (excerpt)"
    value["code"] = code
    return "\n".join([head, *(f" {line}" for line in code.split("\n"))]), value


def _head(path: str, first: int, last: int, kind: str, symbol: str) -> str:
    return escape(" ".join(word for word in (f"{path}:{first}-{last}", kind, symbol) if word))


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
