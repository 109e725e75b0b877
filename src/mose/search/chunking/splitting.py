"""Split long runs of lines, and lines that are longer than a chunk."""

from __future__ import annotations

from mose.syntax.comments import indent_of

_CLOSING = (*"}])", "end", "else", "elif", "except", "catch", "finally", "fi", "done", "esac", "then", "{", ".")
_CONTINUED = (",", "(", "[", "\\", "+", "=", "&&", "||", ":")
_MAX_LEVELS = 8


def split_lines(
    lines: list[str], offsets: list[int], first: int, last: int, target: int, most: int
) -> list[tuple[int, int]]:
    """Consecutive line ranges of about ``target`` characters that make up ``first..last``.

    A range is larger than ``most`` only if it is a single line.

    Args:
        lines: Lines of the file.
        offsets: ``offsets[n]`` is the number of characters in the first n lines, line ends included.
        first: First line, 1-based.
        last: Last line, inclusive.
        target: Desired size in characters.
        most: Largest size in characters.

    Example:
        >>> split_lines(["a", "b", "", "c", "d"], [0, 2, 4, 5, 7, 9], 1, 5, 5, 8)
        [(1, 3), (4, 5)]
    """
    ranges = []
    while first <= last:
        left = offsets[last] - offsets[first - 1]
        parts = max(1, round(left / target))
        if left <= most and (parts == 1 or first == last):
            ranges.append((first, last))
            break
        end = _best_end(lines, offsets, first, last, left / max(parts, 2), most)
        ranges.append((first, end))
        first = end + 1
    return ranges


def _best_end(lines: list[str], offsets: list[int], first: int, last: int, ideal: float, most: int) -> int:
    """The line to break after: near the ideal size, little indented, at a blank line if there is one."""
    start = offsets[first - 1]
    best_cost, best = float("inf"), 0
    largest = first  # the last line that still fits into the range
    for end in range(first, last):
        size = offsets[end] - start
        if size > most and end > first:
            break
        largest = end
        if size > ideal * 1.6 and best:
            break
        if size >= ideal * 0.5 and lines[end].strip():  # blank lines stay with the lines above them
            cost = abs(size - ideal) / ideal + _cost_of_break(lines[end - 1], lines[end])
            if cost < best_cost:
                best_cost, best = cost, end
    return best or largest


def _cost_of_break(before: str, after: str) -> float:
    """Cost of a break between two lines."""
    stripped = after.strip()
    cost = 0.15 * min(indent_of(after) / 4, _MAX_LEVELS)
    if before.strip():
        cost += 0.4
        if stripped.startswith(_CLOSING):
            cost += 1.0
        elif before.rstrip().endswith(_CONTINUED):
            cost += 0.5
    return cost


def break_line(line: str, most: int) -> list[str]:
    """Parts of at most ``most`` characters, broken after a space or separator if one is near.

    Example:
        >>> break_line("alpha beta gamma", 7)
        ['alpha ', 'beta ', 'gamma']
    """
    parts = []
    at = 0
    while len(line) - at > most:
        window = line[at : at + most]
        cut = max(window.rfind(sign, most // 2) for sign in " ;,}")
        end = at + (cut + 1 if cut >= 0 else most)
        parts.append(line[at:end])
        at = end
    parts.append(line[at:])
    return parts
