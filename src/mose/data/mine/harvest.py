"""Mined pairs with their counts, and random numbers that depend on their input alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from hashlib import blake2b


@dataclass(frozen=True, slots=True, kw_only=True)
class Mined:
    """One pair found in a file."""

    kind: str  # "doc", "comment", "name" or "file"
    query: str
    code: str
    language: str
    path: str
    symbol: str  # of the definition that the code shows; "" for a file


@dataclass(slots=True, kw_only=True)
class Harvest:
    """Pairs of several files, what was left out by reason, and C declarations whose bodies are elsewhere."""

    rows: list[Mined] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    declared: list[Mined] = field(default_factory=list)
    bodies: dict[tuple[str, str], list[Mined]] = field(default_factory=dict)

    def add(self, other: Harvest) -> None:
        """Add what was found in another file."""
        self.rows.extend(other.rows)
        self.dropped.update(other.dropped)
        self.declared.extend(other.declared)
        for name, rows in other.bodies.items():
            self.bodies.setdefault(name, []).extend(rows)

    def link_declarations(self) -> None:
        """Pair the documentation of C and C++ declarations with the only body of the same name."""
        described = {(row.language, row.symbol) for row in self.rows if row.kind == "doc"}
        for row in self.declared:
            family = "cpp" if row.language in ("c", "cpp") else row.language
            found = self.bodies.get((family, row.symbol), [])
            if len(found) == 1 and (found[0].language, row.symbol) not in described:
                self.rows.append(replace(found[0], query=row.query))
            else:
                self.dropped["declaration without a body"] += 1
        self.declared.clear()
        self.bodies.clear()


def cut_at_line_end(lines: list[str], max_chars: int) -> str:
    """The lines as one text of at most ``max_chars`` characters, in whole lines unless the first is longer.

    Example:
        >>> cut_at_line_end(["abc", "defgh"], 6)
        'abc'
    """
    kept: list[str] = []
    size = 0
    for line in lines:
        size += len(line) + 1
        if size > max_chars + 1 and kept:
            break
        kept.append(line.rstrip()[:max_chars])
    return "\n".join(kept).strip("\n")


def draw(*words: object) -> float:
    """A pseudo-random number in [0, 1) that depends on the words alone.

    Example:
        >>> draw("a", 1) == draw("a", 1), draw("a", 1) == draw("a", 2)
        (True, False)
    """
    digest = blake2b("\x1f".join(map(str, words)).encode("utf8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
