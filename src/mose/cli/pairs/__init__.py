"""``mose pairs``: one module for each family of its commands."""

from __future__ import annotations

from mose.cli.pairs.asking import add_ask, add_translate
from mose.cli.pairs.curating import add_card, add_check, add_convert, add_dedup, add_filter
from mose.cli.pairs.mining import add_history, add_mine, add_negatives
from mose.cli.parser import Parser

_COMMANDS = (
    ("mine", add_mine, "mine pairs of text and code from the source of named packages"),
    ("history", add_history, "mine pairs of commits and the functions that they changed from clones of repositories"),
    ("negatives", add_negatives, "find hard negatives: code near a query that does not answer it (needs mose[train])"),
    ("ask", add_ask, "let a language model ask about the code of pairs, and check what it writes"),
    ("translate", add_translate, "let a language model translate the code of pairs, and check what it writes"),
    ("filter", add_filter, "keep pairs whose code a search finds among that of its source (needs mose[data])"),
    ("dedup", add_dedup, "drop near copies, and copies of evaluation rows (needs mose[data])"),
    ("check", add_check, "look for rows that copy an evaluation row (needs mose[data])"),
    ("card", add_card, "print the data card of pairs: counts, licences, what was dropped, hashes"),
    ("convert", add_convert, "read and write parquet tables with the columns of SynthCoNL (needs mose[parquet])"),
)


def add_pairs(command: Parser) -> None:
    """Add the commands of ``mose pairs`` and their arguments."""
    command.epilog = "example:\n  mose pairs mine configs/mine.toml --out mined/"
    actions = command.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, add, help in _COMMANDS:
        add(actions.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}."))
