"""The command line: arguments in, one call, text or JSON out.

Answers go to standard output, talk to standard error (`mose.cli.terminal`). One module holds a family of commands: for
each command the arguments it takes and the function that runs it. It is imported when one of its commands is asked for,
and that function imports what it needs, so that ``mose --help`` is instant.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Sequence
from importlib import import_module

from mose import __version__
from mose.cli import terminal
from mose.cli.parser import EXIT_STATUS, Parser, as_meant, take_late_path
from mose.errors import ConfigError, MoseError

COMMANDS = {
    "search": ("search.command.add_search", "find the code in a source tree that a query describes"),
    "index": ("indexing.add_index", "read every part of a source tree closely, once"),
    "watch": (
        "indexing.add_watch",
        "keep the indexes of source trees up to date while files change (needs mose[serve])",
    ),
    "status": ("status.add_status", "show what the index of a source tree holds"),
    "forget": ("indexing.add_forget", "delete the index of a source tree"),
    "list": ("serving.add_list", "list every index on this machine: its tree, size, age and how deep it has been read"),
    "prune": (
        "indexing.add_prune",
        "remove the indexes of trees that are gone (or not mounted) and vectors that no index uses",
    ),
    "mcp": ("serving.add_mcp", "serve coding agents over the Model Context Protocol (needs mose[serve])"),
    "serve": ("serving.add_serve", "serve a web page, a JSON API and embeddings over HTTP (needs mose[serve])"),
    "info": ("models.add_info", "show layers, parameters, bytes and FLOPs of a model at each exit"),
    "new": (
        "models.add_new",
        "make a fresh model to pre-train, from a preset or a file of settings (needs mose[train])",
    ),
    "convert": (
        "converting.add_convert",
        "turn a released ModularStarEncoder, a BERT, StarCoder 2 or Llama into a ladder of exits (needs mose[train])",
    ),
    "cut": ("models.add_cut", "keep a model's blocks up to one exit"),
    "export": (
        "models.add_export",
        "write the runtime form of a model: ONNX graphs over one weights file (needs mose[train])",
    ),
    "pretrain": (
        "training.add_pretrain",
        "train every exit of a fresh model on repositories, or resume a stopped run (needs mose[train])",
    ),
    "plan": ("training.add_plan", "show memory, FLOPs and days of a pre-training run before it is started"),
    "finetune": (
        "training.add_finetune",
        "train every exit of a model at once, or resume a stopped run (needs mose[train])",
    ),
    "eval": (
        "evaluating.add_eval",
        "evaluate every exit of a model beside other encoders and BM25 (needs mose[eval])",
    ),
    "eval-repo": (
        "eval_repo.add_eval_repo",
        "measure search on a source tree with queries from its own documentation, history and tests",
    ),
    "completion": ("completion.add_completion", "print a script that completes commands and options in a shell"),
    "corpus": ("corpus.add_corpus", "make a corpus of repositories to pre-train on"),
    "pairs": ("pairs.add_pairs", "make pairs to train on"),
}
"""For each command the function that adds its arguments, and what the help says of it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; those of the process if None.

    Returns:
        The exit status, as `EXIT_STATUS` explains it.
    """
    status = _status_of(lambda: _run(sys.argv[1:] if argv is None else argv))
    flushed = _status_of(terminal.flush)  # also what was shown before an error
    return status or flushed


def _status_of(step: Callable[[], int | None]) -> int:
    """The exit status of a step, 0 if it returns nothing; its errors are reported."""
    try:
        return step() or 0
    except MoseError as error:
        terminal.say_error(error)
    except terminal.ReaderGoneError:
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        terminal.say(f"mose: {where}{error.strerror or error}")
        if where:
            terminal.say("  Name another file or folder, or make that one readable and writable.")
    except KeyboardInterrupt:
        terminal.say()
        terminal.say("Interrupted. What was done is kept; the same command continues from there.")
        return 130
    return 2


def _run(argv: Sequence[str]) -> int:
    for word in argv:
        _require_text(word)
    words = as_meant(argv, COMMANDS)
    parser = build_parser(words)
    if not words:
        terminal.say_lines(parser.format_help())
        return 2
    arguments, extra = parser.parse_known_args(words)
    extra = take_late_path(arguments, extra)
    if extra:
        arguments.parser.refuse(extra, arguments)
    run: Callable[..., int] = arguments.run
    return run(arguments)


def _require_text(word: str) -> None:
    """Raise `ConfigError` for an argument that no shell can pass on, as other programs can."""
    try:
        if b"\0" not in os.fsencode(word):
            return
    except UnicodeEncodeError:
        pass
    raise ConfigError("an argument", got=word, allowed="characters that names of files may have")


def build_parser(asked: Collection[str]) -> Parser:
    """The parser of the command line.

    Args:
        asked: Commands whose arguments are needed, among other words; the modules of all others are not imported.
    """
    parser = Parser(
        prog="mose",
        description="Search source code by meaning, offline, with an encoder that can stop at any depth.",
        epilog=f'example:\n  mose search "parse an ISO date" .\n\n{EXIT_STATUS}',
    )
    parser.add_argument("-V", "--version", action="version", version=f"mose {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (function, help) in COMMANDS.items():
        command = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        if name in asked:
            _adder(function)(command)
    return parser


def _adder(name: str) -> Callable[[Parser], None]:
    """The function that adds the arguments of a command, from its module of this package."""
    module, _, function = name.rpartition(".")
    return getattr(import_module(f"mose.cli.{module}"), function)  # type: ignore[no-any-return]
