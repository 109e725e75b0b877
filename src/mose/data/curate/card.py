"""The data card of a folder of pairs, as Markdown: counts, sources, licences, what was dropped and why, hashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mose.data.curate.stage import pair_files, read_pairs, stages_before
from mose.data.mine.archives import hash_of

_MOST_SOURCES = 200


def data_card(inputs: Sequence[Path]) -> str:
    """The card of pair files and folders of them.

    Raises:
        DataError: There is no pair file, or one is faulty.
    """
    files = pair_files(inputs)
    counts: dict[str, Counter[str]] = {field: Counter() for field in ("kind", "license", "writer", "source")}
    by_language: Counter[tuple[str, str]] = Counter()
    total = 0
    for _, row in read_pairs(files):
        total += 1
        kind = str(row.get("kind") or "pair")
        by_language[str(row.get("language") or "?"), kind] += 1
        if "package" in row:
            row["source"] = f"{row.get('registry', '')}:{row['package']}".lstrip(":")
        counts["kind"][kind] += 1
        for field in ("license", "writer", "source"):
            counts[field][str(row.get(field) or "not stated")] += 1
    title = " ".join(", ".join(str(path) for path in inputs).split())
    kinds = [kind for kind, _ in counts["kind"].most_common()]
    lines = [f"# Data card: {title}", "", f"{total:,} pairs of text and code, in {len(counts['source']):,} sources."]
    languages = sorted({language for language, _ in by_language}, key=lambda name: -_sum_of(by_language, name))
    lines += _section("Languages and kinds", ["language", *kinds], (
        [language, *(f"{by_language[language, kind]:,}" for kind in kinds)] for language in languages
    ))  # fmt: skip
    lines += _section("Licences of the sources", ["licence", "rows"], _rows(counts["license"]))
    if set(counts["writer"]) != {"not stated"}:
        lines += _section("Written by", ["model", "rows"], _rows(counts["writer"]))
    lines += _section("Sources", ["source", "rows"], _rows(counts["source"], _MOST_SOURCES))
    for stage in _all_stages(stages_before(files)):
        settings = stage.get("settings") or {}
        said = ", ".join(f"{key} {value}" for key, value in settings.items() if value not in ((), [], None, ""))
        lines += ["", f"## Dropped by `mose pairs {stage['stage']}`", "", f"Settings: {said or 'none'}."]
        dropped = stage.get("dropped") or {}
        lines += _table(["reason", "rows"], [[reason, f"{count:,}"] for reason, count in dropped.items()])
    lines += _section("Files", ["file", "SHA-256"], ([file.name, f"`{hash_of(file)}`"] for file in files))
    return "\n".join(lines) + "\n"


def _sum_of(by_language: Mapping[tuple[str, str], int], language: str) -> int:
    return sum(count for (name, _), count in by_language.items() if name == language)


def _all_stages(stages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Stages in the order in which they ran."""
    for stage in stages:
        yield from _all_stages(stage.get("before", ()))
        yield stage


def _rows(counter: Counter[str], most: int | None = None) -> list[list[str]]:
    rows = [[name, f"{count:,}"] for name, count in counter.most_common(most)]
    if most is not None and len(counter) > most:
        rows.append(
            [
                f"{len(counter) - most:,} others",
                f"{sum(counter.values()) - sum(dict(counter.most_common(most)).values()):,}",
            ]
        )
    return rows


def _section(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return ["", f"## {title}", *_table(head, rows)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    told = [f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in row)} |" for row in rows]
    return ["", f"| {' | '.join(head)} |", "|" + "---|" * len(head), *told] if told else []
