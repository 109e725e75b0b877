"""``mose search``."""

from __future__ import annotations

import os
import sys
from argparse import Namespace as Arguments
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mose import processes
from mose.cli.output import ProgressBar, Style, print_json_lines, print_warnings
from mose.errors import ConfigError

if TYPE_CHECKING:
    from mose.search.hits import Hit
    from mose.search.query import CodeIndex


def search(arguments: Arguments) -> int:
    """``mose search``: hits on stdout, what they rest on on stderr."""
    from mose.search.query import CodeIndex

    query = _query_of(arguments)
    with ProgressBar(quiet=arguments.json and not sys.stderr.isatty()) as progress:
        index = CodeIndex.open(
            arguments.path,
            model=arguments.model,
            exit=arguments.exit,
            width=arguments.width,
            inside=arguments.inside,
            update=not arguments.no_update,
            progress=progress,
        )
    with index:
        print_warnings(index)
        options = {
            "limit": arguments.limit,
            "language": arguments.language,
            "budget_s": arguments.budget,
            "per_file": not arguments.all_places,
        }
        if arguments.like is not None:
            path, line = _place_of(arguments.like, index.root)
            hits = index.like(path, line, path_pattern=arguments.pattern, **options)
        else:
            hits = index.search(query, mode=arguments.mode or "fused", path=arguments.pattern, **options)
        if arguments.json:
            print_json_lines(_hit_as_dict(hit) for hit in hits)
        else:
            _print_hits(hits, query, explain=arguments.explain)
        _print_honest_counts(index, hits)
        if arguments.deepen:
            _deepen_in_background(index, arguments)
    return 0


def _query_of(arguments: Arguments) -> str:
    if arguments.like is not None:
        if arguments.query is not None and arguments.path == ".":
            arguments.path = arguments.query  # `mose search --like FILE:LINE PATH`
        elif arguments.query is not None:
            raise ConfigError("a query and --like together", got=arguments.query, allowed="one of the two")
        return ""
    if arguments.query is None:
        raise ConfigError("there is no query", remedy='Say what to look for: mose search "parse a date" .')
    if arguments.query == "-":
        return sys.stdin.read()
    return str(arguments.query)


def _place_of(text: str, root: Path) -> tuple[str, int]:
    """FILE:LINE as a path relative to the tree, and a line; the file may be named from here or from the tree."""
    file, _, line = text.rpartition(":")
    if not file or not line.isdigit():
        raise ConfigError("--like", got=text, allowed="FILE:LINE, e.g. src/app.py:120")
    from_here = Path(file).resolve()
    if from_here.is_file() and from_here.is_relative_to(root):
        return from_here.relative_to(root).as_posix(), int(line)
    return Path(file).as_posix(), int(line)


def _print_hits(hits: Sequence[Hit], query: str, *, explain: bool) -> None:
    from mose.search.snippet import snippet

    if not hits:
        print("Nothing found.", file=sys.stderr)
        return
    style = Style(sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    places = [f"{hit.path}:{hit.start_line}-{hit.end_line}" for hit in hits]
    width = min(max(map(len, places)), 60)
    for place, hit in zip(places, hits, strict=True):
        print(f"{style.dim(f'{hit.score:.2f}')}  {style.bold(place.ljust(width))}  {hit.symbol}".rstrip())
        for number, line in snippet(hit, query, mark=style.mark):
            print(f"{style.dim(f'{number:>7}')}  {line}".rstrip())
        if explain:
            print(style.dim(f"         {_explain(hit)}"))
        print()


def _explain(hit: Hit) -> str:
    parts = hit.parts
    named = [
        ("dense", parts.dense), ("words", parts.lexical), ("definition", parts.definition), ("path", parts.path),
        ("symbol", parts.symbol), ("file", parts.file),
    ]  # fmt: skip
    total = " + ".join(f"{name} {value:.3f}" for name, value in named if value > 0.0005)
    factor = "" if parts.factor == 1.0 else f" x {parts.factor:.2f} for its place"
    depth = "not read by the model" if parts.exit is None else f"read at exit {parts.exit}, cosine {parts.cosine:.3f}"
    return f"= ({total or '0'}){factor};  {depth}, bm25 {parts.bm25:.2f}"


def _hit_as_dict(hit: Hit) -> dict[str, object]:
    from dataclasses import asdict

    parts = {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(hit.parts).items()}
    return {
        "path": hit.path,
        "start_line": hit.start_line,
        "end_line": hit.end_line,
        "symbol": hit.symbol,
        "language": hit.language,
        "score": round(hit.score, 4),
        "parts": parts,
    }


def _print_honest_counts(index: CodeIndex, hits: Sequence[Hit]) -> None:
    """What the answer rests on, on stderr."""
    stats, report = index.last_search, index.last_refresh
    if stats is None:
        return
    notes = [f"{len(hits)} of {stats.num_chunks:,} chunks in {stats.seconds:.1f} s"]
    if stats.exit:
        if stats.num_deep == 0:
            notes.append("read at exit 0")
        elif stats.num_read < stats.num_chunks:
            notes.append(f"{stats.num_deep} candidates read at exit {stats.exit} ({stats.num_encoded} just now)")
            notes.append("`mose index` reads all of them")
        if stats.num_deep < stats.num_short:
            notes.append(f"the time allowed ended {stats.num_short - stats.num_deep} candidates early: see --budget")
    print("; ".join(notes), file=sys.stderr)
    if report is not None and report.busy:
        status = index.status()
        print(
            f"Another process is indexing this tree: this answer is from the {status.num_files:,} files that are in.",
            file=sys.stderr,
        )


def _deepen_in_background(index: CodeIndex, arguments: Arguments) -> None:
    import subprocess

    from mose.runtime.encoder import DEFAULT_MODEL
    from mose.runtime.model import model_folder
    from mose.search.location import HOME_VARIABLE, home, unwritable
    from mose.storage import create_file

    log = index.store.folder / "deepen.log"
    is_default = arguments.model == DEFAULT_MODEL
    command = [
        *processes.python_command("from mose.__main__ import main; raise SystemExit(main())"),
        "index",
        str(index.root),
        "--quiet",
        "--model",
        DEFAULT_MODEL if is_default else str(model_folder(arguments.model).absolute()),
    ]
    if arguments.exit is not None:
        command += ["--exit", str(arguments.exit)]
    if arguments.inside:
        command.append("--inside")
    try:
        output = create_file(log)
    except OSError as error:
        raise unwritable(log, error) from error
    with output:
        process = subprocess.Popen(
            command,
            cwd=processes.ROOT,
            env={**os.environ, HOME_VARIABLE: str(home())},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    print(f"Reading the rest in the background (process {process.pid}, log {log}).", file=sys.stderr)
