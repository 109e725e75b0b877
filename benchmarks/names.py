"""Are names found? Up to 150 names that a tree defines once, alone and after a keyword; and its files by name.

    python benchmarks/names.py TREE [TREE ...]

Of each tree: how often the first hit holds the definition, shows the line of it, and is titled by the name; the same
first hit for "class NAME", "func NAME" and the like; the file first for file names and paths that only one file has.
Tests and examples are left out. --misses lists what failed.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mose import languages
from mose.files import SourceFile, read_source, walk
from mose.search.index import CodeIndex
from mose.search.options import SearchOptions
from mose.search.query import last_name
from mose.search.snippet import snippet
from mose.syntax import Definition, definitions

MIN_CHARS = 4
_KEYWORDS = {
    "function": {
        **{"python": "def", "ruby": "def", "scala": "def", "elixir": "def", "go": "func", "swift": "func"},
        **{"rust": "fn", "zig": "fn", "kotlin": "fun", "javascript": "function", "typescript": "function"},
        **{"tsx": "function", "php": "function", "bash": "function", "lua": "function"},
    },
    "type": {"go": "type"},
}
_ANY_LANGUAGE = {"class", "struct", "enum", "interface", "trait", "protocol", "module", "namespace", "object", "record"}


@dataclass(frozen=True, slots=True)
class Location:
    path: str
    language: str
    definition: Definition


def unique_names(tree: Path) -> list[tuple[str, Location]]:
    """Names that one location of the tree defines, in the order of the files."""
    locations: dict[str, list[Location]] = defaultdict(list)
    for file in walk(tree):
        if not isinstance(file, SourceFile) or languages.is_test(file.path) or languages.is_example(file.path):
            continue
        text = read_source(tree, file)
        for definition in (definitions(text, file.language) or []) if isinstance(text, str) else []:
            locations[definition.name].append(Location(file.path, file.language, definition))
    is_word = re.compile(rf"\w{{{MIN_CHARS},}}")
    return [(name, found[0]) for name, found in locations.items() if len(found) == 1 and is_word.fullmatch(name)]


def unique_files(tree: Path) -> list[str]:
    """Files with text whose name no other file has."""
    files = [file for file in walk(tree) if isinstance(file, SourceFile)]
    paths = [file.path for file in files if isinstance(text := read_source(tree, file), str) and text.strip()]
    count = Counter(PurePosixPath(path).name.lower() for path in paths)
    return [path for path in paths if count[PurePosixPath(path).name.lower()] == 1]


def keyword_of(location: Location) -> str | None:
    """What its language writes before the name, where it writes anything."""
    kind = location.definition.kind
    if kind in _ANY_LANGUAGE:
        return "type" if location.language == "go" else kind
    return _KEYWORDS.get("function" if kind == "method" else kind, {}).get(location.language)


def measure(tree: Path, count: int, exit_layer: int | None, misses: bool) -> None:
    chosen = random.Random(0)
    names, files = unique_names(tree), unique_files(tree)
    chosen.shuffle(names)
    chosen.shuffle(files)
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()

    def note(what: str, is_right: bool, *seen: object) -> None:
        asked[what] += 1
        right[what] += is_right
        if misses and not is_right:
            print(f"  {what}:", *seen)

    with CodeIndex.open(tree, exit=exit_layer) as index:
        for name, location in names[:count]:
            line = location.definition.line
            keyword = keyword_of(location)
            for query in [name, f"{keyword} {name}"] if keyword else [name]:
                hit = next(iter(index.search(query, SearchOptions(limit=1))), None)
                asked_for = f"{query}, {location.definition.kind} in {location.path}:{line}"
                got = "nothing" if hit is None else f"{hit.path}:{hit.start_line}-{hit.end_line} {hit.symbol}"
                is_first = hit is not None and hit.path == location.path and hit.start_line <= line <= hit.end_line
                if query != name:
                    note("behind a keyword", is_first, asked_for, "->", got)
                    continue
                note("definition first", is_first, asked_for, "->", got)
                if hit is None:
                    continue
                shown = [number for number, _ in snippet(hit, query)]
                note("line shown", is_first and line in shown, asked_for, "->", got, shown)
                note("name shown", is_first and last_name(hit.symbol) == name, asked_for, "->", got)
        for path in files[:count]:
            for what, query in (("file name", PurePosixPath(path).name), ("path", path)):
                hit = next(iter(index.search(query, SearchOptions(limit=1))), None)
                note(what, hit is not None and hit.path == path, query, "->", hit and hit.path)
    cells = [f"{right[what]}/{asked[what]} ({right[what] / asked[what]:.1%})" for what in asked]
    print(f"| {tree.name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", type=Path, nargs="+", metavar="TREE")
    parser.add_argument("--count", type=int, default=150, help="names, and files, of each tree")
    parser.add_argument(
        "--exit", type=int, help="read the short list at this exit; 0 is much faster, and nearly the same"
    )
    parser.add_argument("--misses", action="store_true", help="list what failed")
    args = parser.parse_args()
    print("| tree | definition first | line shown | name shown | behind a keyword | file name | path |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as home:
        os.environ["MOSE_HOME"] = os.environ.get("MOSE_HOME", home)
        for tree in args.trees:
            measure(tree, args.count, args.exit, args.misses)


if __name__ == "__main__":
    main()
