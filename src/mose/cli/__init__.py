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
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from mose import __version__
from mose.cli import eval_arguments, eval_repo_arguments, pairs_arguments
from mose.errors import MoseError


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
        return _function(arguments.run)(arguments)
    except MoseError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. What was done is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _function(name: str) -> Callable[[argparse.Namespace], int]:
    """The function behind a verb, imported only now."""
    module, _, function = name.partition(".")
    return getattr(import_module(f"mose.cli.{module}"), function)  # type: ignore[no-any-return]


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
    _add_finetune(verbs)
    eval_arguments.add(verbs, _verb)
    eval_repo_arguments.add(verbs, _verb)
    pairs_arguments.add(verbs, _verb)
    return parser


def _verb(verbs: argparse._SubParsersAction[_Parser], name: str, run: str, help: str, example: str) -> _Parser:
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
        "--inside",
        action="store_true",
        default=None,
        help="keep the index in PATH/.mose, not in the user's cache",
    )


def _add_model(verb: _Parser) -> None:
    verb.add_argument("--model", default="small", help='a shipped model or a runtime folder (default: "small")')
    verb.add_argument("--exit", type=int, metavar="K", help="depth of the model to use (default: the deepest)")


def _add_search(verbs: argparse._SubParsersAction[_Parser]) -> None:
    verb = _verb(
        verbs,
        "search",
        "searching.search",
        "find the places in a source tree that a query means",
        'mose search "open a connection through a proxy" path/to/requests --limit 5',
    )
    verb.add_argument("query", metavar="QUERY", nargs="?", help="words or a name; - reads standard input")
    _add_place(verb)
    _add_model(verb)
    verb.add_argument("--width", type=int, metavar="W", help="leading dimensions to compare (default: all)")
    verb.add_argument("--limit", "--top", type=int, default=10, metavar="N", help="hits to show (default: 10)")
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
        type=_seconds,
        default=2.0,
        metavar="TIME",
        help="for deep vectors, e.g. 3s, 500ms (default: 2s)",
    )
    verb.add_argument("--deepen", action="store_true", help="read the rest of the tree deeply in the background")
    verb.add_argument("--all-places", action="store_true", help="show a file as often as it has good places")
    verb.add_argument("--no-update", action="store_true", help="answer from the index as it is")
    verb.add_argument("--explain", action="store_true", help="show the parts of each score")
    verb.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_index(verbs: argparse._SubParsersAction[_Parser]) -> None:
    verb = _verb(
        verbs,
        "index",
        "indexing.index",
        "bring every chunk of a source tree to the chosen exit",
        "mose index path/to/tree --exit 6",
    )
    _add_place(verb)
    _add_model(verb)
    verb.add_argument("--budget", type=_seconds, metavar="TIME", help="stop after this long (default: no limit)")
    verb.add_argument("--rebuild", action="store_true", help="start the index anew")
    verb.add_argument("--where", action="store_true", help="print where the index is kept, and do nothing")
    verb.add_argument("--quiet", action="store_true", help="no progress")
    verb.add_argument("--json", action="store_true", help="print what was done as a JSON object")


def _add_status(verbs: argparse._SubParsersAction[_Parser]) -> None:
    verb = _verb(verbs, "status", "indexing.status", "show what the index of a source tree holds", "mose status .")
    _add_place(verb)
    verb.add_argument("--json", action="store_true", help="print it as a JSON object")


def _add_forget(verbs: argparse._SubParsersAction[_Parser]) -> None:
    verb = _verb(verbs, "forget", "indexing.forget", "delete the index of a source tree", "mose forget path/to/tree")
    _add_place(verb)


def _add_model_verbs(verbs: argparse._SubParsersAction[_Parser]) -> None:
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
    verb.add_argument("--exits", type=_exits, required=True, metavar="K,K,...", help="exits of the ladder")
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


def _add_finetune(verbs: argparse._SubParsersAction[_Parser]) -> None:
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
