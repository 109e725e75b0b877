"""``mose corpus``: build a corpus to pre-train on, show what it holds, train a tokenizer on it."""

from __future__ import annotations

from argparse import Namespace as Arguments
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mose.cli.options import add_json_counts, add_quiet, add_workers, count, define, executor_of, names, size
from mose.cli.output import ProgressBar
from mose.cli.parser import Parser
from mose.cli.terminal import show, show_json

if TYPE_CHECKING:
    from mose.data.corpus.settings import BuildSettings

_SOURCES = "folders of repositories, git checkouts, archives, .parquet or .jsonl tables, or a corpus of text"


def add_corpus(command: Parser) -> None:
    """Add the commands of ``mose corpus`` and their arguments."""
    command.epilog = "example:\n  mose corpus build ~/src --out corpus/"
    actions = command.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, add, help in (
        ("build", _add_build, "read repositories, leave out what should not be learned, and write shards"),
        ("stats", _add_stats, "show what a corpus holds, and check its shards"),
        ("tokenizer", _add_tokenizer, "train a byte-level BPE tokenizer of StarCoder 2's kind"),
    ):
        add(actions.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}."))


def _add_build(command: Parser) -> None:
    define(
        command,
        build,
        example="mose corpus build ~/src packages/*.whl --tokenizer start/ --out corpus/ --max-files 500",
        notes="Files that tools wrote, minified and vendored ones, copies and near copies, repositories of held-out "
        "benchmarks and those without a licence that is allowed are left out and counted. Without --tokenizer the "
        "corpus holds text, which any model can be pre-trained on; with it, token ids of that tokenizer alone.",
    )
    _add_sources(command)
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder to write; a stopped build continues"
    )
    command.add_argument("--tokenizer", type=Path, metavar="FOLDER", help="store token ids of the tokenizer.json in it")
    command.add_argument(
        "--shard-size",
        type=size,
        default=100_000_000,
        metavar="N",
        help="tokens, or bytes of text, of a shard (default: 100MB)",
    )
    add_json_counts(command)


def _add_stats(command: Parser) -> None:
    define(command, stats, example="mose corpus stats corpus/")
    command.add_argument("corpus", type=Path, metavar="CORPUS", help="folder that mose corpus build wrote")
    add_json_counts(command)


def _add_tokenizer(command: Parser) -> None:
    define(
        command,
        tokenizer,
        example="mose corpus tokenizer corpus/ --size 49152 --out tokenizer/",
        notes="Three tokens (<cls>, <sep>, <mask>) are added to these; mose new --tokenizer takes the folder.",
    )
    _add_sources(command)
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write")
    command.add_argument("--size", type=count, default=49_152, metavar="N", help="tokens (default: 49152)")


def _add_sources(command: Parser) -> None:
    """Arguments that say what is read, and what of it is kept."""
    command.add_argument("sources", nargs="+", metavar="SOURCES", help=_SOURCES)
    command.add_argument(
        "--licence", "--license", type=names, default=("permissive",), metavar="IDS",
        help="SPDX identifiers that are allowed, with commas; any: all, and unknown ones (default: permissive)",
    )  # fmt: skip
    command.add_argument(
        "--language", type=names, default=(), metavar="NAMES", help="keep these languages (default: all but prose)"
    )
    command.add_argument("--exclude", type=names, default=(), metavar="NAMES", help="repositories to leave out")
    command.add_argument(
        "--max-files", type=int, default=0, metavar="N", help="read N files of each repository (default: 0, all)"
    )
    command.add_argument(
        "--near", type=float, default=0.85, metavar="X",
        help="similarity from which a file is a near copy of another, 0 to keep them (default: 0.85)",
    )  # fmt: skip
    command.add_argument("--keep-secrets", action="store_true", help="do not replace secrets and e-mail addresses")
    command.add_argument(
        "--columns",
        default="",
        metavar="KEYS",
        help="columns of tables: repository=A,path=B,content=C,licence=D (default: The Stack v2's, or these names)",
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="fixes the choice of files (default: 0)")
    add_workers(command)
    add_quiet(command)


def _settings(arguments: Arguments, shard_units: int = 100_000_000) -> BuildSettings:
    from mose.data.corpus.build import parse_columns
    from mose.data.corpus.settings import BuildSettings
    from mose.languages import labels_named

    return BuildSettings(
        licences=arguments.licence,
        languages=tuple(sorted({label for name in arguments.language for label in labels_named(name)})),
        exclude=arguments.exclude,
        max_files=arguments.max_files,
        near=arguments.near,
        scrub=not arguments.keep_secrets,
        columns=parse_columns(arguments.columns),
        shard_units=shard_units,
        seed=arguments.seed,
    )


def build(arguments: Arguments) -> int:
    """``mose corpus build``."""
    from mose.data.corpus.build import build_corpus

    with ProgressBar(quiet=arguments.quiet) as progress:
        manifest = build_corpus(
            arguments.sources, arguments.out, _settings(arguments, arguments.shard_size), tokenizer=arguments.tokenizer,
            workers=arguments.workers, each=executor_of(arguments), progress=progress,
        )  # fmt: skip
    _show(manifest, arguments.json)
    return 0


def stats(arguments: Arguments) -> int:
    """``mose corpus stats``."""
    from mose.data.corpus.shards import check_hashes, open_shards, read_manifest

    open_shards(arguments.corpus)
    check_hashes(arguments.corpus)
    _show(read_manifest(arguments.corpus), arguments.json)
    return 0


def tokenizer(arguments: Arguments) -> int:
    """``mose corpus tokenizer``."""
    from mose.data.corpus.train_tokenizer import train_tokenizer

    with ProgressBar(quiet=arguments.quiet) as progress:
        num_tokens = train_tokenizer(
            arguments.sources, arguments.out, size=arguments.size, settings=_settings(arguments),
            workers=arguments.workers, each=executor_of(arguments), progress=progress,
        )  # fmt: skip
    show(f"Wrote {arguments.out}: {num_tokens:,} tokens.")
    return 0


def _show(manifest: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json([manifest])
        return
    unit = "tokens" if manifest["tokenizer"] else "bytes"
    total = {key: manifest[key] for key in ("files", "characters", "units")}
    show(f"{manifest['repositories']:,} repositories in {len(manifest['shards']):,} shards")
    show("")
    show(f"{'language':<16} {'files':>10} {'characters':>16} {unit:>16}")
    languages: dict[str, dict[str, int]] = manifest["languages"]
    rows = sorted(languages.items(), key=lambda item: (-item[1]["units"], item[0]))
    for name, counts in [*rows, ("all", total)]:
        show(f"{name:<16} {counts['files']:>10,} {counts['characters']:>16,} {counts['units']:>16,}")
    for title, key in (("files by licence", "licences"), ("left out", "dropped"), ("replaced", "scrubbed")):
        found: dict[str, int] = manifest[key]
        if found:
            show("")
            show(title)
            for name, number in sorted(found.items(), key=lambda item: (-item[1], item[0])):
                show(f"{number:>12,}  {name}")
