"""JSON with comments, as in the settings of editors: one member is set or removed, and no other byte changes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_GAP = re.compile(r"(?:[\s\ufeff]+|//[^\n]*|/\*.*?\*/)*+", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_PLAIN = re.compile(r"[^\s,:\[\]{}\"/]+")
_REMARK = re.compile(r"[ \t]*//[^\r\n]*")
_MOST_LEVELS = 100


@dataclass(frozen=True, slots=True)
class _Member:
    """A name and its value in an object, as positions in the text."""

    name: str
    start: int
    value_start: int
    value_end: int


@dataclass(frozen=True, slots=True)
class _Object:
    """An object, as positions of its braces, and what is in it."""

    start: int
    end: int
    members: tuple[_Member, ...]


def parse(text: str) -> Any:
    """The value of JSON with comments and trailing commas.

    Raises:
        ValueError: The text is not of that form.
    """
    pieces, position, last = [], 0, ""
    while position < len(text):
        gap = _GAP.match(text, position)
        if gap is not None and gap.end() > position:
            position = gap.end()
            pieces.append(" ")
            continue
        found = _STRING.match(text, position)
        token = found[0] if found else text[position]
        if token in ("}", "]") and last == ",":
            while pieces.pop() != ",":
                pass
        pieces.append(token)
        position += len(token)
        last = token
    try:
        return json.loads("".join(pieces))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def set_member(text: str, path: Sequence[str], value: object) -> str:
    """The text with a value at a path of names; missing objects on the path are added.

    Raises:
        ValueError: The text, or a value on the path, is not an object.
    """
    if _GAP.fullmatch(text):
        text = "{}\n"
    around, rest = _innermost(text, path)
    if not rest:
        member = _member(around, path[-1])
        assert member is not None
        level = len(path)
        return text[: member.value_start] + _written(value, text, level) + text[member.value_end :]
    for name in reversed(rest[1:]):
        value = {name: value}
    level = len(path) - len(rest) + 1
    unit = _unit(text)
    line = f"\n{unit * level}{json.dumps(rest[0], ensure_ascii=False)}: {_written(value, text, level)}"
    if around.members:
        end, comma, behind = _end_of_line(text, around.members[-1])
        if comma is None:
            return f"{text[:end]},{text[end:behind]}{line}{text[behind:]}"
        return f"{text[:behind]}{line},{text[behind:]}"
    return text[: around.start + 1] + line + f"\n{unit * (level - 1)}" + text[_rest_of(text, around) :]


def remove_member(text: str, path: Sequence[str]) -> str:
    """The text without the value at a path, and without objects on the path that become empty.

    Raises:
        ValueError: The text is not an object.
    """
    if _GAP.fullmatch(text):
        return text
    around, rest = _innermost(text, path)
    if rest:
        return text
    if len(around.members) == 1 and len(path) > 1 and not _has_comment(text, around):
        return remove_member(text, path[:-1])
    position = [member.name for member in around.members].index(path[-1])
    member = around.members[position]
    if position:
        end, comma, behind = _end_of_line(text, around.members[position - 1])
        _, own_comma, _ = _end_of_line(text, member)
        assert comma is not None
        if own_comma is None:  # it was the last: the one before is
            return text[:end] + text[end:comma] + text[comma + 1 : behind] + text[member.value_end :]
        return text[:behind] + text[own_comma + 1 :]
    end = _gap_end(text, member.value_end)
    if text[end] == ",":
        end = _gap_end(text, end + 1)
        return text[: member.start] + text[end:]
    start = around.start + 1
    return text[:start] + text[start : member.start].rstrip() + text[_gap_end(text, member.value_end) :]


def _end_of_line(text: str, member: _Member) -> tuple[int, int | None, int]:
    """Positions of a member's end, of its comma, and of the end of a comment after it on the same line."""
    end = member.value_end
    position = _gap_end(text, end)
    comma = position if text[position : position + 1] == "," else None
    remark = _REMARK.match(text, end if comma is None else comma + 1)
    return end, comma, remark.end() if remark else end if comma is None else comma + 1


def _rest_of(text: str, around: _Object) -> int:
    """Where the text after an empty object's brace continues: after the space, unless there is a comment."""
    return around.end if not _has_comment(text, around) else around.start + 1


def _has_comment(text: str, around: _Object) -> bool:
    position = around.start + 1
    for member in around.members:
        if text[position : member.start].strip(" \t\r\n,"):
            return True
        position = member.value_end
    return bool(text[position : around.end].strip(" \t\r\n,"))


def _innermost(text: str, path: Sequence[str]) -> tuple[_Object, list[str]]:
    """The deepest object on a path, and the names that are missing; none if the whole path exists."""
    start, rest = _gap_end(text, 0), list(path)
    while True:
        if start >= len(text) or text[start] != "{":
            raise ValueError("not an object")
        around = _read_object(text, start)
        member = _member(around, rest[0])
        if member is None:
            return around, rest
        rest.pop(0)
        if not rest:
            return around, rest
        start = member.value_start


def _member(around: _Object, name: str) -> _Member | None:
    return next((member for member in reversed(around.members) if member.name == name), None)


def _read_object(text: str, start: int) -> _Object:
    members = []
    position = _gap_end(text, start + 1)
    while text[position : position + 1] != "}":
        name = _STRING.match(text, position)
        if name is None:
            raise ValueError(f"no name at {position}")
        colon = _gap_end(text, name.end())
        if text[colon : colon + 1] != ":":
            raise ValueError(f"no colon at {colon}")
        value = _gap_end(text, colon + 1)
        end = _value_end(text, value, 0)
        members.append(_Member(json.loads(name[0]), position, value, end))
        position = _gap_end(text, end)
        if text[position : position + 1] == ",":
            position = _gap_end(text, position + 1)
        elif text[position : position + 1] != "}":
            raise ValueError(f"no comma at {position}")
    return _Object(start, position, tuple(members))


def _value_end(text: str, start: int, level: int) -> int:
    if level > _MOST_LEVELS:
        raise ValueError("nested too deeply")
    found = _STRING.match(text, start) or _PLAIN.match(text, start)
    if found is not None:
        return found.end()
    opening = text[start : start + 1]
    if opening not in ("{", "["):
        raise ValueError(f"no value at {start}")
    position = _gap_end(text, start + 1)
    while text[position : position + 1] not in ("}", "]"):
        if text[position : position + 1] in (",", ":"):
            position += 1
        else:
            position = _value_end(text, position, level + 1)
        position = _gap_end(text, position)
    return position + 1


def _gap_end(text: str, position: int) -> int:
    found = _GAP.match(text, position)
    assert found is not None
    return found.end()


def _unit(text: str) -> str:
    """The indentation of one level in the text."""
    found = re.search(r"\{[^\S\n]*(?://[^\n]*)?\n([ \t]+)", text)
    return found[1] if found else "  "


def _written(value: object, text: str, level: int) -> str:
    unit = _unit(text)
    dumped = json.dumps(value, indent=unit, ensure_ascii=False)
    return dumped.replace("\n", f"\n{unit * level}")
