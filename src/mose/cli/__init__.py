"""The command line: arguments in, one call, text or JSON out.

Answers go to standard output, talk to standard error (`mose.cli.terminal`); `EXIT_STATUS` says what comes back.
Whatever a verb needs is imported inside it, so that ``mose --help`` is instant.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from mose import __version__
from mose.cli import eval_arguments, eval_repo_arguments, pairs_arguments, terminal
from mose.cli.parser import Parser, as_meant, count, exits, seconds, size, take_late_path
from mose.errors import ConfigError, MoseError

EXIT_STATUS = """exit status:
  0    found, or done
  1    nothing found; with `eval-repo --check`, search has become worse
  2    an error, or wrong usage
  130  interrupted"""

SEARCH_NOTES = """what is read:
  What git would keep, less what a .moseignore (same syntax) leaves out; `mose status --why FILE` says why.
where the index is kept:
  In the user's cache folder, or in the folder that MOSE_HOME names; with --inside, in PATH/.mose.
  A folder or file inside an indexed tree is searched with the index of that tree."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Arguments without the program's name; those of the process if None.

    Returns:
        The exit status, as `EXIT_STATUS` explains it.
    """
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
        terminal.flush()
        return status
    except MoseError as error:
        terminal.say_error(error)
    except terminal.ReaderGoneError:
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        terminal.say(f"mose: {where}{error.strerror or error}")
    except KeyboardInterrupt:
        terminal.say()
        terminal.say("Interrupted. What was done is kept; the same command goes on from there.")
        return 130
    return 2


def _run(argv: Sequence[str]) -> int:
    for word in argv:
        _require_text(word)
    parser = _build_parser()
    if not argv:
        terminal.say_lines(parser.format_help())
        return 2
    arguments, extra = parser.parse_known_args(as_meant(argv, parser.verbs()))
    extra = take_late_path(arguments, extra)
    if extra:
        arguments.parser.refuse(extra, arguments)
    return _function(arguments.run)(arguments)


def _require_text(word: str) -> None:
    """Raise `ConfigError` for an argument that no shell can pass on, as other programs can."""
    try:
        if b"\0" not in os.fsencode(word):
            return
    except UnicodeEncodeError:
        pass
    raise ConfigError("an argument", got=word, allowed="characters that names of files may have")


def _function(name: str) -> Callable[[argparse.Namespace], int]:
    """The function behind a verb, imported only now."""
    module, _, function = name.partition(".")
    return getattr(import_module(f"mose.cli.{module}"), function)  # type: ignore[no-any-return]


def _build_parser() -> Parser:
    parser = Parser(
        prog="mose",
        description="Search source code by meaning, offline, with an encoder that can stop at any depth.",
        epilog=f'example:\n  mose search "parse an ISO date" .\n\n{EXIT_STATUS}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"mose {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_search(verbs)
    _add_index(verbs)
    _add_status(verbs)
    _add_forget(verbs)
    _add_prune(verbs)
    _add_model_verbs(verbs)
    _add_finetune(verbs)
    eval_arguments.add(verbs, _verb)
    eval_repo_arguments.add(verbs, _verb)
    pairs_arguments.add(verbs, _verb)
    return parser


def _verb(verbs: argparse._SubParsersAction[Parser], name: str, run: str, help: str, example: str) -> Parser:
    verb = verbs.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(run=run, parser=verb)
    return verb


def _add_place(verb: Parser, help: str = "source tree (default: this folder)") -> None:
    verb.add_argument("path", nargs="?", metavar="PATH", help=help)
    verb.add_argument(
        "--inside",
        action="store_true",
        default=None,
        help="keep the index in PATH/.mose, not in the user's cache",
    )


def _add_max_file_size(verb: Parser) -> None:
    verb.add_argument(
        "--max-file-size",
        type=size,
        metavar="SIZE",
        help="read files up to this size, from now on, e.g. 5MB (default: as before, at first 1MB)",
    )


def _add_model(verb: Parser) -> None:
    verb.add_argument("--model", default="small", help='a shipped model or a runtime folder (default: "small")')
    verb.add_argument(
        "--exit",
        type=int,
        metavar="K",
        help="depth of the model, 0 the fastest (default: the deepest)",
    )


def _add_search(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(
        verbs,
        "search",
        "searching.search",
        "find the places in a source tree that a query means",
        'mose search "open a connection through a proxy" . --limit 5',
    )
    verb.epilog = f"{verb.epilog}\n\n{SEARCH_NOTES}\n\n{EXIT_STATUS}"
    verb.add_argument("query", metavar="QUERY", nargs="?", help="words or a name; - reads standard input")
    _add_place(verb, "source tree, or a folder or file in one (default: this folder)")
    _add_model(verb)
    verb.add_argument("--width", type=int, metavar="W", help="leading dimensions to compare (default: all)")
    verb.add_argument("--limit", "--top", type=count, default=10, metavar="N", help="hits to show (default: 10)")
    verb.add_argument(
        "--language", action="append", metavar="NAME", help="only this language, e.g. python; may be repeated"
    )
    verb.add_argument(
        "--path",
        dest="pattern",
        action="append",
        metavar="GLOB",
        help="only files that match, as in .gitignore: 'src/', '*.py', '!tests/'; may be repeated",
    )
    verb.add_argument("--like", metavar="FILE:LINE", help="code like that at a place, instead of QUERY")
    mode = verb.add_mutually_exclusive_group()
    mode.add_argument("--lexical", dest="mode", action="store_const", const="lexical", help="words alone")
    mode.add_argument("--dense", dest="mode", action="store_const", const="dense", help="vectors alone")
    verb.add_argument(
        "--budget",
        type=seconds,
        default=2.0,
        metavar="TIME",
        help="for reading the best candidates closely, e.g. 3s, 500ms (default: 2s)",
    )
    _add_max_file_size(verb)
    verb.add_argument("--deepen", action="store_true", help="read the rest of the tree deeply in the background")
    verb.add_argument("--all-places", action="store_true", help="show a file as often as it has good places")
    verb.add_argument("--no-update", action="store_true", help="answer from the index as it is")
    verb.add_argument("--explain", action="store_true", help="show the parts of each score")
    verb.add_argument("--json", action="store_true", help="one JSON object a line")
    verb.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="styles (default: auto)")
    verb.add_argument("--quiet", action="store_true", help="no progress")


def _add_index(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(
        verbs,
        "index",
        "indexing.index",
        "read every part of a source tree closely, once",
        "mose index path/to/tree --exit 6",
    )
    _add_place(verb)
    _add_model(verb)
    verb.add_argument("--budget", type=seconds, metavar="TIME", help="stop after this long (default: no limit)")
    _add_max_file_size(verb)
    verb.add_argument("--rebuild", action="store_true", help="start the index anew")
    verb.add_argument("--existing", action="store_true", help="only if there is an index; make none")
    verb.add_argument("--where", action="store_true", help="print where the index is kept, and do nothing")
    verb.add_argument("--quiet", action="store_true", help="no progress")
    verb.add_argument("--json", action="store_true", help="print what was done as a JSON object")


def _add_status(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(verbs, "status", "indexing.status", "show what the index of a source tree holds", "mose status .")
    _add_place(verb)
    verb.add_argument("--why", metavar="FILE", help="say whether one file is read or left out, and by which rule")
    verb.add_argument("--json", action="store_true", help="print it as a JSON object")


def _add_forget(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(verbs, "forget", "indexing.forget", "delete the index of a source tree", "mose forget path/to/tree")
    _add_place(verb)


def _add_prune(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(
        verbs,
        "prune",
        "pruning.prune",
        "remove the indexes of trees that are gone (or not mounted) and vectors that no index uses",
        "mose prune --dry-run",
    )
    verb.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    verb.add_argument("--json", action="store_true", help="print it as a JSON object")


def _add_model_verbs(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(
        verbs,
        "info",
        "models.info",
        "show layers, parameters, bytes and FLOPs of a model at each exit",
        "mose info small",
    )
    verb.add_argument(
        "model", metavar="MODEL", nargs="?", default="small", help="model folder, shipped model or preset"
    )
    verb.add_argument("--length", type=int, default=128, metavar="T", help="tokens in a text (default: 128)")
    verb.add_argument("--json", action="store_true", help="one JSON object a line")

    verb = _verb(
        verbs,
        "convert",
        "models.convert",
        "turn a BERT-family folder into a ladder of exits (needs mose[train])",
        "mose convert all-MiniLM-L6-v2/ ladder/ --exits 0,2,3,4,6",
    )
    verb.add_argument("source", type=Path, metavar="SOURCE", help="folder with config.json and safetensors weights")
    verb.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    verb.add_argument("--exits", type=exits, required=True, metavar="K,K,...", help="exits of the ladder")
    verb.add_argument("--max-tokens", type=int, metavar="N", help="tokens of a text that are read (default: as before)")
    verb.add_argument(
        "--split-identifiers",
        action="store_true",
        help="read parseDate and parse_date as two words, as a tokenizer of plain language should",
    )
    verb.add_argument(
        "--table-share",
        type=float,
        default=0.0,
        metavar="X",
        help="share of exit 0 in the cosine at every other exit (default: 0)",
    )

    verb = _verb(
        verbs,
        "cut",
        "models.cut",
        "keep a model's blocks up to one exit",
        "mose cut ladder/ --exit 3 ladder-3/",
    )
    verb.add_argument("model", type=Path, metavar="MODEL", help="model folder")
    verb.add_argument("--exit", type=int, required=True, metavar="K", help="exit to keep")
    verb.add_argument("out", type=Path, metavar="OUT", help="folder to write")

    verb = _verb(
        verbs,
        "export",
        "models.export",
        "write the runtime form of a model: ONNX graphs over one weights file (needs mose[train])",
        "mose export ladder/ runtime/ --dtype int8",
    )
    verb.add_argument("model", type=Path, metavar="MODEL", help="model folder")
    verb.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    verb.add_argument("--dtype", choices=("int8", "float32"), default="int8", help="of the weights (default: int8)")


def _add_finetune(verbs: argparse._SubParsersAction[Parser]) -> None:
    verb = _verb(
        verbs,
        "finetune",
        "training.finetune",
        "train every exit of a ladder at once, or go on where a run stopped (needs mose[train])",
        "mose finetune retrieval --config configs/small.toml --set data.folder=DATA",
    )
    verb.add_argument(
        "task", choices=("retrieval", "clones"), help="retrieval: text to code, code to code; clones: same task or not"
    )
    verb.add_argument("--config", type=Path, required=True, metavar="FILE", help="TOML file with everything")
    verb.add_argument(
        "--set", dest="changes", action="append", default=[], metavar="KEY=VALUE", help="put over the file's value"
    )
