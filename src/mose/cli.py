"""The command line: arguments in, one call, text or JSON out.

Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 an error of ours, 2 wrong usage, 130 interrupted.
Whatever a verb needs is imported inside it, so that ``mose --help`` is instant.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mose import __version__
from mose.errors import ConfigError, MoseError

if TYPE_CHECKING:
    from mose.search.query import CodeIndex, Hit
    from mose.search.records import Progress

Arguments = argparse.Namespace


class _Parser(argparse.ArgumentParser):
    """argparse, with the nearest verb named when one is misspelt."""

    def error(self, message: str) -> NoReturn:
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction) and "invalid choice" in message:
                asked = message.split("'")[1]
                near = difflib.get_close_matches(asked, action.choices, n=1)
                hint = f" Did you mean `{self.prog} {near[0]}`?" if near else ""
                verbs = ", ".join(action.choices)
                self.exit(2, f"{self.prog}: there is no command {asked!r}.{hint}\n  Commands: {verbs}\n")
        self.exit(2, f"{self.format_usage()}{self.prog}: {message}\n  `{self.prog} --help` shows an example.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Arguments without the program's name; those of the process if None.

    Returns:
        The exit code.
    """
    parser = _build_parser()
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except MoseError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. What was done is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


# ---- arguments


def _build_parser() -> _Parser:
    parser = _Parser(
        prog="mose",
        description="Search source code by meaning, offline, with an encoder that can stop at any depth.",
        epilog='example:\n  mose search "parse an ISO date" .',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mose {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_search(verbs)
    _add_index(verbs)
    _add_status(verbs)
    _add_forget(verbs)
    _add_model_verbs(verbs)
    return parser


def _verb(
    verbs: argparse._SubParsersAction[_Parser], name: str, run: Callable[[Arguments], int], help: str, example: str
) -> _Parser:
    verb = verbs.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(run=run)
    return verb


def _add_place(verb: _Parser) -> None:
    verb.add_argument("path", nargs="?", default=".", metavar="PATH", help="source tree (default: this folder)")
    verb.add_argument(
        "--inside", action="store_true", default=None, help="keep the index in PATH/.mose, not in the user's cache"
    )


def _add_model(verb: _Parser) -> None:
    verb.add_argument("--model", default="small", help='a shipped model or a runtime folder (default: "small")')
    verb.add_argument("--exit", type=int, metavar="K", help="depth of the model to use (default: the deepest)")


def _add_search(verbs: argparse._SubParsersAction[_Parser]) -> None:
    verb = _verb(
        verbs, "search", _search, "find the places in a source tree that a query means",
        'mose search "open a connection through a proxy" path/to/requests --limit 5',
    )
    verb.add_argument("query", metavar="QUERY", nargs="?", help="words or a name; - reads standard input")
    _add_place(verb)
    _add_model(verb)
    verb.add_argument("--width", type=int, metavar="W", help="leading dimensions to compare (default: all)")
    verb.add_argument("--limit", "--top", type=int, default=10, metavar="N", help="hits to show (default: 10)")
    verb.add_argument("--language", metavar="NAME", help="only this language, e.g. python")
    verb.add_argument(
        "--path", dest="pattern", metavar="GLOB", help="only files that match, as in .gitignore: 'src/', '*.py'"
    )
    verb.add_argument("--like", metavar="FILE:LINE", help="code like that at a place, instead of QUERY")
    mode = verb.add_mutually_exclusive_group()
    mode.add_argument("--lexical", dest="mode", action="store_const", const="lexical", help="words alone")
    mode.add_argument("--dense", dest="mode", action="store_const", const="dense", help="vectors alone")
    verb.add_argument(
        "--budget", type=_seconds, default=2.0, metavar="TIME", help="for deep vectors, e.g. 3s, 500ms (default: 2s)"
    )
    verb.add_argument("--deepen", action="store_true", help="read the rest of the tree deeply in the background")
    verb.add_argument("--all-places", action="store_true", help="show a file as often as it has good places")
    verb.add_argument("--no-update", action="store_true", help="answer from the index as it is")
    verb.add_argument("--explain", action="store_true", help="show the parts of each score")
    verb.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_index(verbs: argparse._SubParsersAction[_Parser]) -> None:
    verb = _verb(
        verbs, "index", _index, "bring every chunk of a source tree to the chosen exit", "mose index path/to/tree --exit 6"
    )
    _add_place(verb)
    _add_model(verb)
    verb.add_argument("--budget", type=_seconds, metavar="TIME", help="stop after this long (default: no limit)")
    verb.add_argument("--rebuild", action="store_true", help="start the index anew")
    verb.add_argument("--where", action="store_true", help="print where the index is kept, and do nothing")
    verb.add_argument("--quiet", action="store_true", help="no progress")
    verb.add_argument("--json", action="store_true", help="print what was done as a JSON object")


def _add_status(verbs: argparse._SubParsersAction[_Parser]) -> None:
    verb = _verb(verbs, "status", _status, "show what the index of a source tree holds", "mose status .")
    _add_place(verb)
    verb.add_argument("--json", action="store_true", help="print it as a JSON object")


def _add_forget(verbs: argparse._SubParsersAction[_Parser]) -> None:
    verb = _verb(verbs, "forget", _forget, "delete the index of a source tree", "mose forget path/to/tree")
    _add_place(verb)


def _add_model_verbs(verbs: argparse._SubParsersAction[_Parser]) -> None:
    verb = _verb(
        verbs, "info", _info, "show layers, parameters, bytes and FLOPs of a model at each exit", "mose info small"
    )
    verb.add_argument("model", metavar="MODEL", nargs="?", default="small", help="model folder, shipped model or preset")
    verb.add_argument("--length", type=int, default=128, metavar="T", help="tokens in a text (default: 128)")
    verb.add_argument("--json", action="store_true", help="one JSON object a line")

    verb = _verb(
        verbs, "convert", _convert, "turn a BERT-family folder into a ladder of exits (needs mose[train])",
        "mose convert all-MiniLM-L6-v2/ ladder/ --exits 0,2,3,4,6",
    )
    verb.add_argument("source", type=Path, metavar="SOURCE", help="folder with config.json and safetensors weights")
    verb.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    verb.add_argument("--exits", type=_exits, required=True, metavar="K,K,...", help="exits of the ladder")

    verb = _verb(
        verbs, "cut", _cut, "keep a model's blocks up to one exit (needs mose[train])", "mose cut ladder/ --exit 3 ladder-3/"
    )
    verb.add_argument("model", type=Path, metavar="MODEL", help="model folder")
    verb.add_argument("--exit", type=int, required=True, metavar="K", help="exit to keep")
    verb.add_argument("out", type=Path, metavar="OUT", help="folder to write")

    verb = _verb(
        verbs, "export", _export, "write the runtime form of a model: ONNX graphs over one weights file (needs mose[train])",
        "mose export ladder/ runtime/ --dtype int8",
    )
    verb.add_argument("model", type=Path, metavar="MODEL", help="model folder")
    verb.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    verb.add_argument("--dtype", choices=("int8", "float32"), default="int8", help="of the weights (default: int8)")


def _seconds(text: str) -> float:
    for unit, size in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)):
        if text.endswith(unit):
            try:
                value = float(text[: len(text) - len(unit)]) * size
            except ValueError:
                break
            if value >= 0:
                return value
            break
    raise argparse.ArgumentTypeError(f"{text!r} is no time: write 3s, 500ms or 2m")


def _exits(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of exits: write 0,2,3,4,6") from None


# ---- searching


def _search(arguments: Arguments) -> int:
    from mose.search.query import CodeIndex

    query = _query_of(arguments)
    with _ProgressBar(quiet=arguments.json and not sys.stderr.isatty()) as progress:
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
            _print_json_lines(_hit_as_dict(hit) for hit in hits)
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
    style = _Style(sys.stdout.isatty() and "NO_COLOR" not in os.environ)
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


class _Style:
    """ANSI styles, or nothing where output is not a terminal."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled

    def _wrap(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.enabled else text

    def bold(self, text: str) -> str:
        return self._wrap(text, "1")

    def dim(self, text: str) -> str:
        return self._wrap(text, "2")

    def mark(self, text: str) -> str:
        return self._wrap(text, "1;33")


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
            f"Another process is indexing this tree: this answer comes from the {status.num_files:,} files that are in.",
            file=sys.stderr,
        )


def _deepen_in_background(index: CodeIndex, arguments: Arguments) -> None:
    import subprocess

    log = index.store.folder / "deepen.log"
    command = [sys.executable, "-m", "mose", "index", str(index.root), "--quiet", "--model", str(arguments.model)]
    if arguments.exit is not None:
        command += ["--exit", str(arguments.exit)]
    if arguments.inside:
        command.append("--inside")
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    print(f"Reading the rest in the background (process {process.pid}, log {log}).", file=sys.stderr)


# ---- indexing


def _index(arguments: Arguments) -> int:
    from mose.search.indexer import forget
    from mose.search.location import index_folder
    from mose.search.query import CodeIndex

    if arguments.where:
        print(index_folder(arguments.path, inside=arguments.inside))
        return 0
    if arguments.rebuild:
        forget(arguments.path)
    with _ProgressBar(quiet=arguments.quiet) as progress:
        index = CodeIndex.open(
            arguments.path, model=arguments.model, exit=arguments.exit, inside=arguments.inside, progress=progress
        )
        with index:
            refreshed = index.last_refresh
            deepened = index.deepen(budget_s=arguments.budget, progress=progress) if index.encoder.exit else None
            status = index.status()
    assert refreshed is not None
    if arguments.json:
        _print_json_lines([{
            "root": str(index.root), "files": status.num_files, "chunks": status.num_chunks,
            "added": refreshed.num_added, "changed": refreshed.num_changed, "removed": refreshed.num_removed,
            "skipped": status.skipped, "exit": index.encoder.exit,
            "encoded": deepened.num_encoded if deepened else 0, "reused": deepened.num_reused if deepened else 0,
            "left": deepened.num_left if deepened else 0,
        }])  # fmt: skip
        return 0
    print(
        f"{status.num_files:,} files, {status.num_chunks:,} chunks"
        f" ({refreshed.num_added:,} files new, {refreshed.num_changed:,} changed, {refreshed.num_removed:,} gone)"
    )
    if deepened is not None:
        left = f", {deepened.num_left:,} left: run it again" if deepened.num_left else ""
        print(
            f"exit {index.encoder.exit}: {deepened.num_encoded:,} chunks read,"
            f" {deepened.num_reused:,} known from before{left}"
        )
    return 0


def _status(arguments: Arguments) -> int:
    from mose.search.location import index_folder
    from mose.search.store import Store

    with Store.open_to_read(index_folder(arguments.path, inside=arguments.inside)) as store:
        status = store.status()
    if arguments.json:
        from dataclasses import asdict

        _print_json_lines([{**asdict(status), "folder": str(status.folder)}])
        return 0
    state = "complete" if status.complete else f"unfinished, {status.num_pending_files:,} files to go"
    print(f"{status.root}\n  index     {status.folder} ({status.size_bytes / 1e6:.1f} MB), {state}")
    print(f"  content   {status.num_files:,} files, {status.num_chunks:,} chunks")
    for exit_layer, count in sorted(status.vectors.items()):
        share = count / max(status.num_chunks, 1)
        print(f"  exit {exit_layer:<4} {count:,} chunks ({share:.0%})")
    print(f"  model     {status.model or 'none yet'}")
    for language in status.languages:
        how = f", {language.num_cut_by_lines:,} cut by lines" if language.num_cut_by_lines else ""
        print(f"  {language.language:<16} {language.num_files:>7,} files {language.num_chunks:>9,} chunks{how}")
    if status.skipped:
        print("  left out")
        for reason, count in sorted(status.skipped.items(), key=lambda item: -item[1]):
            examples = ", ".join(status.skipped_examples.get(reason, ())[:2])
            print(f"    {reason:<22} {count:>7,}   {examples}")
    return 0


def _forget(arguments: Arguments) -> int:
    from mose.search.indexer import forget

    folders = forget(arguments.path)
    print("\n".join(f"Deleted {folder}." for folder in folders) or "There was no index.")
    return 0


class _ProgressBar:
    """Progress of long work on stderr, one bar a stage. Shown after half a second, so that short work is silent."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.bar: object | None = None
        self.stage = ""

    def __enter__(self) -> Callable[[Progress], None]:
        return self._tell

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()  # type: ignore[attr-defined]
            self.bar = None

    def _tell(self, progress: Progress) -> None:
        if self.quiet:
            return
        if progress.stage == "wait":
            print("Waiting for another process that is writing this index.", file=sys.stderr)
            return
        if progress.stage != self.stage:
            self._close()
            from tqdm import tqdm

            self.stage = progress.stage
            self.bar = tqdm(
                total=progress.total or None, desc=self.stage, delay=0.5, leave=False, file=sys.stderr, unit="",
                mininterval=0.2,
            )
        bar = self.bar
        bar.total = progress.total or None  # type: ignore[union-attr]
        bar.update(progress.done - bar.n)  # type: ignore[union-attr]


# ---- models


def _info(arguments: Arguments) -> int:
    from mose.model.info import info
    from mose.model.presets import PRESETS, preset

    model = preset(arguments.model) if arguments.model in PRESETS else arguments.model
    found = info(model, length=arguments.length)
    if arguments.json:
        from dataclasses import asdict

        _print_json_lines(asdict(row) for row in found.exits)
        return 0
    print(f"{found.parameters:,} parameters, {found.size_bytes:,} bytes; FLOPs for texts of {found.length} tokens")
    print(f"{'exit':>4} {'layers':>6} {'width':>6} {'parameters':>14} {'bytes':>14} {'MFLOPs/token':>13}")
    for row in found.exits:
        print(
            f"{row.exit_layer:>4} {row.layers:>6} {row.width:>6} {row.parameters:>14,} {row.size_bytes:>14,}"
            f" {row.flops_per_token / 1e6:>13.2f}"
        )
    return 0


def _convert(arguments: Arguments) -> int:
    _need_training_packages("convert")
    from mose.model.convert import convert_bert

    convert_bert(arguments.source, arguments.out, exits=arguments.exits)
    print(f"Wrote {arguments.out}.")
    return 0


def _cut(arguments: Arguments) -> int:
    _need_training_packages("cut")
    from mose.model.cut import cut

    cut(arguments.model, arguments.exit, arguments.out)
    print(f"Wrote {arguments.out}.")
    return 0


def _export(arguments: Arguments) -> int:
    _need_training_packages("export")
    from mose.runtime.export import export

    export(arguments.model, arguments.out, dtype=arguments.dtype)
    print(f"Wrote {arguments.out}.")
    return 0


def _need_training_packages(verb: str) -> None:
    from importlib.util import find_spec

    from mose.errors import MissingExtraError

    missing = [name for name in ("torch", "transformers", "onnx") if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"`mose {verb}` needs packages that are not installed: {', '.join(missing)}",
            remedy="Install them with: pip install 'mose[train]'",
        )


def _print_json_lines(rows: object) -> None:
    import json

    for row in rows:  # type: ignore[attr-defined]
        print(json.dumps(row, ensure_ascii=False))
